//! The kubelet's own service: logs, exec, attach and port-forward of the pods on its nodes, and connections from there.
//!
//! It is served on a Unix socket in the cluster's private run folder (the peer's uid is checked by the listener), and
//! only the API server dials it, after it has authenticated and authorized the user.

mod dial;
mod exec;
mod http;
mod inspection;
mod logs;
mod port_forward;
mod relay;

use std::{pin::Pin, sync::Arc};

use apimachinery::{api::core::Pod, status::Status};
use client::wire::to_tonic;
use component_base::clock::Clock;
use futures::Stream;
use parking_lot::RwLock;
use proto::v1::{
    self,
    kubelet_server::{Kubelet, KubeletServer},
    node_inspection_server::NodeInspectionServer,
    streams_server::{Streams, StreamsServer},
};
use tonic::{Request, Response};

use crate::{node::PodTable, worker::Shared};

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send>>;

/// The service over the pods of all nodes of this process.
#[derive(Clone)]
pub struct KubeletStreams {
    nodes: Arc<RwLock<Vec<Served>>>,
    clock: Clock,
}

/// The worker's side of a pod.
type SharedPod = Arc<RwLock<Shared>>;

/// One node, as its kubelet's callers see it.
#[derive(Clone)]
struct Served {
    network: cni::userspace::Node,
    table: PodTable,
    clock: Clock,
}

/// A pod and the container that is meant.
struct Target {
    pod: Arc<Pod>,
    shared: SharedPod,
    container: String,
}

impl KubeletStreams {
    /// A service without any pods yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { nodes: Arc::default(), clock }
    }

    /// Serves the pods of one more node.
    pub fn add(&self, network: cni::userspace::Node, table: PodTable) {
        self.nodes.write().push(Served { network, table, clock: self.clock.clone() });
    }

    /// The routes.
    pub fn router(self) -> axum::Router {
        let inspection = NodeInspectionServer::new(self.clone())
            .max_encoding_message_size(cni::node_service::MAX_MESSAGE);
        tonic::service::Routes::new(StreamsServer::new(self.clone()))
            .add_service(KubeletServer::new(self))
            .add_service(inspection)
            .into_axum_router()
    }

    fn find(&self, wanted: Option<&v1::PodRef>) -> Result<Target, Status> {
        let Some(wanted) = wanted else {
            return Err(Status::bad_request("the request names no pod"));
        };
        let found = self
            .nodes
            .read()
            .iter()
            .find_map(|node| node.table.find(&wanted.namespace, &wanted.name, &wanted.uid));
        let Some((pod, shared)) = found else {
            return Err(Status::not_found(&apimachinery::resource::PODS, &wanted.name));
        };
        let container = choose_container(&pod, &wanted.container)?;
        Ok(Target { pod, shared, container })
    }
}

/// The named container, or the default one: annotated, else the first.
fn choose_container(pod: &Pod, name: &str) -> Result<String, Status> {
    let spec = &pod.spec;
    let usual = spec.containers.iter().chain(&spec.init_containers).map(|c| c.name.as_str());
    let mut all = usual.chain(spec.ephemeral_containers.iter().map(|c| c.name.as_str()));
    if !name.is_empty() {
        return if all.any(|c| c == name) {
            Ok(name.to_owned())
        } else {
            Err(Status::bad_request(format!(
                "container {name} is not valid for pod {}",
                pod.metadata.name.as_deref().unwrap_or_default()
            )))
        };
    }
    let annotated = pod.metadata.annotations.get("kubectl.kubernetes.io/default-container");
    annotated
        .filter(|name| spec.containers.iter().any(|c| c.name == **name))
        .cloned()
        .or_else(|| all.next().map(str::to_owned))
        .ok_or_else(|| Status::bad_request("the pod has no containers"))
}

#[tonic::async_trait]
impl Streams for KubeletStreams {
    type LogsStream = Answers<v1::LogsChunk>;
    type ExecStream = Answers<v1::ExecOutput>;
    type AttachStream = Answers<v1::ExecOutput>;
    type PortForwardStream = Answers<v1::PortForwardOutput>;

    async fn logs(
        &self,
        request: Request<v1::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, tonic::Status> {
        let request = request.into_inner();
        let target = self.find(request.pod.as_ref()).map_err(|s| to_tonic(&s))?;
        let stream = logs::read(&target, &request, &self.clock).map_err(|s| to_tonic(&s))?;
        Ok(Response::new(stream))
    }

    async fn exec(
        &self,
        request: Request<tonic::Streaming<v1::ExecInput>>,
    ) -> Result<Response<Self::ExecStream>, tonic::Status> {
        let mut input = request.into_inner();
        let start = exec::start_of(&mut input).await?;
        let target = self.find(start.pod.as_ref()).map_err(|s| to_tonic(&s))?;
        let stream = exec::exec(&target, start, input).map_err(|s| to_tonic(&s))?;
        Ok(Response::new(stream))
    }

    async fn attach(
        &self,
        request: Request<tonic::Streaming<v1::ExecInput>>,
    ) -> Result<Response<Self::AttachStream>, tonic::Status> {
        let mut input = request.into_inner();
        let start = exec::start_of(&mut input).await?;
        let target = self.find(start.pod.as_ref()).map_err(|s| to_tonic(&s))?;
        let stream = exec::attach(&target, input).map_err(|s| to_tonic(&s))?;
        Ok(Response::new(stream))
    }

    async fn port_forward(
        &self,
        request: Request<tonic::Streaming<v1::PortForwardInput>>,
    ) -> Result<Response<Self::PortForwardStream>, tonic::Status> {
        let mut input = request.into_inner();
        let start = port_forward::start_of(&mut input).await?;
        let target = self.find(start.pod.as_ref()).map_err(|s| to_tonic(&s))?;
        let stream =
            port_forward::forward(&target, start.port, input).await.map_err(|s| to_tonic(&s))?;
        Ok(Response::new(stream))
    }
}

#[tonic::async_trait]
impl Kubelet for KubeletStreams {
    type DialStream = Answers<v1::DialOutput>;

    async fn dial(
        &self,
        request: Request<tonic::Streaming<v1::DialInput>>,
    ) -> Result<Response<Self::DialStream>, tonic::Status> {
        let mut input = request.into_inner();
        let start = dial::start_of(&mut input).await?;
        let door = self.nodes.read().iter().find(|door| door.network.name() == start.node).cloned();
        let door = door.ok_or_else(|| {
            let status = Status::not_found(&apimachinery::resource::NODES, &start.node);
            to_tonic(&status)
        })?;
        let stream = dial::dial(door, &start.address, input).await.map_err(|s| to_tonic(&s))?;
        Ok(Response::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_of_every_kind_can_be_chosen() {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}],
                     "ephemeralContainers": [{"name": "debug"}]},
        }))
        .unwrap();
        for name in ["i", "a", "b", "debug"] {
            assert_eq!(choose_container(&pod, name).ok().as_deref(), Some(name));
        }
        let refused = choose_container(&pod, "x").map_err(|status| status.message);
        assert_eq!(refused, Err("container x is not valid for pod p".to_owned()));
        assert_eq!(choose_container(&pod, "").ok().as_deref(), Some("a"));
        let key = "kubectl.kubernetes.io/default-container";
        pod.metadata.annotations.insert(key.into(), "b".into());
        assert_eq!(choose_container(&pod, "").ok().as_deref(), Some("b"));
    }
}
