//! A kubelet writes its own Node, its own Lease and the status of its own pods, and asks for its own certificates.

use apimachinery::{
    api::ByteString,
    certificates::{KUBE_APISERVER_CLIENT_KUBELET, KUBELET_SERVING},
    object::Object,
    status::Status,
};
use component_base::tls::CertificateRequest;
use serde_json::Value;

use super::{Operation, Review};
use crate::authorization::node::node_name;

const MIRROR: &str = "kubernetes.io/config.mirror";
/// Labels of Kubernetes' own domains that a kubelet may set on its Node.
const OWN_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

pub(super) fn admit(review: &mut Review<'_>) -> Result<(), Status> {
    let Some(node) = node_name(&review.context.user) else { return Ok(()) };
    let node = node.to_owned();
    if node.is_empty() {
        return Err(review.forbidden(format!(
            "could not determine node from user \"{}\"",
            review.context.user.name
        )));
    }
    let problem = match (review.context.resource.group, review.context.resource.resource) {
        ("", "pods") => pod(review, &node),
        ("", "nodes") => own_node(review, &node),
        ("coordination.k8s.io", "leases") => lease(review, &node),
        ("certificates.k8s.io", "certificatesigningrequests") => own_certificate(review, &node),
        _ => None,
    };
    problem.map_or(Ok(()), |problem| Err(review.forbidden(problem)))
}

fn pod(review: &Review<'_>, node: &str) -> Option<String> {
    let current = review.old.unwrap_or(review.object);
    let own = current.get_str(&["spec", "nodeName"]) == node;
    match (review.context.subresource.as_str(), review.operation) {
        ("", Operation::Create) => {
            let pod = &review.object;
            if pod.annotation(MIRROR).is_none() {
                return Some(format!(
                    "pod does not have \"{MIRROR}\" annotation, node \"{node}\" can only create mirror pods"
                ));
            }
            (pod.get_str(&["spec", "nodeName"]) != node).then(|| {
                format!("node \"{node}\" can only create pods with spec.nodeName set to itself")
            })
        }
        ("", Operation::Delete) => (!own).then(|| {
            format!("node \"{node}\" can only delete pods with spec.nodeName set to itself")
        }),
        ("status", Operation::Update) => {
            if !own {
                return Some(format!(
                    "node \"{node}\" can only update pod status for pods with spec.nodeName set to itself"
                ));
            }
            let labels = |pod: &Object| pod.get(&["metadata", "labels"]).cloned();
            (review.old.map(labels) != Some(labels(review.object)))
                .then(|| format!("node \"{node}\" cannot update labels through pod status"))
        }
        // Without a pod the request fails by itself.
        ("eviction", Operation::Create) => (review.old.is_some() && !own)
            .then(|| format!("node {node} can only evict pods with spec.nodeName set to itself")),
        (subresource, operation) => Some(format!(
            "unexpected operation {} on pod subresource \"{subresource}\"",
            operation_name(operation)
        )),
    }
}

fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "\"CREATE\"",
        Operation::Update => "\"UPDATE\"",
        Operation::Delete => "\"DELETE\"",
    }
}

fn own_node(review: &Review<'_>, node: &str) -> Option<String> {
    let name = match review.operation {
        Operation::Create => review.object.name(),
        _ => &review.context.name,
    };
    if name != node {
        return Some(format!("node \"{node}\" is not allowed to modify node \"{name}\""));
    }
    if review.operation == Operation::Delete {
        return None;
    }
    let old = review.old;
    if let Some(old) = old
        && review.context.subresource.is_empty()
        && taints(old) != taints(review.object)
    {
        return Some(format!("node \"{node}\" is not allowed to modify taints"));
    }
    if old.is_some_and(|old| owners(old) != owners(review.object)) {
        return Some(format!("node \"{node}\" is not allowed to modify ownerReferences"));
    }
    let forbidden: Vec<&str> = changed_labels(review.object, old)
        .into_iter()
        .filter(|label| is_forbidden_label(label))
        .collect();
    if forbidden.is_empty() {
        return None;
    }
    let verb = if old.is_some() { "modify" } else { "set the following" };
    Some(format!("node \"{node}\" is not allowed to {verb} labels: {}", forbidden.join(", ")))
}

fn taints(node: &Object) -> &[Value] {
    node.get_list(&["spec", "taints"])
}

fn owners(node: &Object) -> &[Value] {
    node.get_list(&["metadata", "ownerReferences"])
}

fn changed_labels<'a>(node: &'a Object, old: Option<&'a Object>) -> Vec<&'a str> {
    let before = |key: &str| old.and_then(|old| old.label(key));
    let mut changed: Vec<&str> = node
        .labels()
        .filter(|(key, value)| before(key) != Some(value))
        .map(|(key, _)| key)
        .chain(
            old.into_iter()
                .flat_map(Object::labels)
                .map(|(key, _)| key)
                .filter(|key| node.label(key).is_none()),
        )
        .collect();
    changed.sort_unstable();
    changed.dedup();
    changed
}

/// Labels of Kubernetes' domains steer where workloads go, so only those that describe the machine are free.
fn is_forbidden_label(label: &str) -> bool {
    let Some((namespace, _)) = label.split_once('/') else { return false };
    let within = |domain: &str| {
        namespace == domain
            || namespace.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    };
    if within("node-restriction.kubernetes.io") {
        return true;
    }
    (within("kubernetes.io") || within("k8s.io"))
        && !OWN_LABELS.contains(&label)
        && !within("kubelet.kubernetes.io")
        && !within("node.kubernetes.io")
}

/// A kubelet asks for certificates of its own node alone.
fn own_certificate(review: &Review<'_>, node: &str) -> Option<String> {
    let spec = |field| review.object.get_str(&["spec", field]);
    let kubelets = [KUBELET_SERVING, KUBE_APISERVER_CLIENT_KUBELET];
    if review.operation != Operation::Create || !kubelets.contains(&spec("signerName")) {
        return None;
    }
    let bytes = ByteString::decode(spec("request")).unwrap_or_default();
    match CertificateRequest::from_pem(&bytes.0) {
        Err(why) => Some(format!("unable to parse csr: {why}")),
        Ok(request) => {
            let own = format!("system:node:{node}");
            (request.subject.common_name != own)
                .then(|| format!("can only create a node CSR with CN={own}"))
        }
    }
}

fn lease(review: &Review<'_>, node: &str) -> Option<String> {
    if review.context.namespace != "kube-node-lease" {
        return Some(
            "can only access leases in the \"kube-node-lease\" system namespace".to_owned(),
        );
    }
    let name = match review.operation {
        Operation::Create => review.object.name(),
        _ => &review.context.name,
    };
    (name != node)
        .then(|| "can only access node lease with the same name as the requesting node".to_owned())
}
