//! The root CA publisher: every namespace has a ConfigMap `kube-root-ca.crt` with the certificates by which its pods know
//! the API server.
//!
//! One that is deleted or changed is put right at once; labels and annotations of others are let be. Only those
//! ConfigMaps are followed, not the cluster's others. Follows `pkg/controller/certificates/rootcacertpublisher` of
//! Kubernetes.

use std::{collections::BTreeMap, sync::Arc};

use apimachinery::{
    api::{
        Resource,
        core::{ConfigMap, Namespace},
        meta::ObjectMeta,
    },
    object::ObjectKey,
    status::Status,
};
use client::{Client, ListWatch, Store, controller::Action, informer::Informer};

use crate::context::{Setup, is_overtaken};

const WORKERS: usize = 1;
/// The ConfigMap's name.
const NAME: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the \
     internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
     clusters.",
);

#[derive(Clone)]
struct Reconciler {
    client: Client,
    certificates: Arc<str>,
    namespaces: Store<Namespace>,
    maps: Store<ConfigMap>,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let Some(certificates) = setup.options.root_ca.as_deref().map(Arc::from) else {
        tracing::info!("no --root-ca-file: {NAME} is not published");
        return;
    };
    let queue = setup.queue::<ObjectKey>();
    let own = ListWatch {
        field_selector: format!("metadata.name={NAME}"),
        ..ListWatch::all(ConfigMap::INFO)
    };
    let mut maps = Informer::<ConfigMap>::new(&setup.client, &setup.clock, own);
    let reconciler = Reconciler {
        client: setup.client.with_field_manager("kube-controller-manager"),
        certificates,
        namespaces: setup.informers.store(),
        maps: maps.store(),
    };
    setup.enqueue_changes::<Namespace>(&queue);
    let keys = queue.clone();
    maps.on_change(move |delta| {
        let name = delta.object().metadata.namespace.clone().unwrap_or_default();
        keys.add(ObjectKey { namespace: String::new(), name });
    });
    maps.start(&setup.shutdown);
    let stores = reconciler.clone();
    let synced = async move {
        stores.namespaces.synced().await;
        stores.maps.synced().await;
    };
    setup.run("root-ca", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
}

impl Reconciler {
    async fn reconcile(&self, namespace: &ObjectKey) -> Result<Action, Status> {
        let alive =
            self.namespaces.get(namespace).is_some_and(|n| n.metadata.deletion_timestamp.is_none());
        if !alive {
            return Ok(Action::Done);
        }
        let key = ObjectKey { namespace: namespace.name.clone(), name: NAME.to_owned() };
        let present = self.maps.get(&key);
        let Some(wanted) = wanted(&key, &self.certificates, present.as_deref()) else {
            return Ok(Action::Done);
        };
        let written = match present {
            None => self.client.create(&wanted).await,
            Some(_) => self.client.update(&wanted).await,
        };
        match written {
            Err(status) if is_overtaken(&status) => Ok(Action::Done),
            other => other.map(|_| Action::Done),
        }
    }
}

/// The ConfigMap as it should be; None: it is so.
fn wanted(key: &ObjectKey, certificates: &str, present: Option<&ConfigMap>) -> Option<ConfigMap> {
    let data = BTreeMap::from([(KEY.to_owned(), certificates.to_owned())]);
    let (annotation, text) = DESCRIPTION;
    let mut map = match present {
        Some(present) => present.clone(),
        None => ConfigMap {
            metadata: ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        },
    };
    let described = map.metadata.annotations.get(annotation).is_some_and(|text| !text.is_empty());
    if map.data == data && described {
        return None;
    }
    map.data = data;
    map.metadata.annotations.insert(annotation.to_owned(), text.to_owned());
    Some(map)
}
