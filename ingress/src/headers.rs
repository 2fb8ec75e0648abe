//! What a request and an answer keep, lose and get on their way: pure.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Version, header, request,
    uri::{Authority, Scheme},
};

/// Of one connection alone (RFC 9110, 7.6.1); those that `Connection` names are, too.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
];

/// Who asks, and how.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) ip: IpAddr,
    pub(crate) tls: bool,
}

impl Client {
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// The host that a request names: HTTP/2's authority, or the header. None if it names none, several, or what is no host
/// (RFC 9112, 3.2; RFC 9113, 8.3.1).
pub(crate) fn host_of(head: &request::Parts) -> Option<&str> {
    let mut named = head.headers.get_all(header::HOST).iter().map(HeaderValue::to_str);
    let header = named.next().transpose().ok()?;
    let authority = head.uri.authority().map(Authority::as_str);
    let both = authority.zip(header).is_some_and(|(authority, header)| authority != header);
    if named.next().is_some() || (both && head.version == Version::HTTP_2) {
        return None;
    }
    let host = authority.or(header)?;
    let parsed: Authority = host.parse().ok()?;
    let port = host.get(parsed.host().len()..)?;
    let number = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    let valid = port.is_empty() || port.strip_prefix(':').is_some_and(number);
    (valid && !parsed.host().is_empty()).then_some(host)
}

/// The port that a host names.
pub(crate) fn port_of(host: &str) -> Option<u16> {
    host.parse::<Authority>().ok()?.port_u16()
}

/// The protocol that a request asks to go on with (`Connection: upgrade`).
pub(crate) fn upgrade_of(head: &request::Parts) -> Option<HeaderValue> {
    if head.version != Version::HTTP_11 {
        return None;
    }
    let asked =
        names(&head.headers, &header::CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
    head.headers.get(header::UPGRADE).filter(|_| asked).cloned()
}

/// Whether it may be sent a second time without harm.
pub(crate) fn is_idempotent(head: &request::Parts) -> bool {
    head.method.is_idempotent()
}

fn names<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> + 'h {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|part| !part.is_empty())
}

/// Takes off what was meant for the connection that it came by.
pub(crate) fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> =
            names(headers, &header::CONNECTION).filter_map(|name| name.parse().ok()).collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Makes a request ready for an endpoint.
pub(crate) fn forward(
    head: &mut request::Parts,
    host: &str,
    client: &Client,
    upgrade: Option<&HeaderValue>,
    h2c: bool,
) {
    let trailers =
        names(&head.headers, &header::TE).any(|name| name.eq_ignore_ascii_case("trailers"));
    strip(&mut head.headers);
    // Our server has answered that already.
    head.headers.remove(header::EXPECT);
    join_cookies(&mut head.headers);
    if let Some(protocol) = upgrade {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(header::UPGRADE, protocol.clone());
    } else if h2c && trailers {
        head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    // What clients claim about themselves is not passed on: nobody trustworthy stands before us.
    let text = |text: &str| HeaderValue::from_str(text).ok();
    let default_port = if client.tls { 443 } else { 80 };
    let port = port_of(host).unwrap_or(default_port).to_string();
    let ip = client.ip.to_string();
    for (name, value) in [
        ("x-real-ip", text(&ip)),
        ("x-forwarded-for", text(&ip)),
        ("x-forwarded-host", text(host)),
        ("x-forwarded-port", text(&port)),
        ("x-forwarded-proto", text(client.scheme())),
        ("x-forwarded-scheme", text(client.scheme())),
        ("x-scheme", text(client.scheme())),
    ] {
        if let Some(value) = value {
            head.headers.insert(HeaderName::from_static(name), value);
        }
    }
    let path = head.uri.path_and_query().cloned();
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = path.or_else(|| Some(http::uri::PathAndQuery::from_static("/")));
    if h2c {
        head.headers.remove(header::HOST);
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = host.parse().ok();
        head.version = Version::HTTP_2;
    } else {
        if let Some(host) = text(host) {
            head.headers.insert(header::HOST, host);
        }
        head.version = Version::HTTP_11;
    }
    if let Ok(uri) = http::Uri::from_parts(uri) {
        head.uri = uri;
    }
    // What was noted on the way here is not the endpoint's.
    head.extensions.clear();
}

/// HTTP/2 may cut cookies into pieces; HTTP/1.1 has them in one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().count() < 2 {
        return;
    }
    let pieces: Vec<&[u8]> =
        headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.insert(header::COOKIE, whole);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(request: http::request::Builder) -> request::Parts {
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_names_one_host() {
        let check = |lines: &[&str], uri: &str, version, expected: Option<&str>| {
            let mut request = Request::get(uri).version(version);
            for line in lines {
                request = request.header("host", *line);
            }
            assert_eq!(host_of(&head(request)), expected, "{lines:?} {uri}");
        };
        let one = Version::HTTP_11;
        for host in ["a.example", "a.example:8080", "127.0.0.1", "[::1]:80", "a.example:"] {
            check(&[host], "/", one, Some(host));
        }
        for host in ["", "a b", "a/b", "u@a.example", "a.example:x", "a.example:99999", ":80"] {
            check(&[host], "/", one, None);
        }
        check(&[], "/", one, None);
        check(&["a.example", "a.example"], "/", one, None);
        check(&["a.example", "b.example"], "/", one, None);
        check(&["b.example"], "http://a.example/", one, Some("a.example"));
        check(&[], "http://a.example/", Version::HTTP_2, Some("a.example"));
        check(&["b.example"], "http://a.example/", Version::HTTP_2, None);
        check(&["a.example"], "http://u:p@a.example/", one, None);
        assert_eq!((port_of("[::1]"), port_of("[::1]:81"), port_of("a")), (None, Some(81), None));
    }

    #[test]
    fn what_is_of_one_connection_stays_there() {
        let request = Request::get("http://a.example:8080/x?y=z")
            .header("connection", "close, X-Secret")
            .header("x-secret", "1")
            .header("keep-alive", "timeout=5")
            .header("te", "trailers")
            .header("expect", "100-continue")
            .header("x-forwarded-for", "6.6.6.6")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("accept", "*/*");
        let client = Client { ip: "192.168.1.1".parse().unwrap(), tls: false };
        let mut parts = head(request);
        forward(&mut parts, "a.example:8080", &client, None, false);
        let mut sent: Vec<String> = parts
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        sent.sort();
        assert_eq!(
            sent,
            [
                "accept: */*",
                "cookie: a=1; b=2",
                "host: a.example:8080",
                "x-forwarded-for: 192.168.1.1",
                "x-forwarded-host: a.example:8080",
                "x-forwarded-port: 8080",
                "x-forwarded-proto: http",
                "x-forwarded-scheme: http",
                "x-real-ip: 192.168.1.1",
                "x-scheme: http",
            ]
        );
        assert_eq!((parts.uri.to_string().as_str(), parts.version), ("/x?y=z", Version::HTTP_11));
    }

    #[test]
    fn grpc_keeps_its_trailers_and_an_upgrade_its_protocol() {
        let client = Client { ip: "192.168.1.1".parse().unwrap(), tls: true };
        let mut parts = head(Request::post("https://g.example/a.B/C").header("te", "trailers"));
        forward(&mut parts, "g.example", &client, None, true);
        assert_eq!(parts.uri.to_string(), "http://g.example/a.B/C");
        assert_eq!(
            (parts.headers["te"].as_bytes(), parts.version),
            (&b"trailers"[..], Version::HTTP_2)
        );
        assert_eq!(parts.headers["x-forwarded-port"], "443");
        assert!(!parts.headers.contains_key("host"));

        let upgrade = Request::get("/ws")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "websocket");
        let mut parts = head(upgrade);
        let protocol = upgrade_of(&parts);
        assert_eq!(protocol.as_ref().map(HeaderValue::as_bytes), Some(&b"websocket"[..]));
        forward(&mut parts, "h", &client, protocol.as_ref(), false);
        assert_eq!(
            (parts.headers["connection"].as_bytes(), parts.headers["upgrade"].as_bytes()),
            (&b"upgrade"[..], &b"websocket"[..])
        );
        assert!(upgrade_of(&head(Request::get("/").header("upgrade", "h2c"))).is_none());
    }
}
