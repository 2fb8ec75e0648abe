//! When the change happened that endpoints are written for: client-side measurements of how long that takes read it from
//! the annotation `endpoints.kubernetes.io/last-change-trigger-time`. Follows `TriggerTimeTracker` of Kubernetes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use apimachinery::{
    api::core::{Pod, Service},
    object::ObjectKey,
};
use jiff::Timestamp;
use parking_lot::Mutex;

/// The annotation.
pub const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// What has been seen of each Service.
#[derive(Clone, Debug, Default)]
pub struct TriggerTimes {
    known: Arc<Mutex<HashMap<ObjectKey, Known>>>,
}

#[derive(Debug, Default)]
struct Known {
    service: Option<Timestamp>,
    pods: HashMap<String, Timestamp>,
}

impl TriggerTimes {
    /// The earliest change since the last call: of a pod's readiness, or the Service's creation.
    #[must_use]
    pub fn changed(&self, key: &ObjectKey, service: &Service, pods: &[Arc<Pod>]) -> Option<String> {
        let created = service.metadata.creation_timestamp.map(|at| at.0);
        let now = Known {
            service: created,
            pods: pods.iter().filter_map(|pod| ready_change(pod)).collect(),
        };
        let mut known = self.known.lock();
        let Some(before) = known.get(key) else {
            known.insert(key.clone(), now);
            return created.map(|at| at.to_string());
        };
        let pods = now.pods.iter().filter(|(name, at)| before.pods.get(*name) < Some(at));
        let service = now.service.filter(|at| before.service < Some(*at));
        let first = pods.map(|(_, at)| *at).chain(service).min();
        known.insert(key.clone(), now);
        first.map(|at| at.to_string())
    }

    /// The Service is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.known.lock().remove(key);
    }
}

/// Writes the time into annotations, or takes an older one away.
pub fn annotate(annotations: &mut BTreeMap<String, String>, time: Option<&String>) {
    match time {
        Some(time) => annotations.insert(TRIGGER_TIME.to_owned(), time.clone()),
        None => annotations.remove(TRIGGER_TIME),
    };
}

/// A pod, and when its readiness last changed.
fn ready_change(pod: &Pod) -> Option<(String, Timestamp)> {
    let ready = pod.status.conditions.iter().find(|c| c.type_ == "Ready")?;
    Some((pod.metadata.name.clone()?, ready.last_transition_time?.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_earliest_change_that_is_new_counts() {
        let times = TriggerTimes::default();
        let key = ObjectKey { namespace: "n".into(), name: "web".into() };
        let pod = |name: &str, at: &str| -> Arc<Pod> {
            let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": at}]);
            let pod = json!({"metadata": {"name": name}, "status": {"conditions": ready}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let service = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}});
        let service: Service = serde_json::from_value(service).unwrap();
        let changed = |pods: &[Arc<Pod>]| times.changed(&key, &service, pods);
        let text = |text: &str| Some(text.to_owned());
        let (a, b) = (pod("a", "2026-01-01T00:00:09Z"), pod("b", "2026-01-01T00:00:05Z"));
        let one = [a.clone()];
        assert_eq!(changed(&one), text("2026-01-01T00:00:00Z"), "a new Service's creation");
        assert_eq!(changed(&one), None);
        assert_eq!(changed(&[a, b.clone()]), text("2026-01-01T00:00:05Z"));
        let later = pod("a", "2026-01-01T00:00:20Z");
        assert_eq!(changed(&[later.clone(), b]), text("2026-01-01T00:00:20Z"));
        assert_eq!(changed(&[later]), None, "one that goes changes nothing");
        times.forget(&key);
        assert_eq!(changed(&one), text("2026-01-01T00:00:00Z"));
    }
}
