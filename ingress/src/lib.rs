//! The ingress controller: what ingress-nginx is to a cluster, as a Program.
//!
//! ```text
//!   API ──watch──▶ Directory ──publish──▶ Snapshot (routes, upstreams, certificates) behind an ArcSwap
//!                  (one task)                │
//!   client ──▶ listener :80, :443 ──▶ Proxy ─┴─ route ─▶ upstream ─▶ pool ──▶ the endpoint's pod, directly
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`routes`] | Ingresses to a table, and its lookup: Kubernetes' rules of precedence, pure |
//! | [`upstreams`] | Services and EndpointSlices to the endpoints of a backend, pure |
//! | [`certificates`] | TLS Secrets to what a server presents, by the name that the client asks for |
//! | [`directory`] | all that is known, and the snapshot of it that requests read |
//! | [`decision`] | what becomes of a request, for the proxy and for who asks why, pure |
//! | `watch`, `status` | following the API; writing the Ingresses' addresses |
//! | `proxy`, `pool`, `headers`, `body` | one request's way: route, connect, forward, answer |
//! | `activity`, `tunnel` | what goes on in a connection and when it has to end; what follows an upgrade |
//! | `server` | the ports, TLS |
//! | `access_log` | a line per request, in ingress-nginx' format |
//! | [`program`] | the image |
//!
//! Until an Ingress of its class is there it follows Ingresses and IngressClasses alone: an idle cluster pays for two
//! watches.
//!
//! **Invariant:** it knows pods' networks only by `cni`'s contract and the API only by `client`. Where a request goes
//! is decided by [`routes`] alone, from the snapshot and the request.

mod access_log;
mod activity;
mod body;
pub mod certificates;
pub mod decision;
pub mod directory;
mod headers;
mod pool;
pub mod program;
mod proxy;
pub mod routes;
mod server;
mod status;
mod tunnel;
pub mod upstreams;
mod watch;

pub use activity::Limits;
pub use program::{IngressConfig, IngressController};
