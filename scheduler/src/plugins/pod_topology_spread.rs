//! PodTopologySpread: keeps matching pods even over topology domains, as a rule (DoNotSchedule) or as a wish.
//!
//! A pod without constraints of its own is spread by the system defaults (hostname with skew 5, zone with skew 3, both
//! ScheduleAnyway) over the pods that its Services and its owner select; that is what spreads the replicas of a Deployment.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use apimachinery::{
    api::core::{Node, Pod, TopologySpreadConstraint},
    labels::Selector,
    node_affinity,
};

use crate::{
    framework::{
        CycleState, Filter, MAX_NODE_SCORE, NodeInfo, Plugin, PodInfo, PreFilter, PreFilterOutcome,
        PreScore, Rejection, Score,
    },
    plugins::{inter_pod_affinity::of_keys, taint_toleration::tolerates_all},
    queue::events::{ClusterEvent, Event, Subject},
    snapshot::Snapshot,
};

const NAME: &str = "PodTopologySpread";
const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The plugin.
pub struct PodTopologySpread;

#[derive(Clone)]
struct Constraint {
    max_skew: i64,
    topology_key: String,
    selector: Selector,
    min_domains: i64,
    honor_node_affinity: bool,
    honor_taints: bool,
}

impl Constraint {
    /// Reads a constraint; `matchLabelKeys` take their values from the pod, as the API server merges them.
    fn of(c: &TopologySpreadConstraint, pod: &Pod) -> Option<Self> {
        let mut selector = c.label_selector.clone().unwrap_or_default();
        selector.match_expressions.extend(of_keys(&c.match_label_keys, "In", pod));
        Some(Self {
            max_skew: i64::from(c.max_skew),
            topology_key: c.topology_key.clone(),
            selector: match &c.label_selector {
                None => Selector::nothing(),
                Some(_) => Selector::from_label_selector(Some(&selector)).ok()?,
            },
            min_domains: i64::from(c.min_domains.unwrap_or(1)),
            honor_node_affinity: c.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_taints: c.node_taints_policy.as_deref() == Some("Honor"),
        })
    }

    /// Whether pods on this node count.
    fn includes(&self, pod: &Pod, node: &NodeInfo) -> bool {
        let affine = !self.honor_node_affinity
            || node_affinity::required_matches(pod, node.labels(), &node.name);
        let tolerated = !self.honor_taints || tolerates_all(pod, &node.node);
        affine && tolerated
    }
}

fn constraints(pod: &Pod, when_unsatisfiable: &str) -> Vec<Constraint> {
    pod.spec
        .topology_spread_constraints
        .iter()
        .filter(|c| c.when_unsatisfiable == when_unsatisfiable)
        .filter_map(|c| Constraint::of(c, pod))
        .collect()
}

fn default_constraints(pod: &PodInfo, snapshot: &Snapshot) -> Vec<Constraint> {
    let Some(selector) = snapshot.workloads.selector(pod) else { return Vec::new() };
    [(HOSTNAME, 5), (ZONE, 3)]
        .into_iter()
        .map(|(key, max_skew)| Constraint {
            max_skew,
            topology_key: key.to_owned(),
            selector: selector.clone(),
            min_domains: 1,
            honor_node_affinity: true,
            honor_taints: false,
        })
        .collect()
}

/// The counts of one hard constraint by topology value.
#[derive(Clone)]
struct Hard {
    constraint: Constraint,
    counts: BTreeMap<String, i64>,
    /// The lowest count; 0 while there are fewer domains than `minDomains`.
    minimum: i64,
}

impl Hard {
    fn new(constraint: Constraint, counts: BTreeMap<String, i64>) -> Self {
        let mut hard = Self { constraint, counts, minimum: 0 };
        hard.update_minimum();
        hard
    }

