//! The service controller: gives every Service of type LoadBalancer an address.
//!
//! Kubernetes leaves this to the cloud's controller manager (`cloud-provider/controllers/service`), whose words, events
//! and finalizer these are. Our cloud is the host: the load balancers' addresses are `127.X.Y.128` to `127.X.Y.254` of
//! the cluster's slice of the loopback network. Opening them is the nodes' work, who read `status.loadBalancer`.
//!
//! The Services themselves say who has which address: what stands in a status is taken until it stands there no more.
//! So nothing has to be kept elsewhere, and a restart changes nothing. One worker hands addresses out, and remembers
//! those that the cache does not show yet; should two Services have one address all the same, the older keeps it.
//!
//! [`plan`] decides (pure), [`act`] writes.

pub mod act;
pub mod plan;
