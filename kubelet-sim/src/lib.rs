//! kubelet-sim: the node agent, faithful but for the container engine.
//!
//! One process is a node, or many. For each node it registers a Node object, renews its Lease, and runs the pods that
//! the scheduler binds to it: containers are Programs of the [`container_runtime`], their network is [`cni`]'s.
//!
//! | module | does |
//! |---|---|
//! | [`lifecycle`] | what a pod's containers should do next (pure) |
//! | [`status`] | a pod's status from what is known of it (pure) |
//! | [`mod@env`], [`volumes`] | environment and files of a container (pure, and nearly so) |
//! | [`simulation`] | what annotations ask a pod or a node to act out (pure) |
//! | [`backoff`] | how long a crashing container waits (pure) |
//! | [`tokens`] | the ServiceAccount tokens in volumes |
//! | [`names`] | `/etc/resolv.conf` of a pod (pure) |
//! | [`worker`] | the one task per pod that acts; [`hooks`] and [`probes`] beside it |
//! | [`node`] | registration, Lease, and the pods of one node |
//! | [`statuses`], [`objects`], [`checkpoint`] | the ways to the API server, from it, and over a reboot |
//! | `memory` | gives back what a burst of statuses took |
//! | [`streams`] | logs, exec, attach, port-forward |
//!
//! The death of this process counts as a reboot of its nodes: the pods come back from their checkpoints with the same
//! uid and address, each container restarted once more, with or without an API server.
//!
//! **Invariant:** what a pod does is decided by the pure modules alone; the worker only carries it out.

pub mod backoff;
pub mod checkpoint;
pub mod env;
pub mod hooks;
pub mod images;
pub mod lifecycle;
mod memory;
pub mod names;
pub mod node;
pub mod objects;
pub mod probes;
mod server;
pub mod simulation;
pub mod status;
pub mod statuses;
pub mod streams;
#[cfg(test)]
mod testing;
pub mod tokens;
pub mod volumes;
pub mod worker;

pub use server::{Config, GracefulShutdown, NodeSetup, Server, ServerError};
pub(crate) use worker::hook_request as worker_hook_request;

/// The InternalIP of node number `number`: 192.168.1.101 for the first; beyond the 155th they go on in 192.168.2.0.
#[must_use]
pub fn node_address(number: u32) -> std::net::Ipv4Addr {
    let base = u32::from(std::net::Ipv4Addr::new(192, 168, 1, 100));
    let past = if number > 154 { 100 } else { 0 };
    std::net::Ipv4Addr::from(base + number + past)
}

/// A duration as Go prints it: `10s`, `2m40s`, `5m0s`.
#[must_use]
pub fn go_duration(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_go_prints_them() {
        let check = |seconds, expected: &str| {
            assert_eq!(go_duration(std::time::Duration::from_secs(seconds)), expected);
        };
        check(10, "10s");
        check(160, "2m40s");
        check(300, "5m0s");
        check(3600, "1h0m0s");
    }

    #[test]
    fn nodes_have_addresses_of_their_own() {
        let check = |number, expected: &str| {
            assert_eq!(node_address(number).to_string(), expected);
        };
        check(1, "192.168.1.101");
        check(154, "192.168.1.254");
        check(155, "192.168.2.99");
        check(1000, "192.168.5.176");
    }
}
