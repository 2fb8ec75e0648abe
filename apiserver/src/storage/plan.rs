//! From a transaction to its changes: pure, against a view of what will be committed.
//!
//! The writer plans many transactions before it makes the first one durable. [`View`] is the state that they build on:
//! what is committed, and over it what the earlier transactions of the same group will have done.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    Event, EventKind, KeyValue, Put, Revision, StorageError, Txn, TxnResult, state::State,
};

/// The largest value, as etcd's `--max-request-bytes`.
pub(super) const MAX_VALUE: usize = 1536 * 1024;

/// What is committed, and over it what is planned.
pub(super) struct View<'a> {
    committed: &'a State,
    overlay: HashMap<Arc<str>, Option<Arc<KeyValue>>>,
    revision: Revision,
}

/// What a transaction comes to.
#[derive(Debug)]
pub(super) struct Planned {
    /// The changes, none after a conflict or when there was nothing to do.
    pub(super) events: Vec<Arc<Event>>,
    /// The answer, once the changes are durable.
    pub(super) result: TxnResult,
}

impl<'a> View<'a> {
    pub(super) fn new(committed: &'a State) -> Self {
        Self { committed, overlay: HashMap::new(), revision: committed.revision() }
    }

    fn get(&self, key: &str) -> Option<&Arc<KeyValue>> {
        match self.overlay.get(key) {
            Some(planned) => planned.as_ref(),
            None => self.committed.get(key),
        }
    }

    /// Plans a transaction and adds its changes to the view.
    pub(super) fn plan(&mut self, txn: Txn, now: Timestamp) -> Result<Planned, StorageError> {
        validate(&txn)?;
        for (failed, compare) in txn.compares.iter().enumerate() {
            let current = self.get(compare.key());
            if !compare.holds(current.map(|kv| &**kv)) {
                let result = TxnResult::Conflict { failed, current: current.cloned() };
                return Ok(Planned { events: vec![], result });
            }
        }

        let revision = self.revision.next();
        let mut events = Vec::with_capacity(txn.puts.len() + txn.deletes.len());
        let mut puts = Vec::with_capacity(txn.puts.len());
        for put in txn.puts {
            let previous = self.get(&put.key).cloned();
            let event = put_event(put, previous, revision, events.len(), now);
            puts.push(event.kv.clone());
            events.push(Arc::new(event));
        }
        let mut deleted = Vec::with_capacity(txn.deletes.len());
        for key in &txn.deletes {
            let previous = self.get(key).cloned();
            if let Some(previous) = &previous {
                let event = delete_event(previous.clone(), revision, events.len());
                events.push(Arc::new(event));
            }
            deleted.push(previous);
        }

        if !events.is_empty() {
            self.revision = revision;
        }
        for event in &events {
            let after = (event.kind == EventKind::Put).then(|| event.kv.clone());
            self.overlay.insert(event.kv.key.clone(), after);
        }
        let result = TxnResult::Committed { revision: self.revision, puts, deleted };
        Ok(Planned { events, result })
    }
}

fn validate(txn: &Txn) -> Result<(), StorageError> {
    let mut keys: Vec<&str> =
        txn.puts.iter().map(|put| &*put.key).chain(txn.deletes.iter().map(|key| &**key)).collect();
    keys.sort_unstable();
    if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(StorageError::InvalidTxn(format!("key {} is changed twice", twice[0])));
    }
    for put in &txn.puts {
        if put.key.is_empty() || put.key.len() > u16::MAX as usize {
            return Err(StorageError::InvalidTxn(format!("key of {} bytes", put.key.len())));
        }
        if put.value.len() > MAX_VALUE {
            let reason =
                format!("value of {} has {} bytes, at most {MAX_VALUE}", put.key, put.value.len());
            return Err(StorageError::InvalidTxn(reason));
        }
        if put.slot.is_some_and(|slot| slot > put.value.len()) {
            return Err(StorageError::InvalidTxn(format!(
                "slot of {} is outside its value",
                put.key
            )));
        }
    }
    Ok(())
}

fn put_event(
    put: Put,
    previous: Option<Arc<KeyValue>>,
    revision: Revision,
    position: usize,
    now: Timestamp,
) -> Event {
    let value = match put.slot {
        None => put.value,
        Some(slot) => {
            let digits = revision.to_string();
            let mut value = Vec::with_capacity(put.value.len() + digits.len());
            value.extend_from_slice(&put.value[..slot]);
            value.extend_from_slice(digits.as_bytes());
            value.extend_from_slice(&put.value[slot..]);
            value.into()
        }
    };
    let kv = KeyValue {
        key: previous.as_ref().map_or(put.key, |previous| previous.key.clone()),
        value,
        create_revision: previous.as_ref().map_or(revision, |previous| previous.create_revision),
        mod_revision: revision,
        version: previous.as_ref().map_or(1, |previous| previous.version + 1),
        index: put.index,
        expires_at: put.ttl.map(|ttl| expiry(now, ttl)),
        slot: put.slot,
        sub: sub(position),
    };
    Event { kind: EventKind::Put, kv: Arc::new(kv), previous }
}

/// In whole milliseconds, as it is stored.
fn expiry(now: Timestamp, ttl: Duration) -> Timestamp {
    let at = now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(Timestamp::MAX)
}

/// The event of deleting `previous`; also how a deletion is told again after a restart.
pub(super) fn delete_event(previous: Arc<KeyValue>, revision: Revision, position: usize) -> Event {
    let kv = KeyValue {
        value: previous.value_at(revision),
        mod_revision: revision,
        sub: sub(position),
        ..(*previous).clone()
    };
    Event { kind: EventKind::Delete, kv: Arc::new(kv), previous: Some(previous) }
}

fn sub(position: usize) -> u32 {
    u32::try_from(position).expect("a transaction has less than 2^32 changes")
}
