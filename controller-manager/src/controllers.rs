//! The controllers, one file or folder each, and the table of them.

pub mod certificates;
pub mod cluster_role_aggregation;
pub mod deployment;
pub mod disruption;
pub mod endpoint_slice;
pub mod endpoint_slice_mirroring;
pub mod endpoints;
pub mod garbage_collector;
pub mod namespace;
pub mod node_ipam;
pub mod node_lifecycle;
pub mod pod_gc;
pub mod replica_set;
pub mod root_ca;
pub mod service_account;
pub mod service_lb;
pub mod taint_eviction;
pub mod trigger_time;

use crate::context::Setup;

/// A controller: its name, as `kube-controller-manager --controllers` has it, and how it is set up.
pub struct Controller {
    /// The name.
    pub name: &'static str,
    /// Registers its informers and starts its workers.
    pub start: fn(&mut Setup<'_>),
}

/// All controllers.
pub const CONTROLLERS: &[Controller] = &[
    Controller { name: "deployment-controller", start: deployment::act::start },
    Controller { name: "replicaset-controller", start: replica_set::act::start },
    Controller { name: "endpointslice-controller", start: endpoint_slice::act::start },
    Controller {
        name: "endpointslice-mirroring-controller",
        start: endpoint_slice_mirroring::start,
    },
    Controller { name: "endpoints-controller", start: endpoints::start },
    Controller {
        name: "clusterrole-aggregation-controller",
        start: cluster_role_aggregation::start,
    },
    Controller { name: "namespace-controller", start: namespace::start },
    Controller { name: "serviceaccount-controller", start: service_account::start },
    Controller { name: "service-lb-controller", start: service_lb::act::start },
    Controller { name: "node-ipam-controller", start: node_ipam::start },
    Controller { name: "node-lifecycle-controller", start: node_lifecycle::act::start },
    Controller { name: "taint-eviction-controller", start: taint_eviction::start },
    Controller { name: "garbage-collector-controller", start: garbage_collector::start },
    Controller { name: "pod-garbage-collector-controller", start: pod_gc::start },
    Controller { name: "disruption-controller", start: disruption::start },
    Controller {
        name: "certificatesigningrequest-approving-controller",
        start: certificates::approving::start,
    },
    Controller {
        name: "certificatesigningrequest-signing-controller",
        start: certificates::signing::start,
    },
    Controller {
        name: "certificatesigningrequest-cleaner-controller",
        start: certificates::cleaner::start,
    },
    Controller { name: "root-ca-certificate-publisher-controller", start: root_ca::start },
];
