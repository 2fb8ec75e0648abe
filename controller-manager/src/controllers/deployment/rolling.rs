//! RollingUpdate: how many pods may be added and taken away, now.

use apimachinery::{
    api::apps::{Deployment, ReplicaSet},
    int_or_string::IntOrString,
};

use super::plan::{Annotations, Plan};

/// The annotation with the Deployment's size at the last scaling.
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The annotation with the most pods that the Deployment allowed then.
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";

fn is_rolling(deployment: &Deployment) -> bool {
    deployment.spec.strategy.as_ref().and_then(|s| s.type_.as_deref()) != Some("Recreate")
}

/// maxSurge (rounded up) and maxUnavailable (rounded down) in pods; both zero would stand still, so one pod may then
/// be unavailable: `ResolveFenceposts`.
#[must_use]
pub fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let desired = deployment.spec.replicas.unwrap_or(1);
    let rolling = deployment.spec.strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".into());
    let resolve = |value: Option<&IntOrString>, up| {
        value.unwrap_or(&quarter).scaled_value(desired, up).unwrap_or(0)
    };
    let surge = resolve(rolling.and_then(|r| r.max_surge.as_ref()), true);
    let unavailable = resolve(rolling.and_then(|r| r.max_unavailable.as_ref()), false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

/// The most pods above the desired number.
#[must_use]
pub fn max_surge(deployment: &Deployment) -> i32 {
    if is_rolling(deployment) { fenceposts(deployment).0 } else { 0 }
}

/// The most pods that may be missing; never more than are desired.
#[must_use]
pub fn max_unavailable(deployment: &Deployment) -> i32 {
    let desired = deployment.spec.replicas.unwrap_or(1);
    if !is_rolling(deployment) || desired == 0 {
        return 0;
    }
    fenceposts(deployment).1.min(desired)
}

/// Notes the Deployment's size on a ReplicaSet; true: the notes changed.
pub(super) fn note_size(deployment: &Deployment, annotations: &mut Annotations) -> bool {
    let desired = deployment.spec.replicas.unwrap_or(1);
    let mut changed = false;
    for (key, value) in [(DESIRED, desired), (MAX, desired + max_surge(deployment))] {
        let value = value.to_string();
        if annotations.get(key) != Some(&value) {
            annotations.insert(key.into(), value);
            changed = true;
        }
    }
    changed
}

fn noted(set: &ReplicaSet, key: &str) -> Option<i32> {
    set.metadata.annotations.get(key).and_then(|v| v.parse().ok())
}

fn size(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

fn available(set: &ReplicaSet) -> i32 {
    set.status.available_replicas.unwrap_or(0)
}

/// Whether the Deployment was resized since its ReplicaSets were: `isScalingEvent`.
pub(super) fn is_scaling_event(plan: &Plan) -> bool {
    plan.all()
        .filter(|rs| size(rs) > 0)
        .any(|rs| noted(rs, DESIRED).is_some_and(|noted| noted != plan.desired()))
}

/// How large the new ReplicaSet may be now: `NewRSNewReplicas`.
pub(super) fn new_set_replicas(plan: &Plan, new: Option<&ReplicaSet>) -> i32 {
    let desired = plan.desired();
    let own = new.map_or(0, size);
    if !is_rolling(&plan.deployment) {
        return desired;
    }
    let total: i32 = plan.old.iter().map(size).sum::<i32>() + own;
    let max_total = desired + max_surge(&plan.deployment);
    if total >= max_total {
        return own;
    }
    own + (max_total - total).min(desired - own)
}

/// Sizes the new ReplicaSet; true: it changes.
pub(super) fn reconcile_new(plan: &mut Plan) -> bool {
    let Some(new) = &plan.new else { return false };
    let desired = plan.desired();
    if size(new) == desired {
        return false;
    }
    let target =
        if size(new) > desired { desired } else { new_set_replicas(plan, plan.new.as_ref()) };
    plan.scale_new(target)
}

/// Scales old ReplicaSets down as far as enough pods stay available; true: one changes.
pub(super) fn reconcile_old(plan: &mut Plan) -> bool {
    if plan.old.iter().map(size).sum::<i32>() == 0 {
        return false;
    }
    let total: i32 = plan.all().map(size).sum();
    let min_available = plan.desired() - max_unavailable(&plan.deployment);
    let new_unavailable = plan.new.as_ref().map_or(0, |rs| size(rs) - available(rs));
    let may_go = total - min_available - new_unavailable;
    if may_go <= 0 {
        return false;
    }
    let unhealthy = clean_up_unhealthy(plan, may_go);
    let healthy = scale_down_old(plan, min_available);
    unhealthy + healthy > 0
}

/// Pods that are not available can go without harm: `cleanupUnhealthyReplicas`.
fn clean_up_unhealthy(plan: &mut Plan, most: i32) -> i32 {
    let mut gone = 0;
    for at in 0..plan.old.len() {
        if gone >= most {
            break;
        }
        let set = &plan.old[at];
        let (from, healthy) = (size(set), available(set));
        if from == 0 || from == healthy {
            continue;
        }
        let down = (most - gone).min(from - healthy);
        if down > 0 && plan.scale_old(at, from - down) {
            gone += down;
        }
    }
    gone
}

/// `scaleDownOldReplicaSetsForRollingUpdate`.
fn scale_down_old(plan: &mut Plan, min_available: i32) -> i32 {
    let all_available: i32 = plan.all().map(available).sum();
    if all_available <= min_available {
        return 0;
    }
    let most = all_available - min_available;
    let mut gone = 0;
    for at in 0..plan.old.len() {
        if gone >= most {
            break;
        }
        let from = size(&plan.old[at]);
        let down = from.min(most - gone);
        if down > 0 && plan.scale_old(at, from - down) {
            gone += down;
        }
    }
    gone
}

/// Which ReplicaSet a slot of the proportional arithmetic means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Old(usize),
    New,
}

/// Follows a resize of the Deployment: `scale`. While a rollout is under way, old and new grow or shrink in
/// proportion, so that the risk stays the same.
pub(super) fn scale(plan: &mut Plan) {
    let active: Vec<Slot> = slots(plan).into_iter().filter(|s| size(set(plan, *s)) > 0).collect();
    let only = match active[..] {
        [] if plan.new.is_some() => Some(Slot::New),
        [] => plan.old.len().checked_sub(1).map(Slot::Old),
        [only] => Some(only),
        _ => None,
    };
    if active.len() <= 1 {
        if let Some(only) = only
            && size(set(plan, only)) != plan.desired()
        {
            resize(plan, only, plan.desired());
        }
        return;
    }
    if saturated(plan) {
        for at in 0..plan.old.len() {
            if size(&plan.old[at]) > 0 {
                plan.scale_old(at, 0);
            }
        }
        return;
    }
    if is_rolling(&plan.deployment) {
        scale_in_proportion(plan, active);
    }
}

fn slots(plan: &Plan) -> Vec<Slot> {
    let old = (0..plan.old.len()).map(Slot::Old);
    old.chain(plan.new.as_ref().map(|_| Slot::New)).collect()
}

fn set(plan: &Plan, slot: Slot) -> &ReplicaSet {
    match slot {
        Slot::Old(at) => &plan.old[at],
        Slot::New => plan.new.as_ref().expect("a New slot is made only where there is one"),
    }
}

fn resize(plan: &mut Plan, slot: Slot, replicas: i32) -> bool {
    match slot {
        Slot::Old(at) => plan.scale_old(at, replicas),
        Slot::New => plan.scale_new(replicas),
    }
}

fn saturated(plan: &Plan) -> bool {
    plan.new.as_ref().is_some_and(|rs| {
        let desired = plan.desired();
        size(rs) == desired && noted(rs, DESIRED) == Some(desired) && available(rs) == desired
    })
}

fn scale_in_proportion(plan: &mut Plan, mut active: Vec<Slot>) {
    let total: i32 = active.iter().map(|s| size(set(plan, *s))).sum();
    let desired = plan.desired();
    let allowed = if desired > 0 { desired + max_surge(&plan.deployment) } else { 0 };
    let to_add = allowed - total;
    // The largest first; among equals the newer when growing, the older when shrinking.
    active.sort_by(|a, b| {
        let (a, b) = (set(plan, *a), set(plan, *b));
        let age = super::revision::by_creation(a, b);
        size(b).cmp(&size(a)).then(if to_add > 0 { age.reverse() } else { age })
    });
    let mut added = 0;
    let mut sizes = Vec::new();
    for slot in &active {
        let set = set(plan, *slot);
        let share = if to_add == 0 { 0 } else { proportion(plan, set, to_add, added) };
        sizes.push(size(set) + share);
        added += share;
    }
    if to_add != 0
        && let Some(first) = sizes.first_mut()
    {
        *first = (*first + to_add - added).max(0);
    }
    for (slot, size) in active.into_iter().zip(sizes) {
        let mut sized = set(plan, slot).clone();
        plan.size_set(&mut sized, size);
        match slot {
            Slot::Old(at) => plan.old[at] = sized,
            Slot::New => plan.new = Some(sized),
        }
    }
}

/// One ReplicaSet's share of what is to be added: `GetReplicaSetProportion`.
fn proportion(plan: &Plan, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    let own = size(set);
    if own == 0 || to_add == added {
        return 0;
    }
    let fraction = if plan.desired() == 0 {
        -own
    } else {
        let max_now = f64::from(plan.desired() + max_surge(&plan.deployment));
        let max_before = noted(set, MAX)
            .filter(|n| *n > 0)
            .or(plan.deployment.status.replicas.filter(|n| *n > 0))
            .map_or(max_now, f64::from);
        let scaled = (f64::from(own) * max_now / max_before).round();
        #[expect(clippy::cast_possible_truncation, reason = "a number of replicas fits")]
        let scaled = scaled as i32;
        scaled - own
    };
    let rest = to_add - added;
    if to_add > 0 { fraction.min(rest) } else { fraction.max(rest) }
}
