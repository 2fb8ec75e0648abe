//! What controllers must be allowed to do: a table of known ones, which are told by their images.
//!
//! ExternalDNS and its kin fail silently without these: they list what they publish, and are forbidden to.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::{api::core::Pod, object::ObjectKey};

use super::super::{
    finding::{Finding, Subject},
    snapshot::{Snapshot, has_ended},
};

/// A controller, by a part of its image's name, and what it reads: group and resource.
struct Known {
    image: &'static str,
    verbs: &'static [&'static str],
    reads: &'static [(&'static str, &'static str)],
}

const DISCOVERY: &str = "discovery.k8s.io";
const NETWORKING: &str = "networking.k8s.io";

const KNOWN: &[Known] = &[
    Known {
        image: "external-dns",
        verbs: &["get", "list", "watch"],
        reads: &[
            ("", "services"),
            ("", "pods"),
            (DISCOVERY, "endpointslices"),
            (NETWORKING, "ingresses"),
        ],
    },
    Known {
        image: "coredns/coredns",
        verbs: &["list", "watch"],
        reads: &[("", "services"), ("", "namespaces"), (DISCOVERY, "endpointslices")],
    },
    Known {
        image: "ingress-controller",
        verbs: &["list", "watch"],
        reads: &[
            ("", "services"),
            ("", "secrets"),
            (DISCOVERY, "endpointslices"),
            (NETWORKING, "ingresses"),
            (NETWORKING, "ingressclasses"),
        ],
    },
];

/// Something that an account must be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Namespace of the account and of its pod.
    pub namespace: String,
    /// The ServiceAccount.
    pub account: String,
    /// The pod that runs as it.
    pub pod: String,
    /// Which controller it is.
    pub controller: &'static str,
    /// What it must do.
    pub verb: &'static str,
    /// To what, of which API group.
    pub group: &'static str,
    /// The resource.
    pub resource: &'static str,
}

/// What the controllers among these pods need.
#[must_use]
pub fn needs(pods: &BTreeMap<ObjectKey, Pod>) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut seen = BTreeSet::new();
    for (key, pod) in pods.iter().filter(|(_, pod)| !has_ended(pod)) {
        let images = || pod.spec.containers.iter().filter_map(|c| c.image.as_deref());
        let account = pod.spec.service_account_name.clone();
        let account = account.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".into());
        for known in KNOWN.iter().filter(|known| images().any(|image| image.contains(known.image)))
        {
            if !seen.insert((key.namespace.clone(), account.clone(), known.image)) {
                continue;
            }
            for (group, resource) in known.reads {
                needs.extend(known.verbs.iter().map(|verb| Need {
                    namespace: key.namespace.clone(),
                    account: account.clone(),
                    pod: key.name.clone(),
                    controller: known.image,
                    verb,
                    group,
                    resource,
                }));
            }
        }
    }
    needs
}

pub(super) fn missing(snapshot: &Snapshot) -> Vec<Finding> {
    let mut by_pod: BTreeMap<(&str, &str), Vec<&Need>> = BTreeMap::new();
    for need in &snapshot.denied {
        by_pod.entry((&need.namespace, &need.pod)).or_default().push(need);
    }
    let found = by_pod.into_iter().filter_map(|((namespace, pod), needs)| {
        let first = needs.first()?;
        let of = |text: fn(&Need) -> String| {
            let all: BTreeSet<String> = needs.iter().map(|need| text(need)).collect();
            all.into_iter().collect::<Vec<_>>().join(",")
        };
        let resources = of(|need| match need.group {
            "" => need.resource.to_owned(),
            group => format!("{}.{group}", need.resource),
        });
        let verbs = of(|need| need.verb.to_owned());
        let name = format!("{}-{}", first.account, first.controller.replace('/', "-"));
        let fix = format!(
            "kubectl-mini create clusterrole {name} --verb={verbs} --resource={resources} && kubectl-mini create clusterrolebinding {name} --clusterrole={name} --serviceaccount={namespace}:{}",
            first.account
        );
        let cause = format!(
            "its account {} may not read what {} publishes",
            first.account, first.controller
        );
        let evidence = format!("system:serviceaccount:{namespace}:{} cannot {verbs} {resources}", first.account);
        let subject = Subject::new("Pod", namespace, pod);
        Some(Finding::new("permissions", subject, cause, fix).because(evidence))
    });
    found.collect()
}