    fn update_minimum(&mut self) {
        let domains = i64::try_from(self.counts.len()).unwrap_or(i64::MAX);
        self.minimum = if domains < self.constraint.min_domains {
            0
        } else {
            self.counts.values().copied().min().unwrap_or(0)
        };
    }
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        NAME
    }
    fn pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn score(&self) -> Option<&dyn Score> {
        Some(self)
    }
    fn events_to_register(&self) -> &'static [ClusterEvent] {
        &[
            ClusterEvent::AssignedPodAdd,
            ClusterEvent::AssignedPodDelete,
            ClusterEvent::AssignedPodUpdateLabel,
            ClusterEvent::NodeAdd,
            ClusterEvent::NodeDelete,
            ClusterEvent::NodeUpdateLabel,
            ClusterEvent::NodeUpdateTaint,
            ClusterEvent::OwnLabels,
            ClusterEvent::OwnTolerations,
        ]
    }
    /// A pod that counts for a constraint, before or after; a node with all topology keys, before or after.
    fn hint(&self, pod: &PodInfo, event: &Event<'_>) -> bool {
        let constraints = constraints(&pod.pod, "DoNotSchedule");
        match event.subject {
            Subject::Node { old, new } => {
                let has_all = |node: &Node| {
                    constraints.iter().all(|c| node.metadata.labels.contains_key(&c.topology_key))
                };
                old.is_some_and(has_all) || new.is_some_and(has_all)
            }
            Subject::Pod { old, new } => {
                let counts = |other: &PodInfo| {
                    other.key.namespace == pod.key.namespace
                        && constraints.iter().any(|c| c.selector.matches(other.labels()))
                };
                let own = new.is_some_and(|new| new.uid() == pod.uid());
                own || old.is_some_and(counts) || new.is_some_and(counts)
            }
        }
    }
}

/// The node's domain. One without the label, where that is allowed, is in the domain without a name.
fn domain<'a>(node: &'a NodeInfo, constraint: &Constraint) -> &'a str {
    node.labels().get(&constraint.topology_key).map_or("", String::as_str)
}

fn has_all_keys(node: &NodeInfo, constraints: &[Constraint]) -> bool {
    constraints.iter().all(|c| node.labels().contains_key(&c.topology_key))
}

fn count_on(
    snapshot: &Snapshot,
    pod: &PodInfo,
    constraint: &Constraint,
) -> Arc<HashMap<String, i64>> {
    snapshot.spread.lock().counts(&pod.key.namespace, &constraint.selector, &snapshot.nodes)
}

