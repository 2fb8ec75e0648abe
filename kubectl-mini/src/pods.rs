//! From what the user named to one of its pods, and to a container of it: what logs, exec and attach share.

use std::{cmp::Ordering, time::Duration};

use apimachinery::{
    api::{
        core::{Container, Pod, Service},
        meta::LabelSelector,
    },
    field::go_quote,
    labels::Selector,
    object::Object,
    resource,
    time::Time,
};
use client::{ListOptions, WatchEvent, WatchOptions};
use futures::StreamExt;

use crate::{context::Context, errors::CommandError, resources::Item};

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Whether pods of a workload are worth more when they have run for long: logs look at the first, exec at the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The most telling one first (`ByLogging`).
    ForLogs,
    /// The most alive one first (`ActivePods`, reversed).
    ForExec,
}

/// The pods that an object stands for.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The best one.
    pub pod: Pod,
    /// How many there are.
    pub count: usize,
}

/// The selector of a workload's or Service's pods.
///
/// # Errors
/// kubectl's, when the object has no pods.
fn selector_of(object: &Object) -> Result<String, String> {
    let kind = object.kind();
    match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" => {
            let selector: LabelSelector = object
                .get(&["spec", "selector"])
                .cloned()
                .map(serde_json::from_value)
                .transpose()
                .map_err(|error| error.to_string())?
                .unwrap_or_default();
            Selector::from_label_selector(Some(&selector))
                .map(|selector| selector.to_string())
                .map_err(|error| error.to_string())
        }
        "Service" => {
            let service: Service = object.view().map_err(|error| error.to_string())?;
            let selector = service.spec.selector;
            if selector.is_empty() {
                return Err(format!(
                    "invalid service '{}': Service is defined without a selector",
                    object.name()
                ));
            }
            let pairs = selector.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            Ok(Selector::from_map(pairs).to_string())
        }
        _ => Err(format!("selector for *v1.{kind} not implemented")),
    }
}

/// The pod that an object is, or the best of its pods; waits for the first one.
///
/// # Errors
/// kubectl's (`refusal` begins it), when the object has no pods, or none comes in time.
pub async fn choose(
    context: &Context,
    item: &Item,
    order: Order,
    timeout: Duration,
    refusal: &str,
) -> Result<Chosen, CommandError> {
    if item.info == &resource::PODS {
        let pod = item.object.view().map_err(|error| CommandError::message(error.to_string()))?;
        return Ok(Chosen { pod, count: 1 });
    }
    let selector = selector_of(&item.object).map_err(|why| {
        CommandError::message(format!("{refusal} *v1.{}: {why}", item.object.kind()))
    })?;
    let namespace = item.object.namespace();
    let client = context.client()?;
    let list =
        context.request(client.list::<Pod>(namespace, &ListOptions::labels(&*selector))).await?;
    let mut pods = list.items;
    pods.sort_by(|a, b| match order {
        Order::ForLogs => by_logging(a, b),
        Order::ForExec => by_activity(b, a),
    });
    let count = pods.len();
    if let Some(pod) = pods.into_iter().next() {
        return Ok(Chosen { pod, count });
    }
    let options = WatchOptions {
        label_selector: selector,
        resource_version: list.resource_version,
        ..WatchOptions::default()
    };
    let first = async {
        let mut events = client.watch::<Pod>(namespace, &options).await?;
        while let Some(event) = events.next().await {
            if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event? {
                return Ok(Some(pod));
            }
        }
        Ok::<_, CommandError>(None)
    };
    match context.clock.timeout(timeout, first).await {
        Ok(found) => found?.map(|pod| Chosen { pod, count: 1 }),
        Err(_) => None,
    }
    .ok_or_else(|| CommandError::message("timed out waiting for the condition"))
}

/// All pods of an object; those of a list.
///
/// # Errors
/// The server's, or that the object has no pods.
pub async fn all(context: &Context, item: &Item, refusal: &str) -> Result<Vec<Pod>, CommandError> {
    if item.info == &resource::PODS {
        let pod = item.object.view().map_err(|error| CommandError::message(error.to_string()))?;
        return Ok(vec![pod]);
    }
    let selector = selector_of(&item.object).map_err(|why| {
        CommandError::message(format!("{refusal} *v1.{}: {why}", item.object.kind()))
    })?;
    let client = context.client()?;
    let options = ListOptions::labels(selector);
    Ok(context.request(client.list::<Pod>(item.object.namespace(), &options)).await?.items)
}

/// All containers' names, as messages list them: `web, log, setup (init)`.
#[must_use]
pub fn container_names(pod: &Pod) -> String {
    let spec = &pod.spec;
    let ephemeral =
        spec.ephemeral_containers.iter().map(|container| format!("{} (ephem)", container.name));
    let init = spec.init_containers.iter().map(|container| format!("{} (init)", container.name));
    let names = spec.containers.iter().map(|container| container.name.clone());
    names.chain(ephemeral).chain(init).collect::<Vec<_>>().join(", ")
}

/// Whether the pod has a container of that name, of any sort.
#[must_use]
pub fn has_container(pod: &Pod, name: &str) -> bool {
    let spec = &pod.spec;
    let named = |containers: &[Container]| containers.iter().any(|c| c.name == name);
    named(&spec.containers)
        || named(&spec.init_containers)
        || spec.ephemeral_containers.iter().any(|container| container.name == name)
}

