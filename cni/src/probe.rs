//! A try: what a pod, or a node, is asked to resolve and to connect to, and what came of it. Plain data: an agent of the
//! node makes the try, [`trace`](crate::trace) is compared with it.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{rules::Protocol, trace::Outcome};

/// What to try.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ProbeSpec {
    /// As which pod of the node; None: as the node itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodName>,
    /// A name to resolve, as the pod's programs would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An address to connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<ConnectSpec>,
    /// How long all of it may take; none: five seconds, which is also the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_milliseconds: Option<u64>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A connection, or a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectSpec {
    /// Where to.
    pub address: SocketAddr,
    /// By which protocol. A datagram is empty.
    pub protocol: Protocol,
    /// Sends a GET over the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGet>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpGet {
    /// The `Host` header.
    pub host: String,
    /// The path, with its query.
    pub path: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbeStatus {
    /// Of the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<NameStatus>,
    /// Of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<ConnectStatus>,
}

/// How a name was resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NameStatus {
    /// The pod's `/etc/resolv.conf`; empty: there is nobody to ask.
    pub resolv_conf: String,
    /// The hosts file knows it.
    pub from_hosts: bool,
    /// What was asked for, one after the other; the last one has decided.
    pub steps: Vec<NameStep>,
}

/// One full name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NameStep {
    /// The name.
    pub name: String,
    /// Its addresses; none: see `error`.
    pub addresses: Vec<IpAddr>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl NameStatus {
    /// The addresses that the name has.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        self.steps.last().map(|step| step.addresses.as_slice()).unwrap_or_default()
    }
}

/// How a connection went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectStatus {
    /// Its end. (`TimedOut` of a datagram: there was no answer, which may mean nothing.)
    pub outcome: Outcome,
    /// The endpoint behind a Service address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
    /// How long it took.
    pub microseconds: u64,
    /// The error, as the system words it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was answered to the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAnswer>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpAnswer {
    /// Its status; 0: there was none.
    pub status: u16,
    /// The beginning of its body.
    pub body: String,
    /// Why there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
