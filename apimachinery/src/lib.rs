//! The vocabulary that every part of the cluster shares: objects, resources, metadata, selectors, errors, encodings.
//!
//! An object is its JSON, kept whole ([`object::Object`]); the resource table ([`resource`]) says which kinds there
//! are and which are served; [`status::Status`] is the one error of the API. Text forms follow Kubernetes to the
//! letter: [`labels`], [`fields`], [`quantity`], [`duration`], [`yaml`], [`json`], [`jsonpath`].
//!
//! **Invariant**: pure. No tokio, no I/O, no clock, no randomness; whoever needs "now" passes it in.

pub mod api;
pub mod cel;
pub mod certificates;
pub mod duration;
pub mod field;
pub mod fields;
pub mod int_or_string;
pub mod json;
pub mod jsonpath;
pub mod labels;
pub mod managed_fields;
pub mod node_affinity;
pub mod number;
pub mod object;
pub mod patch;
pub mod pod_resources;
pub mod quantity;
pub mod regexp;
pub mod resource;
pub mod schema;
pub mod status;
pub mod structural;
pub mod taints;
pub mod time;
pub mod validation;
pub mod yaml;
