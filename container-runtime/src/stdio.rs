//! The byte streams of a process: [`Input`] and [`Output`], and the [`pipe`] between two of them.
//!
//! A pipe holds a bounded number of chunks, so a fast writer waits for its reader. The end of the
//! input is the drop of the last [`Output`]; a writer whose reader is gone gets
//! [`io::ErrorKind::BrokenPipe`], which ends `yes | head -1` as SIGPIPE does. An [`Input`] may be
//! shared by several commands one after the other (`while read line; do …; done < file`), hence the
//! buffer lives beside the source.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::files::OpenFile;
use crate::logs::LogSink;

/// Chunks a pipe holds before its writer waits.
const PIPE_CHUNKS: usize = 16;
/// Largest chunk that goes into a pipe at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Makes a pipe: what is written to the output is read from the input.
pub fn pipe() -> (Output, Input) {
    let (sender, receiver) = mpsc::channel(PIPE_CHUNKS);
    (Output(Sink::Pipe(sender)), Input::from_receiver(receiver))
}

/// Where a process writes. Clones write to the same place.
#[derive(Clone)]
pub struct Output(Sink);

#[derive(Clone)]
enum Sink {
    Null,
    Pipe(mpsc::Sender<Bytes>),
    Log(LogSink),
    File(OpenFile),
    Capture(Capture),
}

impl Output {
    /// Discards everything.
    pub fn null() -> Self {
        Self(Sink::Null)
    }

    /// Appends to a file of the container.
    pub fn file(file: OpenFile) -> Self {
        Self(Sink::File(file))
    }

    /// Writes lines to a container log.
    pub fn log(sink: LogSink) -> Self {
        Self(Sink::Log(sink))
    }

    /// Sends chunks to a channel.
    pub fn channel(sender: mpsc::Sender<Bytes>) -> Self {
        Self(Sink::Pipe(sender))
    }

    /// Keeps what is written, up to a limit.
    pub fn capture(limit: usize) -> (Self, Capture) {
        let capture = Capture { bytes: Arc::default(), limit };
        (Self(Sink::Capture(capture.clone())), capture)
    }

    /// Writes all bytes, waiting for the reader where there is one.
    ///
    /// # Errors
    /// `BrokenPipe` when the reader is gone, the file's error, or `OutOfMemory` past a limit.
    pub async fn write_all(&self, bytes: impl AsRef<[u8]> + Send) -> io::Result<()> {
        let bytes = bytes.as_ref();
        match &self.0 {
            Sink::Null => Ok(()),
            Sink::Pipe(sender) => {
                for chunk in bytes.chunks(CHUNK_BYTES) {
                    sender
                        .send(Bytes::copy_from_slice(chunk))
                        .await
                        .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
                }
                Ok(())
            }
            Sink::Log(sink) => sink.write(bytes),
            Sink::File(file) => file.append(bytes).map_err(io::Error::from),
            Sink::Capture(capture) => capture.push(bytes),
        }
    }

    /// Tells whether nobody reads any more.
    pub fn is_closed(&self) -> bool {
        matches!(&self.0, Sink::Pipe(sender) if sender.is_closed())
    }

    /// Completes when nobody reads any more; never for anything but a pipe.
    pub async fn closed(&self) {
        match &self.0 {
            Sink::Pipe(sender) => sender.closed().await,
            _ => std::future::pending().await,
        }
    }
}

/// What was written to an [`Output::capture`].
#[derive(Clone)]
pub struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    limit: usize,
}

impl Capture {
    fn push(&self, bytes: &[u8]) -> io::Result<()> {
        let mut kept = self.bytes.lock();
        if kept.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        kept.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes what has been written so far.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.bytes.lock())
    }
}

/// Where a process reads from. Clones share one position.
#[derive(Clone)]
pub struct Input(Arc<tokio::sync::Mutex<Buffered>>);

struct Buffered {
    buffer: Bytes,
    source: Option<mpsc::Receiver<Bytes>>,
}

impl Buffered {
    /// Makes the buffer non-empty; false at the end of the input.
    async fn fill(&mut self) -> bool {
        while self.buffer.is_empty() {
            let Some(source) = &mut self.source else { return false };
            match source.recv().await {
                Some(chunk) => self.buffer = chunk,
                None => self.source = None,
            }
        }
        true
    }
}

impl Input {
    /// An input that is at its end.
    pub fn empty() -> Self {
        Self::bytes(Bytes::new())
    }

    /// An input of these bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Arc::new(tokio::sync::Mutex::new(Buffered { buffer: bytes.into(), source: None })))
    }

    /// An input of the channel's chunks.
    pub fn from_receiver(receiver: mpsc::Receiver<Bytes>) -> Self {
        let buffered = Buffered { buffer: Bytes::new(), source: Some(receiver) };
        Self(Arc::new(tokio::sync::Mutex::new(buffered)))
    }

    /// The next bytes, at most `limit`; `None` at the end. Waits only when nothing is there.
    pub async fn read(&self, limit: usize) -> Option<Bytes> {
        let mut inner = self.0.lock().await;
        if !inner.fill().await {
            return None;
        }
        let count = inner.buffer.len().min(limit);
        Some(inner.buffer.split_to(count))
    }

    /// The next line with its line feed; the last one may have none; `None` at the end.
    pub async fn read_line(&self) -> Option<Vec<u8>> {
        let mut inner = self.0.lock().await;
        let mut line = Vec::new();
        while line.len() < CHUNK_BYTES * 16 && inner.fill().await {
            if let Some(end) = inner.buffer.iter().position(|byte| *byte == b'\n') {
                line.extend_from_slice(&inner.buffer[..=end]);
                inner.buffer.advance(end + 1);
                return Some(line);
            }
            line.extend_from_slice(&inner.buffer);
            inner.buffer.clear();
        }
        (!line.is_empty()).then_some(line)
    }

    /// Everything up to the end.
    ///
    /// # Errors
    /// `OutOfMemory` when there is more than `limit`.
    pub async fn read_to_end(&self, limit: usize) -> io::Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.read(CHUNK_BYTES).await {
            if all.len() + chunk.len() > limit {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}
