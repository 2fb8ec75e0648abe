//! What a controller has written but does not see in its cache yet: client-go's `ControllerExpectations`.
//!
//! A controller that counts pods must not count from a cache that misses its own last writes, or it creates twice. It
//! notes how many creations and which deletions it expects to see; every one that the cache shows is ticked off.
//! Expectations that were not met after five minutes are dropped: better to count again than to stand still.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use apimachinery::object::ObjectKey;
use parking_lot::Mutex;

const TIMEOUT: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Default)]
struct Expected {
    creations: usize,
    deletions: HashSet<String>,
    since: Duration,
}

/// The expectations by owner.
#[derive(Debug, Default)]
pub struct Expectations {
    by_owner: Mutex<HashMap<ObjectKey, Expected>>,
}

impl Expectations {
    /// Whether all that was expected has been seen, or waited for too long.
    #[must_use]
    pub fn met(&self, owner: &ObjectKey, now: Duration) -> bool {
        self.by_owner.lock().get(owner).is_none_or(|e| {
            (e.creations == 0 && e.deletions.is_empty()) || now.saturating_sub(e.since) > TIMEOUT
        })
    }

    /// Sets out to create `creations` and to delete these uids.
    pub fn expect(
        &self,
        owner: &ObjectKey,
        creations: usize,
        deletions: impl IntoIterator<Item = String>,
        now: Duration,
    ) {
        let expected =
            Expected { creations, deletions: deletions.into_iter().collect(), since: now };
        self.by_owner.lock().insert(owner.clone(), expected);
    }

    /// A creation was seen, or will never be: it failed.
    pub fn created(&self, owner: &ObjectKey, count: usize) {
        if let Some(expected) = self.by_owner.lock().get_mut(owner) {
            expected.creations = expected.creations.saturating_sub(count);
        }
    }

    /// A deletion was seen, or will never be.
    pub fn deleted(&self, owner: &ObjectKey, uid: &str) {
        if let Some(expected) = self.by_owner.lock().get_mut(owner) {
            expected.deletions.remove(uid);
        }
    }

    /// The owner is gone.
    pub fn forget(&self, owner: &ObjectKey) {
        self.by_owner.lock().remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_met_by_sight_or_by_time() {
        let owner = ObjectKey { namespace: "default".into(), name: "web".into() };
        let expectations = Expectations::default();
        let at = Duration::from_secs;
        assert!(expectations.met(&owner, at(0)));
        expectations.expect(&owner, 2, ["u".to_owned()], at(0));
        expectations.created(&owner, 1);
        expectations.deleted(&owner, "u");
        assert!(!expectations.met(&owner, at(1)));
        expectations.created(&owner, 1);
        assert!(expectations.met(&owner, at(1)));
        expectations.expect(&owner, 0, ["gone".to_owned()], at(1));
        assert!(!expectations.met(&owner, at(301)));
        assert!(expectations.met(&owner, at(302)));
    }
}
