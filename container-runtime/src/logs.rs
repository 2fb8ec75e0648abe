//! Container logs: files in CRI's format, rotated by size, read as a kubelet reads them.
//!
//! A line is `2026-01-01T00:00:00.000000000Z stdout F text`; `P` marks a piece of a line that went
//! past 16 KiB. The file of one container instance is `<dir>/<attempt>.log`
//! ([`path`]); past [`MAX_BYTES`] it is renamed to `<attempt>.log.<time>` and a new one begins; at most
//! [`MAX_FILES`] files stay, the oldest goes first. As with a real kubelet, readers see the newest
//! file only; a follower goes on over rotations.
//!
//! - `writer`: what a container's streams write into
//! - `reader`: tail, since, timestamps, limit, follow

mod reader;
mod writer;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

pub use reader::{LogError, LogOptions, LogReader};
pub use writer::{LogSink, LogWriter};

/// Size at which a log file is rotated: `containerLogMaxSize` of a kubelet.
pub const MAX_BYTES: u64 = 10 * 1024 * 1024;
/// Files kept per container instance: `containerLogMaxFiles` of a kubelet.
pub const MAX_FILES: usize = 5;
/// Longest piece of a line in one entry.
pub(crate) const MAX_LINE: usize = 16 * 1024;

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The log file of one container instance, laid out as below `/var/log/pods`:
/// `<root>/<namespace>_<pod>_<uid>/<container>/<attempt>.log`.
pub fn path(
    root: &Path,
    namespace: &str,
    pod: &str,
    uid: &str,
    container: &str,
    attempt: u32,
) -> PathBuf {
    pod_directory(root, namespace, pod, uid).join(container).join(format!("{attempt}.log"))
}

/// The folder of a pod's logs; the kubelet removes it with the pod.
pub fn pod_directory(root: &Path, namespace: &str, pod: &str, uid: &str) -> PathBuf {
    root.join(format!("{namespace}_{pod}_{uid}"))
}

/// RFC 3339 with nine digits, as CRI writes it.
pub(crate) fn print_time(time: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(9));
    PRINTER.timestamp_to_string(&time)
}

#[cfg(test)]
mod tests;
