//! The Node authorizer: a kubelet reaches what the pods bound to its node need, and no more.
//!
//! Follows `plugin/pkg/auth/authorizer/node`. Kubernetes keeps a graph of all pods' references; here the watch cache
//! indexes pods by node, and each cached pod remembers what it refers to, so a question walks the node's own pods.

use apimachinery::{fields, object::Object};
use serde_json::Value;

use super::{Attributes, rbac::PolicyRule};
use crate::request::UserInfo;

/// Prefix of a node's user name.
const USER_PREFIX: &str = "system:node:";

/// The name of the node that this user is; None for anybody else.
#[must_use]
pub fn node_name(user: &UserInfo) -> Option<&str> {
    let name = user.name.strip_prefix(USER_PREFIX)?;
    user.groups.iter().any(|group| group == "system:nodes").then_some(name)
}

/// A kind that pods refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Referent {
    /// A pod of the node itself.
    Pod,
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
    /// A PersistentVolumeClaim.
    Claim,
    /// A ServiceAccount.
    ServiceAccount,
}

/// What the pods of a node refer to.
pub trait PodReferences: Send + Sync {
    /// Whether a pod that is bound to `node` and lives in `namespace` refers to the object.
    fn refers(&self, node: &str, kind: Referent, namespace: &str, name: &str) -> bool;
}

/// Everything in its namespace that one pod refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    secrets: Vec<String>,
    config_maps: Vec<String>,
    claims: Vec<String>,
    service_account: String,
}

impl References {
    /// Collects a pod's references. A mirror pod has none: a kubelet must not give itself rights.
    #[must_use]
    pub fn of(pod: &Object) -> Self {
        let mut found = Self::default();
        if pod.annotation("kubernetes.io/config.mirror").is_some() {
            return found;
        }
        pod.get_str(&["spec", "serviceAccountName"]).clone_into(&mut found.service_account);
        for secret in pod.get_list(&["spec", "imagePullSecrets"]) {
            push(&mut found.secrets, secret.get("name"));
        }
        for volume in pod.get_list(&["spec", "volumes"]) {
            found.add_volume(volume);
        }
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            for container in pod.get_list(&["spec", list]) {
                found.add_container(container);
            }
        }
        found
    }

    fn add_volume(&mut self, volume: &Value) {
        push(&mut self.secrets, volume.pointer("/secret/secretName"));
        push(&mut self.config_maps, volume.pointer("/configMap/name"));
        push(&mut self.claims, volume.pointer("/persistentVolumeClaim/claimName"));
        push(&mut self.secrets, volume.pointer("/csi/nodePublishSecretRef/name"));
        push(&mut self.secrets, volume.pointer("/azureFile/secretName"));
        for source in ["cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"] {
            push(
                &mut self.secrets,
                volume.get(source).and_then(|source| source.pointer("/secretRef/name")),
            );
        }
        let sources = volume.pointer("/projected/sources").and_then(Value::as_array);
        for source in sources.into_iter().flatten() {
            push(&mut self.secrets, source.pointer("/secret/name"));
            push(&mut self.config_maps, source.pointer("/configMap/name"));
        }
    }

    fn add_container(&mut self, container: &Value) {
        let list = |key| container.get(key).and_then(Value::as_array).into_iter().flatten();
        for env in list("env") {
            push(&mut self.secrets, env.pointer("/valueFrom/secretKeyRef/name"));
            push(&mut self.config_maps, env.pointer("/valueFrom/configMapKeyRef/name"));
        }
        for env in list("envFrom") {
            push(&mut self.secrets, env.pointer("/secretRef/name"));
            push(&mut self.config_maps, env.pointer("/configMapRef/name"));
        }
    }

    /// Whether the object is among them.
    #[must_use]
    pub fn contain(&self, kind: Referent, name: &str) -> bool {
        match kind {
            Referent::Pod => false,
            Referent::Secret => self.secrets.iter().any(|other| other == name),
            Referent::ConfigMap => self.config_maps.iter().any(|other| other == name),
            Referent::Claim => self.claims.iter().any(|other| other == name),
            Referent::ServiceAccount => self.service_account == name,
        }
    }
}

