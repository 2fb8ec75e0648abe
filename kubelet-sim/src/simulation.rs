//! Stages on demand: what a user asks a pod or a node to act out, by annotations below `simulation.kube-mini.dev/`.
//!
//! ```text
//! simulation.kube-mini.dev/crash-after: 30s            every container of the pod
//! simulation.kube-mini.dev/crash-after.sidecar: 5s     one container, init containers included
//! ```
//! Without a container's name an annotation holds for the pod's `containers`, not for its init containers; one that
//! names a container wins. [`table`] is the only list of the names: the parser, its messages and FIDELITY.md's table
//! come from it. Annotations may change while the pod lives: what concerns a start (delays, ends, the image) counts
//! from the container's next start, what concerns traffic at once.
//!
//! A value that cannot be read and a name that is not in the table are problems, never silence: the kubelet tells them
//! by a `Warning` event with the reason [`INVALID`]; what could be read holds all the same.

pub mod gate;
pub mod table;

use std::{collections::BTreeMap, time::Duration};

use apimachinery::api::core::{Node, Pod};

use container_runtime::PullError;
use table::{CONTAINER, Knob, NODE};

/// What all annotations begin with.
pub const PREFIX: &str = "simulation.kube-mini.dev/";
/// The reason of the event that tells of an annotation that is not understood.
pub const INVALID: &str = "InvalidSimulation";

/// What one container is to act out. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSimulation {
    /// How long the container takes to start, in `ContainerCreating`.
    pub start_delay: Option<Duration>,
    /// How long after its start it is not ready, whatever its probe says.
    pub ready_delay: Option<Duration>,
    /// How long after its start it ends, with [`Self::exit_code`].
    pub crash_after: Option<Duration>,
    /// The code of that end; see [`Self::crash_code`].
    pub exit_code: Option<i32>,
    /// How long after its start it is killed for want of memory: `OOMKilled`, 137.
    pub oom_after: Option<Duration>,
    /// How long each accepted connection waits before it is served.
    pub latency: Option<Duration>,
    /// The share of connections that are reset, from 0 to 1.
    pub error_rate: Option<f64>,
    /// Why its image cannot be pulled.
    pub image_pull_error: Option<PullError>,
}

impl ContainerSimulation {
    /// The exit code of a crash: as asked, else 1.
    #[must_use]
    pub fn crash_code(&self) -> i32 {
        self.exit_code.unwrap_or(1)
    }
}

/// What a pod's containers are to act out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodSimulation {
    /// By container, init containers included; those that act out nothing are left out.
    containers: BTreeMap<String, ContainerSimulation>,
    /// What is not understood, a sentence each.
    pub problems: Vec<String>,
}

impl PodSimulation {
    /// Reads a pod's annotations.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let annotations = &pod.metadata.annotations;
        let mut read = Self::default();
        let spec = &pod.spec;
        let all = || spec.containers.iter().chain(&spec.init_containers).map(|c| c.name.as_str());
        for (named, (key, name, value)) in
            [false, true].into_iter().flat_map(|n| ours(annotations).map(move |a| (n, a)))
        {
            let (name, container) = match name.split_once('.') {
                Some((name, container)) => (name, Some(container)),
                None => (name, None),
            };
            // Those for all containers first, so that those for one win.
            if container.is_some() != named {
                continue;
            }
            let set = match find(CONTAINER, key, name) {
                Ok(set) => set,
                Err(problem) => {
                    read.problems.push(problem);
                    continue;
                }
            };
            let mut blank = ContainerSimulation::default();
            if let Err(problem) = check(set, &mut blank, key, value) {
                read.problems.push(problem);
                continue;
            }
            let targets: Vec<&str> = match container {
                None => spec.containers.iter().map(|c| c.name.as_str()).collect(),
                Some(container) => all().filter(|c| *c == container).collect(),
            };
            if let (Some(container), true) = (container, targets.is_empty()) {
                read.problems.push(format!(
                    "metadata.annotations[{key}]: Not found: the pod has no container {container:?}"
                ));
            }
            for target in targets {
                let simulation = read.containers.entry(target.to_owned()).or_default();
                // It was read above: it can be read again.
                let _ = (set.set)(simulation, value);
            }
        }
        read
    }

    /// What one container is to act out.
    #[must_use]
    pub fn container(&self, name: &str) -> ContainerSimulation {
        self.containers.get(name).cloned().unwrap_or_default()
    }
}

/// What a node is to act out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeSimulation {
    /// It is short of memory.
    pub memory_pressure: bool,
    /// It is short of disk.
    pub disk_pressure: bool,
    /// It is short of process ids.
    pub pid_pressure: bool,
    /// It is not Ready, with this message.
    pub not_ready: Option<String>,
    /// It tells nothing any more: neither Lease nor status.
    pub silent: bool,
    /// What is not understood, a sentence each.
    pub problems: Vec<String>,
}

impl NodeSimulation {
    /// Reads a node's annotations.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let mut read = Self::default();
        for (key, name, value) in ours(&node.metadata.annotations) {
            let outcome = find(NODE, key, name).and_then(|knob| check(knob, &mut read, key, value));
            read.problems.extend(outcome.err());
        }
        read
    }
}

/// Our annotations: the whole key, the name behind the prefix, the value.
fn ours(annotations: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str, &str)> {
    annotations
        .iter()
        .filter_map(|(key, value)| Some((key.as_str(), key.strip_prefix(PREFIX)?, value.as_str())))
}

fn find<'a, T>(knobs: &'a [Knob<T>], key: &str, name: &str) -> Result<&'a Knob<T>, String> {
    knobs.iter().find(|knob| knob.name == name).ok_or_else(|| {
        let names: Vec<String> = knobs.iter().map(|knob| format!("{:?}", knob.name)).collect();
        format!(
            "metadata.annotations[{key}]: Unsupported value: {name:?}: supported values: {}",
            names.join(", ")
        )
    })
}

fn check<T>(knob: &Knob<T>, into: &mut T, key: &str, value: &str) -> Result<(), String> {
    (knob.set)(into, value).map_err(|expected| {
        format!(
            "metadata.annotations[{key}]: Invalid value: {value:?}: must be {expected}, e.g. {:?}",
            knob.example
        )
    })
}

#[cfg(test)]
mod tests;
