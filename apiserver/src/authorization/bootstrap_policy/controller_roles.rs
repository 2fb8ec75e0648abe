//! The roles `system:controller:<name>`, each held by the ServiceAccount `<name>` of kube-system.

use super::{
    ALL, APPS, APPS_AND_EXTENSIONS, AUTHORIZATION, AUTOSCALING, BATCH, CERTIFICATES, CORE,
    DISCOVERY, EVENTS, NETWORKING, POLICY, RBAC, READ, RESOURCE, Rule, STORAGE, on,
};

const LIST_WATCH: &[&str] = &["list", "watch"];
const UPDATE: &[&str] = &["update"];
const PATCH_UPDATE: &[&str] = &["patch", "update"];
const READ_AND_UPDATE: &[&str] = &["get", "list", "update", "watch"];
const MANAGE: &[&str] = &["create", "delete", "get", "list", "update", "watch"];
const MANAGE_AND_PATCH: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const MANAGE_PODS: &[&str] = &["create", "delete", "list", "patch", "watch"];

pub(super) const ROLES: &[(&str, &[Rule])] = &[
    (
        "attachdetach-controller",
        &[
            on(LIST_WATCH, CORE, &["persistentvolumeclaims", "persistentvolumes"]),
            on(READ, CORE, &["nodes"]),
            on(PATCH_UPDATE, CORE, &["nodes/status"]),
            on(LIST_WATCH, CORE, &["pods"]),
            EVENTS,
            on(&["create", "delete", "get", "list", "watch"], STORAGE, &["volumeattachments"]),
            on(READ, STORAGE, &["csidrivers"]),
            on(READ, STORAGE, &["csinodes"]),
        ],
    ),
    (
        "clusterrole-aggregation-controller",
        &[on(&["escalate", "get", "list", "patch", "update", "watch"], RBAC, &["clusterroles"])],
    ),
    (
        "cronjob-controller",
        &[
            on(READ_AND_UPDATE, BATCH, &["cronjobs"]),
            on(MANAGE_AND_PATCH, BATCH, &["jobs"]),
            on(UPDATE, BATCH, &["cronjobs/status"]),
            on(UPDATE, BATCH, &["cronjobs/finalizers"]),
            on(&["delete", "list", "watch"], CORE, &["pods"]),
            EVENTS,
        ],
    ),
    (
        "daemon-set-controller",
        &[
            on(READ, APPS_AND_EXTENSIONS, &["daemonsets"]),
            on(UPDATE, APPS_AND_EXTENSIONS, &["daemonsets/status"]),
            on(UPDATE, APPS_AND_EXTENSIONS, &["daemonsets/finalizers"]),
            on(LIST_WATCH, CORE, &["nodes"]),
            on(MANAGE_PODS, CORE, &["pods"]),
            on(&["create"], CORE, &["pods/binding"]),
            on(MANAGE_AND_PATCH, APPS, &["controllerrevisions"]),
            EVENTS,
        ],
    ),
    (
        "deployment-controller",
        &[
            on(READ_AND_UPDATE, APPS_AND_EXTENSIONS, &["deployments"]),
            on(UPDATE, APPS_AND_EXTENSIONS, &["deployments/status"]),
            on(UPDATE, APPS_AND_EXTENSIONS, &["deployments/finalizers"]),
            on(MANAGE_AND_PATCH, APPS_AND_EXTENSIONS, &["replicasets"]),
            on(READ_AND_UPDATE, CORE, &["pods"]),
            EVENTS,
        ],
    ),
    (
        "disruption-controller",
        &[
            on(READ, APPS_AND_EXTENSIONS, &["deployments"]),
            on(READ, APPS_AND_EXTENSIONS, &["replicasets"]),
            on(READ, CORE, &["replicationcontrollers"]),
            on(READ, POLICY, &["poddisruptionbudgets"]),
            on(READ, APPS, &["statefulsets"]),
            on(UPDATE, POLICY, &["poddisruptionbudgets/status"]),
            on(PATCH_UPDATE, CORE, &["pods/status"]),
            on(&["get"], ALL, &["*/scale"]),
            EVENTS,
        ],
    ),
    (
        "endpoint-controller",
        &[
            on(READ, CORE, &["pods", "services"]),
            on(MANAGE, CORE, &["endpoints"]),
            on(&["create"], CORE, &["endpoints/restricted"]),
            EVENTS,
        ],
    ),
    (
        "endpointslice-controller",
        &[
            on(READ, CORE, &["nodes", "pods", "services"]),
            on(UPDATE, CORE, &["services/finalizers"]),
            on(MANAGE, DISCOVERY, &["endpointslices"]),
            EVENTS,
        ],
    ),
    (
        "endpointslicemirroring-controller",
        &[
            on(READ, CORE, &["endpoints", "services"]),
            on(UPDATE, CORE, &["services/finalizers"]),
            on(UPDATE, CORE, &["endpoints/finalizers"]),
            on(MANAGE, DISCOVERY, &["endpointslices"]),
            EVENTS,
        ],
    ),
    (
        "expand-controller",
        &[
            on(&["get", "list", "patch", "update", "watch"], CORE, &["persistentvolumes"]),
            on(PATCH_UPDATE, CORE, &["persistentvolumeclaims/status"]),
            on(READ, CORE, &["persistentvolumeclaims"]),
            EVENTS,
            on(&["get"], CORE, &["services"]),
        ],
    ),
    (
        "ephemeral-volume-controller",
        &[
            on(READ, CORE, &["pods"]),
            on(UPDATE, CORE, &["pods/finalizers"]),
            on(&["create", "get", "list", "watch"], CORE, &["persistentvolumeclaims"]),
            EVENTS,
        ],
    ),
    (
        "resource-claim-controller",
        &[
            on(READ, CORE, &["pods"]),
            on(UPDATE, CORE, &["pods/finalizers"]),
            on(&["create", "delete", "get", "list", "watch"], RESOURCE, &["resourceclaims"]),
            on(PATCH_UPDATE, RESOURCE, &["resourceclaims", "resourceclaims/status"]),
            on(PATCH_UPDATE, CORE, &["pods/status"]),
            EVENTS,
        ],
    ),
    (
        "generic-garbage-collector",
        &[on(&["delete", "get", "list", "patch", "update", "watch"], ALL, ALL), EVENTS],
    ),
    (
        "horizontal-pod-autoscaler",
        &[
            on(READ, AUTOSCALING, &["horizontalpodautoscalers"]),
            on(UPDATE, AUTOSCALING, &["horizontalpodautoscalers/status"]),
            on(&["get", "update"], ALL, &["*/scale"]),
            on(LIST_WATCH, CORE, &["pods"]),
            on(LIST_WATCH, &["metrics.k8s.io"], &["pods"]),
            on(READ, &["custom.metrics.k8s.io"], ALL),
            on(READ, &["external.metrics.k8s.io"], ALL),
            EVENTS,
        ],
    ),
    (
        "job-controller",
        &[
            on(&["get", "list", "patch", "update", "watch"], BATCH, &["jobs"]),
            on(UPDATE, BATCH, &["jobs/status"]),
            on(UPDATE, BATCH, &["jobs/finalizers"]),
            on(MANAGE_PODS, CORE, &["pods"]),
            EVENTS,
        ],
    ),
    (
        "namespace-controller",
        &[
            on(&["delete", "get", "list", "watch"], CORE, &["namespaces"]),
            on(UPDATE, CORE, &["namespaces/finalize", "namespaces/status"]),
            on(&["delete", "deletecollection", "get", "list", "watch"], ALL, ALL),
        ],
    ),
    (
        "node-controller",
        &[
            on(&["delete", "get", "list", "patch", "update", "watch"], CORE, &["nodes"]),
            on(PATCH_UPDATE, CORE, &["nodes/status"]),
            on(PATCH_UPDATE, CORE, &["pods/status"]),
            on(&["delete", "get", "list", "watch"], CORE, &["pods"]),
            EVENTS,
        ],
    ),
    (
        "persistent-volume-binder",
        &[
            on(MANAGE, CORE, &["persistentvolumes"]),
            on(UPDATE, CORE, &["persistentvolumes/status"]),
            on(READ_AND_UPDATE, CORE, &["persistentvolumeclaims"]),
            on(UPDATE, CORE, &["persistentvolumeclaims/status"]),
            on(&["create", "delete", "get", "list", "watch"], CORE, &["pods"]),
            on(READ, STORAGE, &["storageclasses"]),
            on(LIST_WATCH, CORE, &["nodes"]),
            EVENTS,
            on(&["watch"], CORE, &["events"]),
            on(&["get"], CORE, &["services"]),
        ],
    ),
    (
        "pod-garbage-collector",
        &[
            on(&["delete", "list", "watch"], CORE, &["pods"]),
            on(READ, CORE, &["nodes"]),
            on(&["patch"], CORE, &["pods/status"]),
        ],
    ),
    (
        "replicaset-controller",
        &[
            on(READ_AND_UPDATE, APPS_AND_EXTENSIONS, &["replicasets"]),
            on(UPDATE, APPS_AND_EXTENSIONS, &["replicasets/status"]),
            on(UPDATE, APPS_AND_EXTENSIONS, &["replicasets/finalizers"]),
            on(MANAGE_PODS, CORE, &["pods"]),
            EVENTS,
        ],
    ),
    (
        "replication-controller",
        &[
            on(READ_AND_UPDATE, CORE, &["replicationcontrollers"]),
            on(UPDATE, CORE, &["replicationcontrollers/status"]),
            on(UPDATE, CORE, &["replicationcontrollers/finalizers"]),
            on(MANAGE_PODS, CORE, &["pods"]),
            EVENTS,
        ],
    ),
    (
        "resourcequota-controller",
        &[on(LIST_WATCH, ALL, ALL), on(UPDATE, CORE, &["resourcequotas/status"]), EVENTS],
    ),
    (
        "route-controller",
        &[on(LIST_WATCH, CORE, &["nodes"]), on(&["patch"], CORE, &["nodes/status"]), EVENTS],
    ),
    ("service-account-controller", &[on(&["create"], CORE, &["serviceaccounts"]), EVENTS]),
    (
        "service-controller",
        &[
            on(READ, CORE, &["services"]),
            on(PATCH_UPDATE, CORE, &["services/status"]),
            on(LIST_WATCH, CORE, &["nodes"]),
            EVENTS,
        ],
    ),
    (
        "service-cidrs-controller",
        &[
            on(&["get", "list", "patch", "update", "watch"], NETWORKING, &["servicecidrs"]),
            on(PATCH_UPDATE, NETWORKING, &["servicecidrs/finalizers"]),
            on(PATCH_UPDATE, NETWORKING, &["servicecidrs/status"]),
            on(READ, NETWORKING, &["ipaddresses"]),
            EVENTS,
        ],
    ),
    (
        "statefulset-controller",
        &[
            on(LIST_WATCH, CORE, &["pods"]),
            on(READ, APPS, &["statefulsets"]),
            on(UPDATE, APPS, &["statefulsets/status"]),
            on(UPDATE, APPS, &["statefulsets/finalizers"]),
            on(&["create", "delete", "get", "patch", "update"], CORE, &["pods"]),
            on(MANAGE_AND_PATCH, APPS, &["controllerrevisions"]),
            on(&["create", "get", "list", "watch"], CORE, &["persistentvolumeclaims"]),
            on(&["delete", "update"], CORE, &["persistentvolumeclaims"]),
            on(UPDATE, CORE, &["pods/finalizers"]),
            EVENTS,
        ],
    ),
    ("ttl-controller", &[on(&["list", "patch", "update", "watch"], CORE, &["nodes"]), EVENTS]),
    (
        "certificate-controller",
        &[
            on(&["delete", "get", "list", "watch"], CERTIFICATES, &["certificatesigningrequests"]),
            on(
                UPDATE,
                CERTIFICATES,
                &["certificatesigningrequests/approval", "certificatesigningrequests/status"],
            ),
            on(&["approve"], CERTIFICATES, &["signers"])
                .named(&["kubernetes.io/kube-apiserver-client-kubelet"]),
            on(&["sign"], CERTIFICATES, &["signers"]).named(&[
                "kubernetes.io/kube-apiserver-client",
                "kubernetes.io/kube-apiserver-client-kubelet",
                "kubernetes.io/kubelet-serving",
                "kubernetes.io/legacy-unknown",
            ]),
            on(&["create"], AUTHORIZATION, &["subjectaccessreviews"]),
            EVENTS,
        ],
    ),
    (
        "pvc-protection-controller",
        &[
            on(READ_AND_UPDATE, CORE, &["persistentvolumeclaims"]),
            on(READ, CORE, &["pods"]),
            EVENTS,
        ],
    ),
    ("pv-protection-controller", &[on(READ_AND_UPDATE, CORE, &["persistentvolumes"]), EVENTS]),
    (
        "volumeattributesclass-protection-controller",
        &[
            on(READ, CORE, &["persistentvolumeclaims"]),
            on(READ, CORE, &["persistentvolumes"]),
            on(READ_AND_UPDATE, STORAGE, &["volumeattributesclasses"]),
            EVENTS,
        ],
    ),
    (
        "ttl-after-finished-controller",
        &[on(&["delete", "get", "list", "watch"], BATCH, &["jobs"]), EVENTS],
    ),
    ("root-ca-cert-publisher", &[on(&["create", "update"], CORE, &["configmaps"]), EVENTS]),
    (
        "validatingadmissionpolicy-status-controller",
        &[
            on(READ, &["admissionregistration.k8s.io"], &["validatingadmissionpolicies"]),
            on(
                &["get", "patch", "update"],
                &["admissionregistration.k8s.io"],
                &["validatingadmissionpolicies/status"],
            ),
            EVENTS,
        ],
    ),
    (
        "legacy-service-account-token-cleaner",
        &[
            on(&["get"], CORE, &["configmaps"])
                .named(&["kube-apiserver-legacy-service-account-token-tracking"]),
            on(&["delete", "patch"], CORE, &["secrets"]),
        ],
    ),
    (
        "selinux-warning-controller",
        &[
            EVENTS,
            on(READ, CORE, &["persistentvolumes"]),
            on(READ, CORE, &["persistentvolumeclaims"]),
            on(READ, CORE, &["pods"]),
            on(READ, STORAGE, &["csidrivers"]),
        ],
    ),
];
