//! The local copy of a collection that an informer keeps: what client-go calls Store, Indexer and Lister.
//!
//! Objects are shared (`Arc<T>`) and never changed in place: a reader keeps what it got. They lie in key order, so that
//! a namespace is a range. Further indexes map values computed from an object (its node, its owner) to keys.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use apimachinery::object::ObjectKey;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::stored::Stored;

/// Computes the values under which an object is found in an index.
pub type IndexFn<T> = fn(&T) -> Vec<String>;

/// The local copy of a collection; cheap to clone. Only its informer changes it.
pub struct Store<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    inner: RwLock<Inner<T>>,
    synced: watch::Sender<bool>,
}

struct Inner<T> {
    objects: BTreeMap<ObjectKey, Arc<T>>,
    indexes: Vec<Index<T>>,
    resource_version: String,
}

struct Index<T> {
    name: &'static str,
    values_of: IndexFn<T>,
    keys: HashMap<String, BTreeSet<ObjectKey>>,
}

/// What became of one object of the store.
#[derive(Debug, PartialEq)]
pub enum Delta<T> {
    /// It is new here.
    Added(Arc<T>),
    /// It changed.
    Updated {
        /// The state before.
        old: Arc<T>,
        /// The state now.
        new: Arc<T>,
    },
    /// It is gone; the last state that is known.
    Deleted(Arc<T>),
}

impl<T> Delta<T> {
    /// The object: its present state, or the last one.
    #[must_use]
    pub fn object(&self) -> &Arc<T> {
        match self {
            Self::Added(object) | Self::Deleted(object) | Self::Updated { new: object, .. } => {
                object
            }
        }
    }

    /// The states before and after; `None` where there was or is none.
    #[must_use]
    pub fn old_and_new(&self) -> (Option<&Arc<T>>, Option<&Arc<T>>) {
        match self {
            Self::Added(new) => (None, Some(new)),
            Self::Updated { old, new } => (Some(old), Some(new)),
            Self::Deleted(old) => (Some(old), None),
        }
    }
}

impl<T: Stored> Store<T> {
    /// An empty store, not synced.
    #[must_use]
    pub fn new() -> Self {
        let inner = Inner {
            objects: BTreeMap::new(),
            indexes: Vec::new(),
            resource_version: String::new(),
        };
        Self {
            shared: Arc::new(Shared {
                inner: RwLock::new(inner),
                synced: watch::Sender::new(false),
            }),
        }
    }

    /// A synced store of these objects, for tests of what reads stores.
    #[must_use]
    pub fn of(objects: impl IntoIterator<Item = T>) -> Self {
        let store = Self::new();
        store.replace(objects.into_iter().collect(), String::new());
        store.mark_synced();
        store
    }

    /// Adds an index, over what is here and what will come. The same name again changes nothing, so that several users
    /// of one store may ask for one index.
    pub fn add_index(&self, name: &'static str, values_of: IndexFn<T>) {
        let mut inner = self.shared.inner.write();
        if inner.indexes.iter().any(|index| index.name == name) {
            return;
        }
        let mut index = Index { name, values_of, keys: HashMap::new() };
        for (key, object) in &inner.objects {
            index.insert(key, object);
        }
        inner.indexes.push(index);
    }

