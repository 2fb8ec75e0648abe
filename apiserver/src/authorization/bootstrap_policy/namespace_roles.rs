//! The default Roles of kube-system and kube-public.

use super::{COORDINATION, CORE, Holder, READ, Rule, on};

const LEADER_LOCK_VERBS: &[&str] = &["get", "update"];

pub(super) const ROLES: &[(&str, &str, &[Rule])] = &[
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        &[
            on(READ, CORE, &["configmaps"]),
            on(&["update"], CORE, &["configmaps"]).named(&["cluster-info"]),
            on(&["create", "patch", "update"], &["", "events.k8s.io"], &["events"]),
        ],
    ),
    (
        "kube-system",
        "extension-apiserver-authentication-reader",
        &[on(READ, CORE, &["configmaps"]).named(&["extension-apiserver-authentication"])],
    ),
    ("kube-system", "system:controller:bootstrap-signer", &[on(READ, CORE, &["secrets"])]),
    (
        "kube-system",
        "system:controller:cloud-provider",
        &[on(&["create", "get", "list", "watch"], CORE, &["configmaps"])],
    ),
    (
        "kube-system",
        "system:controller:token-cleaner",
        &[
            on(&["delete", "get", "list", "watch"], CORE, &["secrets"]),
            on(&["create", "patch", "update"], &["", "events.k8s.io"], &["events"]),
        ],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        &[
            on(&["watch"], CORE, &["configmaps"]),
            on(LEADER_LOCK_VERBS, CORE, &["configmaps"]).named(&["kube-controller-manager"]),
            on(LEADER_LOCK_VERBS, COORDINATION, &["leases"]).named(&["kube-controller-manager"]),
        ],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        &[
            on(&["watch"], CORE, &["configmaps"]),
            on(LEADER_LOCK_VERBS, CORE, &["configmaps"]).named(&["kube-scheduler"]),
            on(LEADER_LOCK_VERBS, COORDINATION, &["leases"]).named(&["kube-scheduler"]),
        ],
    ),
];

/// Namespace, name of the binding, role, holders.
pub(super) const BINDINGS: &[(&str, &str, &str, &[Holder])] = &[
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &[Holder::ServiceAccount("kube-system", "bootstrap-signer")],
    ),
    (
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        &[Holder::User("system:kube-controller-manager"), Holder::User("system:kube-scheduler")],
    ),
    (
        "kube-system",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &[Holder::ServiceAccount("kube-system", "bootstrap-signer")],
    ),
    (
        "kube-system",
        "system:controller:cloud-provider",
        "system:controller:cloud-provider",
        &[Holder::ServiceAccount("kube-system", "cloud-provider")],
    ),
    (
        "kube-system",
        "system:controller:token-cleaner",
        "system:controller:token-cleaner",
        &[Holder::ServiceAccount("kube-system", "token-cleaner")],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-controller-manager",
        &[
            Holder::User("system:kube-controller-manager"),
            Holder::ServiceAccount("kube-system", "kube-controller-manager"),
        ],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        "system::leader-locking-kube-scheduler",
        &[
            Holder::User("system:kube-scheduler"),
            Holder::ServiceAccount("kube-system", "kube-scheduler"),
        ],
    ),
];
