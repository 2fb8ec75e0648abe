//! What k8s-openapi's source cannot tell, written down by hand and reviewed.
//!
//! k8s-openapi folds two properties of Kubernetes' types into one merge rule: the *list type* that
//! server-side apply goes by (`+listType`, `+listMapKey`), and the *patch strategy* that strategic
//! merge patches go by (`patchStrategy`, `patchMergeKey`). Where the two agree, its rule is enough;
//! the tables below are the places where they differ. Names are `Struct.jsonField`.
//!
//! `enums.txt` lists the values of Go's string types that are marked `+enum`; OpenAPI tells them.
//!
//! `go_types.txt` lists the fields whose Go type has a name of its own (`v1.PullPolicy` for a
//! string): decoding errors print it.

use std::collections::BTreeMap;

/// Lists that server-side apply merges by more keys than the strategic merge key.
pub const LIST_KEYS: &[(&str, &[&str])] = &[
    ("Container.ports", &["containerPort", "protocol"]),
    ("EphemeralContainer.ports", &["containerPort", "protocol"]),
    ("PodSpec.topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("ServiceSpec.ports", &["port", "protocol"]),
];

/// Lists that a strategic merge merges and server-side apply replaces.
pub const ATOMIC_LISTS: &[&str] = &["JobStatus.conditions", "PodStatus.hostIPs"];

/// Members that server-side apply merges one by one although their struct is atomic elsewhere.
pub const GRANULAR: &[&str] = &["PersistentVolumeSpec.claimRef"];

/// Lists that server-side apply merges by key and a strategic merge replaces.
pub const WITHOUT_PATCH_STRATEGY: &[&str] = &[
    "AllocatedDeviceStatus.conditions",
    "CertificateSigningRequestStatus.conditions",
    "CustomResourceDefinitionStatus.conditions",
    "ResourceClaimStatus.devices",
    "ResourceRequirements.claims",
    "ResourceStatus.resources",
    "StatefulSetSpec.volumeClaimTemplates",
    "ValidatingAdmissionPolicyStatus.conditions",
];

/// Sets of scalars that a strategic merge merges.
pub const MERGED_SETS: &[&str] = &["NodeSpec.podCIDRs", "ObjectMeta.finalizers"];

/// Fields of which a strategic merge clears what its `$retainKeys` does not name.
pub const RETAIN_KEYS: &[&str] = &[
    "DeploymentSpec.strategy",
    "PodSpec.resourceClaims",
    "PodSpec.volumes",
    "PodStatus.resourceClaimStatuses",
];

/// Structs that a strategic merge replaces as a whole in this place.
pub const REPLACED: &[&str] = &["PodDisruptionBudgetSpec.selector"];

/// Structs that server-side apply owns and replaces as a whole (`+structType=atomic`), by the name
/// of their module and their own.
pub const ATOMIC_STRUCTS: &[&str] = &[
    "admissionregistration.MatchResources",
    "admissionregistration.NamedRuleWithOperations",
    "admissionregistration.ParamKind",
    "admissionregistration.ParamRef",
    "autoscaling.v1.CrossVersionObjectReference",
    "core.ConfigMapKeySelector",
    "core.EndpointAddress",
    "core.EndpointPort",
    "core.FileKeySelector",
    "core.LocalObjectReference",
    "core.NodeSelector",
    "core.NodeSelectorTerm",
    "core.ObjectFieldSelector",
    "core.ObjectReference",
    "core.ResourceFieldSelector",
    "core.ScopeSelector",
    "core.ScopedResourceSelectorRequirement",
    "core.SecretKeySelector",
    "core.SecretReference",
    "core.TopologySelectorTerm",
    "core.TypedLocalObjectReference",
    "discovery.EndpointPort",
    "meta.LabelSelector",
    "meta.OwnerReference",
    "networking.ServiceBackendPort",
    "rbac.RoleRef",
    "rbac.Subject",
];

/// Returns Go's own names of field types, by `v1.Struct.jsonField`.
#[must_use]
pub fn go_types() -> BTreeMap<&'static str, &'static str> {
    include_str!("../overlay/go_types.txt")
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect()
}

/// Returns the values of the enumerations, separated by commas, by Go's own name of the type.
#[must_use]
pub fn enums() -> BTreeMap<&'static str, &'static str> {
    include_str!("../overlay/enums.txt").lines().filter_map(|line| line.split_once(' ')).collect()
}
