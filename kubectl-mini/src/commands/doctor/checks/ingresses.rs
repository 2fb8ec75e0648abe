//! Ingresses: their class and its controller, their backends, their certificates.

use apimachinery::{
    api::networking::{Ingress, IngressBackend},
    object::ObjectKey,
};

use super::super::{
    finding::{Finding, Subject},
    snapshot::Snapshot,
};

/// Named the class before `spec.ingressClassName` did.
const ANNOTATION: &str = "kubernetes.io/ingress.class";
/// Who serves the classes of this controller: its Service.
const CONTROLLER: &str = "kube-mini.io/ingress-controller";
const SERVICE: (&str, &str) = ("ingress", "ingress-kube-mini");

fn subject(key: &ObjectKey) -> Subject {
    Subject::new("Ingress", key.namespace.as_str(), key.name.as_str())
}

fn patch(key: &ObjectKey, patch: &str) -> String {
    format!("kubectl-mini patch ingress {} -n {} -p '{patch}'", key.name, key.namespace)
}

pub(super) fn class(snapshot: &Snapshot) -> Vec<Finding> {
    let found = snapshot.ingresses.iter();
    found.filter_map(|(key, ingress)| without_controller(snapshot, key, ingress)).collect()
}

fn without_controller(snapshot: &Snapshot, key: &ObjectKey, ingress: &Ingress) -> Option<Finding> {
    let finding =
        |cause: String, fix: String| Finding::new("ingress-class", subject(key), cause, fix);
    let annotated = ingress.metadata.annotations.get(ANNOTATION);
    let own = snapshot
        .classes
        .iter()
        .find(|(_, class)| class.spec.controller.as_deref() == Some(CONTROLLER));
    let own = own.map_or("kube-mini", |(name, _)| name.as_str());
    let mend = patch(key, &format!("{{\"spec\":{{\"ingressClassName\":\"{own}\"}}}}"));
    let Some(name) = ingress.spec.ingress_class_name.as_ref().or(annotated) else {
        let evidence = "spec.ingressClassName is not set, and no class was the default";
        return Some(
            finding("has no class: no controller takes it".to_owned(), mend).because(evidence),
        );
    };
    let Some(class) = snapshot.classes.get(name) else {
        let names: Vec<&str> = snapshot.classes.keys().map(String::as_str).collect();
        let evidence = format!("the classes are: {}", names.join(", "));
        return Some(
            finding(format!("names the class {name}, which does not exist"), mend)
                .because(evidence),
        );
    };
    let controller = class.spec.controller.as_deref().unwrap_or_default();
    let addressed = ingress.status.load_balancer.iter().any(|status| !status.ingress.is_empty());
    if controller != CONTROLLER {
        let evidence = format!("class {name} is of {controller}");
        let cause = "no controller has taken it: it has no address".to_owned();
        return (!addressed).then(|| finding(cause, mend).because(evidence));
    }
    let service = ObjectKey::new(SERVICE.0, SERVICE.1);
    let endpoints = snapshot.slices.get(&service).into_iter().flatten().flat_map(|s| &s.endpoints);
    let ready = |c: &apimachinery::api::discovery::Endpoint| {
        c.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
    };
    if endpoints.filter(|endpoint| ready(endpoint)).count() == 0 {
        let cause = "its controller does not run".to_owned();
        let fix = format!("kubectl-mini get pods -n {}", SERVICE.0);
        let evidence = format!("Service {service} has no ready endpoint");
        return Some(finding(cause, fix).because(evidence));
    }
    None
}

/// All backends of an Ingress.
fn backends(ingress: &Ingress) -> impl Iterator<Item = &IngressBackend> {
    let rules = ingress.spec.rules.iter().filter_map(|rule| rule.http.as_ref());
    let paths = rules.flat_map(|http| &http.paths).map(|path| &path.backend);
    paths.chain(&ingress.spec.default_backend)
}

pub(super) fn backend(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (key, ingress) in &snapshot.ingresses {
        for backend in backends(ingress) {
            let Some((cause, evidence, fix)) = broken(snapshot, key, backend) else { continue };
            let new = Finding::new("ingress-backend", subject(key), cause, fix).because(evidence);
            if !findings.contains(&new) {
                findings.push(new);
            }
        }
    }
    findings
}

/// What is wrong with a backend: cause, evidence, what mends it.
fn broken(
    snapshot: &Snapshot,
    key: &ObjectKey,
    backend: &IngressBackend,
) -> Option<(String, String, String)> {
    let service = backend.service.as_ref()?;
    let name = ObjectKey::new(key.namespace.as_str(), service.name.as_str());
    let edit = format!("kubectl-mini edit ingress {} -n {}", key.name, key.namespace);
    let Some(found) = snapshot.services.get(&name) else {
        let others = snapshot.services.keys().filter(|other| other.namespace == key.namespace);
        let others: Vec<&str> = others.map(|other| other.name.as_str()).collect();
        return Some((
            format!("leads to the Service {}, which does not exist", service.name),
            format!("the Services of {} are: {}", key.namespace, others.join(", ")),
            edit,
        ));
    };
    let wanted = service.port.as_ref()?;
    let fits = found.spec.ports.iter().any(|port| match wanted.name.as_deref() {
        Some(name) if !name.is_empty() => port.name.as_deref() == Some(name),
        _ => Some(port.port) == wanted.number,
    });
    if !fits {
        let text = wanted.name.clone().filter(|name| !name.is_empty());
        let text = text.unwrap_or_else(|| wanted.number.unwrap_or_default().to_string());
        let ports: Vec<String> = found
            .spec
            .ports
            .iter()
            .map(|port| match &port.name {
                Some(name) => format!("{} ({name})", port.port),
                None => port.port.to_string(),
            })
            .collect();
        return Some((
            format!("leads to port {text} of Service {}, which has none such", service.name),
            format!("its ports are: {}", ports.join(", ")),
            edit,
        ));
    }
    None
}

pub(super) fn secret(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, ingress) in &snapshot.ingresses {
        for tls in &ingress.spec.tls {
            let Some(name) = tls.secret_name.as_ref().filter(|name| !name.is_empty()) else {
                continue;
            };
            let secret = ObjectKey::new(key.namespace.as_str(), name.as_str());
            let hosts = tls.hosts.join(", ");
            let fix = format!(
                "kubectl-mini create secret tls {name} --cert=CERT --key=KEY -n {}",
                key.namespace
            );
            let finding = |cause: String| {
                Finding::new("ingress-secret", subject(key), cause, fix.clone())
                    .because(format!("it is to serve {hosts} with it"))
            };
            match snapshot.secrets.get(&secret).map(String::as_str) {
                None => {
                    let cause = format!("has no certificate: the Secret {name} does not exist");
                    findings.push(finding(cause));
                }
                Some("kubernetes.io/tls") => {}
                Some(other) => {
                    let cause = format!("has no certificate: the Secret {name} is of type {other}");
                    findings.push(finding(cause));
                }
            }
        }
    }
    findings
}
