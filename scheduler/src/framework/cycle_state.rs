//! What plugins leave for themselves between the points of one scheduling cycle.

use std::{any::Any, collections::BTreeSet, sync::Arc};

/// The notes of one scheduling cycle, by plugin: `framework.CycleState`.
///
/// A note is shared until a simulation changes it, so that preemption can try many removals at the price of those
/// notes that really differ.
#[derive(Clone, Default)]
pub struct CycleState {
    notes: Vec<(&'static str, Arc<dyn Any + Send + Sync>)>,
    /// Plugins whose Filter has nothing to say in this cycle.
    pub skip_filter: BTreeSet<&'static str>,
    /// Plugins whose Score has nothing to say in this cycle.
    pub skip_score: BTreeSet<&'static str>,
}

impl CycleState {
    /// Leaves a note under `key`, in place of an earlier one.
    pub fn write<T: Any + Send + Sync>(&mut self, key: &'static str, note: T) {
        let note: Arc<dyn Any + Send + Sync> = Arc::new(note);
        match self.notes.iter_mut().find(|(k, _)| *k == key) {
            Some(slot) => slot.1 = note,
            None => self.notes.push((key, note)),
        }
    }

    /// Reads a note.
    #[must_use]
    pub fn read<T: Any + Send + Sync>(&self, key: &'static str) -> Option<&T> {
        self.notes.iter().find(|(k, _)| *k == key).and_then(|(_, note)| note.downcast_ref())
    }

    /// Changes a note; a copy of it where another cycle state shares it.
    pub fn modify<T: Any + Send + Sync + Clone>(
        &mut self,
        key: &'static str,
        change: impl FnOnce(&mut T),
    ) {
        if let Some(note) = self.read::<T>(key) {
            let mut note = note.clone();
            change(&mut note);
            self.write(key, note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut state = CycleState::default();
        state.write("a", 1_i32);
        let mut copy = state.clone();
        copy.modify::<i32>("a", |n| *n += 1);
        assert_eq!((state.read::<i32>("a"), copy.read::<i32>("a")), (Some(&1), Some(&2)));
        assert_eq!(state.read::<u8>("a"), None);
        assert_eq!(state.read::<i32>("b"), None);
    }
}
