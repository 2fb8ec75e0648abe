//! The cluster launcher, in minikube's place: makes a cluster's certificates, starts its processes and keeps them
//! running, finds a free corner of 127/8 for its addresses, and writes its kubeconfig.
//!
//! | module | gives |
//! |---|---|
//! | [`paths`] | where a cluster keeps its state and its sockets |
//! | [`config`] | what a cluster is made of, remembered in `cluster.yaml` |
//! | [`host`] | the address slices and locks that the clusters of one machine share |
//! | [`pki`] | who gets which certificate |
//! | [`components`] | the table of processes, and their arguments |
//! | [`addons`] | what a cluster has in it from the start |
//! | [`supervisor`] | keeps them running; the control socket |
//! | [`commands`] | one file per command |
//!
//! **Invariant:** the launcher knows how components are started, never what they do: all it learns of a running
//! cluster it reads from the API, as any client would.

pub mod addons;
pub mod commands;
pub mod components;
pub mod config;
pub mod host;
pub mod output;
pub mod paths;
pub mod pki;
pub mod supervisor;
