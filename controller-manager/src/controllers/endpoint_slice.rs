//! The EndpointSlice controller: the pods behind each Service, in slices of at most a hundred.
//!
//! [`plan::plan`] works out the endpoints of a Service from its pods, groups them by the ports that they resolve to,
//! and fits them into the slices that are there with as few writes as possible. Follows
//! `k8s.io/endpointslice` of Kubernetes: a slice that need not change is not touched.

pub mod act;
pub mod plan;
pub(crate) mod writer;
