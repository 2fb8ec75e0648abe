//! JSON with members in the order of Go's structs.
//!
//! kubectl prints objects that it knows as Go structs (`create deployment`, `run`, `expose`, `set`) in the order in
//! which the fields are declared, and all others by name. The same order stands in the annotation that `--save-config`
//! leaves. The order of declaration is no part of any published schema, so [`ORDER`] lists it for the types that these
//! commands print; a type that is not listed prints by name.

use apimachinery::{
    json,
    object::Object,
    resource,
    schema::{self, Shape, Struct},
};
use serde_json::{Map, Value};

/// Fields in Go's order, by Go's type.
const ORDER: &[(&str, &[&str])] = &[
    (
        "v1.ObjectMeta",
        &[
            "name",
            "generateName",
            "namespace",
            "selfLink",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "labels",
            "annotations",
            "ownerReferences",
            "finalizers",
            "managedFields",
        ],
    ),
    (
        "v1.OwnerReference",
        &["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"],
    ),
    (
        "v1.ManagedFieldsEntry",
        &["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"],
    ),
    ("v1.LabelSelector", &["matchLabels", "matchExpressions"]),
    (
        "v1.DeploymentSpec",
        &[
            "replicas",
            "selector",
            "template",
            "strategy",
            "minReadySeconds",
            "revisionHistoryLimit",
            "paused",
            "progressDeadlineSeconds",
        ],
    ),
    ("v1.DeploymentStrategy", &["type", "rollingUpdate"]),
    ("v1.IngressSpec", &["ingressClassName", "defaultBackend", "tls", "rules"]),
    ("v1.HTTPIngressPath", &["path", "pathType", "backend"]),
    ("v1.IngressBackend", &["service", "resource"]),
    ("v1.RollingUpdateDeployment", &["maxUnavailable", "maxSurge"]),
    (
        "v1.DeploymentStatus",
        &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "conditions",
            "collisionCount",
        ],
    ),
    (
        "v1.DeploymentCondition",
        &["type", "status", "lastUpdateTime", "lastTransitionTime", "reason", "message"],
    ),
    ("v1.ReplicaSetSpec", &["replicas", "minReadySeconds", "selector", "template"]),
    ("v1.PodTemplateSpec", &["metadata", "spec"]),
    (
        "v1.PodSpec",
        &[
            "volumes",
            "initContainers",
            "containers",
            "ephemeralContainers",
            "restartPolicy",
            "terminationGracePeriodSeconds",
            "activeDeadlineSeconds",
            "dnsPolicy",
            "nodeSelector",
            "serviceAccountName",
            "serviceAccount",
            "automountServiceAccountToken",
            "nodeName",
            "hostNetwork",
            "hostPID",
            "hostIPC",
            "shareProcessNamespace",
            "securityContext",
            "imagePullSecrets",
            "hostname",
            "subdomain",
            "affinity",
            "schedulerName",
            "tolerations",
            "hostAliases",
            "priorityClassName",
            "priority",
            "dnsConfig",
            "readinessGates",
            "runtimeClassName",
            "enableServiceLinks",
            "preemptionPolicy",
            "overhead",
            "topologySpreadConstraints",
            "setHostnameAsFQDN",
            "os",
            "hostUsers",
            "schedulingGates",
            "resourceClaims",
            "resources",
            "hostnameOverride",
        ],
    ),
    (
        "v1.Container",
        &[
            "name",
            "image",
            "command",
            "args",
            "workingDir",
            "ports",
            "envFrom",
            "env",
            "resources",
            "resizePolicy",
            "restartPolicy",
            "volumeMounts",
            "volumeDevices",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
            "terminationMessagePath",
            "terminationMessagePolicy",
            "imagePullPolicy",
            "securityContext",
            "stdin",
            "stdinOnce",
            "tty",
        ],
    ),
    ("v1.ContainerPort", &["name", "hostPort", "containerPort", "protocol", "hostIP"]),
    ("v1.EnvVar", &["name", "value", "valueFrom"]),
    (
        "v1.VolumeMount",
        &[
            "name",
            "readOnly",
            "recursiveReadOnly",
            "mountPath",
            "subPath",
            "mountPropagation",
            "subPathExpr",
        ],
    ),
    ("v1.Volume", &["name"]),
    ("v1.ProjectedVolumeSource", &["sources", "defaultMode"]),
    (
        "v1.VolumeProjection",
        &["secret", "downwardAPI", "configMap", "serviceAccountToken", "clusterTrustBundle"],
    ),
    ("v1.ServiceAccountTokenProjection", &["audience", "expirationSeconds", "path"]),
    ("v1.ConfigMapProjection", &["name", "items", "optional"]),
    ("v1.DownwardAPIVolumeFile", &["path", "fieldRef", "resourceFieldRef", "mode"]),
    ("v1.ResourceRequirements", &["limits", "requests", "claims"]),
    ("v1.Toleration", &["key", "operator", "value", "effect", "tolerationSeconds"]),
    (
        "v1.PodStatus",
        &[
            "observedGeneration",
            "phase",
            "conditions",
            "message",
            "reason",
            "nominatedNodeName",
            "hostIP",
            "hostIPs",
            "podIP",
            "podIPs",
            "startTime",
            "initContainerStatuses",
            "containerStatuses",
            "qosClass",
            "ephemeralContainerStatuses",
            "resize",
        ],
    ),
    (
        "v1.PodCondition",
        &[
            "type",
            "observedGeneration",
            "status",
            "lastProbeTime",
            "lastTransitionTime",
            "reason",
            "message",
        ],
    ),
    (
        "v1.ServiceSpec",
        &[
            "ports",
            "selector",
            "clusterIP",
            "clusterIPs",
            "type",
            "externalIPs",
            "sessionAffinity",
            "loadBalancerIP",
            "loadBalancerSourceRanges",
            "externalName",
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "publishNotReadyAddresses",
            "sessionAffinityConfig",
            "ipFamilies",
            "ipFamilyPolicy",
            "allocateLoadBalancerNodePorts",
            "loadBalancerClass",
            "internalTrafficPolicy",
            "trafficDistribution",
        ],
    ),
    ("v1.ServicePort", &["name", "protocol", "appProtocol", "port", "targetPort", "nodePort"]),
    ("v1.ServiceStatus", &["loadBalancer", "conditions"]),
    ("v1.NamespaceStatus", &["phase", "conditions"]),
    ("v1.Secret", &["kind", "apiVersion", "metadata", "immutable", "data", "stringData", "type"]),
    ("v1.ConfigMap", &["kind", "apiVersion", "metadata", "immutable", "data", "binaryData"]),
    (
        "v1.ServiceAccount",
        &[
            "kind",
            "apiVersion",
            "metadata",
            "secrets",
            "imagePullSecrets",
            "automountServiceAccountToken",
        ],
    ),
    ("v1.PolicyRule", &["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"]),
    ("v1.ClusterRole", &["kind", "apiVersion", "metadata", "rules", "aggregationRule"]),
    ("v1.Subject", &["kind", "apiGroup", "name", "namespace"]),
    ("v1.RoleRef", &["apiGroup", "kind", "name"]),
    ("v1.RoleBinding", &["kind", "apiVersion", "metadata", "subjects", "roleRef"]),
    ("v1.ClusterRoleBinding", &["kind", "apiVersion", "metadata", "subjects", "roleRef"]),
    (
        "v1.PriorityClass",
        &[
            "kind",
            "apiVersion",
            "metadata",
            "value",
            "globalDefault",
            "description",
            "preemptionPolicy",
        ],
    ),
    (
        "v1.PodDisruptionBudgetSpec",
        &["minAvailable", "selector", "maxUnavailable", "unhealthyPodEvictionPolicy"],
    ),
    (
        "v1.PodDisruptionBudgetStatus",
        &[
            "observedGeneration",
            "disruptedPods",
            "disruptionsAllowed",
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
            "conditions",
        ],
    ),
    ("v1.NodeSpec", &["podCIDR", "podCIDRs", "providerID", "unschedulable", "taints"]),
];