fn push(names: &mut Vec<String>, name: Option<&Value>) {
    if let Some(name) = name.and_then(Value::as_str)
        && !name.is_empty()
    {
        names.push(name.to_owned());
    }
}

/// Decides for nodes; the static rules are those of the role `system:node`.
#[derive(Debug)]
pub struct NodeAuthorizer {
    rules: Vec<PolicyRule>,
}

impl Default for NodeAuthorizer {
    fn default() -> Self {
        Self { rules: super::bootstrap_policy::node_rules().collect() }
    }
}

impl NodeAuthorizer {
    /// Allows, or gives the reason for no opinion. `selector` is the field selector of a list or watch.
    ///
    /// # Errors
    /// The reason why the node may not, as Kubernetes words it.
    pub fn authorize(
        &self,
        node: &str,
        attributes: &Attributes<'_>,
        selector: Option<&fields::Selector>,
        pods: &dyn PodReferences,
    ) -> Result<(), String> {
        if let Attributes::Resource { verb, group, resource, subresource, namespace, name } =
            *attributes
        {
            let related = |kind| {
                if name.is_empty() {
                    return Err("No Object name found".to_owned());
                }
                if pods.refers(node, kind, namespace, name) {
                    return Ok(());
                }
                Err(format!("no relationship found between node '{node}' and this object"))
            };
            let read = |kind| match verb {
                "get" | "list" | "watch" if !subresource.is_empty() => {
                    Err("cannot read subresource".to_owned())
                }
                "get" | "list" | "watch" if namespace.is_empty() => {
                    Err("can only read namespaced object of this type".to_owned())
                }
                "get" | "list" | "watch" => related(kind),
                _ => Err("can only read resources of this type".to_owned()),
            };
            let get = |kind| match (verb, subresource) {
                ("get", "") => related(kind),
                ("get", _) => Err("cannot get subresource".to_owned()),
                _ => Err("can only get individual resources of this type".to_owned()),
            };
            match (group, resource) {
                ("", "secrets") => return read(Referent::Secret),
                ("", "configmaps") => return read(Referent::ConfigMap),
                ("", "serviceaccounts") if subresource == "token" => {
                    if verb != "create" {
                        return Err("can only create tokens for individual service accounts".into());
                    }
                    return related(Referent::ServiceAccount);
                }
                ("", "serviceaccounts") => return get(Referent::ServiceAccount),
                ("", "persistentvolumeclaims") if subresource == "status" => match verb {
                    "update" | "patch" => return related(Referent::Claim),
                    _ => return Err("can only update and patch PVC status".into()),
                },
                ("", "persistentvolumeclaims") => return get(Referent::Claim),
                ("", "nodes") => {
                    if let Some(decision) = authorize_node(node, verb, subresource, name) {
                        return decision;
                    }
                }
                ("", "pods") => {
                    if let Some(decision) =
                        authorize_pod(node, verb, subresource, selector, &related)
                    {
                        return decision;
                    }
                }
                ("coordination.k8s.io", "leases") => {
                    return authorize_lease(node, verb, namespace, name);
                }
                _ => {}
            }
        }
        if self.rules.iter().any(|rule| rule.allows(attributes)) {
            Ok(())
        } else {
            Err(String::new())
        }
    }
}

fn authorize_node(
    node: &str,
    verb: &str,
    subresource: &str,
    name: &str,
) -> Option<Result<(), String>> {
    match (subresource, verb) {
        // NodeRestriction keeps it to the node's own object.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Some(Ok(())),
        ("", "get" | "list" | "watch") => Some(match name {
            _ if name == node => Ok(()),
            "" => Err(format!("node '{node}' cannot read all nodes, only its own Node object")),
            _ => Err(format!("node '{node}' cannot read '{name}', only its own Node object")),
        }),
        _ => None,
    }
}

fn authorize_pod(
    node: &str,
    verb: &str,
    subresource: &str,
    selector: Option<&fields::Selector>,
    related: &dyn Fn(Referent) -> Result<(), String>,
) -> Option<Result<(), String>> {
    match (subresource, verb) {
        ("", "get") => Some(related(Referent::Pod)),
        ("", "list" | "watch") => Some(
            if selector.and_then(|selector| selector.requires_exact_match("spec.nodeName"))
                == Some(node)
            {
                Ok(())
            } else {
                Err("can only list/watch pods with spec.nodeName field selector".to_owned())
            },
        ),
        // NodeRestriction keeps these to the node's own pods.
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
            Some(Ok(()))
        }
        _ => None,
    }
}

