//! Following NetworkPolicies, and as long as there are any the Pods and Namespaces that they select from: most clusters
//! have none, and need not pay for a copy of every pod on every node.

use std::{net::IpAddr, sync::Arc};

use apimachinery::{
    api::{
        core::{Container, Namespace},
        meta::ObjectMeta,
        networking::NetworkPolicy,
    },
    object::ObjectKey,
    resource,
};
use client::{
    Client, Stored,
    reflector::{Change, ListWatch, Reflector},
};
use cni::rules::{NamedPort, Protocol};
use component_base::{clock::Clock, shutdown::Shutdown};
use serde::Deserialize;
use tokio::sync::watch;

use super::Knowledge;
use crate::policy::PodFacts;

/// A pod, as far as policies look at it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PolicyPod {
    metadata: ObjectMeta,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: String,
    host_network: bool,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
}

impl Stored for PolicyPod {
    fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    fn key(&self) -> ObjectKey {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        ObjectKey::new(text(&self.metadata.namespace), text(&self.metadata.name))
    }

    fn resource_version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
}

impl PolicyPod {
    fn facts(self) -> PodFacts {
        let ended = matches!(self.status.phase.as_str(), "Succeeded" | "Failed");
        let of_its_own = !ended && !self.spec.host_network;
        let ip = self.status.pod_ip.filter(|_| of_its_own);
        // A sidecar's ports count, those of a container that only prepares do not.
        let sidecars = self.spec.init_containers.iter();
        let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
        let ports = self.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
        let named = ports.filter_map(|port| {
            let protocol = match port.protocol.as_deref() {
                None | Some("TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some(_) => return None,
            };
            let number = u16::try_from(port.container_port).ok()?;
            Some(NamedPort { name: port.name.clone()?, protocol, port: number })
        });
        PodFacts {
            ip: ip.and_then(|ip| ip.parse::<IpAddr>().ok()),
            ports: named.collect(),
            node: self.spec.node_name,
            labels: self.metadata.labels,
        }
    }
}

/// Starts to follow until `shutdown`.
pub(super) fn follow(
    knowledge: &Arc<Knowledge>,
    client: &Client,
    clock: &Clock,
    shutdown: &Shutdown,
) {
    let (any, mut wanted) = watch::channel(false);
    let mut policies = Reflector::<NetworkPolicy>::new(
        client.clone(),
        clock.clone(),
        ListWatch::all(&resource::NETWORK_POLICIES),
    );
    let (knows, token) = (Arc::clone(knowledge), shutdown.token().clone());
    shutdown.spawn("policy reflector", async move {
        let follow = async {
            loop {
                let change = policies.next().await;
                // Known before the policies are: as long as their pods are not, nothing is compiled.
                take_policies(&knows, change, &any);
            }
        };
        let _: Option<()> = token.run_until_cancelled(follow).await;
    });
    let (knows, token) = (Arc::clone(knowledge), shutdown.token().clone());
    let (client, clock) = (client.clone(), clock.clone());
    shutdown.spawn("policed pods reflector", async move {
        let follow = async {
            while wanted.wait_for(|any| *any).await.is_ok() {
                tokio::select! {
                    () = follow_selected(&knows, &client, &clock) => {}
                    _ = wanted.wait_for(|any| !*any) => {}
                }
                knows.learn(None, |compiler| compiler.policies().forget_pods());
            }
        };
        let _: Option<()> = token.run_until_cancelled(follow).await;
    });
}

async fn follow_selected(knowledge: &Knowledge, client: &Client, clock: &Clock) {
    let mut pods =
        Reflector::<PolicyPod>::new(client.clone(), clock.clone(), ListWatch::all(&resource::PODS));
    let mut namespaces = Reflector::<Namespace>::new(
        client.clone(),
        clock.clone(),
        ListWatch::all(&resource::NAMESPACES),
    );
    let pods = async {
        loop {
            take_pods(knowledge, pods.next().await);
        }
    };
    let namespaces = async {
        loop {
            take_namespaces(knowledge, namespaces.next().await);
        }
    };
    tokio::join!(pods, namespaces);
}

fn take_policies(knowledge: &Knowledge, change: Change<NetworkPolicy>, any: &watch::Sender<bool>) {
    let mut is_any = false;
    let mut learn = |listed, change: &dyn Fn(&mut crate::policy::Policies)| {
        knowledge.learn(listed, |compiler| {
            change(compiler.policies());
            is_any = !compiler.policies().is_empty();
        });
    };
    match change {
        Change::Replaced { objects, .. } => learn(Some(3), &|policies| {
            policies.clear_policies();
            objects.iter().for_each(|policy| policies.set_policy(policy.key(), policy));
        }),
        Change::Applied(policy) => {
            learn(None, &|policies| policies.set_policy(policy.key(), &policy));
        }
        Change::Deleted(policy) => learn(None, &|policies| policies.remove_policy(&policy.key())),
        Change::Reached(_) => return,
    }
    any.send_if_modified(|known| std::mem::replace(known, is_any) != is_any);
}

fn take_pods(knowledge: &Knowledge, change: Change<PolicyPod>) {
    match change {
        Change::Replaced { objects, .. } => knowledge.learn(None, |compiler| {
            compiler
                .policies()
                .replace_pods(objects.into_iter().map(|pod| (pod.key(), pod.facts())));
        }),
        Change::Applied(pod) => {
            knowledge.learn(None, |compiler| compiler.policies().set_pod(pod.key(), pod.facts()));
        }
        Change::Deleted(pod) => {
            knowledge.learn(None, |compiler| compiler.policies().remove_pod(&pod.key()));
        }
        Change::Reached(_) => {}
    }
}

fn take_namespaces(knowledge: &Knowledge, change: Change<Namespace>) {
    let facts = |namespace: Namespace| (namespace.key().name, namespace.metadata.labels);
    match change {
        Change::Replaced { objects, .. } => knowledge.learn(None, |compiler| {
            compiler.policies().replace_namespaces(objects.into_iter().map(facts));
        }),
        Change::Applied(namespace) => knowledge.learn(None, |compiler| {
            let (name, labels) = facts(namespace);
            compiler.policies().set_namespace(name, labels);
        }),
        Change::Deleted(namespace) => knowledge.learn(None, |compiler| {
            compiler.policies().remove_namespace(&namespace.key().name);
        }),
        Change::Reached(_) => {}
    }
}
