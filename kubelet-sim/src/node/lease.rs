//! The node's heartbeat: its Lease in `kube-node-lease`, renewed every 10 s.

use std::time::Duration;

use apimachinery::{
    api::{
        coordination::{Lease, LeaseSpec},
        core::Node,
        meta::{ObjectMeta, OwnerReference},
    },
    status::Status,
    time::MicroTime,
};
use client::{Client, Patch};
use component_base::clock::Clock;
use serde_json::json;

use super::own::OwnNode;

const NAMESPACE: &str = "kube-node-lease";
/// `nodeLeaseDurationSeconds`.
const DURATION_SECONDS: i32 = 40;
/// A quarter of it.
const RENEW: Duration = Duration::from_secs(10);
/// After a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Renews the Lease for ever, while the node is not made silent.
pub(crate) async fn keep_lease(client: Client, clock: Clock, node: Node, own: OwnNode) {
    let name = node.metadata.name.clone().unwrap_or_default();
    loop {
        own.speaks().await;
        match renew(&client, &clock, &node, &name).await {
            Ok(()) => clock.sleep(RENEW).await,
            Err(status) => {
                tracing::debug!(node = %name, %status, "cannot renew the lease");
                clock.sleep(RETRY).await;
            }
        }
    }
}

async fn renew(client: &Client, clock: &Clock, node: &Node, name: &str) -> Result<(), Status> {
    let now = MicroTime(clock.now());
    let patch = json!({"spec": {"renewTime": now, "holderIdentity": name,
                                "leaseDurationSeconds": DURATION_SECONDS}});
    match client.patch::<Lease>(NAMESPACE, name, &Patch::Merge(patch), "").await {
        Err(status) if status.is_not_found() => {}
        result => return result.map(drop),
    }
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            owner_references: vec![OwnerReference {
                api_version: "v1".into(),
                kind: "Node".into(),
                name: name.to_owned(),
                uid: node.metadata.uid.clone().unwrap_or_default(),
                ..OwnerReference::default()
            }],
            ..ObjectMeta::default()
        },
        spec: LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(DURATION_SECONDS),
            renew_time: Some(now),
            ..LeaseSpec::default()
        },
    };
    client.create(&lease).await.map(drop)
}
