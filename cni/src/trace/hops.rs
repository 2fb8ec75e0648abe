//! What a trace is made of: plain data, to be told and compared.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    cidr::Cidr,
    rules::{ServicePortName, Traffic, TrafficPolicy},
    stance::{Exemption, Way},
};

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Somebody listens and takes it.
    Delivered,
    /// It leaves the cluster; what is there is not known here.
    Left,
    /// Nobody listens, or the Service has no endpoint.
    Refused,
    /// It is dropped: the caller waits until it gives up.
    TimedOut,
    /// Nobody has the address.
    NoRoute,
    /// A node on the way could not be asked.
    Unknown,
}

/// One endpoint of a Service port, and its chance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// Its address.
    pub address: SocketAddr,
    /// Its node, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its chance to be drawn first, from 0 to 1.
    pub odds: f64,
    /// The one that the rest of the trace follows.
    pub chosen: bool,
    /// What becomes of a connection to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why it is not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<String>,
}

/// Where an address leads: [`Way`], to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Leads {
    /// A pod of this node, or the node itself.
    Here,
    /// Another node.
    Node(String),
    /// A socket of the host that stands for this very address, such as the API server's.
    Backend,
    /// Another port of an address that has such sockets.
    ClosedBackend,
    /// Out of the cluster.
    Outside,
    /// Nobody has the address.
    Nowhere,
}

impl From<&Way> for Leads {
    fn from(way: &Way) -> Self {
        match way {
            Way::Here => Self::Here,
            Way::Node(name) => Self::Node(name.to_string()),
            Way::Backend => Self::Backend,
            Way::ClosedBackend => Self::ClosedBackend,
            Way::Outside => Self::Outside,
            Way::Nowhere => Self::Nowhere,
        }
    }
}

/// What policies say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "verdict")]
pub enum Judgement {
    /// No policy selects the pod in this direction.
    Open,
    /// None is asked.
    Exempt {
        /// Why.
        because: Exemption,
    },
    /// A rule allows it.
    Allowed {
        /// `namespace/name`.
        policy: String,
        /// Which of its rules of this direction, from 0.
        rule: usize,
    },
    /// None of these policies' rules does.
    Denied {
        /// `namespace/name` of each.
        policies: Vec<String>,
    },
}

/// Which way, seen from the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// From the pod.
    Egress,
    /// To the pod.
    Ingress,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "hop")]
pub enum Hop {
    /// It comes in from the host.
    Entry {
        /// The node that takes it in.
        node: String,
        /// The address of the host.
        address: SocketAddr,
        /// Whose it is.
        service: ServicePortName,
        /// A node port, not a load balancer's or external address.
        node_port: bool,
        /// False: only reserved, as nobody can serve.
        open: bool,
        /// Nodes that listen there, too.
        others: Vec<String>,
    },
    /// Nothing of the cluster listens at this address of the host.
    NotOpen {
        /// The address.
        address: SocketAddr,
    },
    /// A Service's rule translates the address.
    Service {
        /// The node whose rules do.
        node: String,
        /// The Service port.
        service: ServicePortName,
        /// What was called.
        address: SocketAddr,
        /// Where the traffic comes from, to the rule.
        traffic: Traffic,
        /// Which endpoints it may have.
        policy: TrafficPolicy,
        /// ClientIP affinity.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        affinity_seconds: Option<u64>,
        /// All endpoints: those that are drawn from, then the others.
        endpoints: Vec<Choice>,
    },
    /// An address of Services, but no port of theirs.
    ClosedPort {
        /// The node whose rules say so.
        node: String,
        /// The address.
        address: SocketAddr,
    },
    /// A load balancer's address, but not for this client.
    Forbidden {
        /// The node whose rules say so.
        node: String,
        /// The address.
        address: SocketAddr,
        /// Who asks.
        client: IpAddr,
    },
    /// Policies judge.
    Policy {
        /// At this node.
        node: String,
        /// Which way.
        side: Side,
        /// For the pod at this address.
        pod: IpAddr,
        /// The other end.
        peer: IpAddr,
        /// Where the connection goes.
        destination: SocketAddr,
        /// What they say.
        #[serde(flatten)]
        judgement: Judgement,
    },
    /// The address leads somewhere.
    Route {
        /// From this node.
        node: String,
        /// The address.
        address: SocketAddr,
        /// Where to.
        way: Leads,
        /// The pods' range that it is in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        range: Option<Cidr>,
    },
    /// It arrives.
    Port {
        /// At this node.
        node: String,
        /// Namespace and name of the pod; None: the node itself, or nobody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pod: Option<(String, String)>,
        /// The address.
        address: SocketAddr,
        /// Nobody has the address.
        nobody: bool,
        /// Whether somebody listens.
        listening: bool,
    },
    /// A node that cannot be asked.
    Silent {
        /// Which.
        node: String,
    },
    /// It went round in circles.
    Loop {
        /// Where it was given up.
        node: String,
    },
}

/// A connection's way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// The steps.
    pub hops: Vec<Hop>,
    /// The end.
    pub outcome: Outcome,
}

impl Trace {
    pub(super) fn end(hop: Hop, outcome: Outcome) -> Self {
        Self { hops: vec![hop], outcome }
    }

    pub(super) fn after(mut self, mut hops: Vec<Hop>) -> Self {
        hops.append(&mut self.hops);
        Self { hops, ..self }
    }
}
