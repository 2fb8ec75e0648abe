//! The pod network: one contract, several data planes.
//!
//! * [`network`] is what a program in a pod sees: a [`network::Sandbox`] with `listen_tcp`, `connect_tcp`,
//!   `bind_udp` and `resolve`, and the streams that come of them. It knows no data plane.
//! * [`rules`] is what a node is told: Services, and which node owns which pods. kube-proxy compiles it,
//!   a data plane obeys it, and whoever wants to know why a packet went where it went reads the same value.
//! * [`stance`] says how one node sees the network, for those who carry connections and for those who explain them.
//! * [`report`] is what a node tells of itself, [`probe`] what it may be asked to try, and [`trace`] explains from
//!   reports, without a packet, why a connection goes where it goes.
//! * [`render`] prints a node's rules as `iptables-save` or `nft` would.
//! * [`ipam`] hands out pod addresses of one node's range.
//! * [`userspace`] is the default data plane: no root, any Unix. It never copies a byte: it joins programs by
//!   socket pairs and passes descriptors between processes.
//! * [`node_service`] is the door by which kube-proxy programs a node, as netlink is a kernel's.
//!
//! **Architecture Invariant**: this crate knows no API object, no client and no kubelet. Programs that were
//! written against [`network`] run on every data plane.

pub mod cidr;
mod descriptor;
pub mod ipam;
pub mod network;
pub mod node_service;
pub mod probe;
pub mod render;
pub mod report;
pub mod rules;
pub mod stance;
pub mod trace;
pub mod userspace;
