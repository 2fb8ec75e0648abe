//! What a node tells of its network: everything that decides where a connection goes, as of one moment.
//!
//! A data plane makes it, [`trace`](crate::trace) explains by it, and people read it (`kubectl-mini node rules`).

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    rules::{Protocol, RuleSet, ServicePortName},
    stance::Stance,
};

/// One node's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// Where the node stands.
    pub stance: Stance,
    /// Names this life of the node's network.
    pub boot_id: String,
    /// Generation of the rules; 0: the node was never programmed in this life.
    pub generation: u64,
    /// How long ago the rules last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programmed_seconds_ago: Option<u64>,
    /// The rules in force.
    pub rules: RuleSet,
    /// The pods, sorted by address.
    pub pods: Vec<PodReport>,
    /// Where the node itself listens (pods with `hostNetwork`, `hostPort`s).
    pub listening: Vec<Listening>,
    /// What is open on the host.
    pub host: Vec<HostListener>,
    /// What the host refuses to open.
    pub refused: Vec<HostRefusal>,
    /// Who was given which endpoint, as far as affinity still holds them to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affinity: Vec<Affinity>,
    /// Addresses of the pods' range.
    pub addresses: Addresses,
}

/// One pod's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    /// Namespace of the pod.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its address.
    pub ip: IpAddr,
    /// Where it listens.
    pub listening: Vec<Listening>,
}

/// An open port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listening {
    /// Its protocol.
    pub protocol: Protocol,
    /// The address bound, which may be the unspecified one.
    pub address: SocketAddr,
}

impl Listening {
    /// Whether what arrives at `to` is heard here.
    #[must_use]
    pub fn hears(&self, protocol: Protocol, to: SocketAddr) -> bool {
        let ip = self.address.ip();
        self.protocol == protocol
            && self.address.port() == to.port()
            && (ip.is_unspecified() || ip == to.ip())
    }
}

/// An address of the host that leads into the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostListener {
    /// Its protocol.
    pub protocol: Protocol,
    /// The address.
    pub address: SocketAddr,
    /// For whom it was opened.
    pub service: ServicePortName,
    /// It is a node port, not a load balancer's or external address.
    pub node_port: bool,
    /// False: only reserved, as no endpoint can serve.
    pub open: bool,
}

/// An address that the host does not let the node open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostRefusal {
    /// The Service port that wanted it.
    pub service: ServicePortName,
    /// In one word, as in the Event.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

/// A client that sticks to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Affinity {
    /// Of this Service port.
    pub service: ServicePortName,
    /// The client.
    pub client: IpAddr,
    /// The endpoint.
    pub endpoint: SocketAddr,
}

/// How full the pods' range is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    /// Given out.
    pub used: u64,
    /// That there are for pods.
    pub capacity: u64,
}
