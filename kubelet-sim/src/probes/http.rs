//! HTTP probes and hooks: one GET; a status from 200 to 399 is a success.

use std::time::Duration;

use apimachinery::api::core::HTTPGetAction;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;

use super::{Target, go_error, host};

/// How much of a body is read: `maxRespBodyLength`.
const MAX_BODY: usize = 10 * 1024;

/// Asks once.
///
/// # Errors
/// The message of the `Unhealthy` event.
pub async fn probe(
    target: &Target,
    get: &HTTPGetAction,
    port: u16,
    timeout: Duration,
) -> Result<(), String> {
    let host = host(get.host.as_deref(), target)?;
    let path = get.path.as_deref().unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
    let url = format!("{scheme}://{host}:{port}{path}");
    if scheme == "https" {
        return Err(format!("Get {url:?}: HTTPS probes are not supported by this kubelet"));
    }
    let asked = ask(target, std::net::SocketAddr::new(host, port), &path, get);
    match target.clock.timeout(timeout, asked).await {
        Ok(Ok(status)) if (200..400).contains(&status) => Ok(()),
        Ok(Ok(status)) => Err(format!("HTTP probe failed with statuscode: {status}")),
        Ok(Err(message)) => Err(format!("Get {url:?}: {message}")),
        Err(_) => Err(format!(
            "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
    }
}

async fn ask(
    target: &Target,
    address: std::net::SocketAddr,
    path: &str,
    get: &HTTPGetAction,
) -> Result<u16, String> {
    let stream = target
        .node
        .connect_tcp(address)
        .await
        .map_err(|e| format!("dial tcp {address}: connect: {}", go_error(&e)))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    let named = |name: &str| get.http_headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
    let mut request = Request::get(path)
        .header("Host", named("host").map_or_else(|| address.to_string(), |h| h.value.clone()))
        .header("Connection", "close");
    for (name, default) in [("User-Agent", "kube-probe/1.36"), ("Accept", "*/*")] {
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
        // The body is read, up to a limit, so that the server sees its answer taken.
        let _ = Limited::new(response.into_body(), MAX_BODY).collect().await;
        Ok(status)
    };
    tokio::pin!(connection, exchange);
    tokio::select! {
        result = &mut exchange => result,
        _ = &mut connection => exchange.await,
    }
}
