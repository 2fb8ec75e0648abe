//! What can be set about the controllers.

use std::{net::Ipv4Addr, time::Duration};

use component_base::tls::KeyPair;

/// Kubernetes' settings of single controllers, with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The certificates (PEM) that every namespace's `kube-root-ca.crt` holds; None: they are not published.
    pub root_ca: Option<String>,
    /// The authority that signs approved CertificateSigningRequests; None: nothing is signed.
    pub cluster_signing: Option<KeyPair>,
    /// How long a certificate lasts that is asked for without a time, and at most.
    pub cluster_signing_duration: Duration,
    /// How many pods that have ended may stay before the oldest are deleted; 0 and less: any number.
    pub terminated_pod_gc_threshold: i32,
    /// How long a node may be silent.
    pub node_monitor_grace_period: Duration,
    /// How long a node may be silent that has never posted its status.
    pub node_startup_grace_period: Duration,
    /// Nodes per second from which pods are evicted in a healthy zone.
    pub node_eviction_rate: f64,
    /// The same in a large zone that is partly disrupted.
    pub secondary_node_eviction_rate: f64,
    /// The share of silent nodes from which on a zone is partly disrupted (if they are at least three).
    pub unhealthy_zone_threshold: f64,
    /// A zone with at most so many nodes is small: when it is partly disrupted, evictions stop.
    pub large_cluster_size_threshold: usize,
    /// The /24 of the loopback network whose upper half load balancers get addresses from; None: they get none.
    pub load_balancer_network: Option<Ipv4Addr>,
    /// The most addresses of a subset of Endpoints that are mirrored to EndpointSlices.
    pub mirroring_max_endpoints_per_subset: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root_ca: None,
            cluster_signing: None,
            cluster_signing_duration: Duration::from_secs(365 * 24 * 3600),
            terminated_pod_gc_threshold: 12_500,
            node_monitor_grace_period: Duration::from_secs(50),
            node_startup_grace_period: Duration::from_secs(60),
            node_eviction_rate: 0.1,
            secondary_node_eviction_rate: 0.01,
            unhealthy_zone_threshold: 0.55,
            large_cluster_size_threshold: 50,
            load_balancer_network: None,
            mirroring_max_endpoints_per_subset: 1000,
        }
    }
}
