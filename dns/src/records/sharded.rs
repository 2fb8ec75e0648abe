//! A map whose copies share what they have in common.
//!
//! A snapshot of all records is published after every change, and readers keep the one that they hold. Copying a map of
//! ten thousand Services for each change would cost more than the change: here a copy is one pointer per shard, and a
//! write copies the one shard it goes to.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

/// With ten thousand entries a shard has forty.
const SHARDS: usize = 256;

/// A map of which a clone is cheap.
#[derive(Clone, Debug)]
pub(super) struct Sharded<K, V> {
    hasher: RandomState,
    shards: Vec<Arc<HashMap<K, V, RandomState>>>,
}

impl<K: Clone + Eq + Hash, V: Clone> Sharded<K, V> {
    pub(super) fn new() -> Self {
        let hasher = RandomState::new();
        let empty = Arc::new(HashMap::with_hasher(hasher.clone()));
        Self { hasher, shards: vec![empty; SHARDS] }
    }

    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.shards[self.shard(key)].get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let shard = self.shard(&key);
        Arc::make_mut(&mut self.shards[shard]).insert(key, value);
    }

    pub(super) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let shard = self.shard(key);
        if self.shards[shard].contains_key(key) {
            Arc::make_mut(&mut self.shards[shard]).remove(key);
        }
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The map below uses the lowest and the highest bits of the same hash.
        (self.hasher.hash_one(key) >> 32) as usize % SHARDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_it_had() {
        let mut map = Sharded::new();
        for number in 0..10_000 {
            map.insert(number, number);
        }
        let before = map.clone();
        map.insert(7, 0);
        map.remove(&8);
        map.remove(&10_001);
        assert_eq!((before.get(&7), map.get(&7)), (Some(&7), Some(&0)));
        assert_eq!((before.get(&8), map.get(&8)), (Some(&8), None));
        let shared = before.shards.iter().zip(&map.shards).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert!(shared.count() >= SHARDS - 2);
    }
}
