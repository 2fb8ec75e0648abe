//! The garbage collector: what an owner leaves behind goes with it.
//!
//! It follows the metadata of every kind that can be deleted and keeps a graph of who owns whom ([`graph`], pure). An
//! object all of whose owners are gone is deleted; an owner in foreground deletion waits for its dependents; an owner
//! that orphans them is let go once they have forgotten it. The graph may be behind, so before an object is touched
//! its present state and its owners are read from the API. Follows `pkg/controller/garbagecollector` of Kubernetes.

mod act;
pub mod graph;

pub use act::start;
