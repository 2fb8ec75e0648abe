//! exec, attach and portforward for Kubernetes' own clients.
//!
//! A client asks for a stream by upgrading its request: to a WebSocket ([`websocket`]), or to SPDY/3.1 ([`spdy`]) if it is
//! older. The chain allows the request, the pod's kubelet is called over gRPC, and only when it has agreed is the
//! connection upgraded, so that every refusal is a Status. From then on [`exec`] or [`port_forward`] relay; they end with
//! the client, with the kubelet's call, or with the server.
//!
//! | subresource | over a WebSocket | over SPDY/3.1 |
//! |---|---|---|
//! | exec, attach | `v5.channel.k8s.io`, `v4.channel.k8s.io` | `v4.channel.k8s.io` |
//! | portforward | `SPDY/3.1+portforward.k8s.io` (kubectl), `v4.channel.k8s.io` (libraries) | `portforward.k8s.io` |

mod exec;
mod handshake;
mod output;
mod port_forward;
mod spdy;
mod websocket;

use std::{pin::pin, time::Duration};

use apimachinery::status::Status;
use axum::response::Response;
use client::wire::from_tonic;
use component_base::clock::Clock;
use futures::StreamExt;
use http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use proto::v1::{ExecInput, ExecStart, exec_input, streams_client::StreamsClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use self::{
    exec::Remote,
    handshake::{Agreed, Served, agree},
    output::Output,
    port_forward::Target,
};
use super::{Inner, query::Query};
use crate::{
    kubelet::no_host,
    request::{RequestContext, Verb},
};

/// Messages that may wait, in each direction.
const DEPTH: usize = 16;

/// For how long a client may take to close its side.
const LINGER: Duration = Duration::from_secs(5);

const EXEC: Served =
    Served { websocket: &["v5.channel.k8s.io", "v4.channel.k8s.io"], spdy: &["v4.channel.k8s.io"] };

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

const PORT_FORWARD: Served =
    Served { websocket: &[TUNNEL, "v4.channel.k8s.io"], spdy: &["portforward.k8s.io"] };

/// What is served on a connection once it is upgraded.
enum Work {
    Exec(ExecStart, Remote),
    PortForward(Vec<u16>, Target),
}

impl Inner {
    /// A request for a stream. The permission asked for is `create`, whatever the method: a WebSocket always begins
    /// with GET.
    pub(super) async fn stream(
        &self,
        mut context: RequestContext,
        query: &Query,
        mut parts: Parts,
    ) -> Result<Response, Status> {
        context.verb = Verb::Create;
        let served = if context.subresource == "portforward" { &PORT_FORWARD } else { &EXEC };
        let target =
            self.handler.stream_target(&context, query.get("container").unwrap_or("")).await?;
        let agreed = agree(&parts.headers, served)?;
        let node = target.node.as_ref().ok_or_else(|| no_host(&target.pod.name))?;
        let kubelet = self.kubelets.dial(node)?;
        let work = match context.subresource.as_str() {
            "portforward" => {
                let tunnelled =
                    !matches!(&agreed, Agreed::WebSocket { protocol, .. } if *protocol != TUNNEL);
                let ports = if tunnelled { Vec::new() } else { port_forward::ports(query)? };
                Work::PortForward(ports, Target { pod: target.pod, kubelet })
            }
            subresource => {
                let mut start = exec::start(query)?;
                start.pod = Some(target.pod);
                let (input, queued) = mpsc::channel(DEPTH);
                let first = ExecInput { kind: Some(exec_input::Kind::Start(start.clone())) };
                let input_stream =
                    futures::stream::once(async { first }).chain(ReceiverStream::new(queued));
                let mut client = StreamsClient::new(kubelet);
                let answer = if subresource == "exec" {
                    client.exec(input_stream).await
                } else {
                    client.attach(input_stream).await
                };
                let output = answer.map_err(|status| from_tonic(&status))?.into_inner();
                Work::Exec(start, Remote { input, output })
            }
        };
        let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or_else(|| {
            Status::bad_request("unable to upgrade: only a connection of HTTP/1.1 can be upgraded")
        })?;
        let response = agreed.response();
        let ending = self.streams_end.clone();
        let record = context.audit.take();
        self.streams.spawn(async move {
            // The stream's end is the request's.
            let _record = record;
            let serving = async {
                match upgrade.await {
                    Ok(io) => serve(io, &agreed, work).await,
                    Err(error) => tracing::debug!(%error, "a client did not upgrade"),
                }
            };
            tokio::select! {
                () = serving => {}
                () = ending.cancelled() => {}
            }
        });
        Ok(response)
    }
}

/// Runs the two directions to their end: `downwards` decides it, unless the client goes away. In the end the client is
/// awaited for a moment: a connection closed with unread input would take what we sent with it.
async fn until_closed<T>(upwards: impl Future<Output = ()>, downwards: impl Future<Output = T>) {
    let mut upwards = pin!(upwards);
    tokio::select! {
        () = upwards.as_mut() => return,
        _ = downwards => {}
    }
    // A client that does not close is cut.
    let _ = Clock::real().timeout(LINGER, upwards).await;
}

async fn serve(io: Upgraded, agreed: &Agreed, work: Work) {
    match agreed {
        Agreed::WebSocket { protocol, .. } => {
            let (sink, source) = websocket::accept(io).await.split();
            let incoming = websocket::incoming(source);
            let output = Output::WebSocket(sink);
            match work {
                Work::Exec(start, remote) => {
                    let closes = protocol.starts_with("v5");
                    exec::over_websocket(incoming, output, closes, &start, remote).await;
                }
                Work::PortForward(_, target) if *protocol == TUNNEL => {
                    let input = websocket::reader(Box::pin(incoming));
                    port_forward::over_spdy(input, output, target).await;
                }
                Work::PortForward(ports, target) => {
                    port_forward::over_channels(incoming, output, ports, target).await;
                }
            }
        }
        Agreed::Spdy { .. } => {
            let (input, output) = tokio::io::split(TokioIo::new(io));
            let output = Output::Bytes(output);
            match work {
                Work::Exec(start, remote) => exec::over_spdy(input, output, &start, remote).await,
                Work::PortForward(_, target) => {
                    port_forward::over_spdy(input, output, target).await;
                }
            }
        }
    }
}