/// What all kinds begin with.
const KIND: &[&str] = &["kind", "apiVersion", "metadata", "spec", "status"];

/// Adds the members that Go's structs print even when they are empty.
pub fn fill(object: &mut Object) {
    let default = |object: &mut Object, path: &[&str], value: Value| {
        if object.get(path).is_none() {
            object.set(path, value);
        }
    };
    let empty = || Value::Object(Map::new());
    if object.kind() == "List" {
        return;
    }
    default(object, &["metadata", "creationTimestamp"], Value::Null);
    let containers: &[&str] = match object.kind() {
        "Pod" => {
            default(object, &["status"], empty());
            &["spec", "containers"]
        }
        "Deployment" | "ReplicaSet" => {
            default(object, &["spec", "template", "metadata", "creationTimestamp"], Value::Null);
            if object.kind() == "Deployment" {
                default(object, &["spec", "strategy"], empty());
            }
            default(object, &["status"], empty());
            &["spec", "template", "spec", "containers"]
        }
        _ => return,
    };
    if let Some(containers) = object.get_mut(containers).and_then(Value::as_array_mut) {
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            container.entry("resources").or_insert_with(empty);
        }
    }
}

/// The object on one line.
#[must_use]
pub fn compact(object: &Object) -> String {
    let mut out = String::new();
    map(&mut out, &object.0, schema_of(object), None);
    out
}

