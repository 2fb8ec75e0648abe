//! PostFilter: DefaultPreemption. Finds a node that has room for the pod once pods of lower priority leave it.
//!
//! Pure: [`Planner::plan`] names the node and the victims; the scheduler's loop deletes them and nominates the node. For each
//! node that refused the pod for a reason that can change, all pods of lower priority are taken off a copy of the
//! node; if the pod then fits, victims are put back one by one as long as it still fits: first those whose
//! [disruption budget](budgets) would be violated, then the rest, the most important first. Of the nodes that remain the
//! one is chosen whose victims cost least ([`cost`]).

pub mod budgets;
#[cfg(test)]
mod tests;

use std::{cmp::Reverse, sync::Arc};

use apimachinery::time::Time;

use self::budgets::Budgets;
use crate::{
    framework::{
        Code, CycleState, Framework, NodeInfo, PodInfo,
        runtime::{Diagnosis, fit_error, histogram, resolvable},
    },
    nominator::Nominator,
    snapshot::Snapshot,
};

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";
/// So many candidates are enough, or a tenth of the nodes if that is more: `minCandidateNodesAbsolute`, `…Percentage`.
const MIN_CANDIDATES: usize = 100;

/// Who must leave which node.
#[derive(Clone, Debug)]
pub struct Preemption {
    /// The node to nominate.
    pub node: String,
    /// The pods to delete there, the most important first.
    pub victims: Vec<Arc<PodInfo>>,
    /// How many of them have a disruption budget that does not allow it.
    pub violations: usize,
}

/// Why there is no preemption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The pod may not preempt, or not now: what it is nominated for stays.
    NotEligible(&'static str),
    /// It would help nowhere: a nomination is of no use any more. The text is that of the event.
    NotHelpful(String),
}

impl Refusal {
    /// The message as it follows `no new claims to deallocate, `.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::NotEligible(message) => message,
            Self::NotHelpful(message) => message,
        }
    }
}

/// What a preemption is planned with.
#[derive(Clone, Copy)]
pub struct Planner<'a> {
    /// The plugins.
    pub framework: &'a Framework,
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// Who waits for which node.
    pub nominator: &'a Nominator,
    /// The budgets.
    pub budgets: &'a Budgets,
    /// Where to begin among the nodes, for large clusters.
    pub offset: usize,
}

impl Planner<'_> {
    /// What the user reads of a pod that found no node, and the preemption that it begins or why there is none:
    /// `FitError.Error` with what PostFilter adds.
    pub fn message(
        &self,
        pod: &PodInfo,
        state: &CycleState,
        diagnosis: &Diagnosis,
    ) -> (String, Result<Preemption, Refusal>) {
        let all = self.snapshot.nodes.len();
        if all == 0 {
            let message = "no nodes available to schedule pods".to_owned();
            return (message, Err(Refusal::NotEligible("there is no node")));
        }
        let mut message = fit_error(diagnosis, all);
        let planned = self.plan(pod, state, diagnosis);
        if let Err(refusal) = &planned {
            message.push_str(" no new claims to deallocate, ");
            message.push_str(refusal.message());
        }
        (message, planned)
    }

    /// Plans a preemption for a pod that was refused.
    ///
    /// # Errors
    /// Why there is none.
    pub fn plan(
        &self,
        pod: &PodInfo,
        state: &CycleState,
        diagnosis: &Diagnosis,
    ) -> Result<Preemption, Refusal> {
        self.check_eligible(pod, diagnosis)?;
        let nodes = &self.snapshot.nodes;
        let (all, enough) = (nodes.len(), MIN_CANDIDATES.max(nodes.len() / 10));
        let mut reasons: Vec<String> = Vec::new();
        let mut candidates: Vec<Preemption> = Vec::new();
        for at in 0..all {
            if candidates.len() >= enough && candidates.iter().any(|c| c.violations == 0) {
                break;
            }
            let node = &nodes[(self.offset + at) % all];
            match diagnosis.nodes.get(&*node.name) {
                Some(rejection) if resolvable(rejection) => match self.victims(pod, node, state) {
                    Ok(candidate) => candidates.push(candidate),
                    Err(reasons_here) => reasons.extend(reasons_here),
                },
                _ => reasons.push(NOT_HELPFUL.to_owned()),
            }
        }
        candidates.into_iter().min_by_key(cost).ok_or_else(|| {
            let histogram = histogram(reasons.iter());
            Refusal::NotHelpful(format!("preemption: 0/{all} nodes are available: {histogram}."))
        })
    }

    /// `PodEligibleToPreemptOthers`.
    fn check_eligible(&self, pod: &PodInfo, diagnosis: &Diagnosis) -> Result<(), Refusal> {
        if pod.pod.spec.preemption_policy.as_deref() == Some("Never") {
            return Err(Refusal::NotEligible("not eligible due to preemptionPolicy=Never."));
        }
        let Some(nominated) = self.nominator.node_of(pod.uid()).or(pod.nominated_node()) else {
            return Ok(());
        };
        // A node that can never take the pod keeps it from nothing.
        if diagnosis
            .nodes
            .get(nominated)
            .is_some_and(|r| r.code == Code::UnschedulableAndUnresolvable)
        {
            return Ok(());
        }
        let waits = self.snapshot.node(nominated).is_some_and(|node| {
            node.pods.iter().any(|p| p.priority() < pod.priority() && preempted(p))
        });
        if waits {
            return Err(Refusal::NotEligible(
                "not eligible due to a terminating pod on the nominated node.",
            ));
        }
        Ok(())
    }

    /// Who must leave this node: `SelectVictimsOnNode`.
    fn victims(
        &self,
        pod: &PodInfo,
        node: &NodeInfo,
        state: &CycleState,
    ) -> Result<Preemption, Vec<String>> {
        let mut lower: Vec<Arc<PodInfo>> =
            node.pods.iter().filter(|p| p.priority() < pod.priority()).cloned().collect();
        if lower.is_empty() {
            return Err(vec![NO_VICTIMS.to_owned()]);
        }
        let mut trial = Trial { planner: self, pod, node: node.clone(), state: state.clone() };
        for victim in &lower {
            trial.remove(victim);
        }
        trial.fits()?;
        lower.sort_by_key(|p| importance(p));
        let (violating, others) = self.budgets.split(lower);
        let mut violations = 0;
        let mut victims = Vec::new();
        for (candidate, violates) in
            violating.into_iter().map(|p| (p, true)).chain(others.into_iter().map(|p| (p, false)))
        {
            trial.add(&candidate);
            if trial.fits().is_err() {
                trial.remove(&candidate);
                violations += usize::from(violates);
                victims.push(candidate);
            }
        }
        victims.sort_by_key(|p| importance(p));
        Ok(Preemption { node: node.name.to_string(), victims, violations })
    }
}

