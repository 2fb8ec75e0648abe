//! What each node is worth to a pod, as Kubernetes documents it: the default plugins with their weights.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    rules::{self, count, cpu, included, means, memory, need, node_term, on, placed, selects},
    world::{Labels, Node, Pod, PodTerm, Requirement, Selector, Spread, World},
};

const MIB: i64 = 1024 * 1024;

/// The totals of the feasible nodes.
pub(crate) fn totals(world: &World, pod: &Pod, nodes: &[&Node]) -> Vec<i64> {
    let of = |score: &dyn Fn(&Node) -> i64| nodes.iter().map(|n| score(n)).collect::<Vec<i64>>();
    let parts = [
        (3, reverse(&of(&|n| avoided_taints(pod, n)))),
        (2, scaled(&of(&|n| preferred_nodes(pod, n)))),
        (1, of(&|n| least_allocated(world, pod, n))),
        (2, spread(world, pod, nodes)),
        (2, between(&of(&|n| preferred_company(world, pod, n)))),
        (1, of(&|n| balanced(world, pod, n))),
        (1, of(&|n| images(world, pod, n))),
    ];
    (0..nodes.len()).map(|at| parts.iter().map(|(weight, part)| weight * part[at]).sum()).collect()
}

/// The highest becomes 100.
fn scaled(raw: &[i64]) -> Vec<i64> {
    let max = raw.iter().copied().max().unwrap_or(0);
    raw.iter().map(|score| if max == 0 { 0 } else { 100 * score / max }).collect()
}

/// The highest becomes 0, and 0 becomes 100.
fn reverse(raw: &[i64]) -> Vec<i64> {
    scaled(raw).iter().map(|score| 100 - score).collect()
}

/// The lowest becomes 0, the highest 100.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
fn between(raw: &[i64]) -> Vec<i64> {
    let (min, max) = (raw.iter().min().copied(), raw.iter().max().copied());
    let (min, max) = (min.unwrap_or(0), max.unwrap_or(0));
    let part = |score: i64| 100.0 * ((score - min) as f64 / (max - min) as f64);
    raw.iter().map(|score| if max == min { 0 } else { part(*score) as i64 }).collect()
}

fn avoided_taints(pod: &Pod, node: &Node) -> i64 {
    let avoided = node.taints.iter().filter(|taint| {
        taint.effect == "PreferNoSchedule"
            && !pod.tolerations.iter().any(|t| rules::tolerates(t, taint))
    });
    i64::try_from(avoided.count()).unwrap()
}

fn preferred_nodes(pod: &Pod, node: &Node) -> i64 {
    pod.preferred_nodes.iter().filter(|(_, term)| node_term(term, node)).map(|(w, _)| w).sum()
}

/// Containers that ask for nothing count as if they asked for a little.
fn least_allocated(world: &World, pod: &Pod, node: &Node) -> i64 {
    let cpu = |pod: &Pod| need(pod, &|c| c.milli_cpu.unwrap_or(100)) + pod.overhead;
    let memory = |pod: &Pod| need(pod, &|c| c.memory.unwrap_or(200 * MIB));
    let free = |of: &dyn Fn(&Pod) -> i64, capacity: i64| {
        let used: i64 = on(world, node).map(of).sum::<i64>() + of(pod);
        if used > capacity { 0 } else { (capacity - used) * 100 / capacity }
    };
    (free(&cpu, node.milli_cpu) + free(&memory, node.memory)) / 2
}

