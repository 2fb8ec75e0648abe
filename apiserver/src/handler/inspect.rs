//! `nodes/network` and `nodes/probe`: what the network of a node is, and what comes of a try in it, asked of the node's
//! kubelet. Extensions of ours (`kube-mini.dev/v1`); who may use them is decided by RBAC, as for `nodes/proxy`.

use std::{sync::Arc, time::Duration};

use apimachinery::{object::Object, status::Status};
use bytes::Bytes;
use client::wire::{from_tonic, transport_failure};
use proto::v1::{NetworkRequest, ProbeRequest, node_inspection_client::NodeInspectionClient};
use tonic::transport::Channel;

use super::{Handler, Reply};
use crate::{registry::store::Store, request::RequestContext};

/// How long a kubelet may take: longer than a try may last.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer that is taken: the rules of a large cluster.
const MAX_MESSAGE: usize = 256 << 20;

impl Handler {
    /// Asks a node for its network.
    pub(super) async fn node_network(
        &self,
        node: &Object,
        context: &RequestContext,
    ) -> Result<Reply, Status> {
        let mut kubelet = self.inspector(node)?;
        let request = NetworkRequest { node: context.name.clone() };
        let asked = self.deps.clock.timeout(PATIENCE, kubelet.network(request)).await;
        Ok(object(answered(&context.name, asked)?.network))
    }

    /// Has a node try something.
    pub(super) async fn node_probe(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        body: &[u8],
    ) -> Result<Reply, Status> {
        let kv = store.get("", &context.name, "").await?;
        let node = Object::from_slice(&kv.value)?;
        let probe = Object::from_slice(body)?;
        if probe.kind() != "NetworkProbe" {
            let message = format!("expected a NetworkProbe, got {:?}", probe.kind());
            return Err(Status::bad_request(message));
        }
        let mut kubelet = self.inspector(&node)?;
        let request = ProbeRequest { node: context.name.clone(), probe: probe.to_bytes() };
        let asked = self.deps.clock.timeout(PATIENCE, kubelet.probe(request)).await;
        Ok(object(answered(&context.name, asked)?.probe))
    }

    fn inspector(&self, node: &Object) -> Result<NodeInspectionClient<Channel>, Status> {
        let kubelets = self.kubelets.as_ref().ok_or_else(|| {
            Status::service_unavailable("this API server knows no way to the kubelets")
        })?;
        let channel = kubelets.dial(node)?;
        Ok(NodeInspectionClient::new(channel).max_decoding_message_size(MAX_MESSAGE))
    }
}

fn object(body: Bytes) -> Reply {
    Reply::Object { body, created: false }
}

fn answered<T, E>(
    node: &str,
    asked: Result<Result<tonic::Response<T>, tonic::Status>, E>,
) -> Result<T, Status> {
    let silent =
        |why: &str| Status::service_unavailable(format!("node {node} cannot be asked: {why}"));
    match asked {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => {
            let status = from_tonic(&status);
            Err(match transport_failure(&status) {
                Some((_, why)) => silent(why),
                None => status,
            })
        }
        Err(_elapsed) => Err(silent("its kubelet does not answer")),
    }
}
