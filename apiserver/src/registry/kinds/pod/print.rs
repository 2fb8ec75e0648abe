//! The row of a pod (`printPod`): how far it has come, told in one word.

use apimachinery::object::Object;
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::printers;

/// A pod's cells, wide.
pub(super) fn row(pod: &Object, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let restarts = match summary.last_restart {
        Some(time) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, printers::ago(time, now))
        }
        _ => summary.restarts.to_string(),
    };
    vec![
        printers::name(pod),
        format!("{}/{}", summary.ready, summary.containers).into(),
        summary.reason.into(),
        restarts.into(),
        printers::age(pod, now),
        pod.get_list(&["status", "podIPs"])
            .first()
            .and_then(|entry| entry["ip"].as_str())
            .filter(|ip| !ip.is_empty())
            .unwrap_or(printers::NONE)
            .into(),
        printers::text_or(pod, &["spec", "nodeName"], printers::NONE),
        printers::text_or(pod, &["status", "nominatedNodeName"], printers::NONE),
        readiness_gates(pod).into(),
    ]
}

/// What the containers' states amount to.
#[derive(Default)]
struct Summary {
    reason: String,
    ready: usize,
    containers: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Summary {
    fn of(pod: &Object) -> Self {
        let phase = pod.get_str(&["status", "phase"]);
        let status_reason = pod.get_str(&["status", "reason"]);
        let mut summary = Self {
            reason: if status_reason.is_empty() { phase } else { status_reason }.to_owned(),
            containers: pod.get_list(&["spec", "containers"]).len(),
            ..Self::default()
        };
        if condition(pod, "PodScheduled").is_some_and(|c| c["reason"] == "SchedulingGated") {
            summary.reason = "SchedulingGated".to_owned();
        }
        let sidecars = sidecars(pod);
        summary.containers += sidecars.len();
        let initializing = summary.init_containers(pod, &sidecars);
        if !initializing || is_true(pod, "Initialized") {
            summary.app_containers(pod, &sidecars);
        }
        if pod.deletion_timestamp().is_some() {
            if status_reason == "NodeLost" {
                summary.reason = "Unknown".to_owned();
            } else if !matches!(phase, "Failed" | "Succeeded") {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    /// Looks at the init containers up to the one that holds the pod up; whether there is one.
    fn init_containers(&mut self, pod: &Object, sidecars: &[&str]) -> bool {
        let total = pod.get_list(&["spec", "initContainers"]).len();
        let statuses = pod.get_list(&["status", "initContainerStatuses"]);
        for (index, status) in statuses.iter().enumerate() {
            self.count_restarts(status);
            let (terminated, waiting) = (state(status, "terminated"), state(status, "waiting"));
            let waiting_for = waiting.and_then(|w| w["reason"].as_str()).unwrap_or_default();
            if let Some(terminated) = terminated {
                if exit_code(terminated) == 0 {
                    continue;
                }
                if !is_started_sidecar(status, sidecars) {
                    self.reason = match terminated["reason"].as_str().unwrap_or_default() {
                        "" => format!("Init:{}", exit_reason(terminated)),
                        reason => format!("Init:{reason}"),
                    };
                    return true;
                }
            }
            if is_started_sidecar(status, sidecars) {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            self.reason = match waiting_for {
                "" | "PodInitializing" => format!("Init:{index}/{total}"),
                reason => format!("Init:{reason}"),
            };
            return true;
        }
        false
    }

    fn app_containers(&mut self, pod: &Object, sidecars: &[&str]) {
        // From here on only sidecars count among the init containers.
        (self.restarts, self.last_restart) = (0, None);
        for status in pod.get_list(&["status", "initContainerStatuses"]) {
            if status["name"].as_str().is_some_and(|name| sidecars.contains(&name)) {
                self.count_restarts(status);
            }
        }
        let mut has_running = false;
        for status in pod.get_list(&["status", "containerStatuses"]).iter().rev() {
            self.count_restarts(status);
            let reason = |state: Option<&Value>| {
                let reason = state.and_then(|s| s["reason"].as_str()).unwrap_or_default();
                (!reason.is_empty()).then(|| reason.to_owned())
            };
            let terminated = state(status, "terminated");
            if let Some(reason) = reason(state(status, "waiting")) {
                self.reason = reason;
            } else if let Some(terminated) = terminated {
                self.reason = reason(Some(terminated)).unwrap_or_else(|| exit_reason(terminated));
            } else if status["ready"] == true && state(status, "running").is_some() {
                has_running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && has_running {
            let ready = is_true(pod, "Ready");
            self.reason = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn count_restarts(&mut self, status: &Value) {
        self.restarts += status["restartCount"].as_i64().unwrap_or_default();
        let finished = status["lastState"]["terminated"].get("finishedAt");
        self.last_restart = self.last_restart.max(printers::parse_time(finished));
    }
}

/// The init containers that run beside the others.
fn sidecars(pod: &Object) -> Vec<&str> {
    pod.get_list(&["spec", "initContainers"])
        .iter()
        .filter(|container| container["restartPolicy"] == "Always")
        .filter_map(|container| container["name"].as_str())
        .collect()
}

fn is_started_sidecar(status: &Value, sidecars: &[&str]) -> bool {
    status["started"] == true && status["name"].as_str().is_some_and(|n| sidecars.contains(&n))
}

fn state<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status.get("state")?.get(name).filter(|state| state.is_object())
}

fn exit_code(terminated: &Value) -> i64 {
    terminated["exitCode"].as_i64().unwrap_or_default()
}

fn exit_reason(terminated: &Value) -> String {
    match terminated["signal"].as_i64().unwrap_or_default() {
        0 => format!("ExitCode:{}", exit_code(terminated)),
        signal => format!("Signal:{signal}"),
    }
}

fn condition<'a>(pod: &'a Object, kind: &str) -> Option<&'a Value> {
    pod.get_list(&["status", "conditions"]).iter().find(|c| c["type"] == kind)
}

fn is_true(pod: &Object, kind: &str) -> bool {
    condition(pod, kind).is_some_and(|condition| condition["status"] == "True")
}

fn readiness_gates(pod: &Object) -> String {
    let gates = pod.get_list(&["spec", "readinessGates"]);
    if gates.is_empty() {
        return printers::NONE.to_owned();
    }
    let open = gates
        .iter()
        .filter(|gate| gate["conditionType"].as_str().is_some_and(|kind| is_true(pod, kind)))
        .count();
    format!("{open}/{}", gates.len())
}
