//! CustomResourceDefinitions: kinds that are defined while the server runs.
//!
//! | module | has |
//! |---|---|
//! | [`definition`] | what a definition says: names, versions, conditions. Pure. |
//! | [`names`] | which names a definition gets, and which conditions follow. Pure. |
//! | [`strategy`] | one version of a defined kind, as the generic store wants it |
//! | [`columns`] | its Table |
//! | [`controller`] | follows the definitions, writes their conditions, deletes the objects of those that go |
//!
//! # The table
//! The served kinds stand in one immutable table, [`Definitions`], that is replaced as a whole: a request reads it without
//! a lock, and built-in kinds do not look at it at all. The controller, which follows the stored definitions, puts a kind
//! into the table before it writes `Established`, so whoever sees the condition is served. A write of a definition is
//! answered when the controller has seen it ([`Definitions::catch_up`]).
//!
//! # Versions
//! All versions of a kind share one place in the storage; an object is stored in the storage version. Conversion is
//! `None`: `apiVersion` is rewritten, and the schema of the stored version prunes and defaults what is read.

pub(crate) mod columns;
mod controller;
pub(crate) mod definition;
pub(crate) mod names;
pub(crate) mod scale;
pub(crate) mod strategy;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use apimachinery::resource::{self, ResourceInfo};
use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use self::{definition::Definition, strategy::CustomResource};
use crate::{
    registry::{
        store::{Store, StoreDeps},
        store_prefix,
    },
    storage::{ListQuery, Revision, StorageError},
};

/// How long a write of a definition waits for what follows from it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is served at some moment.
#[derive(Default)]
pub(crate) struct Table {
    /// By group, version and plural.
    stores: HashMap<(&'static str, &'static str, &'static str), Arc<Store>>,
    /// In discovery's order: by group, then the preferred version first.
    pub(crate) resources: Vec<&'static ResourceInfo>,
    /// Another number: another table.
    pub(crate) generation: u64,
    /// The definitions that it was made from, by uid.
    made_from: HashMap<String, Made>,
}

impl Table {
    /// The served resources with their `openAPIV3Schema`.
    pub(crate) fn schemas(&self) -> impl Iterator<Item = (&'static ResourceInfo, Value)> {
        self.made_from.values().flat_map(|made| {
            made.stores.iter().filter_map(|store| {
                let version =
                    made.of.versions().iter().find(|v| v["name"] == store.info.version)?;
                Some((store.info, version["schema"]["openAPIV3Schema"].clone()))
            })
        })
    }
}

/// A definition's part of a table.
#[derive(Clone)]
struct Made {
    /// The definition's spec and whether its objects are going.
    of: Arc<Definition>,
    stores: Vec<Arc<Store>>,
}

/// The kinds that definitions define.
pub(crate) struct Definitions {
    table: ArcSwap<Table>,
    deps: Arc<StoreDeps>,
    /// The revision up to which definitions have been followed, conditions written.
    followed: watch::Sender<Revision>,
    following: AtomicBool,
    /// Somebody waits for [`Definitions::followed`].
    asked: Notify,
}

impl Definitions {
    pub(crate) fn new(deps: Arc<StoreDeps>) -> Self {
        Self {
            table: ArcSwap::default(),
            deps,
            followed: watch::Sender::new(Revision::ZERO),
            following: AtomicBool::new(false),
            asked: Notify::new(),
        }
    }

    /// What is served now.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// The resource of these names.
    pub(crate) fn find(
        &self,
        group: &str,
        version: &str,
        resource: &str,
    ) -> Option<&'static ResourceInfo> {
        self.table.load().stores.get(&(group, version, resource)).map(|store| store.info)
    }

    /// The store of a resource.
    pub(crate) fn store(&self, info: &ResourceInfo) -> Option<Arc<Store>> {
        self.table.load().stores.get(&(info.group, info.version, info.resource)).cloned()
    }

    /// Waits until what is stored now has been followed.
    pub(crate) async fn catch_up(&self) {
        if !self.following.load(Ordering::Acquire) {
            return;
        }
        let Ok(wanted) = self.deps.storage.current_revision().await else { return };
        let mut followed = self.followed.subscribe();
        self.asked.notify_one();
        let reached = followed.wait_for(|revision| *revision >= wanted);
        if self.deps.clock.timeout(PATIENCE, reached).await.is_err() {
            tracing::warn!("a definition was not followed in time");
        }
    }

    /// All definitions as they are stored, and when.
    async fn stored(&self) -> Result<(Vec<Definition>, Revision), StorageError> {
        let prefix = store_prefix(&resource::CUSTOM_RESOURCE_DEFINITIONS);
        let list = self.deps.storage.list(&ListQuery::prefix(prefix)).await?;
        let definitions = list.items.iter().filter_map(|kv| {
            Definition::parse(&kv.value)
                .inspect_err(
                    |why| tracing::error!(key = %kv.key, %why, "a stored definition is none"),
                )
                .ok()
        });
        Ok((definitions.collect(), list.revision))
    }

    /// Replaces the table by what these definitions say; those that are as they were are taken over.
    fn serve(&self, definitions: Vec<Definition>) {
        let former = self.table.load_full();
        let mut table = Table { generation: former.generation, ..Table::default() };
        for definition in definitions {
            let made = match former.made_from.get(&definition.uid) {
                Some(made) if *made.of == definition => made.clone(),
                _ => {
                    table.generation = former.generation + 1;
                    let stores = CustomResource::all_of(&definition)
                        .into_iter()
                        .map(|kind| Arc::new(Store::new(Arc::new(kind), self.deps.clone())))
                        .collect();
                    Made { of: Arc::new(definition), stores }
                }
            };
            for store in &made.stores {
                let info = store.info;
                table.stores.insert((info.group, info.version, info.resource), store.clone());
                table.resources.push(info);
            }
            table.made_from.insert(made.of.uid.clone(), made);
        }
        if former.made_from.keys().any(|uid| !table.made_from.contains_key(uid)) {
            table.generation = former.generation + 1;
        }
        if table.generation == former.generation {
            return;
        }
        table.resources.sort_by(|a, b| {
            a.group
                .cmp(b.group)
                .then_with(|| definition::compare_versions(a.version, b.version))
                .then_with(|| a.resource.cmp(b.resource))
        });
        self.table.store(Arc::new(table));
    }
}
