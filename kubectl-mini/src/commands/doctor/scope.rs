//! What the doctor was asked to look at, and which findings matter to it. Pure.

use std::collections::BTreeSet;

use apimachinery::{
    object::ObjectKey,
    resource::{self, INGRESSES, NODES, PODS, SERVICES},
};

use super::{
    checks,
    finding::{Finding, Subject},
    snapshot::Snapshot,
};
use crate::cli::distance;

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything.
    All,
    /// A namespace, and what is in none.
    Namespace(String),
    /// One object, and what it depends on.
    One(Subject),
}

impl Scope {
    /// Reads the arguments.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn read(arguments: &[String], namespace: &str, all: bool) -> Result<Self, String> {
        let (kind, name) = match arguments {
            [] if all => return Ok(Self::All),
            [] => return Ok(Self::Namespace(namespace.to_owned())),
            [one] => one.split_once('/').ok_or("a type needs a name: doctor service NAME")?,
            [kind, name] => (kind.as_str(), name.as_str()),
            more => {
                return Err(format!("a type and a name are expected, got {} words", more.len()));
            }
        };
        let known = [&SERVICES, &INGRESSES, &PODS, &NODES];
        let info = resource::resolve(kind).filter(|info| known.contains(info));
        let info = info.ok_or_else(|| {
            format!("the doctor looks at services, ingresses, pods and nodes, not at {kind:?}")
        })?;
        let namespace = if info.namespaced { namespace } else { "" };
        Ok(Self::One(Subject::new(info.kind, namespace, name)))
    }

    /// Runs the checks, and keeps what matters.
    pub(super) fn look(&self, snapshot: &Snapshot) -> Vec<Finding> {
        let mut findings = checks::run(snapshot);
        match self {
            Self::All => {}
            Self::Namespace(namespace) => {
                let cluster = ["kube-system", "ingress", ""];
                findings.retain(|finding| {
                    let of = finding.subject.namespace.as_str();
                    of == namespace || cluster.contains(&of)
                });
            }
            Self::One(subject) => {
                if let Some(missing) = missing(subject, snapshot) {
                    return vec![missing];
                }
                let related = related(subject, snapshot);
                findings.retain(|finding| related.contains(&finding.subject));
            }
        }
        findings
    }
}

/// The first question of all: does it exist?
fn missing(subject: &Subject, snapshot: &Snapshot) -> Option<Finding> {
    let key = ObjectKey::new(subject.namespace.as_str(), subject.name.as_str());
    let all: Vec<ObjectKey> = match subject.kind {
        "Service" => snapshot.services.keys().cloned().collect(),
        "Ingress" => snapshot.ingresses.keys().cloned().collect(),
        "Pod" => snapshot.pods.keys().cloned().collect(),
        _ => snapshot.nodes.keys().map(ObjectKey::cluster).collect(),
    };
    if all.contains(&key) {
        return None;
    }
    let elsewhere = all.iter().find(|other| other.name == key.name);
    let here = all.iter().filter(|other| other.namespace == key.namespace);
    let nearest = here.min_by_key(|other| distance(&other.name, &key.name));
    let nearest =
        nearest.filter(|other| distance(&other.name, &key.name) <= (key.name.len() / 2).max(2));
    let plural = match subject.kind {
        "Ingress" => "ingresses".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let (evidence, fix) = match (elsewhere, nearest) {
        (Some(other), _) => (
            format!("there is one in the namespace {}", other.namespace),
            format!(
                "kubectl-mini doctor {} {} -n {}",
                subject.kind.to_lowercase(),
                key.name,
                other.namespace
            ),
        ),
        (None, Some(other)) => (
            format!("the nearest name: {}", other.name),
            format!("kubectl-mini doctor {} {}", subject.kind.to_lowercase(), other.name),
        ),
        (None, None) => (
            "there is none with a name like that".to_owned(),
            format!("kubectl-mini get {plural} -A"),
        ),
    };
    let cause = format!("there is no such {}", subject.kind);
    Some(Finding::new("exists", subject.clone(), cause, fix).because(evidence))
}

/// An object and what it depends on: pods of Services, nodes of pods, and the DNS.
fn related(subject: &Subject, snapshot: &Snapshot) -> BTreeSet<Subject> {
    let mut related = BTreeSet::from([subject.clone()]);
    let key = ObjectKey::new(subject.namespace.as_str(), subject.name.as_str());
    match subject.kind {
        "Service" => add_service(&key, snapshot, &mut related),
        "Pod" => add_pod(&key, snapshot, &mut related),
        "Ingress" => {
            let ingress = snapshot.ingresses.get(&key);
            let rules = ingress.into_iter().flat_map(|ingress| &ingress.spec.rules);
            let paths = rules.filter_map(|rule| rule.http.as_ref()).flat_map(|http| &http.paths);
            let default = ingress.and_then(|ingress| ingress.spec.default_backend.as_ref());
            let backends = paths.map(|path| &path.backend).chain(default);
            for service in backends.filter_map(|backend| backend.service.as_ref()) {
                let service = ObjectKey::new(key.namespace.as_str(), service.name.as_str());
                add_service(&service, snapshot, &mut related);
            }
            add_service(&ObjectKey::new("ingress", "ingress-kube-mini"), snapshot, &mut related);
        }
        _ => {}
    }
    if subject.kind != "Node" {
        related.insert(Subject::new("Service", "kube-system", "kube-dns"));
    }
    related
}

fn add_service(key: &ObjectKey, snapshot: &Snapshot, related: &mut BTreeSet<Subject>) {
    related.insert(Subject::new("Service", key.namespace.as_str(), key.name.as_str()));
    let Some(service) = snapshot.services.get(key) else { return };
    for (pod, _) in snapshot.selected(key, service) {
        add_pod(pod, snapshot, related);
    }
}

fn add_pod(key: &ObjectKey, snapshot: &Snapshot, related: &mut BTreeSet<Subject>) {
    related.insert(Subject::new("Pod", key.namespace.as_str(), key.name.as_str()));
    let node = snapshot.pods.get(key).and_then(|pod| pod.spec.node_name.clone());
    related.extend(node.map(|node| Subject::cluster("Node", node)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let check = |words: &str, all, expected: Result<Scope, &str>| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            let expected = expected.map_err(str::to_owned);
            assert_eq!(Scope::read(&words, "shop", all), expected);
        };
        check("", true, Ok(Scope::All));
        check("", false, Ok(Scope::Namespace("shop".into())));
        check("service web", false, Ok(Scope::One(Subject::new("Service", "shop", "web"))));
        check("svc/web", false, Ok(Scope::One(Subject::new("Service", "shop", "web"))));
        check("no node-1", false, Ok(Scope::One(Subject::cluster("Node", "node-1"))));
        check("web", false, Err("a type needs a name: doctor service NAME"));
        check("a b c", false, Err("a type and a name are expected, got 3 words"));
        check(
            "secret x",
            false,
            Err("the doctor looks at services, ingresses, pods and nodes, not at \"secret\""),
        );
    }
}
