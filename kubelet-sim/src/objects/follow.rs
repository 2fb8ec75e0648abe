//! ConfigMaps and Secrets that running pods have mounted, as they change.
//!
//! A node may watch only what its pods use, one object at a time: each object that some pod has mounted has one watch,
//! shared by all pods of the node, and none once the last of them is gone. An immutable object is watched no more.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use apimachinery::{
    api::core::{ConfigMap, Secret},
    resource,
};
use client::{
    Client, Stored,
    reflector::{Change, ListWatch, Reflector},
};
use component_base::clock::Clock;
use futures::{FutureExt, future::select_all};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{Referenced, References};

/// What is known of one object.
#[derive(Clone, Debug, Default)]
enum State {
    /// Nothing yet.
    #[default]
    Unknown,
    Absent,
    ConfigMap(Arc<ConfigMap>),
    Secret(Arc<Secret>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    ConfigMap,
    Secret,
}

type Key = (Kind, String, String);

/// The watch of one object; it ends with its last handle.
struct Follower {
    state: watch::Sender<State>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// The watches of a node.
#[derive(Clone)]
pub(super) struct Followers {
    client: Client,
    clock: Clock,
    tasks: TaskTracker,
    by_key: Arc<Mutex<HashMap<Key, Weak<Follower>>>>,
}

/// What a pod has mounted, as it changes.
pub struct Followed {
    entries: Vec<(Kind, String, Arc<Follower>, watch::Receiver<State>)>,
}

impl Followers {
    pub(super) fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock, tasks: TaskTracker::new(), by_key: Arc::default() }
    }

    pub(super) fn follow(&self, namespace: &str, references: &References) -> Followed {
        let maps = references.config_maps.iter().map(|name| (Kind::ConfigMap, name));
        let secrets = references.secrets.iter().map(|name| (Kind::Secret, name));
        let entries = maps.chain(secrets).map(|(kind, name)| {
            let follower = self.follower((kind, namespace.to_owned(), name.clone()));
            let receiver = follower.state.subscribe();
            (kind, name.clone(), follower, receiver)
        });
        Followed { entries: entries.collect() }
    }

    fn follower(&self, key: Key) -> Arc<Follower> {
        let mut by_key = self.by_key.lock();
        if let Some(known) = by_key.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        by_key.retain(|_, follower| follower.strong_count() > 0);
        let follower = Arc::new(Follower {
            state: watch::Sender::new(State::Unknown),
            task: Mutex::default(),
        });
        let (kind, namespace, name) = key.clone();
        let source = |info| ListWatch {
            namespace,
            field_selector: format!("metadata.name={name}"),
            ..ListWatch::all(info)
        };
        let state = follower.state.clone();
        let (client, clock) = (self.client.clone(), self.clock.clone());
        let task = match kind {
            Kind::ConfigMap => {
                let source = source(&resource::CONFIG_MAPS);
                self.tasks.spawn(async move {
                    let reflector = Reflector::<ConfigMap>::new(client, clock, source);
                    let wrap = |map: ConfigMap| {
                        (map.immutable == Some(true), State::ConfigMap(Arc::new(map)))
                    };
                    run(reflector, wrap, &state).await;
                })
            }
            Kind::Secret => {
                let source = source(&resource::SECRETS);
                self.tasks.spawn(async move {
                    let reflector = Reflector::<Secret>::new(client, clock, source);
                    let wrap = |secret: Secret| {
                        (secret.immutable == Some(true), State::Secret(Arc::new(secret)))
                    };
                    run(reflector, wrap, &state).await;
                })
            }
        };
        *follower.task.lock() = Some(AbortOnDropHandle::new(task));
        by_key.insert(key, Arc::downgrade(&follower));
        follower
    }
}

/// Follows one object until it is immutable. `wrap` tells whether it is.
async fn run<T: Stored>(
    mut reflector: Reflector<T>,
    wrap: impl Fn(T) -> (bool, State),
    state: &watch::Sender<State>,
) {
    loop {
        let found = match reflector.next().await {
            Change::Replaced { objects, .. } => objects.into_iter().next(),
            Change::Applied(object) => Some(object),
            Change::Deleted(_) => None,
            Change::Reached(_) => continue,
        };
        let (last, found) = found.map_or((false, State::Absent), &wrap);
        state.send_replace(found);
        if last {
            return;
        }
    }
}

impl Followed {
    /// Waits for the next change of any of the objects.
    pub async fn changed(&mut self) {
        if self.entries.is_empty() {
            std::future::pending::<()>().await;
        }
        // The senders live in the entries.
        let _ = select_all(self.entries.iter_mut().map(|entry| entry.3.changed().boxed())).await;
    }

    /// The objects as they are; None while some are not known yet.
    pub fn now(&mut self) -> Option<Referenced> {
        let mut found = Referenced::default();
        for (_, name, _, state) in &mut self.entries {
            match &*state.borrow_and_update() {
                State::Unknown => return None,
                State::Absent => {}
                State::ConfigMap(map) => {
                    found.config_maps.insert(name.clone(), (**map).clone());
                }
                State::Secret(secret) => {
                    found.secrets.insert(name.clone(), (**secret).clone());
                }
            }
        }
        Some(found)
    }
}
