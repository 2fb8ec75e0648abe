//! exec and attach: the kubelet's messages on one side, the client's channels or SPDY streams on the other.
//!
//! Both transports end alike: the command's status goes to the error channel, then our side closes, and the client's
//! is awaited for a moment, so that nothing that we sent is lost to a reset. A client that goes away first takes the
//! call to the kubelet with it, and so its command.

use std::{collections::HashMap, pin::pin, time::Duration};

use apimachinery::status::Status;
use bytes::{Buf, Bytes};
use client::wire::from_tonic;
use component_base::clock::Clock;
use futures::{Stream, StreamExt};
use proto::v1::{
    ExecInput, ExecOutput, ExecStart, TerminalSize, exec_input::Kind as Input,
    exec_output::Kind as Said,
};
use serde::Deserialize;
use tokio::{io::AsyncRead, sync::mpsc};
use tonic::Streaming;

use super::{
    DEPTH,
    output::Output,
    spdy::{self, Event, Session},
    until_closed,
    websocket::on_channel,
};
use crate::faces::rest::query::Query;

/// For how long a client may take to open its streams.
const PATIENCE: Duration = Duration::from_secs(30);

/// What may wait of a client that speaks before it has opened all of its streams.
const MAX_EARLY: usize = 64;

/// Reads `command`, `stdin`, `stdout`, `stderr` and `tty`.
///
/// # Errors
/// Bad request when no stream is asked for.
pub(super) fn start(query: &Query) -> Result<ExecStart, Status> {
    let mut start = ExecStart {
        pod: None,
        command: query.all("command").map(str::to_owned).collect(),
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        tty: query.flag("tty"),
    };
    // A terminal has one output.
    start.stderr &= !start.tty;
    if start.stdin || start.stdout || start.stderr {
        Ok(start)
    } else {
        Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"))
    }
}

/// The call to the kubelet.
pub(super) struct Remote {
    pub(super) input: mpsc::Sender<ExecInput>,
    pub(super) output: Streaming<ExecOutput>,
}

/// The client's terminal, as it says it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

impl Size {
    fn message(self) -> Input {
        Input::Resize(TerminalSize { width: self.width.into(), height: self.height.into() })
    }
}

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// v5 only: the next byte's channel is closed.
const CLOSE: u8 = 255;

/// What a client's message asks for; None for what has no meaning.
fn input(mut message: Bytes, closes: bool) -> Option<Input> {
    match message.try_get_u8().ok()? {
        STDIN if !message.is_empty() => Some(Input::Stdin(message)),
        RESIZE => serde_json::from_slice::<Size>(&message).ok().map(Size::message),
        CLOSE if closes && message.first() == Some(&STDIN) => Some(Input::StdinClosed(true)),
        _ => None,
    }
}

/// Serves a client on a WebSocket; `closes`: its protocol can close stdin.
pub(super) async fn over_websocket(
    incoming: impl Stream<Item = Bytes>,
    output: Output,
    closes: bool,
    start: &ExecStart,
    remote: Remote,
) {
    let (queue, queued) = mpsc::channel(DEPTH);
    let upwards = async {
        let mut incoming = pin!(incoming);
        while let Some(message) = incoming.next().await {
            if let Some(kind) = input(message, closes) {
                // A command that has ended reads no more.
                let _ = remote.input.send(ExecInput { kind: Some(kind) }).await;
            }
        }
    };
    // An empty message tells the client that the streams are there.
    let first = match start {
        ExecStart { stdout: true, .. } => STDOUT,
        ExecStart { stderr: true, .. } => STDERR,
        _ => ERROR,
    };
    let saying = say(remote.output, queue, first);
    let downwards = async { tokio::join!(saying, output.write(queued)) };
    until_closed(upwards, downwards).await;
}

/// Puts what the command says on its channels, up to its status.
async fn say(
    mut output: Streaming<ExecOutput>,
    queue: mpsc::Sender<Bytes>,
    first: u8,
) -> Option<()> {
    queue.send(on_channel(first, b"")).await.ok()?;
    loop {
        let (channel, data) = match next(&mut output).await? {
            Said::Stdout(data) => (STDOUT, data),
            Said::Stderr(data) => (STDERR, data),
            Said::Status(status) => (ERROR, status),
        };
        queue.send(on_channel(channel, &data)).await.ok()?;
        if channel == ERROR {
            return Some(());
        }
    }
}

/// What the command says next; a broken call is a Status, too. None when there is nothing more.
async fn next(output: &mut Streaming<ExecOutput>) -> Option<Said> {
    match output.next().await? {
        Ok(message) => message.kind,
        Err(error) => {
            let status = serde_json::to_vec(&from_tonic(&error)).expect("a status is JSON");
            Some(Said::Status(status.into()))
        }
    }
}

