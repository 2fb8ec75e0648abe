//! The frame that every kube-mini process stands in.
//!
//! | module | gives |
//! |---|---|
//! | [`clock`] | wall time, monotonic time, sleep and timeout as a value; the virtual clock for tests |
//! | [`transport`] | listeners and connections over TLS, Unix sockets or memory, each with its peer's identity |
//! | [`tls`] | the cluster's certificate authority and the rustls configurations made from its certificates |
//! | [`kubeconfig`] | reading, merging and writing kubeconfig files; from a context to an [`transport::Endpoint`] |
//! | [`logs`], [`metrics`], [`health`] | what an operator sees of a component |
//! | [`shutdown`] | the one cancellation and the tasks it ends; signals; the supervisor's lifeline |
//! | [`files`] | atomic, durable, private files |
//! | [`host`] | the machine's name |
//! | [`memory`] | giving free memory back to the system |
//!
//! A component takes these as values: its `main` builds them, its library never reads arguments, environment or home
//! directory, and never spawns a task that nothing waits for.
//!
//! **Invariant:** this crate knows no Kubernetes object and no component. Only [`clock`] touches tokio's or std's time,
//! apart from socket guards, which [`transport`] takes from a real clock.

pub mod clock;
pub mod files;
pub mod health;
pub mod host;
pub mod kubeconfig;
pub mod logs;
pub mod memory;
pub mod metrics;
pub mod shutdown;
pub mod tls;
pub mod transport;
