//! The cluster's DNS: its Service, and whether anybody serves it.

use apimachinery::object::ObjectKey;

use super::super::{
    finding::{Finding, Subject},
    snapshot::Snapshot,
};

/// The DNS' Service, as kubeadm names it.
pub(super) fn service_key() -> ObjectKey {
    ObjectKey::new("kube-system", "kube-dns")
}

pub(super) fn serves(snapshot: &Snapshot) -> Vec<Finding> {
    let key = service_key();
    let subject = Subject::new("Service", key.namespace.as_str(), key.name.as_str());
    let Some(service) = snapshot.services.get(&key) else {
        let cause = "there is no DNS: names resolve from /etc/hosts only";
        let fix = "kube-mini down && kube-mini up";
        return vec![
            Finding::new("dns", subject, cause, fix)
                .because("Service kube-system/kube-dns does not exist"),
        ];
    };
    let endpoints = snapshot.slices.get(&key).into_iter().flatten().flat_map(|s| &s.endpoints);
    let ready = endpoints.filter(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    if ready.count() > 0 {
        return Vec::new();
    }
    let chosen = snapshot.selected(&key, service);
    let cause = "the DNS does not answer: no endpoint is ready, so that no name resolves";
    let scaled = snapshot.deployments.get(&ObjectKey::new("kube-system", "coredns"));
    let fix = match scaled.and_then(|deployment| deployment.spec.replicas) {
        Some(0) => "kubectl-mini scale deployment coredns --replicas=1 -n kube-system",
        _ => "kubectl-mini rollout restart deployment coredns -n kube-system",
    };
    let finding = Finding::new("dns", subject, cause, fix);
    let why = match chosen.as_slice() {
        [] => "it selects no pod".to_owned(),
        chosen => {
            let names: Vec<String> = chosen.iter().map(|(key, _)| key.to_string()).collect();
            format!("{} of its pods are not ready: {}", names.len(), names.join(", "))
        }
    };
    vec![finding.because(why)]
}
