//! How many pods the controllers of pods want.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use apimachinery::{
    api::{
        apps::{Deployment, ReplicaSet},
        autoscaling::Scale,
        core::Pod,
        meta::OwnerReference,
    },
    object::ObjectKey,
    resource,
};
use client::{Client, Store};

use crate::{context::Setup, controllers::replica_set::plan::controller_of};

/// Finds controllers and their sizes.
#[derive(Clone)]
pub(super) struct Scales {
    client: Client,
    sets: Store<ReplicaSet>,
    deployments: Store<Deployment>,
}

/// A controller by uid, and its size.
type Sized = (String, i32);

impl Scales {
    pub(super) fn new(setup: &mut Setup<'_>) -> Self {
        Self {
            client: setup.client.clone(),
            sets: setup.informers.store(),
            deployments: setup.informers.store(),
        }
    }

    pub(super) async fn synced(&self) {
        self.sets.synced().await;
        self.deployments.synced().await;
    }

    /// The sum over the controllers of these pods; pods without one do not count: `getExpectedScale`.
    pub(super) async fn of(&self, pods: &[Arc<Pod>]) -> Result<i32, String> {
        let mut sizes: BTreeMap<String, i32> = BTreeMap::new();
        let mut asked = BTreeSet::new();
        for pod in pods {
            let Some(owner) = controller_of(&pod.metadata) else { continue };
            if !asked.insert(owner.uid.clone()) {
                continue;
            }
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let found = match self.in_caches(owner, namespace) {
                Some(found) => Some(found),
                None => self.by_scale(owner, namespace).await?,
            };
            let (uid, size) = found.ok_or_else(|| {
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                format!("found no controllers for pod {name:?}")
            })?;
            sizes.insert(uid, size);
        }
        Ok(sizes.values().fold(0, |sum, size| sum.saturating_add(*size)))
    }

    /// A ReplicaSet, or the Deployment above it.
    fn in_caches(&self, owner: &OwnerReference, namespace: &str) -> Option<Sized> {
        let key = |name: &str| ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let is = |owner: &OwnerReference, kind: &str| {
            owner.kind == kind && owner.api_version.split('/').next() == Some("apps")
        };
        if !is(owner, "ReplicaSet") {
            return None;
        }
        let set = self.sets.get(&key(&owner.name))?;
        if set.metadata.uid.as_ref() != Some(&owner.uid) {
            return None;
        }
        match controller_of(&set.metadata).filter(|above| above.kind == "Deployment") {
            None => Some((owner.uid.clone(), set.spec.replicas.unwrap_or(1))),
            Some(above) if is(above, "Deployment") => {
                let deployment = self.deployments.get(&key(&above.name))?;
                let same = deployment.metadata.uid.as_ref() == Some(&above.uid);
                same.then(|| (above.uid.clone(), deployment.spec.replicas.unwrap_or(1)))
            }
            Some(_) => None,
        }
    }

    /// Any other controller, by its scale; None: it is not there.
    async fn by_scale(
        &self,
        owner: &OwnerReference,
        namespace: &str,
    ) -> Result<Option<Sized>, String> {
        let (group, version) =
            owner.api_version.split_once('/').unwrap_or(("", owner.api_version.as_str()));
        let info = resource::find_kind(group, version, &owner.kind)
            .filter(|info| info.served)
            .or_else(|| resource::dynamic::find_kind(group, version, &owner.kind));
        let info = info.ok_or_else(|| {
            format!("no matches for kind {:?} in version {:?}", owner.kind, owner.api_version)
        })?;
        if !info.subresources.iter().any(|sub| sub.name == "scale") {
            let group = if group.is_empty() { String::new() } else { format!(".{group}") };
            return Err(format!(
                "{}{group} does not implement the scale subresource",
                info.resource
            ));
        }
        let api = self.client.resource(info).namespace(namespace).subresource("scale");
        let scale = match api.get(&owner.name).await.and_then(|reply| reply.view::<Scale>()) {
            Err(status) if status.is_not_found() => return Ok(None),
            Err(status) => return Err(status.message),
            Ok(scale) => scale,
        };
        let same = scale.metadata.uid.as_ref() == Some(&owner.uid);
        Ok(same.then(|| (owner.uid.clone(), scale.spec.replicas.unwrap_or(0))))
    }
}
