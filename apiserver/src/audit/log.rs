//! The log of events: lines of JSON in a file that is exchanged when it is long.
//!
//! One thread writes. Events wait for it in memory, within a bound that requests wait for: see [`Log::room`]. A file that
//! has its size is renamed to `NAME-TIME.EXT` beside it, and old ones go by number and age. What cannot be written is
//! counted and said; the next event is tried again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use component_base::{
    clock::Clock,
    metrics::{Counter, EncodeLabelSet, Family, Registry},
};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Where the log is and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The file; `-` is the standard output.
    pub path: PathBuf,
    /// A file of that many megabytes is exchanged; 0: of 100.
    pub max_size: u64,
    /// That many old files are kept; 0: all.
    pub max_backups: usize,
    /// Old files are kept for that many days; 0: for ever.
    pub max_age: u64,
}

const MEGABYTE: u64 = 1024 * 1024;
/// Memory of waiting events, in units of [`UNIT`].
const ROOM: usize = 64 * 1024;
/// Bytes of a unit.
const UNIT: usize = 1024;
/// How long a request waits for room before its event is lost, which is said.
const PATIENCE: Duration = Duration::from_secs(10);

/// A part of the memory for waiting events.
pub(super) type Room = OwnedSemaphorePermit;

/// The writing end; cheap to clone.
#[derive(Clone)]
pub(super) struct Log {
    lines: mpsc::Sender<(Vec<u8>, Option<Room>)>,
    room: Arc<Semaphore>,
    clock: Clock,
    metrics: LogMetrics,
}

#[derive(Clone)]
struct LogMetrics {
    events: Counter,
    errors: Family<PluginLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabels {
    plugin: &'static str,
}

impl LogMetrics {
    fn failed(&self, why: &dyn std::fmt::Display) {
        self.errors.get_or_create(&PluginLabels { plugin: "log" }).inc();
        tracing::error!(%why, "an audit event is lost");
    }
}

impl Log {
    /// Opens the file, and starts the thread that writes to it until the last clone is dropped.
    pub(super) fn open(config: LogConfig, clock: Clock, registry: &Registry) -> io::Result<Self> {
        let metrics = LogMetrics {
            events: registry.register(
                "apiserver_audit_event",
                "Audit events that were made.",
                Counter::default(),
            ),
            errors: registry.register(
                "apiserver_audit_error",
                "Audit events that were lost.",
                Family::default(),
            ),
        };
        let output = Output::open(config, clock.clone())?;
        // As many as have room, and those that did without.
        let (lines, events) = mpsc::channel(ROOM);
        let failing = metrics.clone();
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write(output, events, &failing))?;
        Ok(Self { lines, room: Arc::new(Semaphore::new(ROOM)), clock, metrics })
    }

    /// Waits for the memory of `bytes`, which the events of one request will need. None: it took too long.
    pub(super) async fn room(&self, bytes: usize) -> Option<Room> {
        let units = bytes.div_ceil(UNIT).clamp(1, ROOM / 2);
        let acquired = self.room.clone().acquire_many_owned(u32::try_from(units).ok()?);
        self.clock.timeout(PATIENCE, acquired).await.ok()?.ok()
    }

    /// Hands an event to the writer, which gives its room back. It never waits.
    pub(super) fn send(&self, line: Vec<u8>, room: Option<Room>) {
        self.metrics.events.inc();
        if let Err(error) = self.lines.try_send((line, room)) {
            self.metrics.failed(&error);
        }
    }

    /// An event is lost because there was no room for it.
    pub(super) fn lost(&self) {
        self.metrics.events.inc();
        self.metrics.failed(&"the log takes events too slowly");
    }
}

fn write(
    mut output: Output,
    mut events: mpsc::Receiver<(Vec<u8>, Option<Room>)>,
    metrics: &LogMetrics,
) {
    while let Some((line, room)) = events.blocking_recv() {
        if let Err(error) = output.line(&line) {
            metrics.failed(&error);
        }
        drop((line, room));
        // What is there together is written together.
        while let Ok((line, _room)) = events.try_recv() {
            if let Err(error) = output.line(&line) {
                metrics.failed(&error);
            }
        }
        if let Err(error) = output.flush() {
            metrics.failed(&error);
        }
    }
}

/// The file, or the standard output.
struct Output {
    config: LogConfig,
    clock: Clock,
    target: Target,
}

enum Target {
    Stdout(io::Stdout),
    File {
        file: BufWriter<File>,
        size: u64,
    },
    /// It could not be opened again.
    Closed,
}

impl Output {
    fn open(config: LogConfig, clock: Clock) -> io::Result<Self> {
        let target = if config.path == Path::new("-") {
            Target::Stdout(io::stdout())
        } else {
            if let Some(folder) = config.path.parent().filter(|folder| *folder != Path::new("")) {
                fs::create_dir_all(folder)?;
            }
            open_file(&config.path)?
        };
        Ok(Self { config, clock, target })
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let limit = match self.config.max_size {
            0 => 100,
            size => size,
        };
        let limit = limit.saturating_mul(MEGABYTE);
        if let Target::File { size, .. } = &self.target
            && *size > 0
            && *size + line.len() as u64 + 1 > limit
        {
            self.exchange()?;
        }
        if matches!(self.target, Target::Closed) {
            self.target = open_file(&self.config.path)?;
        }
        match &mut self.target {
            Target::Stdout(out) => {
                out.write_all(line)?;
                out.write_all(b"\n")
            }
            Target::File { file, size } => {
                *size += line.len() as u64 + 1;
                file.write_all(line)?;
                file.write_all(b"\n")
            }
            Target::Closed => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::Stdout(out) => out.flush(),
            Target::File { file, .. } => file.flush(),
            Target::Closed => Ok(()),
        }
    }

