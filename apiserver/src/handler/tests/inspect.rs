use component_base::{
    shutdown::Shutdown,
    transport::{Endpoint, Listener, channel, serve},
};
use proto::v1::{
    NetworkReply, NetworkRequest, ProbeReply, ProbeRequest,
    node_inspection_server::{NodeInspection, NodeInspectionServer},
};

use super::*;
use crate::kubelet::KubeletDialer;

/// The kubelet of `node-1` alone.
struct FakeKubelet;

#[async_trait::async_trait]
impl NodeInspection for FakeKubelet {
    async fn network(
        &self,
        request: tonic::Request<NetworkRequest>,
    ) -> Result<tonic::Response<NetworkReply>, tonic::Status> {
        let name = request.into_inner().node;
        let network = json!({"apiVersion": "kube-mini.dev/v1", "kind": "NodeNetwork", "metadata": {"name": name}});
        Ok(tonic::Response::new(NetworkReply { network: network.to_string().into() }))
    }

    async fn probe(
        &self,
        request: tonic::Request<ProbeRequest>,
    ) -> Result<tonic::Response<ProbeReply>, tonic::Status> {
        let mut probe = Object::from_slice(&request.into_inner().probe).unwrap();
        probe.set(&["status"], json!({"connect": {"outcome": "Delivered"}}));
        Ok(tonic::Response::new(ProbeReply { probe: probe.to_bytes() }))
    }
}

struct To(std::path::PathBuf);

impl KubeletDialer for To {
    fn dial(&self, _: &Object) -> Result<tonic::transport::Channel, Status> {
        Ok(channel(&Endpoint::Unix { path: self.0.clone() }))
    }
}

fn probe(kind: &str) -> Request {
    let probe = json!({"apiVersion": "kube-mini.dev/v1", "kind": kind, "spec": {"name": "web"}});
    Request::Create(probe.to_string().into())
}

#[tokio::test]
async fn a_node_is_asked_for_its_network_by_those_who_may() {
    let chain = Chain::start().await;
    chain.create(&resource::NODES, json!({"metadata": {"name": "node-1"}})).await.unwrap();
    let no_way = chain.get(&resource::NODES, "node-1/network").await.unwrap_err();
    assert_eq!(
        (no_way.code, no_way.message.as_str()),
        (503, "this API server knows no way to the kubelets")
    );
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let Chain { handler, storage, user } = chain;
    let handler = Arc::try_unwrap(handler).unwrap_or_else(|_| panic!("shared"));
    let handler = Arc::new(handler.reaching(Arc::new(To(socket.clone()))));
    let chain = Chain { handler, storage, user };
    let away = chain.get(&resource::NODES, "node-1/network").await.unwrap_err();
    assert!(
        away.code == 503 && away.message.starts_with("node node-1 cannot be asked: "),
        "{away}"
    );
    let missing = chain.get(&resource::NODES, "node-9/network").await.unwrap_err();
    assert_eq!(missing.message, "nodes \"node-9\" not found");

    let shutdown = Shutdown::new();
    let routes = tonic::service::Routes::new(NodeInspectionServer::new(FakeKubelet));
    let listener = Listener::bind_unix(&socket).unwrap();
    let serving = serve(listener, routes.into_axum_router(), shutdown.token().clone());
    shutdown.spawn("fake kubelet", serving);
    let network = chain.get(&resource::NODES, "node-1/network").await.unwrap();
    assert_eq!((network.kind(), network.name()), ("NodeNetwork", "node-1"));
    let context = || chain.context(Verb::Create, &resource::NODES, "node-1/probe");
    let probed = chain.object(context(), probe("NetworkProbe")).await.unwrap();
    assert_eq!(probed.get_str(&["status", "connect", "outcome"]), "Delivered");
    let wrong = chain.object(context(), probe("Pod")).await.unwrap_err();
    assert_eq!(wrong.message, "expected a NetworkProbe, got \"Pod\"");

    let ann = chain.with_user("ann", &["system:authenticated"]);
    assert_eq!(
        ann.get(&resource::NODES, "node-1/network").await.unwrap_err().message,
        "nodes \"node-1\" is forbidden: User \"ann\" cannot get resource \"nodes/network\" in API group \"\" at the cluster scope"
    );
    let context = ann.context(Verb::Create, &resource::NODES, "node-1/probe");
    assert_eq!(
        ann.object(context, probe("NetworkProbe")).await.unwrap_err().message,
        "nodes \"node-1\" is forbidden: User \"ann\" cannot create resource \"nodes/probe\" in API group \"\" at the cluster scope"
    );
    shutdown.cancel();
}
