//! Which nodes a pod may run on, as Kubernetes documents it.

use std::collections::BTreeMap;

use crate::world::{
    Container, Labels, Node, NodeTerm, Pod, PodTerm, Requirement, Selector, Spread, Taint,
    Toleration, World,
};

/// Whether the pod may run on the node.
pub(crate) fn fits(world: &World, pod: &Pod, node: &Node) -> bool {
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        value: String::new(),
        effect: "NoSchedule".into(),
    };
    (!node.cordoned || pod.tolerations.iter().any(|t| tolerates(t, &cordon)))
        && tolerated(pod, node)
        && selected(pod, node)
        && ports_free(world, pod, node)
        && room(world, pod, node)
        && evenly(world, pod, node)
        && company(world, pod, node)
}

pub(crate) fn on<'a>(world: &'a World, node: &'a Node) -> impl Iterator<Item = &'a Pod> {
    world.pods.iter().filter(|pod| pod.node.as_deref() == Some(&node.name))
}

pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.is_empty() || toleration.effect == taint.effect;
    let key =
        if toleration.key.is_empty() { toleration.exists } else { toleration.key == taint.key };
    effect && key && (toleration.exists || toleration.value == taint.value)
}

fn tolerated(pod: &Pod, node: &Node) -> bool {
    node.taints.iter().all(|taint| {
        taint.effect == "PreferNoSchedule" || pod.tolerations.iter().any(|t| tolerates(t, taint))
    })
}

fn holds(requirement: &Requirement, value: Option<&String>) -> bool {
    let listed = value.is_some_and(|value| requirement.values.contains(value));
    let numbers = || -> Option<(i64, i64)> {
        Some((value?.parse().ok()?, requirement.values.first()?.parse().ok()?))
    };
    match requirement.operator {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(value, bound)| value > bound),
        "Lt" => numbers().is_some_and(|(value, bound)| value < bound),
        other => panic!("operator {other}"),
    }
}

pub(crate) fn selects(selector: &Selector, labels: &Labels) -> bool {
    selector.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && selector.expressions.iter().all(|r| holds(r, labels.get(&r.key)))
}

/// A term without any requirement selects nothing.
pub(crate) fn node_term(term: &NodeTerm, node: &Node) -> bool {
    let some = !term.expressions.is_empty() || !term.fields.is_empty();
    some && term.expressions.iter().all(|r| holds(r, node.labels.get(&r.key)))
        && term.fields.iter().all(|r| holds(r, Some(&node.name)))
}

/// nodeSelector and required node affinity.
pub(crate) fn selected(pod: &Pod, node: &Node) -> bool {
    pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        && pod
            .required_nodes
            .as_ref()
            .is_none_or(|terms| terms.iter().any(|term| node_term(term, node)))
}

fn ports(pod: &Pod) -> impl Iterator<Item = &(String, String, i64)> {
    let sidecars = pod.init.iter().filter(|c| c.sidecar);
    pod.containers.iter().chain(sidecars).flat_map(|c| &c.host_ports)
}

fn ports_free(world: &World, pod: &Pod, node: &Node) -> bool {
    let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
    !on(world, node).any(|other| {
        ports(other).any(|(ip, protocol, port)| {
            ports(pod).any(|(wanted_ip, wanted_protocol, wanted)| {
                wanted == port
                    && wanted_protocol == protocol
                    && (any(ip) || any(wanted_ip) || ip == wanted_ip)
            })
        })
    })
}

/// What the pod needs of one resource at its worst moment.
pub(crate) fn need(pod: &Pod, of: &dyn Fn(&Container) -> i64) -> i64 {
    let sidecars: i64 = pod.init.iter().filter(|c| c.sidecar).map(of).sum();
    let running: i64 = pod.containers.iter().map(of).sum::<i64>() + sidecars;
    let starting = (0..pod.init.len()).map(|at| {
        let before: i64 = pod.init[..at].iter().filter(|c| c.sidecar).map(of).sum();
        before + of(&pod.init[at])
    });
    starting.max().unwrap_or(0).max(running)
}

pub(crate) fn cpu(pod: &Pod) -> i64 {
    need(pod, &|c| c.milli_cpu.unwrap_or(0)) + pod.overhead
}

pub(crate) fn memory(pod: &Pod) -> i64 {
    need(pod, &|c| c.memory.unwrap_or(0))
}

fn room(world: &World, pod: &Pod, node: &Node) -> bool {
    let gpus = |pod: &Pod| need(pod, &|c| c.gpus.unwrap_or(0));
    let enough = |of: &dyn Fn(&Pod) -> i64, capacity: i64| {
        let used: i64 = on(world, node).map(of).sum();
        of(pod) == 0 || used + of(pod) <= capacity
    };
    let count = i64::try_from(on(world, node).count()).unwrap();
    count < node.pods
        && enough(&cpu, node.milli_cpu)
        && enough(&memory, node.memory)
        && enough(&gpus, node.gpus)
}

