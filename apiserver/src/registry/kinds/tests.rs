//! The kinds without tests of their own, and what holds of all kinds.

mod access;
mod certificates;
mod cluster;
mod data;
mod policy;
mod workloads;

use apimachinery::{
    object::Object,
    resource::{self, ResourceInfo},
};
use serde_json::json;

use super::{all, testing::now};

#[test]
fn every_served_kind_has_a_strategy() {
    // Reviews are answered, not stored.
    let stored = resource::served().filter(|info| !crate::handler::review::is_review(info));
    let mut served: Vec<String> = stored.map(ResourceInfo::group_resource).collect();
    let mut kinds: Vec<String> = all().iter().map(|s| s.resource().group_resource()).collect();
    served.sort();
    kinds.sort();
    assert_eq!(kinds, served);
}

#[test]
fn an_empty_object_frightens_no_strategy() {
    for strategy in all() {
        for mut object in [
            Object::default(),
            Object::from_value(json!({"metadata": 1, "spec": [], "status": "x", "data": 2}))
                .unwrap(),
        ] {
            strategy.default(&mut object);
            assert_eq!(strategy.row(&object, now()).len(), strategy.columns().len());
            strategy.warnings(&object);
            let names: Vec<_> =
                strategy.selectable_fields(&object).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, strategy.selectable_field_names(), "{}", strategy.resource().kind);
        }
    }
}

#[test]
fn every_table_begins_as_kubernetes_does() {
    let heads = |kind: &str| -> String {
        let all = all();
        let strategy = all.iter().find(|s| s.resource().kind == kind).unwrap();
        let heads: Vec<_> = strategy
            .columns()
            .iter()
            .map(|c| if c.priority == 0 { c.name.to_uppercase() } else { c.name.to_lowercase() })
            .collect();
        heads.join(" ")
    };
    let check = |kind: &str, expected: &str| assert_eq!(heads(kind), expected, "{kind}");
    check("Pod", "NAME READY STATUS RESTARTS AGE ip node nominated node readiness gates");
    check("Service", "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE selector");
    check("Deployment", "NAME READY UP-TO-DATE AVAILABLE AGE containers images selector");
    check("ReplicaSet", "NAME DESIRED CURRENT READY AGE containers images selector");
    check(
        "Node",
        "NAME STATUS ROLES AGE VERSION internal-ip external-ip os-image kernel-version container-runtime",
    );
    check("Event", "LAST SEEN TYPE REASON OBJECT subobject source MESSAGE first seen count name");
    check("Namespace", "NAME STATUS AGE");
    check("Secret", "NAME TYPE DATA AGE");
    check("ConfigMap", "NAME DATA AGE");
    check("ServiceAccount", "NAME SECRETS AGE");
    check("Endpoints", "NAME ENDPOINTS AGE");
    check("EndpointSlice", "NAME ADDRESSTYPE PORTS ENDPOINTS AGE");
    check("Lease", "NAME HOLDER AGE");
    check("Role", "NAME CREATED AT");
    check("ClusterRole", "NAME CREATED AT");
    check("RoleBinding", "NAME ROLE AGE users groups serviceaccounts");
    check("ClusterRoleBinding", "NAME ROLE AGE users groups serviceaccounts");
    check("PodDisruptionBudget", "NAME MIN AVAILABLE MAX UNAVAILABLE ALLOWED DISRUPTIONS AGE");
    check("Ingress", "NAME CLASS HOSTS ADDRESS PORTS AGE");
    check("IngressClass", "NAME CONTROLLER PARAMETERS AGE");
    check("NetworkPolicy", "NAME POD-SELECTOR AGE");
    check("CertificateSigningRequest", "NAME AGE SIGNERNAME REQUESTOR REQUESTEDDURATION CONDITION");
    check("PriorityClass", "NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY");
}
