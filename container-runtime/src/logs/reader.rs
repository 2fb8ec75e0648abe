//! Reading a container's log as `kubectl logs` asks for it.
//!
//! [`LogReader::next_chunk`] gives the lines of the file as it is, then, when following, those that
//! come, until the container ends. The tail is found by reading blocks from the end, so
//! `--tail=10` of a large file reads a few KiB.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;

use super::writer::{LogWriter, Progress};
use super::{LogStream, print_time};

/// Bytes gathered before a chunk is handed out.
const CHUNK: usize = 64 * 1024;

/// What to read; the fields of `PodLogOptions`.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Goes on until the container ends.
    pub follow: bool,
    /// Only so many lines from the end.
    pub tail_lines: Option<u64>,
    /// Only lines at or after this time.
    pub since: Option<Timestamp>,
    /// Puts the time in front of each line.
    pub timestamps: bool,
    /// Stops after so many bytes, in the middle of a line if need be.
    pub limit_bytes: Option<u64>,
    /// Only this stream.
    pub stream: Option<LogStream>,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file is not there: the container has not started, or the log was removed.
    #[error("failed to open log file \"{path}\"")]
    Open {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Reading failed.
    #[error("failed to read log file \"{path}\"")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// A reader of one log.
pub struct LogReader {
    path: PathBuf,
    file: BufReader<File>,
    inode: u64,
    options: LogOptions,
    remaining: u64,
    line: Vec<u8>,
    started_line: bool,
    progress: Option<watch::Receiver<Progress>>,
}

impl LogReader {
    /// Opens a log. Following needs the writer of a running container; without one the reader ends at
    /// the file's end.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub fn open(
        path: &Path,
        options: LogOptions,
        writer: Option<&LogWriter>,
    ) -> Result<Self, LogError> {
        // Subscribed before the file is read: nothing written in between is missed.
        let progress = writer.filter(|_| options.follow).map(LogWriter::progress);
        let display = path.display().to_string();
        let open = |source| LogError::Open { path: display.clone(), source };
        let mut file = File::open(path).map_err(open)?;
        let inode = file.metadata().map_err(open)?.ino();
        let start = match options.tail_lines {
            Some(lines) => tail_offset(&mut file, lines),
            None => Ok(0),
        };
        let start = start
            .and_then(|start| file.seek(SeekFrom::Start(start)))
            .map_err(|source| LogError::Read { path: display, source });
        start?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            inode,
            remaining: options.limit_bytes.unwrap_or(u64::MAX),
            options,
            line: Vec::new(),
            started_line: false,
            progress,
        })
    }

    /// The next text, or `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, LogError> {
        loop {
            if self.remaining == 0 {
                return Ok(None);
            }
            let seen = self.progress.as_mut().map(|progress| *progress.borrow_and_update());
            let text = self.read_available().map_err(|source| LogError::Read {
                path: self.path.display().to_string(),
                source,
            })?;
            if !text.is_empty() {
                return Ok(Some(text.into()));
            }
            match (&mut self.progress, seen) {
                (Some(progress), Some(seen)) if !seen.closed => {
                    if progress.changed().await.is_err() {
                        self.progress = None;
                    }
                }
                _ => return Ok(None),
            }
        }
    }

    /// Reads everything that is left, without following.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read_to_end(mut self) -> Result<Vec<u8>, LogError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next_chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    fn read_available(&mut self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        while text.len() < CHUNK && self.remaining > 0 {
            if self.file.read_until(b'\n', &mut self.line)? == 0 {
                if self.rotated()? {
                    continue;
                }
                break;
            }
            if self.line.last() != Some(&b'\n') {
                continue; // an entry that is being written
            }
            let entry = std::mem::take(&mut self.line);
            self.print(&entry, &mut text);
        }
        Ok(text)
    }

    /// Goes over to the new file when this one was rotated away while following.
    fn rotated(&mut self) -> io::Result<bool> {
        if self.progress.is_none() {
            return Ok(false);
        }
        match File::open(&self.path) {
            Ok(file) if file.metadata()?.ino() != self.inode => {
                self.inode = file.metadata()?.ino();
                self.file = BufReader::new(file);
                self.line.clear();
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn print(&mut self, entry: &[u8], text: &mut Vec<u8>) {
        let Some(entry) = Entry::parse(entry) else { return };
        let too_old = self.options.since.is_some_and(|since| entry.time < since);
        let other = self.options.stream.is_some_and(|stream| stream != entry.stream);
        if too_old || other {
            return;
        }
        let mut line = Vec::with_capacity(entry.text.len() + 32);
        if self.options.timestamps && !self.started_line {
            line.extend_from_slice(print_time(entry.time).as_bytes());
            line.push(b' ');
        }
        line.extend_from_slice(entry.text);
        if entry.full {
            line.push(b'\n');
        }
        self.started_line = !entry.full;
        let take = usize::try_from(self.remaining).map_or(line.len(), |left| line.len().min(left));
        text.extend_from_slice(&line[..take]);
        self.remaining -= take as u64;
    }
}

/// One entry of the file.
struct Entry<'a> {
    time: Timestamp,
    stream: LogStream,
    full: bool,
    text: &'a [u8],
}

impl<'a> Entry<'a> {
    /// A damaged entry (a crash in the middle of a write) is skipped.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let stream = match parts.next()? {
            b"stdout" => LogStream::Stdout,
            b"stderr" => LogStream::Stderr,
            _ => return None,
        };
        let full = match parts.next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Self { time, stream, full, text: parts.next()? })
    }
}

/// Where the last `lines` entries begin.
fn tail_offset(file: &mut File, lines: u64) -> io::Result<u64> {
    let end = file.metadata()?.len();
    if lines == 0 {
        return Ok(end);
    }
    let mut found = 0;
    let mut position = end;
    let mut block = vec![0; CHUNK];
    while position > 0 {
        let size = position.min(CHUNK as u64);
        position -= size;
        file.seek(SeekFrom::Start(position))?;
        let block = &mut block[..usize::try_from(size).unwrap_or(CHUNK)];
        file.read_exact(block)?;
        for (index, byte) in block.iter().enumerate().rev() {
            let offset = position + index as u64;
            if *byte == b'\n' && offset + 1 < end {
                found += 1;
                if found == lines {
                    return Ok(offset + 1);
                }
            }
        }
    }
    Ok(0)
}
