//! Port forwarding: a connection to the pod's own localhost.

use std::net::{Ipv4Addr, SocketAddr};

use apimachinery::status::Status;
use futures::StreamExt;
use proto::v1::{self, port_forward_input::Kind as Input};

use super::{Answers, Target, relay::relay};

/// The first message.
pub(super) async fn start_of(
    input: &mut tonic::Streaming<v1::PortForwardInput>,
) -> Result<v1::PortForwardStart, tonic::Status> {
    match input.message().await? {
        Some(v1::PortForwardInput { kind: Some(Input::Start(start)) }) => Ok(start),
        _ => Err(tonic::Status::invalid_argument("the first message must name the port")),
    }
}

/// Connects, and relays both ways.
pub(super) async fn forward(
    target: &Target,
    port: u32,
    input: tonic::Streaming<v1::PortForwardInput>,
) -> Result<Answers<v1::PortForwardOutput>, Status> {
    let port = u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| Status::bad_request(format!("invalid port number: {port}")))?;
    let sandbox = target.shared.read().sandbox.clone();
    let pod = target.pod.metadata.name.clone().unwrap_or_default();
    let Some(sandbox) = sandbox else {
        return Err(Status::bad_request(format!("pod {pod:?} is not running")));
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = sandbox.connect_tcp(address).await.map_err(|e| {
        Status::internal(format!(
            "failed to connect to localhost:{port} inside namespace {pod:?}, IPv4: dial tcp4 {address}: connect: {}",
            crate::probes::go_error(&e)
        ))
    })?;
    let data = input.map(|message| match message {
        Ok(v1::PortForwardInput { kind: Some(Input::Data(data)) }) => Some(data),
        _ => None,
    });
    let data = data.take_while(|data| futures::future::ready(data.is_some()));
    let data = data.filter_map(futures::future::ready);
    Ok(relay(stream, data, |data| v1::PortForwardOutput { data }))
}
