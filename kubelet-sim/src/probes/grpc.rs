//! gRPC probes: `grpc.health.v1.Health/Check`, spoken directly over HTTP/2.

use std::{net::SocketAddr, time::Duration};

use apimachinery::api::core::GRPCAction;
use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::Target;

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;
/// A health answer is a few bytes.
const MAX_ANSWER: usize = 1024;

/// Asks once.
///
/// # Errors
/// The message of the `Unhealthy` event.
pub async fn probe(target: &Target, grpc: &GRPCAction, timeout: Duration) -> Result<(), String> {
    let port =
        u16::try_from(grpc.port).map_err(|_| format!("invalid port number: {}", grpc.port))?;
    let address = SocketAddr::new(target.pod_ip, port);
    let service = grpc.service.clone().unwrap_or_default();
    match target.clock.timeout(timeout, check(target, address, &service)).await {
        Ok(Ok(SERVING)) => Ok(()),
        Ok(Ok(status)) => {
            let name = match status {
                2 => "NOT_SERVING",
                3 => "SERVICE_UNKNOWN",
                _ => "UNKNOWN",
            };
            Err(format!("service unhealthy (responded with {name:?})"))
        }
        Ok(Err(message)) => Err(message),
        Err(_) => Err(format!(
            "timeout: failed to connect service {:?} within {}s: context deadline exceeded",
            address.to_string(),
            timeout.as_secs()
        )),
    }
}

async fn check(target: &Target, address: SocketAddr, service: &str) -> Result<u64, String> {
    let failed = |what: &dyn std::fmt::Display| {
        format!("error: failed to connect service at {:?}: {what}", address.to_string())
    };
    // A client tries to connect until its time is over.
    let Ok(stream) = target.node.connect_tcp(address).await else {
        return std::future::pending().await;
    };
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|e| failed(&e))?;
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(encode(service)))
        .map_err(|e| failed(&e))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let mut status = grpc_status(response.headers());
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|e| failed(&e))?;
        if let Some(trailers) = body.trailers() {
            status = status.or_else(|| grpc_status(trailers));
        }
        match status.as_deref() {
            None | Some("0") => decode(&body.to_bytes())
                .ok_or_else(|| "error: health rpc failed: the answer is no HealthCheckResponse".into()),
            Some("12") => {
                Err("error: this server does not implement the grpc health protocol (grpc.health.v1.Health)".into())
            }
            Some(code) => Err(format!("error: health rpc failed with code {code}")),
        }
    };
    tokio::pin!(connection, exchange);
    tokio::select! {
        result = &mut exchange => result,
        _ = &mut connection => exchange.await,
    }
}

fn grpc_status(headers: &http::HeaderMap) -> Option<String> {
    headers.get("grpc-status").and_then(|v| v.to_str().ok()).map(str::to_owned)
}

/// A length-prefixed `HealthCheckRequest { string service = 1 }`.
fn encode(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        message.put_u8(u8::try_from(length).unwrap_or(0));
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message);
    frame.freeze()
}

/// Reads `HealthCheckResponse { ServingStatus status = 1 }`.
fn decode(frame: &[u8]) -> Option<u64> {
    match frame.get(5..)? {
        [] => Some(0),
        [0x08, status, ..] => Some(u64::from(*status)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed() {
        assert_eq!(&encode("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&encode("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = "x".repeat(200);
        assert_eq!(&encode(&long)[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]);
        assert_eq!(decode(&[0, 0, 0, 0, 2, 8, 1]), Some(SERVING));
        assert_eq!(decode(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(decode(&[0, 0]), None);
    }
}
