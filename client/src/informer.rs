//! A [`Store`] that a [`Reflector`] keeps current, with handlers that hear of each change.
//!
//! Handlers are called one after the other by the informer's task, after the store has taken the change: they must be
//! quick, which means that they put a key into a work queue. All users of one resource in a process share one informer
//! through [`Informers`]: one watch, one copy.
//!
//! Register first, start last:
//! ```text
//! let mut informers = Informers::new(&client, &clock);
//! let pods = informers.store::<Pod>();
//! informers.on_change::<Pod>(move |delta| queue.add(delta.object().key()));
//! informers.start(&shutdown);
//! pods.synced().await;
//! ```

#[cfg(test)]
mod tests;

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
};

use apimachinery::{api::Resource, resource::ResourceInfo};
use component_base::{clock::Clock, shutdown::Shutdown};

use crate::{
    api::Client,
    reflector::{Change, ListWatch, Reflector},
    store::{Delta, IndexFn, Store},
    stored::Stored,
};

type Handler<T> = Box<dyn Fn(&Delta<T>) + Send + Sync>;

/// Keeps a store current; not yet started.
pub struct Informer<T: Stored> {
    reflector: Reflector<T>,
    store: Store<T>,
    handlers: Vec<Handler<T>>,
    name: &'static str,
}

impl<T: Stored> Informer<T> {
    /// Makes an informer of what `source` selects.
    #[must_use]
    pub fn new(client: &Client, clock: &Clock, source: ListWatch) -> Self {
        let name = source.info.resource;
        Self {
            reflector: Reflector::new(client.clone(), clock.clone(), source),
            store: Store::new(),
            handlers: Vec::new(),
            name,
        }
    }

    /// The copy that it keeps.
    #[must_use]
    pub fn store(&self) -> Store<T> {
        self.store.clone()
    }

    /// Calls `handler` for each change from the start on.
    pub fn on_change<F>(&mut self, handler: F)
    where
        F: Fn(&Delta<T>) + Send + Sync + 'static,
    {
        self.handlers.push(Box::new(handler));
    }

    /// Starts following, until `shutdown`.
    pub fn start(self, shutdown: &Shutdown) {
        let token = shutdown.token().clone();
        shutdown.spawn(self.name, async move {
            token.run_until_cancelled(self.follow()).await;
        });
    }

    async fn follow(mut self) {
        loop {
            let synced = match self.reflector.next().await {
                Change::Replaced { objects, resource_version } => {
                    self.tell(&self.store.replace(objects, resource_version));
                    true
                }
                Change::Applied(object) => {
                    self.tell(&self.store.apply(object));
                    false
                }
                Change::Deleted(object) => {
                    self.tell(self.store.remove(object).as_slice());
                    false
                }
                Change::Reached(resource_version) => {
                    self.store.advance(resource_version);
                    false
                }
            };
            if synced {
                self.store.mark_synced();
            }
        }
    }

    fn tell(&self, deltas: &[Delta<T>]) {
        for delta in deltas {
            for handler in &self.handlers {
                handler(delta);
            }
        }
    }
}

impl<T: Stored> fmt::Debug for Informer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Informer")
            .field("reflector", &self.reflector)
            .field("store", &self.store)
            .field("handlers", &self.handlers.len())
            .finish_non_exhaustive()
    }
}

/// The informers that the parts of one process share: client-go's `SharedInformerFactory`.
///
/// One informer per resource and way of decoding, over all namespaces and without selection; whoever needs a selection
/// makes its own [`Informer`].
pub struct Informers {
    client: Client,
    clock: Clock,
    informers: HashMap<(TypeId, &'static ResourceInfo), Box<dyn Erased>>,
}

impl Informers {
    /// Makes an empty set.
    #[must_use]
    pub fn new(client: &Client, clock: &Clock) -> Self {
        Self { client: client.clone(), clock: clock.clone(), informers: HashMap::new() }
    }

    /// The informer of a typed resource, to be started with the others.
    pub fn informer<T: Resource>(&mut self) -> &mut Informer<T> {
        self.informer_of(T::INFO)
    }

    /// The informer of any resource, to be started with the others.
    pub fn informer_of<T: Stored>(&mut self, info: &'static ResourceInfo) -> &mut Informer<T> {
        let (client, clock) = (&self.client, &self.clock);
        let erased = self
            .informers
            .entry((TypeId::of::<T>(), info))
            .or_insert_with(|| Box::new(Informer::<T>::new(client, clock, ListWatch::all(info))));
        erased.as_any_mut().downcast_mut().expect("the key holds the type")
    }

    /// The store of a typed resource.
    pub fn store<T: Resource>(&mut self) -> Store<T> {
        self.informer().store()
    }

    /// The store of a typed resource, with this index.
    pub fn indexed<T: Resource>(&mut self, name: &'static str, values_of: IndexFn<T>) -> Store<T> {
        let store = self.store();
        store.add_index(name, values_of);
        store
    }

    /// Calls `handler` for each change of a typed resource.
    pub fn on_change<T: Resource, F>(&mut self, handler: F)
    where
        F: Fn(&Delta<T>) + Send + Sync + 'static,
    {
        self.informer::<T>().on_change(handler);
    }

    /// Starts all informers, until `shutdown`.
    pub fn start(self, shutdown: &Shutdown) {
        for informer in self.informers.into_values() {
            informer.start(shutdown);
        }
    }
}

impl fmt::Debug for Informers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resources = self.informers.keys().map(|(_, info)| info.resource);
        f.debug_list().entries(resources).finish()
    }
}

/// An informer whose type the set does not know.
trait Erased: Send {
    fn as_any_mut(&mut self) -> &mut dyn Any;
    fn start(self: Box<Self>, shutdown: &Shutdown);
}

impl<T: Stored> Erased for Informer<T> {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn start(self: Box<Self>, shutdown: &Shutdown) {
        Self::start(*self, shutdown);
    }
}
