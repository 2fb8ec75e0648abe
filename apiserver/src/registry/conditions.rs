//! Setting one condition of a status.

use apimachinery::{object::Object, time::Time};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

const TRANSITION: &str = "lastTransitionTime";

/// Makes a condition of a pod true (`podutil.UpdatePodCondition`); returns whether anything changed.
pub(crate) fn set_pod_true(
    pod: &mut Object,
    kind: &str,
    reason_and_message: Option<(&str, &str)>,
    now: Timestamp,
) -> bool {
    let mut condition = json!({"type": kind, "status": "True", "lastProbeTime": null});
    if let Some((reason, message)) = reason_and_message {
        condition["reason"] = reason.into();
        condition["message"] = message.into();
    }
    if pod.generation() > 0 {
        condition["observedGeneration"] = pod.generation().into();
    }
    set(pod, condition, now)
}

/// Sets a condition (`meta.SetStatusCondition`): its time of transition stays while its status stays. Returns whether
/// anything changed.
pub(crate) fn set(object: &mut Object, mut condition: Value, now: Timestamp) -> bool {
    let conditions = list(object);
    let old = conditions.iter_mut().find(|old| old["type"] == condition["type"]);
    let since = match &old {
        Some(old) if old["status"] == condition["status"] => old.get(TRANSITION).cloned(),
        _ => None,
    };
    condition[TRANSITION] = since.unwrap_or_else(|| Time(now).truncated().to_string().into());
    match old {
        Some(old) if *old == condition => return false,
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
    true
}

/// `status.conditions`, made where it is absent.
fn list(object: &mut Object) -> &mut Vec<Value> {
    let status = object.0.entry("status").or_insert(Value::Null);
    if !status.is_object() {
        *status = Value::Object(Map::new());
    }
    let conditions = &mut status["conditions"];
    if !conditions.is_array() {
        *conditions = Value::Array(Vec::new());
    }
    conditions.as_array_mut().expect("made a list two lines above")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let check = |before: Value, changed: bool, after: Value| {
            let mut pod = Object::from_value(json!({"status": {"conditions": before}})).unwrap();
            let now = "2026-05-01T12:00:00Z".parse().unwrap();
            assert_eq!(set(&mut pod, json!({"type": "A", "status": "True"}), now), changed);
            assert_eq!(pod.get(&["status", "conditions"]), Some(&after));
        };
        let new =
            json!({"type": "A", "status": "True", "lastTransitionTime": "2026-05-01T12:00:00Z"});
        let old =
            json!({"type": "A", "status": "True", "lastTransitionTime": "2026-01-01T12:00:00Z"});
        let other = json!({"type": "B", "status": "True"});
        check(json!(null), true, json!([new]));
        check(json!([old, other]), false, json!([old, other]));
        check(json!([{"type": "A", "status": "False"}, other]), true, json!([new, other]));
    }
}
