//! What the store does by itself as time passes: it deletes keys whose time has come, forgets old history, and gives back
//! the memory that many writes leave behind.
//!
//! All sleep until something is due; an idle store wakes nobody.

use std::{collections::VecDeque, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Revision, StorageError, Store, TxnResult, writer::Request};

/// Expiries are gathered at least this long, so that many keys expire in one transaction.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);

/// History is aged in this many steps.
const AGE_STEPS: u32 = 5;

/// After so many revisions there is free memory worth giving back; the writer then wakes the maintenance.
pub(super) const CHURN: u64 = 4096;

/// How long after such a burst, and how often during one.
const GIVE_BACK_DELAY: Duration = Duration::from_secs(5);

/// How often a disk that failed is asked whether it takes writes again.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// Runs until `shutdown`, or until a disk that failed takes writes again.
pub(super) async fn run(store: &Store, shutdown: CancellationToken) -> Result<(), StorageError> {
    let mut ageing = Ageing { age: store.retention().age, marks: VecDeque::new() };
    let mut memory = Memory { revision: store.shared().revision(), due: None };
    loop {
        let due = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            due = act(store, &mut ageing, &mut memory) => due,
        };
        if let Some(reason) = store.failure() {
            let mended = shutdown.run_until_cancelled(await_disk(store)).await;
            return mended.map_or(Ok(()), |()| Err(StorageError::ReadOnly(reason)));
        }
        let Ok(due) = due else {
            tracing::debug!("the store is closed, maintenance ends");
            return Ok(());
        };
        let sleep = store.clock().sleep(due.unwrap_or(Duration::MAX));
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = store.shared().maintenance.notified() => {}
            () = sleep => {}
        }
    }
}

/// Completes when the disk takes writes; never for a store that is closed.
async fn await_disk(store: &Store) {
    loop {
        store.clock().sleep(PROBE_INTERVAL).await;
        match store.request(Request::Probe).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(_) => std::future::pending().await,
        }
    }
}

/// Does what is due, and tells how long to sleep; None: until there is news.
async fn act(
    store: &Store,
    ageing: &mut Ageing,
    memory: &mut Memory,
) -> Result<Option<Duration>, StorageError> {
    let expiry = expire(store).await?;
    let (revision, history) = {
        let state = store.shared().state.read();
        (state.revision(), state.history_len())
    };
    let plan = ageing.plan(store.clock().monotonic(), revision, history);
    if let Some(target) = plan.compact {
        store.compact_now(target).await?;
    }
    let (give_back, wake) = memory.plan(store.clock().monotonic(), revision);
    if give_back {
        component_base::memory::give_back();
    }
    Ok(expiry.into_iter().chain(plan.wake).chain(wake).min())
}

/// Deletes what has expired, and tells when to look again.
async fn expire(store: &Store) -> Result<Option<Duration>, StorageError> {
    let mut any = false;
    loop {
        let Some(next) = store.shared().state.read().next_expiry() else { return Ok(None) };
        let now = store.shared().now(store.clock());
        let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
        if !wait.is_zero() {
            return Ok(Some(if any { wait.max(EXPIRY_INTERVAL) } else { wait }));
        }
        any = true;
        if let TxnResult::Committed { deleted, .. } = store.request(Request::Expire).await?? {
            store.metrics().expired.inc_by(deleted.len() as u64);
        }
    }
}

/// Remembers which revision was the newest at which time, so as to know which one has become old.
struct Ageing {
    age: Duration,
    marks: VecDeque<(Duration, Revision)>,
}

#[derive(Debug, PartialEq)]
struct AgePlan {
    compact: Option<Revision>,
    wake: Option<Duration>,
}

impl Ageing {
    fn plan(&mut self, now: Duration, revision: Revision, history: usize) -> AgePlan {
        let step = self.age / AGE_STEPS;
        let mut compact = None;
        while let Some(&(at, marked)) = self.marks.front()
            && at + self.age <= now
        {
            compact = Some(marked);
            self.marks.pop_front();
        }
        if self.marks.back().is_none_or(|&(at, marked)| marked < revision && at + step <= now)
            && history > 0
        {
            self.marks.push_back((now, revision));
        }
        AgePlan { compact, wake: (history > 0).then_some(step) }
    }
}

/// Remembers since when there is memory to give back.
struct Memory {
    /// The revision when it was last given back.
    revision: Revision,
    due: Option<Duration>,
}

impl Memory {
    /// Whether to give back now, and else how long to wait.
    fn plan(&mut self, now: Duration, revision: Revision) -> (bool, Option<Duration>) {
        if revision.0.saturating_sub(self.revision.0) < CHURN {
            return (false, None);
        }
        let due = *self.due.get_or_insert(now + GIVE_BACK_DELAY);
        if now < due {
            return (false, Some(due - now));
        }
        *self = Self { revision, due: None };
        (true, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_a_while_after_many_writes() {
        let mut memory = Memory { revision: Revision(10), due: None };
        let mut check = |seconds, revision, give_back, wake: Option<u64>| {
            let plan = memory.plan(Duration::from_secs(seconds), Revision(revision));
            assert_eq!(plan, (give_back, wake.map(Duration::from_secs)), "at {seconds} s");
        };
        check(0, 100, false, None);
        check(1, 4106, false, Some(5));
        check(3, 9000, false, Some(3));
        check(6, 9000, true, None);
        check(7, 9000, false, None);
        check(8, 13_096, false, Some(5));
    }

    #[test]
    fn history_is_forgotten_once_it_is_old() {
        let mut ageing = Ageing { age: Duration::from_secs(300), marks: VecDeque::new() };
        let mut check = |seconds, revision, history, compact: Option<u64>, wake: Option<u64>| {
            let plan = ageing.plan(Duration::from_secs(seconds), Revision(revision), history);
            let expected =
                AgePlan { compact: compact.map(Revision), wake: wake.map(Duration::from_secs) };
            assert_eq!(plan, expected, "at {seconds} s");
        };
        check(0, 0, 0, None, None);
        check(10, 3, 3, None, Some(60));
        check(20, 9, 9, None, Some(60));
        check(80, 12, 12, None, Some(60));
        check(310, 12, 12, Some(3), Some(60));
        check(380, 12, 9, Some(12), Some(60));
        check(390, 12, 0, None, None);
    }
}
