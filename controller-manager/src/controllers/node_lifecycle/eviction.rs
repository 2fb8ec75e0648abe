//! When a pod must leave its node, as a pure function.

use std::time::Duration;

use apimachinery::{
    api::core::{Taint, Toleration},
    taints::tolerates,
};

/// What the NoExecute taints of a node mean for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may stay.
    Stay,
    /// It must go now.
    Now,
    /// It may stay this long after the taint was added.
    After(Duration),
}

/// Judges a pod's tolerations against the NoExecute taints of its node: `getMinTolerationTime` over those that match.
#[must_use]
pub fn judge(tolerations: &[Toleration], taints: &[Taint]) -> Verdict {
    let mut shortest: Option<Duration> = None;
    for taint in taints.iter().filter(|t| t.effect == "NoExecute") {
        let matching: Vec<&Toleration> =
            tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        if matching.is_empty() {
            return Verdict::Now;
        }
        for seconds in matching.iter().filter_map(|t| t.toleration_seconds) {
            let allowed = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            shortest = Some(shortest.map_or(allowed, |s| s.min(allowed)));
        }
    }
    match shortest {
        None => Verdict::Stay,
        Some(time) if time.is_zero() => Verdict::Now,
        Some(time) => Verdict::After(time),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn tolerations_decide_how_long_a_pod_stays() {
        let check = |tolerations: Value, taints: Value, expected: Verdict| {
            let (t, n): (Vec<Toleration>, Vec<Taint>) = (
                serde_json::from_value(tolerations.clone()).unwrap(),
                serde_json::from_value(taints.clone()).unwrap(),
            );
            assert_eq!(judge(&t, &n), expected, "{tolerations} {taints}");
        };
        let lost = json!([{"key": "lost", "effect": "NoExecute"}]);
        let seconds = |s: i64| json!([{"key": "lost", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": s}]);
        check(json!([]), json!([]), Verdict::Stay);
        check(json!([]), json!([{"key": "x", "effect": "NoSchedule"}]), Verdict::Stay);
        check(json!([]), lost.clone(), Verdict::Now);
        check(seconds(300), lost.clone(), Verdict::After(Duration::from_secs(300)));
        check(seconds(0), lost.clone(), Verdict::Now);
        check(seconds(-5), lost.clone(), Verdict::Now);
        check(json!([{"operator": "Exists"}]), lost.clone(), Verdict::Stay);
        check(
            json!([{"key": "lost", "value": "v", "effect": "NoExecute"}]),
            lost.clone(),
            Verdict::Now,
        );
        check(
            json!([{"operator": "Exists", "tolerationSeconds": 10}, {"key": "lost", "operator": "Exists", "tolerationSeconds": 5}]),
            lost,
            Verdict::After(Duration::from_secs(5)),
        );
    }
}
