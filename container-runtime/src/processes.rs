//! The processes of one container, as `ps` and `kill` see them.
//!
//! There are no operating-system processes: an entry is a future with a command line and signals.
//! PID 1 is the container's Program; exec sessions and background jobs of shells follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::program::Signals;

/// One running process of a container.
#[derive(Clone, Debug)]
pub struct Process {
    /// Command line as `ps` prints it.
    pub command: String,
    /// Its SIGTERM and SIGINT.
    pub signals: Signals,
    /// Its SIGKILL.
    pub kill: CancellationToken,
}

/// Table of a container's processes; clones share it.
#[derive(Clone, Debug)]
pub struct ProcessTable(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    next: u32,
    running: BTreeMap<u32, Process>,
}

impl Default for ProcessTable {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Table { next: 1, running: BTreeMap::new() })))
    }
}

impl ProcessTable {
    /// Adds a process; it leaves the table when the entry is dropped.
    pub fn add(&self, args: &[String], signals: Signals, kill: CancellationToken) -> Entry {
        let mut table = self.0.lock();
        let pid = table.next;
        table.next += 1;
        table.running.insert(pid, Process { command: args.join(" "), signals, kill });
        Entry { pid, table: self.clone() }
    }

    /// All running processes by pid.
    pub fn list(&self) -> Vec<(u32, Process)> {
        self.0.lock().running.iter().map(|(pid, process)| (*pid, process.clone())).collect()
    }

    /// One process.
    pub fn get(&self, pid: u32) -> Option<Process> {
        self.0.lock().running.get(&pid).cloned()
    }
}

/// A process' place in the table.
#[derive(Debug)]
pub struct Entry {
    /// Its process id.
    pub pid: u32,
    table: ProcessTable,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.table.0.lock().running.remove(&self.pid);
    }
}
