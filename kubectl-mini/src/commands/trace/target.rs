//! Who connects to what, as it was typed. Pure.

use std::net::IpAddr;

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A pod, or what has pods: `web-1`, `pod/web-1`, `deploy/web`.
    Pod(String),
    /// A node.
    Node(String),
    /// A program on the host, outside of the cluster.
    Host,
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    /// As it was typed.
    pub text: String,
    /// Whose address.
    pub place: Place,
    /// Which port.
    pub port: Option<Port>,
    /// Of a URL.
    pub url: Option<Url>,
}

/// Whose address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A pod.
    Pod(String),
    /// A Service, of a namespace where one is given (`svc/web.other`).
    Service(String, Option<String>),
    /// A node.
    Node(String),
    /// An Ingress: by its first host and path.
    Ingress(String),
    /// An address.
    Ip(IpAddr),
    /// A host name.
    Name(String),
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// By number.
    Number(u16),
    /// By the name that the Service or the container gives it.
    Named(String),
}

/// What a URL says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `https`.
    pub tls: bool,
    /// With its query.
    pub path: String,
}

/// Reads who connects.
#[must_use]
pub fn read_from(text: &str) -> Caller {
    match text.split_once('/') {
        Some(("node" | "nodes" | "no", name)) => Caller::Node(name.to_owned()),
        None if matches!(text, "host" | "outside") => Caller::Host,
        _ => Caller::Pod(text.to_owned()),
    }
}

/// Reads what is connected to.
///
/// # Errors
/// Why it cannot be read.
pub fn read_to(text: &str) -> Result<To, String> {
    let (rest, url) = match text.split_once("://") {
        Some((scheme, rest)) => {
            let tls = match scheme {
                "http" => false,
                "https" => true,
                other => return Err(format!("unknown scheme {other:?}: http or https is meant")),
            };
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (host, path) = rest.split_at(end);
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            (host, Some(Url { tls, path }))
        }
        None => (text, None),
    };
    let (host, port) = split_port(rest)?;
    if host.is_empty() {
        return Err(format!("{text:?} names no destination"));
    }
    let place = match host.split_once('/') {
        Some(("pod" | "pods" | "po", name)) => Place::Pod(name.to_owned()),
        Some(("service" | "services" | "svc", name)) => match name.split_once('.') {
            Some((name, namespace)) => Place::Service(name.to_owned(), Some(namespace.to_owned())),
            None => Place::Service(name.to_owned(), None),
        },
        Some(("node" | "nodes" | "no", name)) => Place::Node(name.to_owned()),
        Some(("ingress" | "ingresses" | "ing", name)) => Place::Ingress(name.to_owned()),
        Some((kind, _)) => return Err(format!("a connection does not go to a {kind}")),
        None => match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(ip) => Place::Ip(ip),
            Err(_) => Place::Name(host.to_owned()),
        },
    };
    Ok(To { text: text.to_owned(), place, port, url })
}

fn split_port(text: &str) -> Result<(&str, Option<Port>), String> {
    // An address in brackets has colons of its own.
    let from = text.rfind(']').unwrap_or(0);
    let Some(colon) = text[from..].rfind(':').map(|at| at + from) else { return Ok((text, None)) };
    // So has one without.
    if text[..colon].contains(':') && !text.contains(']') {
        return Ok((text, None));
    }
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    let port = match port.parse::<u16>() {
        Ok(0) => return Err("0 is no port".to_owned()),
        Ok(number) => Port::Number(number),
        Err(_) if port.bytes().any(|byte| byte.is_ascii_alphabetic()) => {
            Port::Named(port.to_owned())
        }
        Err(_) => return Err(format!("{port:?} is no port")),
    };
    Ok((host, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read() {
        let check = |text: &str, place: Place, port: Option<Port>, url: Option<(bool, &str)>| {
            let url = url.map(|(tls, path)| Url { tls, path: path.to_owned() });
            assert_eq!(read_to(text), Ok(To { text: text.to_owned(), place, port, url }));
        };
        let name = |name: &str| Place::Name(name.to_owned());
        let number = |number| Some(Port::Number(number));
        check("web", name("web"), None, None);
        check("web.default:8080", name("web.default"), number(8080), None);
        check("http://web", name("web"), None, Some((false, "/")));
        check(
            "https://web.local:8443/a?b=c",
            name("web.local"),
            number(8443),
            Some((true, "/a?b=c")),
        );
        check("http://web?x", name("web"), None, Some((false, "/?x")));
        let service =
            |namespace: Option<&str>| Place::Service("web".into(), namespace.map(Into::into));
        check("svc/web:http", service(None), Some(Port::Named("http".into())), None);
        check("service/web.other", service(Some("other")), None, None);
        check("pod/a:80", Place::Pod("a".into()), number(80), None);
        check("node/node-1:30080", Place::Node("node-1".into()), number(30080), None);
        check("10.96.0.1:443", Place::Ip("10.96.0.1".parse().unwrap()), number(443), None);
        check("[::1]:80", Place::Ip("::1".parse().unwrap()), number(80), None);
        check("::1", Place::Ip("::1".parse().unwrap()), None, None);
        let refused = |text: &str, why: &str| assert_eq!(read_to(text), Err(why.to_owned()));
        refused("ftp://web", "unknown scheme \"ftp\": http or https is meant");
        refused("web:0", "0 is no port");
        refused("web:70000", "\"70000\" is no port");
        refused("deploy/web", "a connection does not go to a deploy");
        refused(":80", "\":80\" names no destination");
        assert_eq!(read_from("web-1"), Caller::Pod("web-1".into()));
        assert_eq!(read_from("deploy/web"), Caller::Pod("deploy/web".into()));
        assert_eq!(read_from("node/node-1"), Caller::Node("node-1".into()));
        assert_eq!(read_from("outside"), Caller::Host);
    }
}
