//! The cluster's DNS, in CoreDNS' place.
//!
//! ```text
//!   API ──watch──▶ Directory ──publish──▶ Records (one immutable snapshot) ◀──lookup── Server :53 ◀── pods
//!                  (one task)              behind an ArcSwap: no locks          │
//!                                                                               └──▶ upstream servers, if any
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`records`] | what is answered: Kubernetes' DNS specification 1.1.0, pure |
//! | [`message`] | what is accepted, and how answers are put into packets, pure |
//! | [`server`] | port 53: datagrams, connections, their limits |
//! | [`watch`] | following the API |
//! | [`exchange`], `upstream` | asking other servers |
//! | [`resolver`] | the pods' side: `/etc/resolv.conf` and [`cni::network::Resolver`] |
//! | [`program`], [`in_cluster`] | the image, and its way to the API |
//! | [`tools`] | `nslookup`, `dig` and `host` of the pods' shells |
//!
//! Messages are read and written by hickory-proto; names, records and verdicts are ours.
//!
//! **Invariant:** it knows pods' networks only by `cni`'s contract and the API only by `client`. What is answered is
//! decided by [`records`] alone, from the snapshot and the question.

pub mod exchange;
mod health;
pub mod in_cluster;
pub mod message;
pub mod metrics;
pub mod program;
pub mod records;
pub mod resolver;
pub mod server;
#[cfg(test)]
mod testing;
pub mod tools;
mod upstream;
pub mod watch;

pub use program::{CoreDns, CoreDnsConfig};
pub use resolver::{PodResolver, ResolvConf};

// Only chosen, not called; see the manifest.
use idna_adapter as _;
