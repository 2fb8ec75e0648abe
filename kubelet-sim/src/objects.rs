//! The ConfigMaps and Secrets that pods refer to, as last fetched.
//!
//! A node may read only what its pods use, one object at a time. What was fetched is kept on the node's disk (mode
//! 0600), so that its pods start again after a reboot even while the API server is down. What running pods have mounted
//! is followed ([`follow`]).

mod follow;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use apimachinery::{
    api::{
        Resource,
        core::{ConfigMap, Container, Pod, Secret, Volume},
    },
    status::Status,
};
use client::Client;
use component_base::{clock::Clock, files};
pub use follow::Followed;
use follow::Followers;

use crate::tokens::Tokens;

/// What a pod refers to, by name in its own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// ConfigMaps.
    pub config_maps: BTreeSet<String>,
    /// Secrets.
    pub secrets: BTreeSet<String>,
}

/// What they hold; what does not exist is missing.
#[derive(Clone, Debug, Default)]
pub struct Referenced {
    /// ConfigMaps by name.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Tokens of the pod's account.
    pub tokens: Tokens,
}

impl References {
    /// Those of a container's environment.
    #[must_use]
    pub fn of_container(container: &Container) -> Self {
        let mut found = Self::default();
        for from in &container.env_from {
            found.config_maps.extend(from.config_map_ref.iter().map(|r| r.name.clone()));
            found.secrets.extend(from.secret_ref.iter().map(|r| r.name.clone()));
        }
        for source in container.env.iter().filter_map(|var| var.value_from.as_ref()) {
            found.config_maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
            found.secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
        }
        found
    }

    /// Those of a pod's volumes.
    #[must_use]
    pub fn of_volumes(pod: &Pod) -> Self {
        Self::of(&pod.spec.volumes)
    }

    /// Those of some volumes.
    #[must_use]
    pub fn of<'a>(volumes: impl IntoIterator<Item = &'a Volume>) -> Self {
        let mut found = Self::default();
        for volume in volumes {
            found.config_maps.extend(volume.config_map.iter().map(|v| v.name.clone()));
            found.secrets.extend(volume.secret.iter().filter_map(|v| v.secret_name.clone()));
            for source in volume.projected.iter().flat_map(|p| &p.sources) {
                found.config_maps.extend(source.config_map.iter().map(|v| v.name.clone()));
                found.secrets.extend(source.secret.iter().map(|v| v.name.clone()));
            }
        }
        found
    }
}

/// Fetches, follows and keeps objects.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    clock: Clock,
    dir: PathBuf,
    followers: Followers,
}

impl Objects {
    /// Keeps what it fetches in `dir`.
    #[must_use]
    pub fn new(client: Client, clock: Clock, dir: PathBuf) -> Self {
        Self { followers: Followers::new(client.clone(), clock.clone()), client, clock, dir }
    }

    /// Follows what is referred to, until the handle is dropped.
    #[must_use]
    pub fn follow(&self, namespace: &str, references: &References) -> Followed {
        self.followers.follow(namespace, references)
    }

    /// Waits for a ConfigMap that is about to be made; None: it was not within `patience`.
    pub async fn await_config_map(
        &self,
        namespace: &str,
        name: &str,
        patience: Duration,
    ) -> Option<ConfigMap> {
        let config_maps = [name.to_owned()].into();
        let mut followed =
            self.follow(namespace, &References { config_maps, ..References::default() });
        let waiting = async {
            loop {
                let found = followed.now().and_then(|mut found| found.config_maps.remove(name));
                if let Some(map) = found {
                    return map;
                }
                followed.changed().await;
            }
        };
        self.clock.timeout(patience, waiting).await.ok()
    }

    /// Keeps what was found for a later reboot.
    pub fn keep(&self, namespace: &str, found: &Referenced) {
        for (name, object) in &found.config_maps {
            self.keep_one(namespace, name, object);
        }
        for (name, object) in &found.secrets {
            self.keep_one(namespace, name, object);
        }
    }

    fn path<T: Resource>(&self, namespace: &str, name: &str) -> PathBuf {
        self.dir.join(format!("{}_{namespace}_{name}.json", T::INFO.resource))
    }

    fn keep_one<T: Resource>(&self, namespace: &str, name: &str, object: &T) {
        let path = self.path::<T>(namespace, name);
        let text = serde_json::to_vec(object).unwrap_or_default();
        let same = std::fs::read(&path).is_ok_and(|kept| kept == text);
        if !same && let Err(e) = files::write_atomic(&path, &text, files::PRIVATE) {
            tracing::warn!(path = %path.display(), error = %e, "cannot keep an object");
        }
    }

    /// Fetches what is referred to.
    ///
    /// # Errors
    /// The API server refuses, or is away and the object was never fetched before.
    pub async fn fetch(
        &self,
        namespace: &str,
        references: &References,
    ) -> Result<Referenced, Status> {
        let mut found = Referenced::default();
        for name in &references.config_maps {
            if let Some(object) = self.one(namespace, name).await? {
                found.config_maps.insert(name.clone(), object);
            }
        }
        for name in &references.secrets {
            if let Some(object) = self.one(namespace, name).await? {
                found.secrets.insert(name.clone(), object);
            }
        }
        Ok(found)
    }

    async fn one<T: Resource>(&self, namespace: &str, name: &str) -> Result<Option<T>, Status> {
        let path = self.path::<T>(namespace, name);
        match self.client.get::<T>(namespace, name).await {
            Ok(object) => {
                self.keep_one(namespace, name, &object);
                Ok(Some(object))
            }
            Err(status) if status.is_not_found() => {
                // Gone: a later reboot must not bring it back.
                let _ = std::fs::remove_file(&path);
                Ok(None)
            }
            Err(status) if client::wire::transport_failure(&status).is_some() => {
                match std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok())
                {
                    Some(kept) => Ok(Some(kept)),
                    None => Err(status),
                }
            }
            Err(status) => Err(status),
        }
    }
}