/// Whether a term of `owner` means `other`.
pub(crate) fn means(world: &World, term: &PodTerm, owner: &Pod, other: &Pod) -> bool {
    let Some(selector) = &term.selector else { return false };
    let namespace = if term.namespaces.is_empty() && term.namespace_selector.is_none() {
        owner.namespace == other.namespace
    } else {
        let labels = world.namespaces.get(&other.namespace).cloned().unwrap_or_default();
        term.namespaces.contains(&other.namespace)
            || term.namespace_selector.as_ref().is_some_and(|s| selects(s, &labels))
    };
    let same = |key: &String| {
        owner.labels.get(key).is_none_or(|value| other.labels.get(key) == Some(value))
    };
    let different = |key: &String| {
        owner.labels.get(key).is_none_or(|value| other.labels.get(key) != Some(value))
    };
    namespace
        && selects(selector, &other.labels)
        && term.match_keys.iter().all(same)
        && term.mismatch_keys.iter().all(different)
}

/// Whether both nodes are in one domain of this key.
pub(crate) fn together(a: &Node, b: &Node, key: &str) -> bool {
    a.labels.get(key).is_some_and(|value| b.labels.get(key) == Some(value))
}

/// Each pod with its node.
pub(crate) fn placed(world: &World) -> impl Iterator<Item = (&Pod, &Node)> {
    world.pods.iter().filter_map(|pod| {
        let node = world.nodes.iter().find(|n| Some(&n.name) == pod.node.as_ref())?;
        Some((pod, node))
    })
}

fn company(world: &World, pod: &Pod, node: &Node) -> bool {
    let wanted = |other: &Pod| pod.near.iter().all(|term| means(world, term, pod, other));
    let near = |term: &PodTerm| {
        placed(world).any(|(other, there)| wanted(other) && together(there, node, &term.key))
    };
    // Nobody of the group is there yet, as far as the domains tell, and this pod is one of the group.
    let first = || {
        wanted(pod)
            && !placed(world).any(|(other, there)| {
                wanted(other) && pod.near.iter().any(|t| there.labels.contains_key(&t.key))
            })
    };
    let labelled = pod.near.iter().all(|term| node.labels.contains_key(&term.key));
    let disturbed = placed(world).any(|(other, there)| {
        pod.away.iter().any(|t| means(world, t, pod, other) && together(there, node, &t.key))
            || other
                .away
                .iter()
                .any(|t| means(world, t, other, pod) && together(there, node, &t.key))
    });
    (pod.near.is_empty() || labelled && (pod.near.iter().all(near) || first())) && !disturbed
}

/// Whether a constraint of `pod` counts `other`.
pub(crate) fn counts(spread: &Spread, pod: &Pod, other: &Pod) -> bool {
    let same =
        |key: &String| pod.labels.get(key).is_none_or(|value| other.labels.get(key) == Some(value));
    spread.selector.as_ref().is_some_and(|s| selects(s, &other.labels))
        && spread.match_keys.iter().all(same)
}

/// Whether the pods of a node count for a constraint.
pub(crate) fn included(spread: &Spread, pod: &Pod, node: &Node) -> bool {
    (spread.ignores_affinity || selected(pod, node))
        && (!spread.honors_taints || tolerated(pod, node))
}

/// How many pods on the node a constraint counts.
pub(crate) fn count(world: &World, spread: &Spread, pod: &Pod, node: &Node) -> i64 {
    let counted = on(world, node).filter(|other| {
        other.namespace == pod.namespace && !other.terminating && counts(spread, pod, other)
    });
    i64::try_from(counted.count()).unwrap()
}

fn evenly(world: &World, pod: &Pod, node: &Node) -> bool {
    let hard: Vec<&Spread> = pod.spread.iter().filter(|s| s.hard).collect();
    let has_all = |node: &&Node| hard.iter().all(|s| node.labels.contains_key(&s.key));
    hard.iter().all(|spread| {
        let Some(here) = node.labels.get(&spread.key) else { return false };
        let mut domains: BTreeMap<&String, i64> = BTreeMap::new();
        for other in world.nodes.iter().filter(has_all).filter(|n| included(spread, pod, n)) {
            *domains.entry(&other.labels[&spread.key]).or_default() +=
                count(world, spread, pod, other);
        }
        let enough = i64::try_from(domains.len()).unwrap() >= spread.min_domains.unwrap_or(1);
        let least = if enough { domains.values().copied().min().unwrap_or(0) } else { 0 };
        let itself = i64::from(counts(spread, pod, pod));
        domains.get(here).copied().unwrap_or(0) + itself - least <= spread.max_skew
    })
}
