//! An engine that fails on demand and tells what it was asked to do, for tests of the layers above.

use std::{io, sync::Arc};

use parking_lot::{Condvar, Mutex};

use super::{Engine, Group, Loaded};
use crate::storage::{EngineError, OpenError, Revision};

/// Wraps an engine; [`Faults`] is its remote control.
#[derive(Debug)]
pub struct FaultEngine<E> {
    inner: E,
    faults: Faults,
}

/// What happened below the store, and what shall go wrong next. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    plan: Mutex<Plan>,
    resumed: Condvar,
}

#[derive(Debug, Default)]
struct Plan {
    fail_after: Option<usize>,
    stalled: bool,
    durable: Revision,
    groups: usize,
}

impl Faults {
    /// Lets `n` more groups through, then fails every one.
    pub fn fail_after(&self, n: usize) {
        let mut plan = self.0.plan.lock();
        plan.fail_after = Some(plan.groups + n);
    }

    /// The disk takes writes again.
    pub fn mend(&self) {
        self.0.plan.lock().fail_after = None;
    }

    /// Lets the next group wait for [`Self::resume`]: a disk that is slow.
    pub fn stall(&self) {
        self.0.plan.lock().stalled = true;
    }

    /// Ends what [`Self::stall`] began.
    pub fn resume(&self) {
        self.0.plan.lock().stalled = false;
        self.0.resumed.notify_all();
    }

    /// The newest revision that the engine has made durable. An acknowledged revision is never beyond it.
    #[must_use]
    pub fn durable(&self) -> Revision {
        self.0.plan.lock().durable
    }

    /// How many groups were made durable.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.0.plan.lock().groups
    }
}

impl<E: Engine> FaultEngine<E> {
    /// Wraps an engine.
    pub fn new(inner: E, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

impl<E: Engine> Engine for FaultEngine<E> {
    fn load(&mut self) -> Result<Loaded, OpenError> {
        let loaded = self.inner.load()?;
        self.faults.0.plan.lock().durable =
            loaded.records.last().map_or(Revision::ZERO, |record| record.id().revision);
        Ok(loaded)
    }

    fn persist(&mut self, group: &Group, sync: bool) -> Result<(), EngineError> {
        let mut plan = self.faults.0.plan.lock();
        while plan.stalled {
            self.faults.0.resumed.wait(&mut plan);
        }
        if plan.fail_after.is_some_and(|limit| plan.groups >= limit) {
            return Err(EngineError { operation: "write", reason: "injected fault".to_owned() });
        }
        self.inner.persist(group, sync)?;
        plan.groups += 1;
        if let Some(last) = group.records.last() {
            plan.durable = last.id().revision;
        }
        Ok(())
    }

    fn probe(&self) -> io::Result<()> {
        match self.faults.0.plan.lock().fail_after {
            Some(_) => Err(io::ErrorKind::StorageFull.into()),
            None => self.inner.probe(),
        }
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }
}
