//! The integration tests: what the whole system does, on real components.
//!
//! | module | shows |
//! |---|---|
//! | [`harness`] | clusters come up, and leave nothing |
//! | [`documents`] | the documents' manifests and flow |
//! | [`launcher`] | `kube-mini` as a user types it: the documents' commands, down and up, clusters side by side |
//! | [`commands`], [`kubectl`] | kubectl-mini against the real kubectl ([`alike`] compares), and what it alone can |
//! | [`yaml_table`] | YAML as kubectl reads it |
//! | [`clients`] | client libraries of other languages |
//! | [`trace`] | `trace` and `node rules` against what really happens |
//! | [`doctor`] | what is broken is found as what it is |
//! | [`traffic`] | who reaches whom, and as whom |
//! | [`rollouts`] | updates and scaling under load lose no request |
//! | [`load_balancer`] | Services of type LoadBalancer, from the host and from pods |
//! | [`ingress`] | the ingress controller, from the host to the pods |
//! | [`policies`] | NetworkPolicies, by the bytes that come through |
//! | [`dns`] | names in pods |
//! | [`proxies`] | HTTP through the API server to pods, services and nodes |
//! | [`streams`] | exec and port-forward by every kubectl there is |
//! | [`scheduling`] | the scheduler explains itself, and another takes over |
//! | [`controllers`] | another controller manager takes over; certificates, dead pods, budgets |
//! | [`custom_resources`] | defined kinds: kubectl's sight of them, garbage collection, a controller of one's own |
//! | [`side_by_side`] | clusters that do not meet |
//! | [`durability`] | `kill -9` of the API server; large objects |
//! | [`consistency`] | everybody reads its own writes |
//! | [`restart`] | nodes that die without an API server; a cluster that sleeps |
//! | [`node_loss`] | nodes that are lost, by Kubernetes' periods |
//! | [`node_shutdown`] | nodes that shut down in order |
//! | [`clock_jumps`] | wall clocks that are set under a running cluster |
//! | [`full_disk`] | a disk without room |
//! | [`leadership`] | two copies of a component, one of which leads |
//! | [`listeners`] | garbage, slow senders and idle connections by the thousand, at every listener |
//! | [`bad_input`] | what the API refuses, and in which words |
//! | [`pod_identity`] | pods as clients of the API, by their account's token |
//! | [`security`] | who may not |
//! | [`chaos`] | every process dies, again and again, under load |
//! | [`churn`] | many small updates leave a small store |
//! | [`time`] | one module touches time; an hour in a second |
//!
//! Sizes are those of a quick run; the environment variable `KUBE_MINI_LONG` (the nextest profile `long` goes with it)
//! raises them to what the project promises.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod alike;
mod bad_input;
mod chaos;
mod churn;
mod clients;
mod clock_jumps;
mod commands;
mod consistency;
mod controllers;
mod custom_resources;
mod dns;
mod doctor;
mod documents;
mod durability;
mod full_disk;
mod harness;
mod ingress;
mod kinds;
mod kubectl;
mod launcher;
mod leadership;
mod lessons;
mod listeners;
mod load_balancer;
mod node_loss;
mod node_shutdown;
mod pod_identity;
mod policies;
mod proxies;
mod rest;
mod restart;
mod rollouts;
mod scheduling;
mod security;
mod side_by_side;
mod streams;
mod support;
mod time;
mod trace;
mod traffic;
mod yaml_table;
