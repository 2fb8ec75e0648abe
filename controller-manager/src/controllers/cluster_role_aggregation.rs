//! Aggregated ClusterRoles: the rules of a role with an `aggregationRule` are those of the roles that it selects.
//!
//! Whichever ClusterRole changes, all aggregating ones are looked at, so that roles may be aggregated through several
//! levels. A rule that several roles have is taken once; rules that somebody wrote into an aggregating role are replaced.
//! Follows `pkg/controller/clusterroleaggregation`.

use apimachinery::{
    api::rbac::{ClusterRole, PolicyRule},
    labels,
    object::ObjectKey,
    status::Status,
};
use client::{Client, Patch, Store, controller::Action};
use serde_json::json;

use crate::context::{Setup, key_of, tolerate_absence};

const WORKERS: usize = 5;
const NAME: &str = "clusterrole-aggregation-controller";

#[derive(Clone)]
struct Reconciler {
    client: Client,
    roles: Store<ClusterRole>,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = setup.queue::<ObjectKey>();
    let roles: Store<ClusterRole> = setup.informers.store();
    let (known, keys) = (roles.clone(), queue.clone());
    setup.informers.on_change::<ClusterRole, _>(move |delta| {
        let changed = delta.object();
        if changed.aggregation_rule.is_some() {
            keys.add(key_of(&changed.metadata));
        }
        for role in known.list().iter().filter(|role| role.aggregation_rule.is_some()) {
            keys.add(key_of(&role.metadata));
        }
    });
    let reconciler =
        Reconciler { client: setup.client.with_field_manager(NAME), roles: roles.clone() };
    let synced = async move { roles.synced().await };
    setup.run("clusterrole-aggregation", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
}

impl Reconciler {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(role) = self.roles.get(key) else { return Ok(Action::Done) };
        let roles = self.roles.list();
        let others: Vec<&ClusterRole> = roles.iter().map(|role| &**role).collect();
        let Some(rules) = plan(&role, others) else { return Ok(Action::Done) };
        let object = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": key.name},
            "rules": rules,
        });
        let patch = Patch::Apply { object, force: true };
        tolerate_absence(self.client.patch::<ClusterRole>("", &key.name, &patch, "").await)?;
        Ok(Action::Done)
    }
}

/// The rules that a role should have; None: it has them, or aggregates nothing.
fn plan(role: &ClusterRole, mut roles: Vec<&ClusterRole>) -> Option<Vec<PolicyRule>> {
    let aggregation = role.aggregation_rule.as_ref()?;
    roles.retain(|other| other.metadata.name != role.metadata.name);
    roles.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in &aggregation.cluster_role_selectors {
        // What selects nothing aggregates nothing.
        let Ok(selector) = labels::Selector::from_label_selector(Some(selector)) else { continue };
        let selected = roles.iter().filter(|other| selector.matches(&other.metadata.labels));
        for rule in selected.flat_map(|other| &other.rules) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    (rules != role.rules).then_some(rules)
}
