//! Namespaces that are being deleted and cannot be.

use super::super::{
    finding::{Finding, Subject},
    snapshot::Snapshot,
};

/// The conditions that tell why.
const CONDITIONS: [&str; 5] = [
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
    "NamespaceDeletionContentFailure",
    "NamespaceFinalizersRemaining",
    "NamespaceContentRemaining",
];

pub(super) fn stuck(snapshot: &Snapshot) -> Vec<Finding> {
    let going = snapshot
        .namespaces
        .iter()
        .filter(|(_, namespace)| namespace.metadata.deletion_timestamp.is_some());
    going
        .map(|(name, namespace)| {
            let conditions = namespace.status.conditions.iter();
            let telling = conditions
                .filter(|c| c.status == "True" && CONDITIONS.contains(&c.type_.as_str()))
                .filter_map(|c| Some(format!("{}: {}", c.type_, c.message.as_deref()?)));
            let telling: Vec<String> = telling.collect();
            let held = namespace.status.conditions.iter().find(|c| {
                c.type_ == "NamespaceFinalizersRemaining" && c.status == "True"
            });
            let (cause, fix) = match held {
                Some(_) => (
                    "cannot be deleted: finalizers hold objects in it",
                    format!(
                        "kubectl-mini get all,configmaps,secrets -n {name} -o yaml | grep -B20 finalizers:"
                    ),
                ),
                None if telling.is_empty() => (
                    "is being deleted, and nobody does it",
                    "kube-mini logs kube-controller-manager".to_owned(),
                ),
                None => (
                    "is not deleted yet: it still has content",
                    format!("kubectl-mini get all -n {name}"),
                ),
            };
            let mut finding =
                Finding::new("namespace", Subject::cluster("Namespace", name.as_str()), cause, fix);
            finding.evidence = telling;
            finding
        })
        .collect()
}
