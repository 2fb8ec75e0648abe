//! What the network of a node is, and tries in it, for `trace` and `doctor`.
//!
//! A try acts as the pod does: by its own sandbox, its hosts file and its resolver, so that what is found is what its
//! programs find. It lasts five seconds at most, whatever drops its packets.

use std::{io, net::SocketAddr, time::Duration};

use apimachinery::{object::Object, resource, status::Status};
use client::wire::to_tonic;
use cni::{
    network::{NameExplanation, PodStream, Sandbox},
    probe::{
        ConnectSpec, ConnectStatus, HttpAnswer, HttpGet, NameStatus, NameStep, ProbeSpec,
        ProbeStatus,
    },
    rules::Protocol,
    trace::Outcome,
};
use component_base::clock::Clock;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use proto::v1::{
    NetworkReply, NetworkRequest, ProbeReply, ProbeRequest, node_inspection_server::NodeInspection,
};
use serde_json::json;
use tonic::{Request, Response};

use super::{KubeletStreams, Served};

/// The longest that a try may last.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of an answer is kept.
const MAX_BODY: usize = 16 * 1024;

#[tonic::async_trait]
impl NodeInspection for KubeletStreams {
    async fn network(
        &self,
        request: Request<NetworkRequest>,
    ) -> Result<Response<NetworkReply>, tonic::Status> {
        let name = request.into_inner().node;
        let node = self.served(&name).map_err(|status| to_tonic(&status))?;
        let report = node.network.report().await;
        let network = serde_json::to_vec(&json!({
            "apiVersion": "kube-mini.dev/v1", "kind": "NodeNetwork",
            "metadata": {"name": name}, "status": report,
        }));
        let network = network.map_err(|error| to_tonic(&Status::internal(error)))?;
        Ok(Response::new(NetworkReply { network: network.into() }))
    }

    async fn probe(
        &self,
        request: Request<ProbeRequest>,
    ) -> Result<Response<ProbeReply>, tonic::Status> {
        let ProbeRequest { node, probe } = request.into_inner();
        let probed = self.make(&node, &probe).await.map_err(|status| to_tonic(&status))?;
        Ok(Response::new(ProbeReply { probe: probed.to_bytes() }))
    }
}

impl KubeletStreams {
    fn served(&self, node: &str) -> Result<Served, Status> {
        let nodes = self.nodes.read();
        let found = nodes.iter().find(|served| served.network.name() == node);
        found.cloned().ok_or_else(|| Status::not_found(&resource::NODES, node))
    }

    async fn make(&self, node: &str, probe: &[u8]) -> Result<Object, Status> {
        let mut object = Object::from_slice(probe)?;
        let spec = object.get(&["spec"]).cloned().unwrap_or_else(|| json!({}));
        let spec: ProbeSpec = serde_json::from_value(spec).map_err(|error| {
            Status::bad_request(format!("cannot read the probe's spec: {error}"))
        })?;
        let node = self.served(node)?;
        let sandbox = match &spec.pod {
            None => node.network.own_sandbox(),
            Some(pod) => {
                let found = node.table.find(&pod.namespace, &pod.name, "");
                let sandbox = found.and_then(|(_, shared)| shared.read().sandbox.clone());
                sandbox.ok_or_else(|| Status::not_found(&resource::PODS, &pod.name))?
            }
        };
        let status = try_out(&sandbox, &self.clock, &spec).await;
        let status = serde_json::to_value(status).map_err(Status::internal)?;
        object.set(&["status"], status);
        Ok(object)
    }
}

async fn try_out(sandbox: &Sandbox, clock: &Clock, spec: &ProbeSpec) -> ProbeStatus {
    let patience = spec.timeout_milliseconds.map_or(PATIENCE, Duration::from_millis).min(PATIENCE);
    let end = clock.monotonic() + patience;
    let name = match &spec.name {
        Some(name) => Some(resolve(sandbox, clock, name, patience).await),
        None => None,
    };
    let left = end.saturating_sub(clock.monotonic());
    let connect = match &spec.connect {
        Some(wanted) => Some(connect(sandbox, clock, wanted, left).await),
        None => None,
    };
    ProbeStatus { name, connect }
}

