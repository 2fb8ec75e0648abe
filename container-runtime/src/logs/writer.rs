//! Writing a container's log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use component_base::clock::Clock;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use super::{LogStream, MAX_BYTES, MAX_FILES, MAX_LINE, print_time};

/// Chunks that a slow attached client may lag behind before it misses output.
const ATTACH_CHUNKS: usize = 256;

/// The log of one container instance. Clones write to the same file, which is open only while something is written: a
/// process of many nodes has more containers than it may have files open.
#[derive(Clone)]
pub struct LogWriter(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    /// Made with the first client: hardly any container has one, and its slots are large.
    attached: OnceLock<broadcast::Sender<(LogStream, Bytes)>>,
    clock: Clock,
    path: PathBuf,
    max_bytes: u64,
}

struct State {
    size: u64,
    partial: [Vec<u8>; 2],
    closed: bool,
}

/// What followers wait for: anything written, or the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) written: u64,
    pub(crate) closed: bool,
}

impl LogWriter {
    /// Opens (or goes on with) a log file; its folder is made when missing.
    ///
    /// # Errors
    /// Those of creating the folder and the file.
    pub fn open(path: &Path, clock: &Clock) -> io::Result<Self> {
        Self::open_with_limit(path, clock, MAX_BYTES)
    }

    pub(crate) fn open_with_limit(path: &Path, clock: &Clock, max_bytes: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let size = open(path)?.metadata()?.len();
        let state = State { size, partial: Default::default(), closed: false };
        Ok(Self(Arc::new(Shared {
            state: Mutex::new(state),
            progress: watch::Sender::new(Progress::default()),
            attached: OnceLock::new(),
            clock: clock.clone(),
            path: path.to_owned(),
            max_bytes,
        })))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// One of the two streams of the container.
    pub fn sink(&self, stream: LogStream) -> LogSink {
        LogSink { writer: self.clone(), stream }
    }

    /// Output from now on, as an attached client sees it.
    pub fn subscribe(&self) -> broadcast::Receiver<(LogStream, Bytes)> {
        self.0.attached.get_or_init(|| broadcast::Sender::new(ATTACH_CHUNKS)).subscribe()
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.0.progress.subscribe()
    }

    /// Writes what is left of unfinished lines and ends followers.
    pub fn close(&self) {
        let mut state = self.0.state.lock();
        let mut entries = Vec::new();
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let rest = std::mem::take(&mut state.partial[stream as usize]);
            if !rest.is_empty() {
                self.entry(&mut state, &mut entries, stream, &rest, true);
            }
        }
        self.append(&mut state, &mut entries);
        state.closed = true;
        drop(state);
        self.0.progress.send_modify(|progress| progress.closed = true);
    }

    fn write(&self, stream: LogStream, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(attached) = self.0.attached.get() {
            // The clients may have left.
            let _ = attached.send((stream, Bytes::copy_from_slice(bytes)));
        }
        let mut state = self.0.state.lock();
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut entries = Vec::with_capacity(bytes.len() + 64);
        let mut line = std::mem::take(&mut state.partial[stream as usize]);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            let finished = line.last() == Some(&b'\n');
            if finished {
                line.pop();
            }
            while line.len() > MAX_LINE {
                let rest = line.split_off(MAX_LINE);
                self.entry(&mut state, &mut entries, stream, &line, false);
                line = rest;
            }
            if finished {
                self.entry(&mut state, &mut entries, stream, &line, true);
                line.clear();
            }
        }
        state.partial[stream as usize] = line;
        self.append(&mut state, &mut entries);
        drop(state);
        self.0.progress.send_modify(|progress| progress.written += 1);
        Ok(())
    }

    /// Adds one entry to those that are to be appended.
    fn entry(
        &self,
        state: &mut State,
        entries: &mut Vec<u8>,
        stream: LogStream,
        text: &[u8],
        full: bool,
    ) {
        let tag = if full { "F" } else { "P" };
        let time = print_time(self.0.clock.now());
        let head = format!("{time} {} {tag} ", stream.name());
        let size = (head.len() + text.len() + 1) as u64;
        let so_far = state.size + entries.len() as u64;
        if so_far > 0 && so_far + size > self.0.max_bytes {
            self.append(state, entries);
            match self.rotate() {
                Ok(()) => state.size = 0,
                Err(error) => {
                    tracing::warn!(path = %self.0.path.display(), %error, "failed to rotate log");
                }
            }
        }
        entries.extend_from_slice(head.as_bytes());
        entries.extend_from_slice(text);
        entries.push(b'\n');
    }

    /// Appends entries to the file. A log that cannot be written (disk full) does not stop the container.
    fn append(&self, state: &mut State, entries: &mut Vec<u8>) {
        if entries.is_empty() {
            return;
        }
        match open(&self.0.path).and_then(|mut file| file.write_all(entries)) {
            Ok(()) => state.size += entries.len() as u64,
            Err(error) => {
                tracing::warn!(path = %self.0.path.display(), %error, "failed to write log");
            }
        }
        entries.clear();
    }

    fn rotate(&self) -> io::Result<()> {
        let time = self.0.clock.now().to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S%.9f");
        let mut rotated = self.0.path.clone().into_os_string();
        rotated.push(format!(".{time}"));
        fs::rename(&self.0.path, &rotated)?;
        open(&self.0.path)?;
        let mut old = rotated_files(&self.0.path)?;
        old.truncate((old.len() + 1).saturating_sub(MAX_FILES));
        for path in old {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// Opens a log for appending, and makes it when it is not there.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Rotated files of a log, oldest first.
fn rotated_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// One stream of a container into its log.
#[derive(Clone)]
pub struct LogSink {
    writer: LogWriter,
    stream: LogStream,
}

impl LogSink {
    /// Adds bytes; entries appear per line.
    ///
    /// # Errors
    /// `BrokenPipe` after the container's end.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write(self.stream, bytes)
    }
}