/// Serves a client on SPDY/3.1, which opens a stream for each of the channels.
pub(super) async fn over_spdy<R: AsyncRead + Unpin>(
    input: R,
    output: Output,
    start: &ExecStart,
    remote: Remote,
) {
    let (queue, queued) = mpsc::channel(DEPTH);
    let mut session = Session::new(input, queue.clone());
    let working = async move {
        let wanted = [
            ("error", true),
            ("stdin", start.stdin),
            ("stdout", start.stdout),
            ("stderr", start.stderr),
        ];
        let wanted = wanted.iter().filter(|(_, asked)| *asked).map(|(name, _)| *name);
        let opening = open_streams(&mut session, wanted.collect());
        let Ok(Some((streams, early))) = Clock::real().timeout(PATIENCE, opening).await else {
            return;
        };
        let down = Down { queue, streams: streams.clone() };
        let upwards = follow(&mut session, early, streams, &remote.input);
        until_closed(upwards, down.relay(remote.output)).await;
    };
    tokio::join!(working, output.write(queued));
}

type Streams = HashMap<&'static str, u32>;

/// Waits until a client has opened the streams that it asked for; gives what it said meanwhile, too.
async fn open_streams<R: AsyncRead + Unpin>(
    session: &mut Session<R>,
    wanted: Vec<&'static str>,
) -> Option<(Streams, Vec<Event>)> {
    let (mut streams, mut early) = (Streams::new(), Vec::new());
    while wanted.iter().any(|name| !streams.contains_key(name)) {
        match session.next().await? {
            Event::Opened { id, headers } => {
                let kind = headers.get("streamtype");
                let known = ["error", "stdin", "stdout", "stderr", "resize"];
                if let Some(kind) = known.into_iter().find(|name| *name == kind) {
                    streams.insert(kind, id);
                }
            }
            event => early.push(event),
        }
        if early.len() > MAX_EARLY {
            return None;
        }
    }
    Some((streams, early))
}

/// Hands the client's input on, until it goes away.
async fn follow<R: AsyncRead + Unpin>(
    session: &mut Session<R>,
    early: Vec<Event>,
    mut streams: Streams,
    input: &mpsc::Sender<ExecInput>,
) {
    let mut early = early.into_iter();
    loop {
        let event = match early.next() {
            Some(event) => event,
            None => match session.next().await {
                Some(event) => event,
                None => return,
            },
        };
        let on = |name: &str, id: u32| streams.get(name) == Some(&id);
        let kind = match event {
            // The terminal's stream comes last, and only with a terminal.
            Event::Opened { id, headers } if headers.get("streamtype") == "resize" => {
                streams.insert("resize", id);
                None
            }
            Event::Data { id, data } if on("stdin", id) => Some(Input::Stdin(data)),
            Event::Data { id, data } if on("resize", id) => {
                serde_json::from_slice::<Size>(&data).ok().map(Size::message)
            }
            Event::Finished { id } | Event::Reset { id } if on("stdin", id) => {
                Some(Input::StdinClosed(true))
            }
            _ => None,
        };
        if let Some(kind) = kind {
            // A command that has ended reads no more.
            let _ = input.send(ExecInput { kind: Some(kind) }).await;
        }
    }
}

/// The way from a command to a client's SPDY streams.
struct Down {
    queue: mpsc::Sender<Bytes>,
    streams: Streams,
}

impl Down {
    async fn relay(self, mut output: Streaming<ExecOutput>) {
        loop {
            let (name, data, last) = match next(&mut output).await {
                Some(Said::Stdout(data)) => ("stdout", data, false),
                Some(Said::Stderr(data)) => ("stderr", data, false),
                Some(Said::Status(data)) => ("error", data, true),
                None => break,
            };
            let Some(id) = self.streams.get(name) else { continue };
            for frame in spdy::data(*id, &data) {
                if self.queue.send(frame).await.is_err() {
                    return;
                }
            }
            if last {
                break;
            }
        }
        for name in ["stdout", "stderr", "error"] {
            if let Some(id) = self.streams.get(name) {
                // The client may be gone before us.
                let _ = self.queue.send(spdy::end(*id)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_mean_what_their_channel_says() {
        let check = |message: &'static [u8], closes, expected: Option<Input>| {
            assert_eq!(input(message.into(), closes), expected, "{}", message.escape_ascii());
        };
        check(b"\x00hello", true, Some(Input::Stdin("hello".into())));
        check(b"\x00", true, None);
        check(b"", true, None);
        check(b"\x01no way in", true, None);
        check(b"\xff\x00", true, Some(Input::StdinClosed(true)));
        check(b"\xff\x00", false, None);
        check(b"\xff\x01", true, None);
        let size = TerminalSize { width: 80, height: 24 };
        check(br#"{"Width":80,"Height":24}"#, true, None);
        check(b"\x04{\"Width\":80,\"Height\":24}", true, Some(Input::Resize(size)));
        check(b"\x04{}", true, None);
    }

    #[test]
    fn parameters_are_kubernetes_own() {
        let check = |query: &str| start(&Query::parse(Some(query)).unwrap());
        let wanted =
            check("command=sh&command=-c&command=a+b&stdin=true&stdout=1&stderr=true&tty").unwrap();
        assert_eq!(wanted.command, ["sh", "-c", "a b"]);
        assert!(wanted.stdin && wanted.stdout && wanted.tty && !wanted.stderr);
        let refused = check("command=ls").unwrap_err();
        assert_eq!(refused.message, "you must specify at least 1 of stdin, stdout, stderr");
    }
}