/// How much better or worse balanced cpu and memory are with the pod than without it.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
fn balanced(world: &World, pod: &Pod, node: &Node) -> i64 {
    if cpu(pod) == 0 && memory(pod) == 0 {
        return 0;
    }
    let score = |with: i64| {
        let part = |of: &dyn Fn(&Pod) -> i64, capacity: i64| {
            let used: i64 = on(world, node).map(of).sum::<i64>() + with * of(pod);
            (used as f64 / capacity as f64).min(1.0)
        };
        let deviation = ((part(&cpu, node.milli_cpu) - part(&memory, node.memory)) / 2.0).abs();
        ((1.0 - deviation) * 100.0) as i64
    };
    (100 + score(1) - score(0)) / 2
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
fn images(world: &World, pod: &Pod, node: &Node) -> i64 {
    let size = |node: &Node, image: &str| {
        node.images.iter().find(|(name, _)| name == image).map(|(_, size)| *size)
    };
    let containers: Vec<String> = pod
        .init
        .iter()
        .chain(&pod.containers)
        .map(
            |c| if c.image.contains(':') { c.image.clone() } else { format!("{}:latest", c.image) },
        )
        .collect();
    let sum: i64 = containers
        .iter()
        .filter_map(|image| {
            let holders = world.nodes.iter().filter(|n| size(n, image).is_some()).count();
            let spread = holders as f64 / world.nodes.len() as f64;
            size(node, image).map(|size| (size as f64 * spread) as i64)
        })
        .sum();
    let (min, max) = (23 * MIB, 1000 * MIB * i64::try_from(containers.len()).unwrap());
    100 * (sum.clamp(min, max) - min) / (max - min)
}

fn preferred_company(world: &World, pod: &Pod, node: &Node) -> i64 {
    let mut score = 0;
    for (other, there) in placed(world) {
        let mut add = |terms: &[PodTerm], owner: &Pod, meant: &Pod, sign: i64, fixed: bool| {
            for term in terms {
                if means(world, term, owner, meant) && rules::together(there, node, &term.key) {
                    score += sign * if fixed { 1 } else { term.weight };
                }
            }
        };
        add(&pod.near_preferred, pod, other, 1, false);
        add(&pod.away_preferred, pod, other, -1, false);
        add(&other.near, other, pod, 1, true);
        add(&other.near_preferred, other, pod, 1, false);
        add(&other.away_preferred, other, pod, -1, false);
    }
    score
}

/// What the pod's Services and owner select together.
fn workload(world: &World, pod: &Pod) -> Option<Selector> {
    let mut joined = Selector::default();
    for service in &world.services {
        if service.namespace == pod.namespace && selects(&service.selector, &pod.labels) {
            joined.labels.extend(service.selector.labels.clone());
        }
    }
    let own = |set: &&crate::world::Workload| {
        set.namespace == pod.namespace && Some(&set.name) == pod.owner.as_ref()
    };
    if let Some(set) = world.replica_sets.iter().find(own) {
        joined.expressions.extend(set.selector.labels.iter().map(|(key, value)| Requirement {
            key: key.clone(),
            operator: "In",
            values: vec![value.clone()],
        }));
        joined.expressions.extend(set.selector.expressions.clone());
    }
    (joined.labels != Labels::default() || !joined.expressions.is_empty()).then_some(joined)
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
fn spread(world: &World, pod: &Pod, nodes: &[&Node]) -> Vec<i64> {
    let defaulted = pod.spread.is_empty();
    let default = |key: &str, max_skew| {
        let selector = workload(world, pod);
        Spread { max_skew, key: key.into(), selector, ..Spread::default() }
    };
    let constraints: Vec<Spread> = if defaulted {
        [default("kubernetes.io/hostname", 5), default("topology.kubernetes.io/zone", 3)]
            .into_iter()
            .filter(|s| s.selector.is_some())
            .collect()
    } else {
        pod.spread.iter().filter(|s| !s.hard).cloned().collect()
    };
    if constraints.is_empty() {
        return vec![0; nodes.len()];
    }
    // The defaults also speak of nodes that lack a label: together they are a domain of their own.
    let counted =
        |node: &Node| defaulted || constraints.iter().all(|s| node.labels.contains_key(&s.key));
    let score = |node: &Node| -> i64 {
        let sum: f64 = constraints
            .iter()
            .filter_map(|s| {
                let here = node.labels.get(&s.key)?;
                let hostname = s.key == "kubernetes.io/hostname";
                let domains: BTreeSet<Option<&String>> = nodes
                    .iter()
                    .filter(|n| counted(n))
                    .map(|n| if hostname { Some(&n.name) } else { n.labels.get(&s.key) })
                    .collect();
                let pods = if hostname {
                    count(world, s, pod, node)
                } else {
                    world
                        .nodes
                        .iter()
                        .filter(|n| counted(n) && included(s, pod, n))
                        .filter(|n| n.labels.get(&s.key) == Some(here))
                        .map(|n| count(world, s, pod, n))
                        .sum()
                };
                let weight = ((domains.len() + 2) as f64).ln();
                Some(pods as f64 * weight + (s.max_skew - 1) as f64)
            })
            .sum();
        sum.round() as i64
    };
    let raw: BTreeMap<&String, i64> =
        nodes.iter().filter(|n| counted(n)).map(|n| (&n.name, score(n))).collect();
    let (min, max) = (raw.values().min().copied(), raw.values().max().copied());
    let (min, max) = (min.unwrap_or(0), max.unwrap_or(0));
    let normalized = |node: &&Node| match raw.get(&node.name) {
        None => 0,
        Some(_) if max == 0 => 100,
        Some(score) => 100 * (max + min - score) / max,
    };
    nodes.iter().map(normalized).collect()
}