/// A copy of a node on which removals are tried.
struct Trial<'a> {
    planner: &'a Planner<'a>,
    pod: &'a PodInfo,
    node: NodeInfo,
    state: CycleState,
}

impl Trial<'_> {
    fn remove(&mut self, victim: &PodInfo) {
        self.node.remove_pod(victim.uid());
        let framework = self.planner.framework;
        framework.simulate(&mut self.state, self.pod, victim, &self.node, false);
    }

    fn add(&mut self, victim: &Arc<PodInfo>) {
        self.node.add_pod(victim.clone());
        let framework = self.planner.framework;
        framework.simulate(&mut self.state, self.pod, victim, &self.node, true);
    }

    fn fits(&self) -> Result<(), Vec<String>> {
        let Planner { framework, nominator, .. } = self.planner;
        let filters = framework.filters(&self.state);
        let fits = framework.filter(&filters, &self.state, self.pod, &self.node, nominator);
        fits.map_err(|rejection| rejection.reasons)
    }
}

/// Whether a pod is on its way out because of a preemption.
fn preempted(pod: &PodInfo) -> bool {
    pod.terminating()
        && pod.pod.status.conditions.iter().any(|c| {
            c.type_ == "DisruptionTarget"
                && c.status == "True"
                && c.reason.as_deref() == Some("PreemptionByScheduler")
        })
}

/// When a pod started; one that did not yet counts as the youngest.
type Started = (bool, Option<Time>);

fn started(pod: &PodInfo) -> Started {
    (pod.pod.status.start_time.is_none(), pod.pod.status.start_time)
}

/// Sorts the most important first: the higher priority, then the longer running: `MoreImportantPod`.
fn importance(pod: &PodInfo) -> (Reverse<i32>, Started) {
    (Reverse(pod.priority()), started(pod))
}

/// The fewest violations of budgets, then the lowest highest priority, then the lowest sum of priorities, then the fewest
/// victims, then the youngest ones: `pickOneNodeForPreemption`.
fn cost(candidate: &Preemption) -> (usize, i32, i64, usize, Reverse<Started>) {
    let victims = &candidate.victims;
    let highest = victims.iter().map(|p| p.priority()).max().unwrap_or(i32::MIN);
    let sum = victims.iter().map(|p| i64::from(p.priority()) + i64::from(i32::MAX) + 1).sum();
    let longest = victims.iter().filter(|p| p.priority() == highest).map(|p| started(p)).min();
    let longest = longest.unwrap_or((true, None));
    (candidate.violations, highest, sum, victims.len(), Reverse(longest))
}