    /// The object of this key.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.shared.inner.read().objects.get(key).cloned()
    }

    /// All objects, in key order.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<T>> {
        self.shared.inner.read().objects.values().cloned().collect()
    }

    /// The objects of one namespace, in the order of their names.
    #[must_use]
    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let inner = self.shared.inner.read();
        inner
            .objects
            .range(ObjectKey::new(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// The objects that an index has under `value`, in key order.
    ///
    /// # Panics
    /// When there is no such index: it is named where the store is built.
    #[must_use]
    pub fn by_index(&self, name: &str, value: &str) -> Vec<Arc<T>> {
        let inner = self.shared.inner.read();
        let index = inner.indexes.iter().find(|index| index.name == name);
        let index = index.unwrap_or_else(|| panic!("no index {name:?} in this store"));
        let keys = index.keys.get(value).into_iter().flatten();
        keys.filter_map(|key| inner.objects.get(key)).cloned().collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.inner.read().objects.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The version of the collection that this copy has reached.
    #[must_use]
    pub fn resource_version(&self) -> String {
        self.shared.inner.read().resource_version.clone()
    }

    /// Whether the first list is in, and its handlers have run.
    #[must_use]
    pub fn has_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// Waits until [`Store::has_synced`].
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives in this store.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    pub(crate) fn mark_synced(&self) {
        self.shared.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
    }

    /// Takes the collection as it is now, in one step, and tells what changed.
    pub(crate) fn replace(&self, objects: Vec<T>, resource_version: String) -> Vec<Delta<T>> {
        let mut inner = self.shared.inner.write();
        inner.resource_version = resource_version;
        let mut gone = std::mem::take(&mut inner.objects);
        let mut deltas = Vec::new();
        for object in objects {
            let (key, new) = (object.key(), Arc::new(object));
            match gone.remove(&key) {
                Some(old) if old.uid() == new.uid() => {
                    if old.resource_version() == new.resource_version() {
                        // Unchanged: readers go on sharing the object they have.
                        inner.objects.insert(key, old);
                        continue;
                    }
                    inner.objects.insert(key, Arc::clone(&new));
                    deltas.push(Delta::Updated { old, new });
                }
                replaced => {
                    deltas.extend(replaced.map(Delta::Deleted));
                    inner.objects.insert(key, Arc::clone(&new));
                    deltas.push(Delta::Added(new));
                }
            }
        }
        let mut all: Vec<_> = gone.into_values().map(Delta::Deleted).collect();
        all.append(&mut deltas);
        inner.reindex_all();
        all
    }

    /// Takes one object's new state.
    pub(crate) fn apply(&self, object: T) -> Vec<Delta<T>> {
        let (key, new) = (object.key(), Arc::new(object));
        let mut inner = self.shared.inner.write();
        new.resource_version().clone_into(&mut inner.resource_version);
        let old = inner.objects.insert(key.clone(), Arc::clone(&new));
        inner.reindex(&key, old.as_ref(), Some(&new));
        match old {
            Some(old) if old.uid() == new.uid() => vec![Delta::Updated { old, new }],
            Some(old) => vec![Delta::Deleted(old), Delta::Added(new)],
            None => vec![Delta::Added(new)],
        }
    }

    /// Drops one object; its last state comes with the news.
    pub(crate) fn remove(&self, last: T) -> Option<Delta<T>> {
        let key = last.key();
        let mut inner = self.shared.inner.write();
        last.resource_version().clone_into(&mut inner.resource_version);
        let old = inner.objects.remove(&key)?;
        inner.reindex(&key, Some(&old), None);
        Some(Delta::Deleted(Arc::new(last)))
    }

    pub(crate) fn advance(&self, resource_version: String) {
        self.shared.inner.write().resource_version = resource_version;
    }
}

impl<T> Inner<T> {
    fn reindex(&mut self, key: &ObjectKey, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        for index in &mut self.indexes {
            if let Some(old) = old {
                index.remove(key, old);
            }
            if let Some(new) = new {
                index.insert(key, new);
            }
        }
    }

    fn reindex_all(&mut self) {
        for index in &mut self.indexes {
            index.keys.clear();
            for (key, object) in &self.objects {
                index.insert(key, object);
            }
        }
    }
}

impl<T> Index<T> {
    fn insert(&mut self, key: &ObjectKey, object: &T) {
        for value in (self.values_of)(object) {
            self.keys.entry(value).or_default().insert(key.clone());
        }
    }

    fn remove(&mut self, key: &ObjectKey, object: &T) {
        for value in (self.values_of)(object) {
            if let Some(keys) = self.keys.get_mut(&value) {
                keys.remove(key);
                if keys.is_empty() {
                    self.keys.remove(&value);
                }
            }
        }
    }
}

impl<T> Clone for Store<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Stored> Default for Store<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.shared.inner.read();
        f.debug_struct("Store")
            .field("objects", &inner.objects.len())
            .field("resource_version", &inner.resource_version)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::api::core::Pod;

    use super::*;

    fn pod(namespace: &str, name: &str, uid: &str, version: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some(namespace.to_owned());
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.uid = Some(uid.to_owned());
        pod.metadata.resource_version = Some(version.to_owned());
        pod.spec.node_name = Some(format!("node-{version}"));
        pod
    }

    fn told(deltas: &[Delta<Pod>]) -> Vec<String> {
        let version =
            |pod: &Arc<Pod>| format!("{}@{}{}", pod.key(), pod.uid(), pod.resource_version());
        deltas
            .iter()
            .map(|delta| match delta {
                Delta::Added(pod) => format!("+{}", version(pod)),
                Delta::Updated { old, new } => format!("{}>{}", version(old), version(new)),
                Delta::Deleted(pod) => format!("-{}", version(pod)),
            })
            .collect()
    }

    #[test]
    fn a_replacement_tells_all_that_changed_and_nothing_else() {
        let store = Store::new();
        let first = vec![
            pod("a", "stays", "u", "1"),
            pod("a", "changes", "u", "2"),
            pod("a", "goes", "u", "3"),
            pod("a", "reborn", "u", "4"),
        ];
        assert_eq!(store.replace(first, "4".to_owned()).len(), 4);
        let kept = store.get(&ObjectKey::new("a", "stays")).unwrap();
        let second = vec![
            pod("a", "stays", "u", "1"),
            pod("a", "changes", "u", "5"),
            pod("a", "reborn", "w", "6"),
            pod("a", "comes", "u", "7"),
        ];
        assert_eq!(
            told(&store.replace(second, "9".to_owned())),
            [
                "-a/goes@u3",
                "a/changes@u2>a/changes@u5",
                "-a/reborn@u4",
                "+a/reborn@w6",
                "+a/comes@u7"
            ]
        );
        assert!(Arc::ptr_eq(&kept, &store.get(&ObjectKey::new("a", "stays")).unwrap()));
        assert_eq!(store.resource_version(), "9");
    }

    #[test]
    fn single_changes_are_told() {
        let store = Store::new();
        assert_eq!(told(&store.apply(pod("a", "x", "u", "1"))), ["+a/x@u1"]);
        assert_eq!(told(&store.apply(pod("a", "x", "u", "2"))), ["a/x@u1>a/x@u2"]);
        assert_eq!(told(&store.apply(pod("a", "x", "w", "3"))), ["-a/x@u2", "+a/x@w3"]);
        let gone: Vec<_> = store.remove(pod("a", "x", "w", "4")).into_iter().collect();
        assert_eq!(told(&gone), ["-a/x@w4"]);
        assert_eq!(store.remove(pod("a", "x", "w", "4")), None);
        assert_eq!(store.resource_version(), "4");
    }

    #[test]
    fn namespaces_and_indexes_are_found() {
        let store = Store::new();
        store.apply(pod("a", "x", "u", "1"));
        store.add_index("node", |pod: &Pod| pod.spec.node_name.clone().into_iter().collect());
        store.apply(pod("a", "y", "u", "1"));
        store.apply(pod("ab", "z", "u", "2"));
        let names = |pods: Vec<Arc<Pod>>| -> Vec<_> {
            pods.iter().map(|pod| pod.key().to_string()).collect()
        };
        assert_eq!(names(store.list()), ["a/x", "a/y", "ab/z"]);
        assert_eq!(names(store.list_namespace("a")), ["a/x", "a/y"]);
        assert_eq!(names(store.list_namespace("b")), [""; 0]);
        assert_eq!(names(store.by_index("node", "node-1")), ["a/x", "a/y"]);
        store.apply(pod("a", "x", "u", "2"));
        store.remove(pod("a", "y", "u", "1"));
        assert_eq!(names(store.by_index("node", "node-1")), [""; 0]);
        assert_eq!(names(store.by_index("node", "node-2")), ["a/x", "ab/z"]);
        store.replace(vec![pod("c", "x", "u", "1")], String::new());
        assert_eq!(names(store.by_index("node", "node-1")), ["c/x"]);
        assert_eq!(names(store.by_index("node", "node-2")), [""; 0]);
    }
}
