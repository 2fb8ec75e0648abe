//! One SPDY/3.1 connection as its server sees it: Kubernetes' clients open streams on it, with headers that say what
//! each is for.
//!
//! It is spoken by `kubectl port-forward` (inside a WebSocket, see [`super::websocket`]) and by clients from before
//! Kubernetes learned to do without it (kubectl until 1.30, k9s, …) for exec and attach, too.

mod frame;
mod headers;

use bytes::Bytes;
use futures::StreamExt;
use tokio::{io::AsyncRead, sync::mpsc};
use tokio_util::codec::FramedRead;

pub(super) use self::{frame::reset, headers::Headers};
use self::{
    frame::{Frame, FrameDecoder},
    headers::{HeaderReader, HeaderWriter},
};

/// The longest data frame that we send.
const MAX_DATA: usize = 64 * 1024;

/// What a client does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Opens a stream.
    Opened { id: u32, headers: Headers },
    /// Says something on a stream.
    Data { id: u32, data: Bytes },
    /// Has no more to say on a stream.
    Finished { id: u32 },
    /// Gives a stream up.
    Reset { id: u32 },
}

/// The reading half of a connection. What it has to answer goes where all frames go: to the queue of the writing half.
pub(super) struct Session<R> {
    frames: FramedRead<R, FrameDecoder>,
    reader: HeaderReader,
    writer: HeaderWriter,
    out: mpsc::Sender<Bytes>,
    /// The end of a stream that came with its last frame.
    finished: Option<u32>,
}

impl<R: AsyncRead + Unpin> Session<R> {
    pub(super) fn new(input: R, out: mpsc::Sender<Bytes>) -> Self {
        Self {
            frames: FramedRead::new(input, FrameDecoder),
            reader: HeaderReader::new(),
            writer: HeaderWriter::new(),
            out,
            finished: None,
        }
    }

    /// The next event; None when the connection is over, in order or not. Streams are accepted, pings answered.
    pub(super) async fn next(&mut self) -> Option<Event> {
        if let Some(id) = self.finished.take() {
            return Some(Event::Finished { id });
        }
        loop {
            let frame = match self.frames.next().await? {
                Ok(frame) => frame,
                Err(error) => {
                    tracing::debug!(%error, "a SPDY connection broke");
                    return None;
                }
            };
            match frame {
                Frame::SynStream { id, fin, headers } => {
                    let headers = match self.reader.read(&headers) {
                        Ok(headers) => headers,
                        Err(error) => {
                            tracing::debug!(%error, "a SPDY connection broke");
                            return None;
                        }
                    };
                    let reply = frame::syn_reply(id, &self.writer.write(&[]));
                    self.out.send(reply).await.ok()?;
                    self.finished = fin.then_some(id);
                    return Some(Event::Opened { id, headers });
                }
                Frame::Data { id, fin, data } if fin && data.is_empty() => {
                    return Some(Event::Finished { id });
                }
                Frame::Data { id, fin, data } => {
                    self.finished = fin.then_some(id);
                    return Some(Event::Data { id, data });
                }
                Frame::Reset { id } => return Some(Event::Reset { id }),
                Frame::Ping { id } => self.out.send(frame::pong(id)).await.ok()?,
                Frame::GoAway => return None,
                Frame::Other => {}
            }
        }
    }
}

/// Bytes on a stream, in as many frames as it takes.
pub(super) fn data(id: u32, bytes: &[u8]) -> impl Iterator<Item = Bytes> {
    bytes.chunks(MAX_DATA).map(move |part| frame::data(id, false, part))
}

/// Our end of a stream.
pub(super) fn end(id: u32) -> Bytes {
    frame::data(id, true, b"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_is_understood_and_answered() {
        let mut client = HeaderWriter::new();
        let input = [
            frame::syn_stream(1, true, &client.write(&[("Streamtype", "error"), ("port", "80")])),
            frame::syn_stream(3, false, &client.write(&[("Streamtype", "data"), ("port", "80")])),
            frame::pong(7),
            frame::data(3, false, b"hello"),
            frame::data(3, true, b" world"),
            frame::reset(3),
        ]
        .concat();
        let (out, mut answers) = mpsc::channel(16);
        let mut session = Session::new(&input[..], out);
        let mut seen = Vec::new();
        while let Some(event) = session.next().await {
            seen.push(match event {
                Event::Opened { id, headers } => {
                    format!("open {id} {} {}", headers.get("streamtype"), headers.get("port"))
                }
                Event::Data { id, data } => format!("data {id} {}", data.escape_ascii()),
                Event::Finished { id } => format!("end {id}"),
                Event::Reset { id } => format!("reset {id}"),
            });
        }
        let expected = [
            "open 1 error 80",
            "end 1",
            "open 3 data 80",
            "data 3 hello",
            "data 3  world",
            "end 3",
            "reset 3",
        ];
        assert_eq!(seen, expected);
        drop(session);
        let mut replies = Vec::new();
        while let Some(frame) = answers.recv().await {
            replies.push(frame[3]);
        }
        assert_eq!(replies, [2, 2, 6], "two SYN_REPLY and a PING");
    }
}