async fn resolve(sandbox: &Sandbox, clock: &Clock, name: &str, patience: Duration) -> NameStatus {
    let resolv_conf = sandbox.resolv_conf();
    let told = |from_hosts, steps| NameStatus { resolv_conf, from_hosts, steps };
    let step = |name: String, found: io::Result<Vec<_>>| match found {
        Ok(addresses) => NameStep { name, addresses, error: None },
        Err(error) => NameStep { name, error: Some(name_error(&error)), ..NameStep::default() },
    };
    match clock.timeout(patience, sandbox.explain_name(name)).await {
        Ok(NameExplanation::Literal(address)) => {
            told(false, vec![step(name.to_owned(), Ok(vec![address]))])
        }
        Ok(NameExplanation::Hosts(found)) => told(true, vec![step(name.to_owned(), Ok(found))]),
        Ok(NameExplanation::Asked(steps)) => {
            told(false, steps.into_iter().map(|(name, found)| step(name, found)).collect())
        }
        Ok(NameExplanation::NoResolver) => {
            told(false, vec![unanswered(name, "no name server is configured")])
        }
        Err(_elapsed) => told(false, vec![unanswered(name, "no name server has answered in time")]),
    }
}

fn unanswered(name: &str, why: &str) -> NameStep {
    NameStep { name: name.to_owned(), error: Some(why.to_owned()), ..NameStep::default() }
}

/// Why a name has no address, without the name.
fn name_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such name, or no address of it".to_owned(),
        io::ErrorKind::TimedOut => "no name server answers".to_owned(),
        _ if error.get_ref().is_some() => "the name server fails".to_owned(),
        _ => error.to_string(),
    }
}

async fn connect(
    sandbox: &Sandbox,
    clock: &Clock,
    wanted: &ConnectSpec,
    patience: Duration,
) -> ConnectStatus {
    let started = clock.monotonic();
    let micros = |at: Duration| u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
    let attempt = async {
        match wanted.protocol {
            Protocol::Tcp => sandbox.connect_tcp(wanted.address).await.map(Some),
            Protocol::Udp => exchange(sandbox, wanted.address).await.map(|()| None),
        }
    };
    let attempt = clock.timeout(patience, attempt).await;
    let took = clock.monotonic().saturating_sub(started);
    let mut status = ConnectStatus {
        outcome: Outcome::TimedOut,
        endpoint: None,
        microseconds: micros(took),
        error: None,
        http: None,
    };
    match attempt {
        Err(_elapsed) => status.error = Some("nothing has answered".to_owned()),
        Ok(Err(error)) => {
            status.outcome = outcome_of(&error);
            status.error = Some(error.to_string());
        }
        Ok(Ok(stream)) => {
            status.outcome = Outcome::Delivered;
            status.endpoint = stream.as_ref().and_then(PodStream::endpoint);
            if let (Some(get), Some(stream)) = (&wanted.http_get, stream) {
                let left = patience.saturating_sub(took);
                let answer = clock.timeout(left, ask(stream, get)).await;
                let late = |_| HttpAnswer {
                    error: Some("no answer in time".to_owned()),
                    ..HttpAnswer::default()
                };
                status.http = Some(answer.unwrap_or_else(late));
            }
        }
    }
    status
}

/// Sends a datagram, and waits for an answer or the word that nobody listens.
async fn exchange(sandbox: &Sandbox, to: SocketAddr) -> io::Result<()> {
    let any = SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, 0));
    let socket = sandbox.bind_udp(any).await?;
    socket.connect(to)?;
    socket.send(&[]).await?;
    socket.recv(&mut [0; 512]).await.map(drop)
}

fn outcome_of(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Outcome::Refused,
        io::ErrorKind::TimedOut => Outcome::TimedOut,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Outcome::NoRoute,
        _ => Outcome::Unknown,
    }
}

async fn ask(stream: PodStream, get: &HttpGet) -> HttpAnswer {
    let answer = async {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
        let request = http::Request::get(&get.path)
            .header("Host", &get.host)
            .header("User-Agent", "kube-mini-trace")
            .header("Connection", "close")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(told)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(told)?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Ok(HttpAnswer {
                status,
                body: String::from_utf8_lossy(&body).into_owned(),
                error: None,
            })
        };
        tokio::pin!(connection, exchange);
        tokio::select! {
            result = &mut exchange => result,
            _ = &mut connection => exchange.await,
        }
    };
    let answer: Result<HttpAnswer, String> = answer.await;
    answer.unwrap_or_else(|error| HttpAnswer { error: Some(error), ..HttpAnswer::default() })
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
