//! The names of all stages, how their values are read, what they mean: one table for pods, one for nodes.

use std::time::Duration;

use apimachinery::duration::parse_go_duration;

use container_runtime::PullError;

use super::{ContainerSimulation, NodeSimulation};

/// One annotation.
pub struct Knob<T> {
    /// Behind [`super::PREFIX`].
    pub name: &'static str,
    /// The kind of value, for users.
    pub kind: &'static str,
    /// What it does, for users.
    pub meaning: &'static str,
    /// A value.
    pub example: &'static str,
    /// Reads a value; the error completes "must be …".
    pub(super) set: fn(&mut T, &str) -> Result<(), String>,
}

/// On pods; with `.CONTAINER` behind the name, for one container.
pub const CONTAINER: &[Knob<ContainerSimulation>] = &[
    Knob {
        name: "start-delay",
        kind: "duration",
        meaning: "the container takes that long to start",
        example: "10s",
        set: |c, v| put(&mut c.start_delay, duration(v)),
    },
    Knob {
        name: "ready-delay",
        kind: "duration",
        meaning: "it is not ready for that long after its start, whatever its probe says",
        example: "20s",
        set: |c, v| put(&mut c.ready_delay, duration(v)),
    },
    Knob {
        name: "crash-after",
        kind: "duration",
        meaning: "it ends that long after each start, with `exit-code`",
        example: "1m",
        set: |c, v| put(&mut c.crash_after, duration(v)),
    },
    Knob {
        name: "exit-code",
        kind: "number, 0 to 255",
        meaning: "the exit code of `crash-after`; 1 where it is not given",
        example: "3",
        set: |c, v| put(&mut c.exit_code, number(v)),
    },
    Knob {
        name: "oom-after",
        kind: "duration",
        meaning: "it is killed that long after each start: `OOMKilled`, exit code 137",
        example: "45s",
        set: |c, v| put(&mut c.oom_after, duration(v)),
    },
    Knob {
        name: "latency",
        kind: "duration",
        meaning: "each connection that it accepts waits that long before it is served",
        example: "200ms",
        set: |c, v| put(&mut c.latency, duration(v)),
    },
    Knob {
        name: "error-rate",
        kind: "fraction, 0 to 1",
        meaning: "that share of the connections that it accepts is reset",
        example: "0.25",
        set: |c, v| put(&mut c.error_rate, fraction(v)),
    },
    Knob {
        name: "image-pull-error",
        kind: "`not-found`, `unauthorized` or `unreachable`",
        meaning: "its image cannot be pulled: ErrImagePull, ImagePullBackOff",
        example: "not-found",
        set: |c, v| put(&mut c.image_pull_error, pull_error(v)),
    },
];

/// On nodes.
pub const NODE: &[Knob<NodeSimulation>] = &[
    Knob {
        name: "memory-pressure",
        kind: "boolean",
        meaning: "the node says that it is short of memory",
        example: "true",
        set: |n, v| put(&mut n.memory_pressure, boolean(v)),
    },
    Knob {
        name: "disk-pressure",
        kind: "boolean",
        meaning: "the node says that it is short of disk",
        example: "true",
        set: |n, v| put(&mut n.disk_pressure, boolean(v)),
    },
    Knob {
        name: "pid-pressure",
        kind: "boolean",
        meaning: "the node says that it is short of process ids",
        example: "true",
        set: |n, v| put(&mut n.pid_pressure, boolean(v)),
    },
    Knob {
        name: "not-ready",
        kind: "text",
        meaning: "the node says that it is not Ready, with this message",
        example: "container runtime is down",
        set: |n, v| put(&mut n.not_ready, text(v)),
    },
    Knob {
        name: "silent",
        kind: "boolean",
        meaning: "the node tells nothing: no Lease, no status; its pods go on",
        example: "true",
        set: |n, v| put(&mut n.silent, boolean(v)),
    },
];

fn put<T, V: Into<T>>(place: &mut T, read: Result<V, String>) -> Result<(), String> {
    *place = read?.into();
    Ok(())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_go_duration(text).ok_or_else(|| "a duration".to_owned())
}

fn number(text: &str) -> Result<i32, String> {
    let number: Result<u8, _> = text.parse();
    number.map(i32::from).map_err(|_| "a number from 0 to 255".to_owned())
}

fn fraction(text: &str) -> Result<f64, String> {
    let fraction: Option<f64> = text.parse().ok();
    fraction.filter(|f| (0.0..=1.0).contains(f)).ok_or_else(|| "a fraction from 0 to 1".to_owned())
}

fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "true or false".to_owned())
}

fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a text".to_owned()) } else { Ok(text.to_owned()) }
}

fn pull_error(text: &str) -> Result<PullError, String> {
    match text {
        "not-found" => Ok(PullError::NotFound),
        "unauthorized" => Ok(PullError::Unauthorized),
        "unreachable" => Ok(PullError::Unreachable),
        _ => Err("one of not-found, unauthorized, unreachable".to_owned()),
    }
}
