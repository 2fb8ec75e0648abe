//! What a client of a streaming subresource wants to speak: a WebSocket subprotocol, or SPDY.

use apimachinery::status::{Status, StatusReason};
use axum::{body::Body, response::Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// RFC 6455, section 1.3.
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The protocols of a subresource.
pub(super) struct Served {
    pub(super) websocket: &'static [&'static str],
    pub(super) spdy: &'static [&'static str],
}

/// What was agreed upon.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Agreed {
    /// A WebSocket with this subprotocol; `accept` answers the client's key.
    WebSocket { protocol: &'static str, accept: String },
    /// SPDY/3.1 with this stream protocol.
    Spdy { protocol: &'static str },
}

/// Finds what the client offers and we serve.
///
/// # Errors
/// Bad request or forbidden, as Kubernetes answers, when there is no such protocol.
pub(super) fn agree(headers: &HeaderMap, served: &Served) -> Result<Agreed, Status> {
    let upgrades = tokens(headers, &header::CONNECTION).any(|t| t.eq_ignore_ascii_case("upgrade"));
    let wanted = tokens(headers, &header::UPGRADE).next().unwrap_or("");
    if upgrades && wanted.eq_ignore_ascii_case("websocket") {
        let key = headers
            .get(header::SEC_WEBSOCKET_KEY)
            .ok_or_else(|| Status::bad_request("the request has no Sec-WebSocket-Key"))?;
        let version = headers.get(header::SEC_WEBSOCKET_VERSION);
        if version.is_none_or(|version| version != "13") {
            return Err(Status::bad_request("only version 13 of the WebSocket protocol is served"));
        }
        let offered = tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL);
        let protocol = choose(offered, served.websocket).ok_or_else(|| {
            Status::bad_request(format!(
                "unable to upgrade: the WebSocket subprotocols served here are {}",
                served.websocket.join(", ")
            ))
        })?;
        return Ok(Agreed::WebSocket { protocol, accept: accept(key.as_bytes()) });
    }
    if upgrades && wanted.eq_ignore_ascii_case("spdy/3.1") {
        let offered = tokens(headers, &STREAM_PROTOCOL);
        let protocol = choose(offered, served.spdy).ok_or_else(|| Status {
            code: 403,
            reason: StatusReason::Forbidden,
            message: format!(
                "unable to upgrade: unable to negotiate protocol: the server accepts [{}]",
                served.spdy.join(" ")
            ),
            ..Status::default()
        })?;
        return Ok(Agreed::Spdy { protocol });
    }
    Err(Status::bad_request("Upgrade request required"))
}

/// The elements of a header that is a list, over all its lines.
fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// The first of the offered ones that is served: the client's order counts.
fn choose<'a>(
    offered: impl Iterator<Item = &'a str>,
    served: &[&'static str],
) -> Option<&'static str> {
    offered.filter_map(|offer| served.iter().find(|known| **known == offer)).copied().next()
}

fn accept(key: &[u8]) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, WEBSOCKET_GUID.as_bytes()].concat()))
}

impl Agreed {
    /// The answer after which the connection speaks what was agreed upon.
    pub(super) fn response(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        match self {
            Self::WebSocket { protocol, accept } => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
                let accept = HeaderValue::from_str(accept).expect("base64 is a header's value");
                headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            }
            Self::Spdy { protocol } => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
                headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVED: Served = Served {
        websocket: &["v5.channel.k8s.io", "v4.channel.k8s.io"],
        spdy: &["v4.channel.k8s.io"],
    };

    fn offer(lines: &[(&'static str, &'static str)]) -> Result<Agreed, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_static(value));
        }
        agree(&headers, &SERVED).map_err(|status| format!("{} {}", status.code, status.message))
    }

    #[test]
    fn the_clients_order_decides() {
        let websocket = |protocols| {
            offer(&[
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-protocol", protocols),
            ])
        };
        // The key and its answer are RFC 6455's example.
        let accept = || "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
        let check = |protocols, protocol| {
            let agreed = Agreed::WebSocket { protocol, accept: accept() };
            assert_eq!(websocket(protocols), Ok(agreed));
        };
        check("v4.channel.k8s.io, v5.channel.k8s.io", "v4.channel.k8s.io");
        check("v6.channel.k8s.io,v5.channel.k8s.io", "v5.channel.k8s.io");
        let refused = "400 unable to upgrade: the WebSocket subprotocols served here are v5.channel.k8s.io, \
                       v4.channel.k8s.io";
        assert_eq!(websocket("channel.k8s.io"), Err(refused.to_owned()));
    }

    #[test]
    fn spdy_is_agreed_upon_by_its_own_header() {
        let spdy = |protocol| {
            offer(&[
                ("connection", "Upgrade"),
                ("upgrade", "SPDY/3.1"),
                ("x-stream-protocol-version", "v9"),
                ("x-stream-protocol-version", protocol),
            ])
        };
        assert_eq!(spdy("v4.channel.k8s.io"), Ok(Agreed::Spdy { protocol: "v4.channel.k8s.io" }));
        let refused = "403 unable to upgrade: unable to negotiate protocol: the server accepts [v4.channel.k8s.io]";
        assert_eq!(spdy("channel.k8s.io"), Err(refused.to_owned()));
    }

    #[test]
    fn anything_else_is_told_what_to_do() {
        let plain = Err("400 Upgrade request required".to_owned());
        assert_eq!(offer(&[]), plain);
        assert_eq!(offer(&[("upgrade", "websocket")]), plain, "no Connection: Upgrade");
        assert_eq!(offer(&[("connection", "upgrade"), ("upgrade", "h2c")]), plain);
    }
}
