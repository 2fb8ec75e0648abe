//! Connections for the API server's proxy: to an address as the node sees it, or to the kubelet's own HTTP server.

use std::net::SocketAddr;

use apimachinery::status::Status;
use futures::StreamExt;
use proto::v1::{self, dial_input::Kind as Input};
use tokio::io::duplex;

use super::{Answers, Served, http, relay::relay};

/// Bytes under way between the kubelet's server and its caller, each way.
const BUFFER: usize = 64 * 1024;

/// The first message.
pub(super) async fn start_of(
    input: &mut tonic::Streaming<v1::DialInput>,
) -> Result<v1::DialStart, tonic::Status> {
    match input.message().await? {
        Some(v1::DialInput { kind: Some(Input::Start(start)) }) => Ok(start),
        _ => Err(tonic::Status::invalid_argument("the first message must name the address")),
    }
}

/// Connects, and relays both ways.
pub(super) async fn dial(
    door: Served,
    address: &str,
    input: tonic::Streaming<v1::DialInput>,
) -> Result<Answers<v1::DialOutput>, Status> {
    let data = input.map(|message| match message {
        Ok(v1::DialInput { kind: Some(Input::Data(data)) }) => Some(data),
        _ => None,
    });
    let data = data.take_while(|data| futures::future::ready(data.is_some()));
    let data = data.filter_map(futures::future::ready);
    let output = |data| v1::DialOutput { data };
    if address.is_empty() {
        let (near, far) = duplex(BUFFER);
        // Served while the call lives, which drives it.
        let serving = futures::stream::once(http::serve(far, door)).filter_map(|()| async { None });
        return Ok(Box::pin(futures::stream::select(relay(near, data, output), serving)));
    }
    let address: SocketAddr = address
        .parse()
        .map_err(|_| Status::bad_request(format!("{address:?} is not an IP and a port")))?;
    let stream = door.network.own_sandbox().connect_tcp(address).await.map_err(|e| {
        Status::service_unavailable(format!(
            "dial tcp {address}: connect: {}",
            crate::probes::go_error(&e)
        ))
    })?;
    Ok(relay(stream, data, output))
}
