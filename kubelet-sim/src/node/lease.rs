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
        match Box::pin(renew(&client, &clock, &node, &name)).await {
            Ok(()) => clock.sleep_until(next_beat(&name, clock.monotonic())).await,
            Err(status) => {
                tracing::debug!(node = %name, %status, "cannot renew the lease");
                clock.sleep(RETRY).await;
            }
        }
    }
}

/// When a node's Lease is to be renewed next, [`RENEW`] later at most. The nodes of a process beat at whole seconds, a
/// tenth of them at each: a process of many is woken once a second for all that are due.
fn next_beat(name: &str, now: Duration) -> Duration {
    let beats = RENEW.as_secs();
    let slot =
        name.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let second = now.as_secs() + 1;
    let wait = (slot % beats + beats - second % beats) % beats;
    Duration::from_secs(second + wait)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_beat_at_whole_seconds_and_not_all_at_once() {
        let now = Duration::from_millis(12_345);
        let mut in_second = [0; 10];
        for number in 1..=100 {
            let name = format!("node-{number}");
            let beat = next_beat(&name, now);
            assert!(beat > now && beat - now <= RENEW, "{name}: {beat:?}");
            assert_eq!(beat.subsec_nanos(), 0);
            assert_eq!(next_beat(&name, beat), beat + RENEW);
            in_second[usize::try_from(beat.as_secs() % 10).unwrap()] += 1;
        }
        assert!(in_second.iter().all(|count| (5..=15).contains(count)), "{in_second:?}");
    }
}
