//! The ServiceAccount controller: every namespace has a ServiceAccount `default`.

use apimachinery::{
    api::{
        core::{Namespace, ServiceAccount},
        meta::ObjectMeta,
    },
    object::ObjectKey,
    status::Status,
};
use client::{Client, Store, controller::Action, store::Delta};

use crate::context::{Setup, key_of};

const WORKERS: usize = 2;
const DEFAULT: &str = "default";

#[derive(Clone)]
struct Reconciler {
    client: Client,
    namespaces: Store<Namespace>,
    accounts: Store<ServiceAccount>,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = setup.queue::<ObjectKey>();
    let reconciler = Reconciler {
        client: setup.client.with_field_manager("kube-controller-manager"),
        namespaces: setup.informers.store(),
        accounts: setup.informers.store(),
    };
    setup.enqueue_changes::<Namespace>(&queue);
    let keys = queue.clone();
    setup.informers.on_change::<ServiceAccount, _>(move |delta| {
        if let Delta::Deleted(account) = delta
            && account.metadata.name.as_deref() == Some(DEFAULT)
        {
            let name = key_of(&account.metadata).namespace;
            keys.add(ObjectKey { namespace: String::new(), name });
        }
    });
    let stores = reconciler.clone();
    let synced = async move {
        stores.namespaces.synced().await;
        stores.accounts.synced().await;
    };
    setup.run("serviceaccount", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
}

impl Reconciler {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let alive =
            self.namespaces.get(key).is_some_and(|n| n.metadata.deletion_timestamp.is_none());
        let account = ObjectKey { namespace: key.name.clone(), name: DEFAULT.to_owned() };
        if !alive || self.accounts.get(&account).is_some() {
            return Ok(Action::Done);
        }
        let object = ServiceAccount {
            metadata: ObjectMeta {
                name: Some(account.name),
                namespace: Some(account.namespace),
                ..ObjectMeta::default()
            },
            ..ServiceAccount::default()
        };
        match self.client.create(&object).await {
            Ok(_) => Ok(Action::Done),
            Err(status) if status.is_already_exists() => Ok(Action::Done),
            // The namespace began to go in the meantime.
            Err(status) if status.is_not_found() || status.is_forbidden() => Ok(Action::Done),
            Err(status) => Err(status),
        }
    }
}
