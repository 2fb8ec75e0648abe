//! When a pod must leave its node, as a pure function.

use apimachinery::{
    api::core::{Taint, Toleration},
    taints::tolerates,
};
use jiff::{SignedDuration, Timestamp};

/// What the NoExecute taints of a node mean for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may stay.
    Stay,
    /// It must go now.
    Now,
    /// It may stay until then.
    Until(Timestamp),
}

/// Judges a pod's tolerations against the NoExecute taints of its node. A taint counts from when it was added; from
/// `noticed`, where it does not say.
#[must_use]
pub fn judge(tolerations: &[Toleration], taints: &[Taint], noticed: Timestamp) -> Verdict {
    let mut first: Option<Timestamp> = None;
    for taint in taints.iter().filter(|t| t.effect == "NoExecute") {
        let matching: Vec<&Toleration> =
            tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        if matching.is_empty() {
            return Verdict::Now;
        }
        let Some(shortest) = matching.iter().filter_map(|t| t.toleration_seconds).min() else {
            continue;
        };
        if shortest <= 0 {
            return Verdict::Now;
        }
        let since = taint.time_added.map_or(noticed, |at| at.0);
        let until = since.saturating_add(SignedDuration::from_secs(shortest));
        let until = until.unwrap_or(Timestamp::MAX);
        first = Some(first.map_or(until, |first| first.min(until)));
    }
    first.map_or(Verdict::Stay, Verdict::Until)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn tolerations_decide_how_long_a_pod_stays() {
        let noticed = Timestamp::from_second(1_000).unwrap();
        let until = |second: i64| Verdict::Until(Timestamp::from_second(second).unwrap());
        let check = |tolerations: Value, taints: Value, expected: Verdict| {
            let (t, n): (Vec<Toleration>, Vec<Taint>) = (
                serde_json::from_value(tolerations.clone()).unwrap(),
                serde_json::from_value(taints.clone()).unwrap(),
            );
            assert_eq!(judge(&t, &n, noticed), expected, "{tolerations} {taints}");
        };
        let lost = json!([{"key": "lost", "effect": "NoExecute"}]);
        let seconds = |s: i64| json!([{"key": "lost", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": s}]);
        check(json!([]), json!([]), Verdict::Stay);
        check(json!([]), json!([{"key": "x", "effect": "NoSchedule"}]), Verdict::Stay);
        check(json!([]), lost.clone(), Verdict::Now);
        check(seconds(300), lost.clone(), until(1_300));
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
            until(1_005),
        );
        // An old taint that is tolerated for ever does not shorten the time that a new one leaves.
        check(
            json!([{"key": "old", "operator": "Exists"}, {"key": "new", "operator": "Exists", "tolerationSeconds": 60}]),
            json!([{"key": "old", "effect": "NoExecute", "timeAdded": "1970-01-01T00:00:00Z"},
                   {"key": "new", "effect": "NoExecute", "timeAdded": "1970-01-01T00:15:00Z"}]),
            until(960),
        );
    }
}
