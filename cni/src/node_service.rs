//! The door by which a node's network is programmed: `NodeNetwork`, served over gRPC on a Unix socket beside the
//! node's own ([`rules_socket`]) or inside the process. What netlink is to a kernel, this is to the data plane.
//!
//! The programmer reads `Info`, sends everything once, then changes. Two numbers keep both sides honest: the boot id
//! names one life of the node's network, and a change names the generation that it is against. Whatever does not
//! fit is refused with `FAILED_PRECONDITION`, and the programmer sends everything again.
//!
//! Who may connect is the listener's matter: a Unix listener turns other users away.

use std::path::{Path, PathBuf};

use component_base::transport::Endpoint;
use proto::v1::{
    self,
    node_network_server::{NodeNetwork, NodeNetworkServer},
};
use tonic::{Request, Response, Status};

use crate::userspace::{Node, RuleChange};

/// Largest rule set that is taken.
pub const MAX_MESSAGE: usize = 256 << 20;

/// Returns where a node takes its rules, in the folder of the node sockets.
#[must_use]
pub fn rules_socket(folder: &Path, node: &str) -> PathBuf {
    folder.join(format!("{node}-rules.sock"))
}

/// Returns how a programmer reaches [`rules_socket`].
#[must_use]
pub fn rules_endpoint(folder: &Path, node: &str) -> Endpoint {
    Endpoint::Unix { path: rules_socket(folder, node) }
}

/// Makes the routes of the service, for `component_base::transport::serve`.
pub fn router(node: Node) -> axum::Router {
    let server = NodeNetworkServer::new(Service { node })
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    tonic::service::Routes::new(server).into_axum_router()
}

struct Service {
    node: Node,
}

#[tonic::async_trait]
impl NodeNetwork for Service {
    async fn info(
        &self,
        _: Request<v1::NodeInfoRequest>,
    ) -> Result<Response<v1::NodeInfoReply>, Status> {
        Ok(Response::new(v1::NodeInfoReply {
            node: self.node.name().to_owned(),
            boot_id: self.node.boot_id().to_owned(),
            generation: self.node.generation(),
        }))
    }

    async fn apply_rules(
        &self,
        request: Request<v1::ApplyRulesRequest>,
    ) -> Result<Response<v1::ApplyRulesReply>, Status> {
        let request = request.into_inner();
        if request.boot_id != self.node.boot_id() {
            let message = format!("the node's boot id is {}", self.node.boot_id());
            return Err(Status::failed_precondition(message));
        }
        let unreadable = |error: serde_json::Error| {
            Status::invalid_argument(format!("cannot read the rules: {error}"))
        };
        let change = if request.full {
            RuleChange::Full(serde_json::from_slice(&request.rules).map_err(unreadable)?)
        } else {
            let delta = serde_json::from_slice(&request.rules).map_err(unreadable)?;
            RuleChange::Delta { base: request.base_generation, delta }
        };
        let applied = self.node.apply_rules(change, request.generation).await;
        let problems = applied.map_err(|error| Status::failed_precondition(error.to_string()))?;
        let problems = problems.into_iter().map(|problem| v1::ListenerProblem {
            namespace: problem.service.namespace,
            service: problem.service.name,
            reason: problem.reason,
            message: problem.message,
        });
        Ok(Response::new(v1::ApplyRulesReply { problems: problems.collect() }))
    }

    async fn dump_rules(
        &self,
        _: Request<v1::DumpRulesRequest>,
    ) -> Result<Response<v1::DumpRulesReply>, Status> {
        let active = self.node.rules();
        let rules = serde_json::to_vec(&active.rules)
            .map_err(|error| Status::internal(format!("cannot write the rules: {error}")))?;
        Ok(Response::new(v1::DumpRulesReply { generation: active.generation, rules: rules.into() }))
    }
}

#[cfg(test)]
mod tests {
    use component_base::{
        clock::Clock,
        transport::{Listener, channel, serve},
    };
    use proto::v1::node_network_client::NodeNetworkClient;
    use tokio_util::{sync::CancellationToken, task::TaskTracker};

    use super::*;
    use crate::userspace::{Fabric, FabricConfig, HostPorts, NodeConfig};

    #[tokio::test]
    async fn takes_what_fits_and_refuses_the_rest() {
        let shutdown = CancellationToken::new();
        let fabric = Fabric::new(FabricConfig::new(Clock::real()), &shutdown);
        let node = fabric
            .add_node(NodeConfig {
                name: "node-1".into(),
                pod_cidr: "10.244.1.0/24".parse().unwrap(),
                address: "192.168.1.101".parse().unwrap(),
                checkpoint: None,
                host_ports: HostPorts::default(),
            })
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let listener = Listener::bind_unix(&rules_socket(folder.path(), "node-1")).unwrap();
        let tasks = TaskTracker::new();
        tasks.spawn(serve(listener, router(node.clone()), shutdown.clone()));
        let mut client = NodeNetworkClient::new(channel(&rules_endpoint(folder.path(), "node-1")));

        let info = client.info(v1::NodeInfoRequest {}).await.unwrap().into_inner();
        assert_eq!((info.node.as_str(), info.generation), ("node-1", 0));
        let request = v1::ApplyRulesRequest {
            boot_id: info.boot_id.clone(),
            base_generation: 0,
            generation: 7,
            full: true,
            rules: r#"{"nodes":{"node-2":{"podCidrs":["10.244.2.0/24"],"addresses":[]}}}"#.into(),
        };
        client.apply_rules(request.clone()).await.unwrap();
        let dump = client.dump_rules(v1::DumpRulesRequest {}).await.unwrap().into_inner();
        assert_eq!(dump.generation, 7);
        assert!(String::from_utf8_lossy(&dump.rules).contains("10.244.2.0/24"));

        let mut check = async |request, expected: &str| {
            let error = client.apply_rules(request).await.unwrap_err();
            assert_eq!(format!("{:?}: {}", error.code(), error.message()), expected);
        };
        let other_life = v1::ApplyRulesRequest { boot_id: "x".into(), ..request.clone() };
        let told = format!("FailedPrecondition: the node's boot id is {}", info.boot_id);
        check(other_life, &told).await;
        let stale = v1::ApplyRulesRequest {
            full: false,
            base_generation: 6,
            generation: 8,
            rules: "{}".into(),
            ..request.clone()
        };
        let told = "FailedPrecondition: rules are at generation 7, the change is against 6";
        check(stale, told).await;
        let unknown = v1::ApplyRulesRequest { rules: r#"{"portals":{}}"#.into(), ..request };
        let told = "InvalidArgument: cannot read the rules: unknown field `portals`, \
            expected one of `services`, `nodes`, `policies`, `policed`, `ipSets`, `namedPorts` at line 1 column 10";
        check(unknown, told).await;

        shutdown.cancel();
        tasks.close();
        tasks.wait().await;
        fabric.stop().await;
    }
}