    /// Puts the file aside and begins a new one.
    fn exchange(&mut self) -> io::Result<()> {
        self.flush()?;
        self.target = Target::Closed;
        let path = &self.config.path;
        let mut now = self.clock.now();
        let mut aside = backup_name(path, now);
        while aside.exists() {
            now += Duration::from_millis(1);
            aside = backup_name(path, now);
        }
        fs::rename(path, &aside)?;
        self.target = open_file(path)?;
        self.remove_old()
    }

    /// Removes the old files that are too many or too old.
    fn remove_old(&self) -> io::Result<()> {
        let folder = match self.config.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut old: Vec<(Timestamp, PathBuf)> = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter_map(|path| Some((backup_time(&self.config.path, &path)?, path)))
            .collect();
        // The newest first.
        old.sort_by(|a, b| b.cmp(a));
        let days = i64::try_from(self.config.max_age).unwrap_or(i64::MAX);
        let hours = jiff::SignedDuration::from_hours(days.saturating_mul(24).min(1_000_000));
        let limit = self.clock.now().checked_sub(hours).unwrap_or(Timestamp::MIN);
        for (index, (time, path)) in old.into_iter().enumerate() {
            let too_many = self.config.max_backups > 0 && index >= self.config.max_backups;
            let too_old = self.config.max_age > 0 && time < limit;
            if too_many || too_old {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn open_file(path: &Path) -> io::Result<Target> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok(Target::File { file: BufWriter::new(file), size })
}

const TIME: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// `audit.log` of a moment: `audit-2026-01-02T03-04-05.678.log`.
fn backup_name(path: &Path, now: Timestamp) -> PathBuf {
    let (stem, extension) = name_parts(path);
    path.with_file_name(format!("{stem}-{}{extension}", now.strftime(TIME)))
}

fn backup_time(path: &Path, candidate: &Path) -> Option<Timestamp> {
    let (stem, extension) = name_parts(path);
    let name = candidate.file_name()?.to_str()?;
    let time = name.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(&extension)?;
    let time = jiff::civil::DateTime::strptime(TIME, time).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// A file's name without, and its extension with the dot.
fn name_parts(path: &Path) -> (String, String) {
    let part = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let extension = part(path.extension());
    let dot = if extension.is_empty() { "" } else { "." };
    (part(path.file_stem()), format!("{dot}{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: PathBuf) -> LogConfig {
        LogConfig { path, max_size: 1, max_backups: 2, max_age: 0 }
    }

    fn files(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_long_file_is_put_aside_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/audit.log");
        let (clock, time) = Clock::test(Timestamp::UNIX_EPOCH);
        let mut output = Output::open(config(path.clone()), clock.clone()).unwrap();
        let line = vec![b'x'; 700 * 1024];
        for _ in 0..5 {
            output.line(&line).unwrap();
            time.advance(Duration::from_secs(1)).await;
        }
        output.flush().unwrap();
        assert_eq!(
            files(&folder.path().join("logs")),
            ["audit-1970-01-01T00-00-03.000.log", "audit-1970-01-01T00-00-04.000.log", "audit.log"]
        );
        assert_eq!(fs::metadata(&path).unwrap().len(), 700 * 1024 + 1);
        // What was there is written on.
        drop(output);
        let by_age = LogConfig { max_backups: 0, max_age: 1, ..config(path.clone()) };
        let mut output = Output::open(by_age, clock).unwrap();
        time.advance(Duration::from_secs(24 * 3600)).await;
        output.line(&line).unwrap();
        output.flush().unwrap();
        assert_eq!(
            files(&folder.path().join("logs")),
            ["audit-1970-01-02T00-00-05.000.log", "audit.log"]
        );
    }

    #[tokio::test]
    async fn every_line_arrives_and_room_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let registry = Registry::new();
        let log = Log::open(config(path.clone()), Clock::real(), &registry).unwrap();
        for number in 0..1000 {
            let room = log.room(100 * 1024).await;
            assert!(room.is_some());
            log.send(number.to_string().into_bytes(), room);
        }
        // All the room is free again once everything is written.
        drop(log.room.acquire_many(u32::try_from(ROOM).unwrap()).await.unwrap());
        drop(log);
        let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
        while fs::read_to_string(&path).unwrap() != expected {
            tokio::task::yield_now().await;
        }
        assert!(registry.encode().contains("apiserver_audit_event_total 1000"));
    }

    /// A log that does not take events holds requests up for a while, and then says what it loses.
    #[tokio::test]
    async fn a_slow_log_loses_nothing_silently() {
        let (clock, time) = Clock::test(Timestamp::UNIX_EPOCH);
        let registry = Registry::new();
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(config(folder.path().join("a")), clock, &registry).unwrap();
        let all = log.room.clone().acquire_many_owned(u32::try_from(ROOM).unwrap()).await.unwrap();
        let (room, ()) = tokio::join!(log.room(1), time.advance(PATIENCE));
        assert!(room.is_none());
        log.lost();
        assert!(registry.encode().contains("apiserver_audit_error_total{plugin=\"log\"} 1"));
        drop(all);
        assert!(log.room(1).await.is_some());
    }
}
