//! PostFilter: DefaultPreemption. Finds a node that has room for the pod once pods of lower priority leave it.
//!
//! Pure: [`plan`] names the node and the victims; the scheduler's loop deletes them and nominates the node. For each
//! node that refused the pod for a reason that can change, all pods of lower priority are taken off a copy of the
//! node; if the pod then fits, victims are put back one by one, the most important first, as long as it still fits.

use std::{cmp::Reverse, sync::Arc};

use crate::{
    framework::{
        CycleState, Framework, NodeInfo, PodInfo,
        runtime::{Diagnosis, histogram, resolvable},
    },
    snapshot::Snapshot,
};

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// Who must leave which node.
#[derive(Clone, Debug)]
pub struct Preemption {
    /// The node to nominate.
    pub node: String,
    /// The pods to delete there, the most important first.
    pub victims: Vec<Arc<PodInfo>>,
}

/// Plans a preemption.
///
/// # Errors
/// The message that tells why none helps, as it follows `no new claims to deallocate, `.
pub fn plan(
    framework: &Framework,
    pod: &PodInfo,
    snapshot: &Snapshot,
    state: &CycleState,
    diagnosis: &Diagnosis,
) -> Result<Preemption, String> {
    if pod.pod.spec.preemption_policy.as_deref() == Some("Never") {
        return Err("not eligible due to preemptionPolicy=Never.".into());
    }
    if waits_for_victims(pod, snapshot) {
        return Err("not eligible due to a terminating pod on the nominated node.".into());
    }
    let mut reasons: Vec<String> = Vec::new();
    let mut candidates = Vec::new();
    for node in snapshot.nodes.iter() {
        match diagnosis.nodes.get(&*node.name) {
            Some(rejection) if resolvable(rejection) => {
                match victims(framework, pod, node, state) {
                    Ok(victims) => {
                        candidates.push(Preemption { node: node.name.to_string(), victims });
                    }
                    Err(reason) => reasons.push(reason),
                }
            }
            _ => reasons.push(NOT_HELPFUL.to_owned()),
        }
    }
    candidates.into_iter().min_by_key(cost).ok_or_else(|| {
        let all = snapshot.nodes.len();
        format!("preemption: 0/{all} nodes are available: {}.", histogram(reasons.iter()))
    })
}

/// A pod that nominated a node already waits there while a pod of lower priority is on its way out.
fn waits_for_victims(pod: &PodInfo, snapshot: &Snapshot) -> bool {
    let Some(nominated) = pod.pod.status.nominated_node_name.as_deref() else { return false };
    snapshot.node(nominated).is_some_and(|node| {
        node.pods.iter().any(|p| p.terminating() && p.priority() < pod.priority())
    })
}

fn victims(
    framework: &Framework,
    pod: &PodInfo,
    node: &NodeInfo,
    state: &CycleState,
) -> Result<Vec<Arc<PodInfo>>, String> {
    let mut node = node.clone();
    let mut state = state.clone();
    let mut lower: Vec<Arc<PodInfo>> =
        node.pods.iter().filter(|p| p.priority() < pod.priority()).cloned().collect();
    if lower.is_empty() {
        return Err(NO_VICTIMS.to_owned());
    }
    for victim in &lower {
        node.remove_pod(victim.uid());
        framework.simulate(&mut state, pod, victim, &node, false);
    }
    framework.filter(&state, pod, &node).map_err(|r| r.reasons.join(", "))?;
    lower.sort_by_key(|p| importance(p));
    let mut victims = Vec::new();
    for candidate in lower {
        node.add_pod(candidate.clone());
        framework.simulate(&mut state, pod, &candidate, &node, true);
        if framework.filter(&state, pod, &node).is_err() {
            node.remove_pod(candidate.uid());
            framework.simulate(&mut state, pod, &candidate, &node, false);
            victims.push(candidate);
        }
    }
    Ok(victims)
}

/// Sorts the most important first: the higher priority, then the longer running: `MoreImportantPod`.
fn importance(pod: &PodInfo) -> (Reverse<i32>, Option<apimachinery::time::Time>) {
    (Reverse(pod.priority()), pod.pod.status.start_time)
}

/// The lowest highest priority, then the lowest sum of priorities, then the fewest victims, then the youngest ones:
/// `pickOneNodeForPreemption`.
fn cost(candidate: &Preemption) -> (i32, i64, usize, Reverse<Option<apimachinery::time::Time>>) {
    let victims = &candidate.victims;
    let highest = victims.iter().map(|p| p.priority()).max().unwrap_or(i32::MIN);
    let sum = victims.iter().map(|p| i64::from(p.priority()) + i64::from(i32::MAX) + 1).sum();
    let earliest = victims
        .iter()
        .filter(|p| p.priority() == highest)
        .filter_map(|p| p.pod.status.start_time)
        .min();
    (highest, sum, victims.len(), Reverse(earliest))
}