/// The object as `-o json` prints it, without a final line break.
#[must_use]
pub fn pretty(object: &Object) -> String {
    let mut out = String::new();
    map(&mut out, &object.0, schema_of(object), Some(0));
    out
}

/// Any value, its maps ordered by a rank of their members' names, without a final line break.
#[must_use]
pub fn pretty_by(item: &Value, rank: &dyn Fn(&Map<String, Value>, &str) -> usize) -> String {
    let mut out = String::new();
    ranked(&mut out, item, rank, Some(0));
    out
}

fn ranked(
    out: &mut String,
    item: &Value,
    rank: &dyn Fn(&Map<String, Value>, &str) -> usize,
    indent: Option<usize>,
) {
    match item {
        Value::Object(members) => {
            let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| rank(members, name));
            sequence(out, ('{', '}'), &sorted, indent, |out, (name, item), indent| {
                out.push_str(&json::to_string(&Value::from(name.as_str())));
                out.push_str(": ");
                ranked(out, item, rank, indent);
            });
        }
        Value::Array(items) => {
            sequence(out, ('[', ']'), items, indent, |out, item, indent| {
                ranked(out, item, rank, indent);
            });
        }
        scalar => out.push_str(&json::to_string(scalar)),
    }
}

fn schema_of(object: &Object) -> Option<&'static Struct> {
    resource::find_object_kind(object.api_version(), object.kind()).and_then(schema::for_kind)
}

fn value(out: &mut String, item: &Value, shape: Option<&Shape>, indent: Option<usize>) {
    match item {
        Value::Object(members) => match shape {
            Some(Shape::Struct(strukt)) => map(out, members, Some(strukt), indent),
            Some(Shape::Map(inner)) => by_name(out, members, Some(inner), indent),
            _ => by_name(out, members, None, indent),
        },
        Value::Array(items) => {
            let inner = match shape {
                Some(Shape::List(inner)) => Some(&**inner),
                _ => None,
            };
            sequence(out, ('[', ']'), items, indent, |out, item, indent| {
                value(out, item, inner, indent);
            });
        }
        scalar => out.push_str(&json::to_string(scalar)),
    }
}

fn map(
    out: &mut String,
    members: &Map<String, Value>,
    strukt: Option<&Struct>,
    indent: Option<usize>,
) {
    let order = strukt
        .and_then(|strukt| ORDER.iter().find(|(name, _)| *name == strukt.go_type))
        .map_or(KIND, |(_, order)| *order);
    let rank = |name: &str| order.iter().position(|known| *known == name).unwrap_or(order.len());
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_by_key(|(name, _)| rank(name));
    sequence(out, ('{', '}'), &sorted, indent, |out, (name, item), indent| {
        let shape = strukt.and_then(|strukt| strukt.field(name)).map(|field| &field.shape);
        member(out, name, item, shape, indent);
    });
}

fn by_name(
    out: &mut String,
    members: &Map<String, Value>,
    inner: Option<&Shape>,
    indent: Option<usize>,
) {
    let sorted: Vec<(&String, &Value)> = members.iter().collect();
    sequence(out, ('{', '}'), &sorted, indent, |out, (name, item), indent| {
        member(out, name, item, inner, indent);
    });
}

fn member(
    out: &mut String,
    name: &str,
    item: &Value,
    shape: Option<&Shape>,
    indent: Option<usize>,
) {
    out.push_str(&json::to_string(&Value::from(name)));
    out.push_str(if indent.is_some() { ": " } else { ":" });
    value(out, item, shape, indent);
}

/// Items between brackets; with an indentation, each on a line of its own.
fn sequence<T>(
    out: &mut String,
    (open, close): (char, char),
    items: &[T],
    indent: Option<usize>,
    mut item: impl FnMut(&mut String, &T, Option<usize>),
) {
    out.push(open);
    let inner = indent.map(|indent| indent + 4);
    for (i, each) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        new_line(out, inner);
        item(out, each, inner);
    }
    if !items.is_empty() {
        new_line(out, indent);
    }
    out.push(close);
}

fn new_line(out: &mut String, indent: Option<usize>) {
    if let Some(indent) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent));
    }
}