impl PreFilter for PodTopologySpread {
    fn run(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<PreFilterOutcome, Rejection> {
        let constraints = constraints(&pod.pod, "DoNotSchedule");
        if constraints.is_empty() {
            return Ok(PreFilterOutcome::Skip);
        }
        let mut hard = Vec::new();
        for constraint in &constraints {
            let counts = count_on(snapshot, pod, constraint);
            let mut by_value: BTreeMap<String, i64> = BTreeMap::new();
            for node in snapshot.nodes.iter() {
                if has_all_keys(node, &constraints) && constraint.includes(&pod.pod, node) {
                    let value = &node.labels()[&constraint.topology_key];
                    let count = counts.get(&*node.name).copied().unwrap_or(0);
                    match by_value.get_mut(value) {
                        Some(sum) => *sum += count,
                        None => {
                            by_value.insert(value.clone(), count);
                        }
                    }
                }
            }
            hard.push(Hard::new(constraint.clone(), by_value));
        }
        state.write(NAME, hard);
        Ok(PreFilterOutcome::Continue)
    }

    fn simulate(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        changed: &PodInfo,
        node: &NodeInfo,
        added: bool,
    ) {
        state.modify::<Vec<Hard>>(NAME, |hard| {
            let all_keys =
                hard.iter().all(|h| node.labels().contains_key(&h.constraint.topology_key));
            for one in hard {
                if changed.key.namespace == pod.key.namespace
                    && !changed.terminating()
                    && all_keys
                    && one.constraint.selector.matches(changed.labels())
                    && one.constraint.includes(&pod.pod, node)
                    && let Some(value) = node.labels().get(&one.constraint.topology_key)
                    && let Some(count) = one.counts.get_mut(value)
                {
                    *count += if added { 1 } else { -1 };
                    one.update_minimum();
                }
            }
        });
    }
}

impl Filter for PodTopologySpread {
    fn run(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let Some(hard) = state.read::<Vec<Hard>>(NAME) else { return Ok(()) };
        for one in hard {
            let Some(value) = node.labels().get(&one.constraint.topology_key) else {
                return Err(Rejection::unresolvable(
                    NAME,
                    "node(s) didn't match pod topology spread constraints (missing required label)",
                ));
            };
            let itself = i64::from(one.constraint.selector.matches(pod.labels()));
            let count = one.counts.get(value).copied().unwrap_or(0);
            if count + itself - one.minimum > one.constraint.max_skew {
                return Err(Rejection::unschedulable(
                    NAME,
                    "node(s) didn't match pod topology spread constraints",
                ));
            }
        }
        Ok(())
    }
}

/// One soft constraint with its counts and weight.
struct Soft {
    constraint: Constraint,
    /// By topology value; for the hostname key by node name.
    counts: Arc<HashMap<String, i64>>,
    weight: f64,
}

struct SoftState {
    soft: Vec<Soft>,
    /// Feasible nodes that lack a label of a constraint: they score 0.
    ignored: HashSet<String>,
}

impl PreScore for PodTopologySpread {
    fn run(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &[&NodeInfo],
        snapshot: &Snapshot,
    ) -> bool {
        let own = constraints(&pod.pod, "ScheduleAnyway");
        let from_defaults = pod.pod.spec.topology_spread_constraints.is_empty();
        let constraints = if from_defaults { default_constraints(pod, snapshot) } else { own };
        if constraints.is_empty() || nodes.is_empty() {
            return false;
        }
        // System defaults apply to nodes without zones too: Kubernetes' requireAllTopologies is off for them.
        let require_all = !from_defaults;
        let ignored: HashSet<String> = nodes
            .iter()
            .filter(|n| require_all && !has_all_keys(n, &constraints))
            .map(|n| n.name.to_string())
            .collect();
        let keyed = constraints.clone();
        let mut soft = Vec::new();
        for constraint in constraints {
            let per_node = count_on(snapshot, pod, &constraint);
            if constraint.topology_key == HOSTNAME {
                let size = nodes.len() - ignored.len();
                soft.push(Soft { weight: weight(size), counts: per_node, constraint });
                continue;
            }
            let mut counts: HashMap<String, i64> = HashMap::new();
            for node in nodes.iter().filter(|n| !ignored.contains(&*n.name)) {
                let domain = domain(node, &constraint);
                if !counts.contains_key(domain) {
                    counts.insert(domain.to_owned(), 0);
                }
            }
            for node in snapshot.nodes.iter() {
                if (!require_all || has_all_keys(node, &keyed))
                    && constraint.includes(&pod.pod, node)
                    && let Some(on_node) = per_node.get(&*node.name)
                    && let Some(count) = counts.get_mut(domain(node, &constraint))
                {
                    *count += on_node;
                }
            }
            let counts = Arc::new(counts);
            soft.push(Soft { weight: weight(counts.len()), counts, constraint });
        }
        let any = !soft.is_empty();
        state.write("PodTopologySpread/score", SoftState { soft, ignored });
        any
    }
}

/// Fewer domains weigh less: `topologyNormalizingWeight`.
#[expect(clippy::cast_precision_loss, reason = "a number of domains is far below 2^52")]
fn weight(domains: usize) -> f64 {
    ((domains + 2) as f64).ln()
}

impl Score for PodTopologySpread {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "the score is a rounded weighted count, as in Kubernetes"
    )]
    fn run(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> i64 {
        let Some(state) = state.read::<SoftState>("PodTopologySpread/score") else { return 0 };
        if state.ignored.contains(&*node.name) {
            return 0;
        }
        let score: f64 = state
            .soft
            .iter()
            .filter_map(|soft| {
                let value = node.labels().get(&soft.constraint.topology_key)?;
                let key =
                    if soft.constraint.topology_key == HOSTNAME { &*node.name } else { value };
                let count = soft.counts.get(key).copied().unwrap_or(0);
                Some(count as f64 * soft.weight + (soft.constraint.max_skew - 1) as f64)
            })
            .sum();
        score.round() as i64
    }

    fn normalize(&self, state: &CycleState, _: &PodInfo, nodes: &[&NodeInfo], scores: &mut [i64]) {
        let Some(state) = state.read::<SoftState>("PodTopologySpread/score") else { return };
        let counted = |at: usize| nodes.get(at).is_some_and(|n| !state.ignored.contains(&*n.name));
        let considered = || scores.iter().enumerate().filter(|(at, _)| counted(*at));
        let max = considered().map(|(_, s)| *s).max().unwrap_or(0);
        let min = considered().map(|(_, s)| *s).min().unwrap_or(0);
        for (at, score) in scores.iter_mut().enumerate() {
            *score = if !counted(at) {
                0
            } else if max == 0 {
                MAX_NODE_SCORE
            } else {
                MAX_NODE_SCORE * (max + min - *score) / max
            };
        }
    }
}
