//! The way from the API server to the kubelets: logs, exec, attach, port-forward.
//!
//! A kubelet serves the same `Streams` as the API server does, to the API server alone. Where, it says on its Node, in
//! the annotation [`ENDPOINT_ANNOTATION`]: `unix:///path` or `127.X.Y.N:port`, the latter with TLS, to which the API server
//! shows its client certificate `kube-apiserver-kubelet-client`. (Kubernetes dials the Node's InternalIP and
//! `daemonEndpoints.kubeletEndpoint.Port`; our InternalIPs are virtual.) A cluster inside one process plugs in a
//! [`KubeletDialer`] of its own.

use std::{collections::HashMap, path::PathBuf};

use apimachinery::{object::Object, status::Status};
use component_base::{
    tls::KeyPair,
    transport::{Endpoint, TlsEndpoint, channel},
};
use parking_lot::Mutex;
use proto::v1::PodRef;
use serde_json::Value;
use tonic::transport::Channel;

/// Where a kubelet says how it is reached.
pub const ENDPOINT_ANNOTATION: &str = "kube-mini.dev/kubelet-endpoint";

/// Reaches kubelets.
pub trait KubeletDialer: Send + Sync + 'static {
    /// A channel to the kubelet of this Node; it connects when it is used.
    ///
    /// # Errors
    /// When the Node does not say how.
    fn dial(&self, node: &Object) -> Result<Channel, Status>;
}

/// Dials what the Node's annotation says, one channel for each address.
pub struct NodeAnnotationDialer {
    ca_pem: String,
    client: Option<KeyPair>,
    channels: Mutex<HashMap<String, Channel>>,
}

/// Beyond this many addresses the channels start afresh: kubelets that come back get new ports.
const MAX_CHANNELS: usize = 4096;

impl NodeAnnotationDialer {
    /// A dialer that trusts this authority and shows this certificate.
    #[must_use]
    pub fn new(ca_pem: String, client: Option<KeyPair>) -> Self {
        Self { ca_pem, client, channels: Mutex::default() }
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, Status> {
        if let Some(path) = address.strip_prefix("unix://") {
            return Ok(Endpoint::Unix { path: PathBuf::from(path) });
        }
        TlsEndpoint::new(address, &self.ca_pem, self.client.as_ref())
            .map(Endpoint::Tls)
            .map_err(|error| Status::internal(format!("error dialing backend: {error}")))
    }
}

impl KubeletDialer for NodeAnnotationDialer {
    fn dial(&self, node: &Object) -> Result<Channel, Status> {
        let address = node.annotation(ENDPOINT_ANNOTATION).ok_or_else(|| {
            Status::internal(format!(
                "error dialing backend: node {} does not say how its kubelet is reached",
                node.name()
            ))
        })?;
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        if channels.len() >= MAX_CHANNELS {
            channels.clear();
        }
        let channel = channel(&self.endpoint(address)?);
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

/// What a stream is about.
#[derive(Debug)]
pub(crate) struct StreamTarget {
    /// The pod, its container and uid filled in.
    pub(crate) pod: PodRef,
    /// Its Node; None while it is not bound to one.
    pub(crate) node: Option<Object>,
}

/// A stream to a pod that no node runs.
pub(crate) fn no_host(pod: &str) -> Status {
    Status::bad_request(format!("pod {pod} does not have a host assigned"))
}

/// The container that a stream means: the one named, the annotated default, the only one.
///
/// # Errors
/// Bad request, in Kubernetes' words, when it is not clear or not there.
pub(crate) fn container_of(pod: &Object, requested: &str) -> Result<String, Status> {
    let names = |list: &str| -> Vec<&str> {
        pod.get_list(&["spec", list])
            .iter()
            .filter_map(|container| container.get("name").and_then(Value::as_str))
            .collect()
    };
    let (containers, init) = (names("containers"), names("initContainers"));
    let name = pod.name();
    if !requested.is_empty() {
        let known = containers.iter().chain(&init).any(|other| *other == requested)
            || names("ephemeralContainers").contains(&requested);
        return if known {
            Ok(requested.to_owned())
        } else {
            Err(Status::bad_request(format!("container {requested} is not valid for pod {name}")))
        };
    }
    if let Some(default) = pod.annotation("kubectl.kubernetes.io/default-container")
        && containers.contains(&default)
    {
        return Ok(default.to_owned());
    }
    match containers.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => {
            Err(Status::bad_request(format!("a container name must be specified for pod {name}")))
        }
        several => {
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                several.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(Status::bad_request(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_container_is_clear_or_asked_for() {
        let pod = |containers: &[&str], annotation: Option<&str>| {
            let containers: Vec<_> = containers.iter().map(|name| json!({"name": name})).collect();
            let mut pod = Object::from_value(json!({"metadata": {"name": "web"}, "spec": {
                "containers": containers, "initContainers": [{"name": "init"}]}}))
            .unwrap();
            if let Some(name) = annotation {
                pod.set(
                    &["metadata", "annotations", "kubectl.kubernetes.io/default-container"],
                    name,
                );
            }
            pod
        };
        let check = |pod: Object, requested: &str, expected: Result<&str, &str>| {
            let found = container_of(&pod, requested);
            let found = found.as_deref().map_err(|status| status.message.as_str());
            assert_eq!(found, expected);
        };
        check(pod(&["a"], None), "", Ok("a"));
        check(pod(&["a", "b"], None), "b", Ok("b"));
        check(pod(&["a", "b"], None), "init", Ok("init"));
        check(pod(&["a", "b"], Some("b")), "", Ok("b"));
        check(pod(&["a"], None), "x", Err("container x is not valid for pod web"));
        check(
            pod(&["a", "b"], None),
            "",
            Err(
                "a container name must be specified for pod web, choose one of: [a b] or one of the init containers: [init]",
            ),
        );
    }
}
