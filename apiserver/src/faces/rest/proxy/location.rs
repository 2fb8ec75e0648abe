//! URLs of a proxied server, as a client behind the proxy must see them.
//!
//! A server names its pages by absolute paths; behind the proxy they lie below the path of the proxied object. What names
//! another host, or is relative, stays as it is.

/// Where a proxied page lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The path before the server's own: `/api/v1/namespaces/default/pods/web/proxy`.
    pub(super) prefix: String,
    /// The server: `10.244.1.2:80`.
    pub(super) backend: String,
    /// The host that the client asked.
    pub(super) host: String,
}

/// The parts of a URL that decide; the rest is carried.
struct Url<'a> {
    scheme: &'a str,
    host: Option<&'a str>,
    path: &'a str,
    /// Query and fragment, with their marks.
    rest: &'a str,
}

impl<'a> Url<'a> {
    /// None for what Go's parser refuses.
    fn parse(text: &'a str) -> Option<Self> {
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return None;
        }
        let end = text.find(['?', '#']).unwrap_or(text.len());
        let (before, rest) = text.split_at(end);
        let letters = |scheme: &str| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        };
        let (scheme, after) = match before.split_once(':') {
            Some((scheme, after)) if letters(scheme) => (scheme, after),
            // A colon before any slash is a scheme, or nothing.
            Some((first, _)) if !first.contains('/') => return None,
            _ => ("", before),
        };
        // An opaque one, like `mailto:a@b`: it has no path.
        if !scheme.is_empty() && !after.starts_with('/') {
            return Some(Self { scheme, host: None, path: "", rest });
        }
        match after.strip_prefix("//") {
            Some(after) => {
                let slash = after.find('/').unwrap_or(after.len());
                let (host, path) = after.split_at(slash);
                (!host.contains(' ')).then_some(Self { scheme, host: Some(host), path, rest })
            }
            None => Some(Self { scheme, host: None, path: after, rest }),
        }
    }
}

impl Place {
    /// The URL as the client must use it.
    pub(super) fn rewrite(&self, text: &str) -> String {
        let Some(url) = Url::parse(text) else { return text.to_owned() };
        let host = url.host.unwrap_or_default();
        let foreign = !host.is_empty() && host != self.backend && host != self.host;
        if foreign || !url.path.starts_with('/') {
            return text.to_owned();
        }
        let path = if url.path.starts_with(&self.prefix) {
            url.path.to_owned()
        } else {
            join(&self.prefix, url.path)
        };
        let rest = url.rest;
        if !host.is_empty() && host == self.host {
            let colon = if url.scheme.is_empty() { "" } else { ":" };
            return format!("{}{colon}//{host}{path}{rest}", url.scheme);
        }
        format!("{path}{rest}")
    }
}

/// Go's `path.Join` of two paths, with the last slash kept.
pub(super) fn join(prefix: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in prefix.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let last = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("/{}{last}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_the_server_lie_below_the_proxy() {
        let place = Place {
            prefix: "/api/v1/namespaces/default/pods/web/proxy".into(),
            backend: "10.244.1.2:80".into(),
            host: "localhost:8001".into(),
        };
        let below = "/api/v1/namespaces/default/pods/web/proxy";
        let check = |url: &str, expected: &str| assert_eq!(place.rewrite(url), expected, "{url}");
        check("/a/b?c=d#e", &format!("{below}/a/b?c=d#e"));
        check("/", &format!("{below}/"));
        check("/a/", &format!("{below}/a/"));
        check("http://10.244.1.2:80/a", &format!("{below}/a"));
        check("http://localhost:8001/a", &format!("http://localhost:8001{below}/a"));
        check("//localhost:8001/a", &format!("//localhost:8001{below}/a"));
        check(&format!("{below}/a"), &format!("{below}/a"));
        for same in [
            "a/b",
            "?x",
            "#x",
            "",
            "http://example.com/a",
            "mailto:a@b.c",
            "javascript:void(0)",
            "http://10.244.1.2:80",
            "1:x",
        ] {
            check(same, same);
        }
    }

    #[test]
    fn paths_are_joined_as_go_joins_them() {
        let check = |prefix: &str, path: &str, expected: &str| {
            assert_eq!(join(prefix, path), expected, "{prefix} {path}");
        };
        check("/a", "/b//c/../d", "/a/b/d");
        check("", "/", "/");
        check("/a", "", "/a");
        check("/a/", "/b/", "/a/b/");
    }
}
