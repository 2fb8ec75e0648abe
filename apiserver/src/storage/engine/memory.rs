//! An engine without a disk: a store over it forgets everything when it is closed.

use super::{Engine, Group, Loaded};
use crate::storage::{EngineError, OpenError};

/// Keeps nothing; the store's own state is all there is. For test clusters.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryEngine;

impl Engine for MemoryEngine {
    fn load(&mut self) -> Result<Loaded, OpenError> {
        Ok(Loaded::default())
    }

    fn persist(&mut self, _group: &Group, _sync: bool) -> Result<(), EngineError> {
        Ok(())
    }
}
