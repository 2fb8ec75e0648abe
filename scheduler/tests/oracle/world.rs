//! Clusters as plain values, and as the objects that the scheduler reads.

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub(crate) type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) namespaces: BTreeMap<String, Labels>,
    pub(crate) nodes: Vec<Node>,
    /// Pods that have their node.
    pub(crate) pods: Vec<Pod>,
    pub(crate) services: Vec<Workload>,
    pub(crate) replica_sets: Vec<Workload>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) taints: Vec<Taint>,
    pub(crate) cordoned: bool,
    pub(crate) milli_cpu: i64,
    pub(crate) memory: i64,
    pub(crate) pods: i64,
    /// `example.com/gpu`
    pub(crate) gpus: i64,
    /// Name and size.
    pub(crate) images: Vec<(String, i64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Taint {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) effect: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Toleration {
    pub(crate) key: String,
    pub(crate) exists: bool,
    pub(crate) value: String,
    pub(crate) effect: String,
}

/// A Service or a ReplicaSet.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) selector: Selector,
}

#[derive(Clone, Debug)]
pub(crate) struct Requirement {
    pub(crate) key: String,
    pub(crate) operator: &'static str,
    pub(crate) values: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    pub(crate) labels: Labels,
    pub(crate) expressions: Vec<Requirement>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct NodeTerm {
    pub(crate) expressions: Vec<Requirement>,
    pub(crate) fields: Vec<Requirement>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PodTerm {
    pub(crate) selector: Option<Selector>,
    pub(crate) namespaces: Vec<String>,
    pub(crate) namespace_selector: Option<Selector>,
    pub(crate) key: String,
    pub(crate) match_keys: Vec<String>,
    pub(crate) mismatch_keys: Vec<String>,
    /// For preferred terms.
    pub(crate) weight: i64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Spread {
    pub(crate) max_skew: i64,
    pub(crate) key: String,
    pub(crate) hard: bool,
    pub(crate) selector: Option<Selector>,
    pub(crate) min_domains: Option<i64>,
    pub(crate) ignores_affinity: bool,
    pub(crate) honors_taints: bool,
    pub(crate) match_keys: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Container {
    pub(crate) image: String,
    pub(crate) milli_cpu: Option<i64>,
    pub(crate) memory: Option<i64>,
    pub(crate) gpus: Option<i64>,
    /// Address, protocol, port.
    pub(crate) host_ports: Vec<(String, String, i64)>,
    /// An init container that goes on beside the others.
    pub(crate) sidecar: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) labels: Labels,
    pub(crate) node: Option<String>,
    pub(crate) terminating: bool,
    pub(crate) priority: i32,
    pub(crate) owner: Option<String>,
    pub(crate) init: Vec<Container>,
    pub(crate) containers: Vec<Container>,
    pub(crate) overhead: i64,
    pub(crate) node_selector: Labels,
    pub(crate) required_nodes: Option<Vec<NodeTerm>>,
    pub(crate) preferred_nodes: Vec<(i64, NodeTerm)>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) near: Vec<PodTerm>,
    pub(crate) near_preferred: Vec<PodTerm>,
    pub(crate) away: Vec<PodTerm>,
    pub(crate) away_preferred: Vec<PodTerm>,
    pub(crate) spread: Vec<Spread>,
}

pub(crate) fn namespace(name: &str, labels: &Labels) -> Value {
    json!({"metadata": {"name": name, "labels": labels}})
}

impl Node {
    pub(crate) fn to_json(&self) -> Value {
        let taints: Vec<Value> = self
            .taints
            .iter()
            .map(|t| json!({"key": t.key, "value": t.value, "effect": t.effect}))
            .collect();
        let images: Vec<Value> = self
            .images
            .iter()
            .map(|(name, size)| json!({"names": [name], "sizeBytes": size}))
            .collect();
        json!({
            "metadata": {"name": self.name, "labels": self.labels},
            "spec": {"taints": taints, "unschedulable": self.cordoned},
            "status": {"images": images, "allocatable": {
                "cpu": format!("{}m", self.milli_cpu), "memory": self.memory.to_string(),
                "pods": self.pods.to_string(), "example.com/gpu": self.gpus.to_string()}},
        })
    }
}

impl Workload {
    pub(crate) fn service_json(&self) -> Value {
        json!({"metadata": {"name": self.name, "namespace": self.namespace},
               "spec": {"selector": self.selector.labels}})
    }

    pub(crate) fn replica_set_json(&self) -> Value {
        json!({"metadata": {"name": self.name, "namespace": self.namespace},
               "spec": {"selector": self.selector.to_json()}})
    }
}

impl Requirement {
    fn to_json(&self) -> Value {
        json!({"key": self.key, "operator": self.operator, "values": self.values})
    }
}

fn requirements(all: &[Requirement]) -> Vec<Value> {
    all.iter().map(Requirement::to_json).collect()
}

impl Selector {
    fn to_json(&self) -> Value {
        json!({"matchLabels": self.labels, "matchExpressions": requirements(&self.expressions)})
    }
}

impl NodeTerm {
    fn to_json(&self) -> Value {
        json!({"matchExpressions": requirements(&self.expressions),
               "matchFields": requirements(&self.fields)})
    }
}

impl PodTerm {
    fn to_json(&self) -> Value {
        json!({
            "labelSelector": self.selector.as_ref().map(Selector::to_json),
            "namespaces": self.namespaces,
            "namespaceSelector": self.namespace_selector.as_ref().map(Selector::to_json),
            "topologyKey": self.key,
            "matchLabelKeys": self.match_keys,
            "mismatchLabelKeys": self.mismatch_keys,
        })
    }

    fn weighted(&self) -> Value {
        json!({"weight": self.weight, "podAffinityTerm": self.to_json()})
    }
}

impl Spread {
    fn to_json(&self) -> Value {
        json!({
            "maxSkew": self.max_skew,
            "topologyKey": self.key,
            "whenUnsatisfiable": if self.hard { "DoNotSchedule" } else { "ScheduleAnyway" },
            "labelSelector": self.selector.as_ref().map(Selector::to_json),
            "minDomains": self.min_domains,
            "nodeAffinityPolicy": if self.ignores_affinity { "Ignore" } else { "Honor" },
            "nodeTaintsPolicy": self.honors_taints.then_some("Honor"),
            "matchLabelKeys": self.match_keys,
        })
    }
}

impl Container {
    fn to_json(&self, at: usize) -> Value {
        let mut requests = json!({});
        let mut ask = |name: &str, amount: Option<String>| {
            if let Some(amount) = amount {
                requests[name] = amount.into();
            }
        };
        ask("cpu", self.milli_cpu.map(|milli| format!("{milli}m")));
        ask("memory", self.memory.map(|bytes| bytes.to_string()));
        ask("example.com/gpu", self.gpus.map(|gpus| gpus.to_string()));
        let ports: Vec<Value> = self
            .host_ports
            .iter()
            .map(|(ip, protocol, port)| {
                json!({"containerPort": port, "hostPort": port, "protocol": protocol, "hostIP": ip})
            })
            .collect();
        json!({
            "name": format!("c{at}"),
            "image": self.image,
            "restartPolicy": self.sidecar.then_some("Always"),
            "resources": {"requests": requests},
            "ports": ports,
        })
    }
}

impl Pod {
    pub(crate) fn to_json(&self) -> Value {
        let containers = |all: &[Container]| -> Vec<Value> {
            all.iter().enumerate().map(|(at, c)| c.to_json(at)).collect()
        };
        let tolerations: Vec<Value> = self
            .tolerations
            .iter()
            .map(|t| {
                let operator = if t.exists { "Exists" } else { "Equal" };
                json!({"key": t.key, "operator": operator, "value": t.value, "effect": t.effect})
            })
            .collect();
        let owners: Vec<Value> = self
            .owner
            .iter()
            .map(|name| {
                json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": name,
                       "controller": true})
            })
            .collect();
        let terms = |terms: &[PodTerm]| terms.iter().map(PodTerm::to_json).collect::<Vec<_>>();
        let wishes = |terms: &[PodTerm]| terms.iter().map(PodTerm::weighted).collect::<Vec<_>>();
        let required = self.required_nodes.as_ref().map(|terms| {
            json!({"nodeSelectorTerms": terms.iter().map(NodeTerm::to_json).collect::<Vec<_>>()})
        });
        let preferred: Vec<Value> = self
            .preferred_nodes
            .iter()
            .map(|(weight, term)| json!({"weight": weight, "preference": term.to_json()}))
            .collect();
        json!({
            "metadata": {
                "name": self.name, "namespace": self.namespace, "uid": self.name,
                "labels": self.labels, "ownerReferences": owners,
                "deletionTimestamp": self.terminating.then_some("2026-01-01T00:00:00Z"),
            },
            "spec": {
                "nodeName": self.node,
                "priority": self.priority,
                "initContainers": containers(&self.init),
                "containers": containers(&self.containers),
                "overhead": {"cpu": format!("{}m", self.overhead)},
                "nodeSelector": self.node_selector,
                "tolerations": tolerations,
                "topologySpreadConstraints":
                    self.spread.iter().map(Spread::to_json).collect::<Vec<_>>(),
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": required,
                        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
                    },
                    "podAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": terms(&self.near),
                        "preferredDuringSchedulingIgnoredDuringExecution":
                            wishes(&self.near_preferred),
                    },
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": terms(&self.away),
                        "preferredDuringSchedulingIgnoredDuringExecution":
                            wishes(&self.away_preferred),
                    },
                },
            },
        })
    }
}
