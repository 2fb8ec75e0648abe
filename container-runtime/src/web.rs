//! Serving HTTP/1.1 on a pod's port, for the Programs that are web servers.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use cni::network::PodListener;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::program::ContainerContext;

/// Largest request body that a server here reads.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// How long after SIGTERM a caller who has said nothing yet may begin.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A request with its whole body and the addresses of its connection.
pub(crate) struct Received {
    pub(crate) head: http::request::Parts,
    pub(crate) body: Bytes,
    pub(crate) peer: SocketAddr,
}

impl Received {
    /// A header's text, empty when missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// `Host`, without a port.
    pub(crate) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// A query parameter, percent-decoded.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        self.head.uri.query()?.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| percent_decode(&value.replace('+', " ")))
        })
    }
}

/// Listens on all of the pod's addresses.
pub(crate) async fn listen(context: &ContainerContext, port: u16) -> io::Result<PodListener> {
    context.network.listen_tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
}

/// Serves until SIGTERM; then new callers are refused, and those who have come get their answers.
pub(crate) async fn serve<H, F>(context: &ContainerContext, mut listener: PodListener, handler: H)
where
    H: Fn(Received) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let connections = TaskTracker::new();
    let mut ending = false;
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = context.signals.terminated(), if !ending => {
                ending = true;
                listener.close();
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::NetworkDown => break,
                Err(error) => {
                    tracing::debug!(%error, "failed to accept a connection");
                    continue;
                }
            },
        };
        let handler = handler.clone();
        let signals = context.signals.clone();
        let clock = context.clock.clone();
        let patience = context.clock.clone();
        let asked = CancellationToken::new();
        let first = asked.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            first.cancel();
            let handler = handler.clone();
            let date = http_date(clock.now());
            async move {
                let (head, body) = request.into_parts();
                let mut response = match Limited::new(body, BODY_LIMIT).collect().await {
                    Ok(body) => {
                        let body = body.to_bytes();
                        handler(Received { head, body, peer }).await
                    }
                    Err(_) => status(StatusCode::PAYLOAD_TOO_LARGE),
                };
                order_headers(&mut response, &date);
                Ok::<_, Infallible>(response)
            }
        });
        let connection = connections.track_future(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .title_case_headers(true)
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            // hyper would turn away at once who has not been heard yet.
            let ending = async {
                signals.terminated().await;
                let _ = patience.timeout(LAST_WORDS, asked.cancelled()).await;
            };
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = ending => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, %peer, "connection ended");
            }
        });
        context.spawn(connection);
    }
    connections.close();
    connections.wait().await;
}

/// Puts the headers in the order in which nginx and Apache send them.
fn order_headers(response: &mut Response<Full<Bytes>>, date: &str) {
    let mut rest = std::mem::take(response.headers_mut());
    let headers = response.headers_mut();
    let mut first = |name: HeaderName, value: Option<HeaderValue>| {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    };
    first(header::SERVER, rest.remove(header::SERVER));
    first(header::DATE, HeaderValue::from_str(date).ok());
    first(header::CONTENT_TYPE, rest.remove(header::CONTENT_TYPE));
    let mut previous = None;
    for (name, value) in rest {
        previous = name.or(previous);
        if let Some(name) = previous.clone() {
            headers.append(name, value);
        }
    }
}

/// A response of a text.
pub(crate) fn text(
    code: StatusCode,
    content_type: &str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    if let Ok(content_type) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

/// A response without a body.
pub(crate) fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = code;
    response
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
pub(crate) fn http_date(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// `06/Nov/1994:08:49:37 +0000`, as in access logs.
pub(crate) fn log_date(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}

/// Decodes `%41`; what is no such escape stays.
pub(crate) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = bytes.get(index + 1..index + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if bytes[index] == b'%' => {
                out.push(byte);
                index += 3;
            }
            _ => {
                out.push(bytes[index]);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `user-agent` as `User-Agent`.
pub(crate) fn title_case(name: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        let first = chars.next().map(|char| char.to_ascii_uppercase());
        first.into_iter().chain(chars).collect::<String>()
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}
