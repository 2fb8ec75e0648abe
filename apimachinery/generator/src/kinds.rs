//! Which types get typed views, and where they are put.

use crate::model::{Field, Kind, Type};

/// The roots of the typed views: path below the version module. All that they reach comes along.
pub const VIEWS: &[&str] = &[
    "api::apps::v1::ControllerRevision",
    "api::apps::v1::DaemonSet",
    "api::apps::v1::Deployment",
    "api::apps::v1::ReplicaSet",
    "api::apps::v1::StatefulSet",
    "api::authentication::v1::SelfSubjectReview",
    "api::authentication::v1::TokenRequest",
    "api::authentication::v1::TokenReview",
    "api::authorization::v1::LocalSubjectAccessReview",
    "api::authorization::v1::SelfSubjectAccessReview",
    "api::authorization::v1::SelfSubjectRulesReview",
    "api::authorization::v1::SubjectAccessReview",
    "api::autoscaling::v1::Scale",
    "api::autoscaling::v2::HorizontalPodAutoscaler",
    "api::batch::v1::CronJob",
    "api::batch::v1::Job",
    "api::certificates::v1::CertificateSigningRequest",
    "api::coordination::v1::Lease",
    "api::core::v1::Binding",
    "api::core::v1::ConfigMap",
    "api::core::v1::Endpoints",
    "api::core::v1::Event",
    "api::core::v1::LimitRange",
    "api::core::v1::Namespace",
    "api::core::v1::Node",
    "api::core::v1::PersistentVolume",
    "api::core::v1::PersistentVolumeClaim",
    "api::core::v1::Pod",
    "api::core::v1::ReplicationController",
    "api::core::v1::ResourceQuota",
    "api::core::v1::Secret",
    "api::core::v1::Service",
    "api::core::v1::ServiceAccount",
    "api::discovery::v1::EndpointSlice",
    "api::events::v1::Event",
    "api::networking::v1::Ingress",
    "api::networking::v1::IngressClass",
    "api::networking::v1::NetworkPolicy",
    "api::policy::v1::Eviction",
    "api::policy::v1::PodDisruptionBudget",
    "api::rbac::v1::ClusterRole",
    "api::rbac::v1::ClusterRoleBinding",
    "api::rbac::v1::Role",
    "api::rbac::v1::RoleBinding",
    "api::scheduling::v1::PriorityClass",
    "api::storage::v1::StorageClass",
    "apimachinery::pkg::apis::meta::v1::Condition",
    "apimachinery::pkg::apis::meta::v1::DeleteOptions",
    "apimachinery::pkg::apis::meta::v1::LabelSelector",
    "apimachinery::pkg::apis::meta::v1::ListMeta",
    "apimachinery::pkg::apis::meta::v1::ObjectMeta",
    "apimachinery::pkg::apis::meta::v1::Status",
];

/// The kinds of [`VIEWS`] that have no entry in the resource table: bodies of subresources, and
/// shapes without metadata.
pub const WITHOUT_RESOURCE: &[&str] = &["Binding", "Eviction", "Scale", "Status", "TokenRequest"];

/// Structs whose rare members views put in a `Box`, and the members that they do not: a volume has
/// thirty kinds of source and one is set, so unboxed each would cost three kilobytes; every pod has a projected one.
const BOXED_EXCEPT: &[(&str, &[&str])] = &[
    ("PersistentVolumeSpec", &["claimRef", "hostPath", "local", "nodeAffinity"]),
    (
        "Volume",
        &[
            "configMap",
            "downwardAPI",
            "emptyDir",
            "hostPath",
            "persistentVolumeClaim",
            "projected",
            "secret",
        ],
    ),
    ("VolumeProjection", &[]),
];

/// Members that are large and that most objects are without: every pod would have room for them.
const LARGE: &[&str] = &[
    "affinity",
    "lifecycle",
    "livenessProbe",
    "readinessProbe",
    "securityContext",
    "startupProbe",
    "valueFrom",
];

/// Returns whether the view of a struct holds this optional member in a `Box`.
#[must_use]
pub fn boxed(strukt: &str, field: &Field) -> bool {
    let rare = BOXED_EXCEPT
        .iter()
        .any(|(name, except)| *name == strukt && !except.contains(&field.json.as_str()));
    let large = LARGE.contains(&field.json.as_str());
    field.optional && matches!(field.ty, Type::Struct(_)) && (rare || large)
}

/// Returns the module of a path's view: `api::core::v1::Pod` is in `core`.
#[must_use]
pub fn module(path: &str) -> &str {
    let mut segments = path.rsplit("::").skip(2);
    segments.next().unwrap_or_default()
}

/// Returns the name of a kind's constant in the resource table: `ReplicaSet` is `REPLICA_SETS`.
#[must_use]
pub fn constant(kind: &Kind) -> String {
    let mut words = String::new();
    for (index, character) in kind.kind.char_indices() {
        if character.is_uppercase() && index > 0 {
            words.push('_');
        }
        words.extend(character.to_uppercase());
    }
    match words.as_str() {
        "EVENT" if !kind.group.is_empty() => "EVENTS_V1".to_owned(),
        "ENDPOINTS" => words,
        _ => plural(&words),
    }
}

fn plural(word: &str) -> String {
    if let Some(stem) = word.strip_suffix('Y')
        && !stem.ends_with(['A', 'E', 'O', 'U'])
    {
        format!("{stem}IES")
    } else if word.ends_with('S') {
        format!("{word}ES")
    } else {
        format!("{word}S")
    }
}
