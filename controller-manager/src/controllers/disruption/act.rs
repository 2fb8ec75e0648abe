//! Follows budgets and pods, and writes the status.

use std::sync::Arc;

use apimachinery::{
    api::{
        core::Pod,
        policy::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    labels::Selector,
    object::ObjectKey,
    resource,
    status::Status,
};
use client::{Client, EventRecorder, Store, controller::Action, events::EventType, store::Delta};
use component_base::clock::Clock;

use super::{
    plan::{fail_safe, needs_scale, plan},
    scale::Scales,
    stale,
};
use crate::context::{Setup, key_of};

const WORKERS: usize = 1;

#[derive(Clone)]
struct Reconciler {
    client: Client,
    clock: Clock,
    recorder: EventRecorder,
    budgets: Store<PodDisruptionBudget>,
    pods: Store<Pod>,
    scales: Scales,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    if !resource::POD_DISRUPTION_BUDGETS.served {
        return;
    }
    let queue = setup.queue::<ObjectKey>();
    let reconciler = Reconciler {
        client: setup.client.with_field_manager("kube-controller-manager"),
        clock: setup.clock.clone(),
        recorder: setup.recorder("controllermanager"),
        budgets: setup.informers.store(),
        pods: setup.informers.store(),
        scales: Scales::new(setup),
    };
    setup.enqueue_changes::<PodDisruptionBudget>(&queue);
    let (keys, budgets) = (queue.clone(), reconciler.budgets.clone());
    let recorder = reconciler.recorder.clone();
    setup.informers.on_change::<Pod, _>(move |delta| {
        if let Some(several) = wake(delta, &budgets, &|key| keys.add(key)) {
            recorder.record(&**delta.object(), EventType::Warning, MULTIPLE, several);
        }
    });
    let (pods, scales) = (reconciler.pods.clone(), reconciler.scales.clone());
    let budgets = reconciler.budgets.clone();
    let synced = async move {
        budgets.synced().await;
        pods.synced().await;
        scales.synced().await;
    };
    setup.run("disruption", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
    stale::start(setup);
}

const MULTIPLE: &str = "MultiplePodDisruptionBudgets";

/// Wakes the budgets that a pod's change concerns; the words of an event where it is under several.
fn wake(
    delta: &Delta<Pod>,
    budgets: &Store<PodDisruptionBudget>,
    wake: &dyn Fn(ObjectKey),
) -> Option<String> {
    let (old, new) = delta.old_and_new();
    if let (Some(old), Some(new)) = (old, new)
        && !matters(old, new)
    {
        return None;
    }
    let of = |pod: &Pod| -> Vec<ObjectKey> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let all = budgets.list_namespace(namespace);
        let own = all.iter().filter(|budget| selects(budget, pod));
        own.map(|budget| key_of(&budget.metadata)).collect()
    };
    old.into_iter().flat_map(|pod| of(pod)).for_each(wake);
    let pod = new?;
    let now = of(pod);
    now.iter().cloned().for_each(wake);
    let [first, _, ..] = now.as_slice() else { return None };
    let key = key_of(&pod.metadata);
    Some(format!(
        "Pod {:?}/{:?} matches multiple PodDisruptionBudgets.  Chose {:?} arbitrarily.",
        key.namespace, key.name, first.name
    ))
}

/// Whether the change of a pod can change a budget's status.
fn matters(old: &Pod, new: &Pod) -> bool {
    let ready =
        |pod: &Pod| pod.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
    old.metadata.labels != new.metadata.labels
        || old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        || old.metadata.owner_references != new.metadata.owner_references
        || ready(old) != ready(new)
}

fn selects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = Selector::from_label_selector(budget.spec.selector.as_ref());
    selector.is_ok_and(|selector| selector.matches(&pod.metadata.labels))
}

impl Reconciler {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(budget) = self.budgets.get(key) else { return Ok(Action::Done) };
        let pods: Vec<Arc<Pod>> = self
            .pods
            .list_namespace(&key.namespace)
            .into_iter()
            .filter(|pod| selects(&budget, pod))
            .collect();
        if pods.is_empty() {
            self.recorder.record(&*budget, EventType::Normal, "NoPods", "No matching pods found");
        }
        let now = self.clock.now();
        let planned = match self.scale(&budget, &pods).await {
            Ok(scale) => plan(&budget, &pods, scale, now),
            Err(message) => Err(message),
        };
        let planned = match planned {
            Ok(planned) => planned,
            Err(message) => {
                let text = format!("Failed to calculate the number of expected pods: {message}");
                let reason = "CalculateExpectedPodCountFailed";
                self.recorder.record(&*budget, EventType::Warning, reason, text);
                self.write(&budget, fail_safe(&budget, &message, now)).await?;
                return Ok(Action::Done);
            }
        };
        for pod in &planned.not_deleted {
            let text = format!(
                "Pod was expected by PDB {}/{} to be deleted but it wasn't",
                key.namespace, key.name
            );
            self.recorder.record(&**pod, EventType::Warning, "NotDeleted", text);
        }
        self.write(&budget, planned.status).await?;
        Ok(planned.again.map_or(Action::Done, Action::RequeueAfter))
    }

    async fn scale(&self, budget: &PodDisruptionBudget, pods: &[Arc<Pod>]) -> Result<i32, String> {
        if needs_scale(budget) { self.scales.of(pods).await } else { Ok(0) }
    }

    /// Against the version read: an eviction that was granted meanwhile must not be forgotten.
    async fn write(
        &self,
        budget: &PodDisruptionBudget,
        status: PodDisruptionBudgetStatus,
    ) -> Result<(), Status> {
        if status == budget.status {
            return Ok(());
        }
        let changed = PodDisruptionBudget { status, ..budget.clone() };
        match self.client.update_status(&changed).await {
            Err(status) if status.is_not_found() => Ok(()),
            written => written.map(drop),
        }
    }
}
