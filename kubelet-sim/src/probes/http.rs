//! HTTP probes and hooks: a GET. For a probe a status from 200 to 399 is a success, one from 300 on with a warning: a
//! redirect that leads to another host and is not followed. For a hook any answer is.

use std::{net::SocketAddr, time::Duration};

use apimachinery::api::core::HTTPGetAction;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;

use super::{Attempt, Target, go_error, host};

/// How much of a body is read: `maxRespBodyLength`.
const MAX_BODY: usize = 10 * 1024;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 10;
/// Who asks.
const AGENTS: (&str, &str) = ("kube-probe/1.36", "kube-lifecycle/1.36");

/// What a server answered.
struct Answer {
    status: u16,
    location: Option<String>,
    body: Bytes,
}

/// What is asked for.
struct Asked<'a> {
    target: &'a Target,
    get: &'a HTTPGetAction,
    agent: &'static str,
    host: String,
    address: SocketAddr,
}

impl<'a> Asked<'a> {
    fn new(
        target: &'a Target,
        get: &'a HTTPGetAction,
        port: u16,
        agent: &'static str,
    ) -> Result<(Self, String), String> {
        let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
        let path = get.path.as_deref().unwrap_or("/");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let named = get.host.clone().filter(|h| !h.is_empty());
        let shown = named.unwrap_or_else(|| target.pod_ip.to_string());
        let url = format!("{scheme}://{shown}:{port}{path}");
        if scheme == "https" {
            return Err(format!("Get {url:?}: HTTPS probes are not supported by this kubelet"));
        }
        let ip = host(get.host.as_deref(), target)
            .map_err(|message| format!("Get {url:?}: dial tcp: lookup {message}"))?;
        let address = SocketAddr::new(ip, port);
        Ok((Self { target, get, agent, host: shown, address }, path))
    }

    /// One request, within what is left of the time.
    async fn one(&self, path: &str, timeout: Duration) -> Result<Answer, String> {
        let url = format!("http://{}:{}{path}", self.host, self.address.port());
        match self.target.clock.timeout(timeout, ask(self, path)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(message)) => Err(format!("Get {url:?}: {message}")),
            Err(_) => Err(format!(
                "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            )),
        }
    }

    /// Where a redirect on the same host leads; None: it is not followed.
    fn followed(&self, location: &str) -> Option<String> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(location.to_owned());
        }
        let uri: http::Uri = location.parse().ok()?;
        let here = uri.host() == Some(self.host.as_str())
            && uri.port_u16().unwrap_or(80) == self.address.port();
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        here.then(|| path.to_owned())
    }
}

/// Asks once, for a hook: any answer is a success.
///
/// # Errors
/// Why there was no answer.
pub async fn hook(
    target: &Target,
    get: &HTTPGetAction,
    port: u16,
    timeout: Duration,
) -> Result<(), String> {
    let (asked, path) = Asked::new(target, get, port, AGENTS.1)?;
    asked.one(&path, timeout).await.map(drop)
}

/// Asks once; redirects on the same host are followed.
pub async fn probe(target: &Target, get: &HTTPGetAction, port: u16, timeout: Duration) -> Attempt {
    let (asked, mut path) = match Asked::new(target, get, port, AGENTS.0) {
        Ok(asked) => asked,
        Err(message) => return Attempt::Failed(message),
    };
    let end = target.clock.monotonic() + timeout;
    for _ in 0..MAX_REDIRECTS {
        let left = end.saturating_sub(target.clock.monotonic());
        let answer = match asked.one(&path, left).await {
            Ok(answer) => answer,
            Err(message) => return Attempt::Failed(message),
        };
        match answer.status {
            200..300 => return Attempt::Passed,
            300..400 => match answer.location.as_deref().and_then(|to| asked.followed(to)) {
                Some(next) => path = next,
                None => {
                    let body = String::from_utf8_lossy(&answer.body);
                    return Attempt::Warned(format!(
                        "Probe terminated redirects, Response body: {body}"
                    ));
                }
            },
            status => {
                return Attempt::Failed(format!("HTTP probe failed with statuscode: {status}"));
            }
        }
    }
    let url = format!("http://{}:{port}{path}", asked.host);
    Attempt::Failed(format!("Get {url:?}: stopped after {MAX_REDIRECTS} redirects"))
}

async fn ask(asked: &Asked<'_>, path: &str) -> Result<Answer, String> {
    let Asked { target, get, agent, host, address } = asked;
    let stream = target
        .node
        .connect_tcp(*address)
        .await
        .map_err(|e| format!("dial tcp {address}: connect: {}", go_error(&e)))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    let named = |name: &str| get.http_headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
    let mut request = Request::get(path)
        .header(
            "Host",
            named("host").map_or_else(|| format!("{host}:{}", address.port()), |h| h.value.clone()),
        )
        .header("Connection", "close");
    for (name, default) in [("User-Agent", *agent), ("Accept", "*/*")] {
        if named(name).is_none() {
            request = request.header(name, default);
        }
    }
    for header in get.http_headers.iter().filter(|h| !h.name.eq_ignore_ascii_case("host")) {
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| {
            if e.is_incomplete_message() { "EOF".to_owned() } else { e.to_string() }
        })?;
        let status = response.status().as_u16();
        let location = response.headers().get("location").and_then(|v| v.to_str().ok());
        let location = location.map(str::to_owned);
        // The body is read, up to a limit, so that the server sees its answer taken.
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Ok(Answer { status, location, body })
    };
    tokio::pin!(connection, exchange);
    tokio::select! {
        result = &mut exchange => result,
        _ = &mut connection => exchange.await,
    }
}