/// The container that is meant when none is named: the annotated one, else the first. The text, if any, tells the user
/// what was chosen out of what.
#[must_use]
pub fn default_container(pod: &Pod, missing_default_is_told: bool) -> (String, String) {
    let spec = &pod.spec;
    let mut told = String::new();
    let annotated = pod.metadata.annotations.get(DEFAULT_CONTAINER);
    if let Some(name) = annotated.filter(|name| !name.is_empty()) {
        if has_container(pod, name) {
            return (name.clone(), told);
        }
        if missing_default_is_told {
            told = format!(
                "Default container name {} not found in pod {}\n",
                go_quote(name),
                pod.metadata.name.as_deref().unwrap_or_default()
            );
        }
    }
    let first = spec.containers.first().map(|c| c.name.clone()).unwrap_or_default();
    let several = spec.containers.len() > 1
        || !spec.init_containers.is_empty()
        || !spec.ephemeral_containers.is_empty();
    if several {
        told +=
            &format!("Defaulted container {} out of: {}\n", go_quote(&first), container_names(pod));
    }
    (first, told)
}

fn ready_since(pod: &Pod) -> Option<Option<Time>> {
    let mut conditions = pod.status.conditions.iter();
    let ready = conditions.find(|c| c.type_ == "Ready" && c.status == "True")?;
    Some(ready.last_transition_time)
}

fn restarts(pod: &Pod) -> i32 {
    pod.status.container_statuses.iter().map(|status| status.restart_count).max().unwrap_or(0)
}

fn assigned(pod: &Pod) -> bool {
    pod.spec.node_name.as_deref().is_some_and(|name| !name.is_empty())
}

/// Earlier times first, absent ones last.
fn earlier(a: Option<Time>, b: Option<Time>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.0.cmp(&b.0),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

fn phase_rank(pod: &Pod) -> u8 {
    match pod.status.phase.as_deref() {
        Some("Unknown") => 1,
        Some("Pending") => 2,
        // Running, and what kubectl's table does not know.
        _ => 0,
    }
}

/// What has more to tell comes first.
fn by_logging(a: &Pod, b: &Pod) -> Ordering {
    let (ready_a, ready_b) = (ready_since(a), ready_since(b));
    assigned(b)
        .cmp(&assigned(a))
        .then_with(|| phase_rank(a).cmp(&phase_rank(b)))
        .then_with(|| ready_b.is_some().cmp(&ready_a.is_some()))
        .then_with(|| earlier(ready_a.flatten(), ready_b.flatten()))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| earlier(a.metadata.creation_timestamp, b.metadata.creation_timestamp))
}

fn activity_rank(pod: &Pod) -> u8 {
    match pod.status.phase.as_deref() {
        Some("Unknown") => 1,
        Some("Running") => 2,
        _ => 0,
    }
}

/// What is less alive comes first.
fn by_activity(a: &Pod, b: &Pod) -> Ordering {
    let (ready_a, ready_b) = (ready_since(a), ready_since(b));
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| activity_rank(a).cmp(&activity_rank(b)))
        .then_with(|| ready_a.is_some().cmp(&ready_b.is_some()))
        .then_with(|| earlier(ready_b.flatten(), ready_a.flatten()))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| earlier(b.metadata.creation_timestamp, a.metadata.creation_timestamp))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(json: serde_json::Value) -> Pod {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_container_is_chosen_and_told() {
        let check = |json: serde_json::Value, name: &str, told: &str| {
            assert_eq!(default_container(&pod(json), true), (name.to_owned(), told.to_owned()));
        };
        check(json!({ "spec": { "containers": [{ "name": "a" }] } }), "a", "");
        check(
            json!({ "spec": { "containers": [{ "name": "a" }, { "name": "b" }], "initContainers": [{ "name": "i" }] } }),
            "a",
            "Defaulted container \"a\" out of: a, b, i (init)\n",
        );
        check(
            json!({ "metadata": { "annotations": { DEFAULT_CONTAINER: "b" } }, "spec": { "containers": [{ "name": "a" }, { "name": "b" }] } }),
            "b",
            "",
        );
    }

    #[test]
    fn running_and_ready_pods_are_preferred() {
        let of = |name: &str, phase: &str, ready: &str, restarts: i32| {
            pod(json!({
                "metadata": { "name": name },
                "spec": { "nodeName": "n" },
                "status": {
                    "phase": phase,
                    "conditions": [{ "type": "Ready", "status": ready }],
                    "containerStatuses": [{ "name": "c", "restartCount": restarts }],
                },
            }))
        };
        let mut pods = vec![
            of("pending", "Pending", "False", 0),
            of("restarted", "Running", "True", 3),
            of("ready", "Running", "True", 0),
            of("unready", "Running", "False", 9),
        ];
        let names = |pods: &[Pod]| -> Vec<String> {
            pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect()
        };
        pods.sort_by(by_logging);
        assert_eq!(names(&pods), ["restarted", "ready", "unready", "pending"]);
        pods.sort_by(|a, b| by_activity(b, a));
        assert_eq!(names(&pods), ["ready", "restarted", "unready", "pending"]);
    }
}