fn authorize_lease(node: &str, verb: &str, namespace: &str, name: &str) -> Result<(), String> {
    if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a node lease".into());
    }
    if namespace != "kube-node-lease" {
        return Err("can only access leases in the \"kube-node-lease\" system namespace".into());
    }
    // The name of a new lease is in its body: admission looks at it.
    if verb != "create" && name != node {
        return Err("can only access node lease with the same name as the requesting node".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct One(References);

    impl PodReferences for One {
        fn refers(&self, node: &str, kind: Referent, namespace: &str, name: &str) -> bool {
            node == "node-1"
                && namespace == "default"
                && (self.0.contain(kind, name) || (kind == Referent::Pod && name == "web"))
        }
    }

    fn pods() -> One {
        One(References::of(
            &Object::from_value(json!({"spec": {
                "serviceAccountName": "web",
                "imagePullSecrets": [{"name": "pull"}],
                "volumes": [
                    {"secret": {"secretName": "vol"}},
                    {"projected": {"sources": [{"configMap": {"name": "proj"}}]}},
                    {"rbd": {"secretRef": {"name": "rbd"}}}],
                "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}],
                    "envFrom": [{"configMapRef": {"name": "from"}}]}],
            }}))
            .unwrap(),
        ))
    }

    #[test]
    fn nodes_reach_what_their_pods_need() {
        let authorizer = NodeAuthorizer::default();
        let pods = pods();
        let check = |node: &str,
                     verb: &str,
                     target: &str,
                     namespace: &str,
                     name: &str,
                     expected: Result<(), &str>| {
            let (path, selector) = target.split_once('?').unwrap_or((target, ""));
            let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
            let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
            let attributes =
                Attributes::Resource { verb, group, resource, subresource, namespace, name };
            let selector = fields::Selector::parse(selector).unwrap();
            assert_eq!(
                authorizer.authorize(node, &attributes, Some(&selector), &pods),
                expected.map_err(ToString::to_string),
                "{node} {verb} {target} {namespace}/{name}"
            );
        };
        let unrelated = Err("no relationship found between node 'node-1' and this object");
        for secret in ["pull", "vol", "env", "rbd"] {
            check("node-1", "get", "secrets", "default", secret, Ok(()));
        }
        check("node-1", "get", "secrets", "default", "other", unrelated);
        check("node-1", "get", "secrets", "kube-system", "vol", unrelated);
        check("node-1", "list", "secrets", "default", "", Err("No Object name found"));
        check(
            "node-1",
            "update",
            "secrets",
            "default",
            "vol",
            Err("can only read resources of this type"),
        );
        check("node-1", "get", "configmaps", "default", "proj", Ok(()));
        check("node-1", "watch", "configmaps", "default", "from", Ok(()));
        check(
            "node-1",
            "get",
            "nodes",
            "",
            "node-2",
            Err("node 'node-1' cannot read 'node-2', only its own Node object"),
        );
        check("node-1", "get", "nodes", "", "node-1", Ok(()));
        check("node-1", "patch", "nodes/status", "", "node-1", Ok(()));
        check(
            "node-1",
            "list",
            "pods",
            "",
            "",
            Err("can only list/watch pods with spec.nodeName field selector"),
        );
        check("node-1", "list", "pods?spec.nodeName=node-1", "", "", Ok(()));
        check("node-1", "get", "pods", "default", "web", Ok(()));
        check(
            "node-1",
            "update",
            "leases.coordination.k8s.io",
            "kube-node-lease",
            "node-1",
            Ok(()),
        );
        check(
            "node-1",
            "update",
            "leases.coordination.k8s.io",
            "kube-node-lease",
            "node-2",
            Err("can only access node lease with the same name as the requesting node"),
        );
        check("node-1", "list", "services", "", "", Ok(()));
        check("node-1", "delete", "services", "default", "x", Err(""));
    }
}
