//! Connections: questions behind their lengths, one after the other without waiting (RFC 7766).

use std::{io, sync::Arc, time::Duration};

use bytes::{Buf as _, BytesMut};
use cni::network::{PodListener, PodStream};
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

use super::{Shared, Step};
use crate::message::Transport;

/// After a failure that is not the end.
const PAUSE: Duration = Duration::from_millis(10);
/// What is read at once.
const CHUNK: usize = 4096;
/// Answers that are gathered before they are written.
const BATCH: usize = 64 * 1024;
/// The length before each message.
const PREFIX: usize = 2;

pub(super) async fn serve(shared: Arc<Shared>, listener: PodListener) {
    let mut connections = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::NetworkDown => return,
            Err(error) => {
                tracing::debug!(%error, "failed to accept a connection");
                shared.clock.sleep(PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        if connections.len() < shared.limits.connections {
            connections.spawn(converse(Arc::clone(&shared), stream));
        }
    }
}

async fn converse(shared: Arc<Shared>, mut stream: PodStream) {
    if let Err(error) = answer_all(&shared, &mut stream).await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer_all(shared: &Shared, stream: &mut PodStream) -> io::Result<()> {
    let limits = &shared.limits;
    let mut buffer = BytesMut::new();
    let mut pending = FuturesUnordered::new();
    let mut ended = false;
    // When what has to come next has to have come.
    let mut deadline = shared.clock.monotonic() + limits.idle;
    while !ended || !pending.is_empty() {
        buffer.reserve(CHUNK);
        let mut replies = Vec::new();
        tokio::select! {
            Some(reply) = pending.next(), if !pending.is_empty() => {
                frame(&mut replies, reply);
                deadline = shared.clock.monotonic() + limits.idle;
            }
            read = stream.read_buf(&mut buffer), if !ended && pending.len() < limits.pending => {
                ended = read? == 0;
            }
            () = shared.clock.sleep_until(deadline), if pending.is_empty() => {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        let mut asked = false;
        loop {
            while replies.len() < BATCH
                && pending.len() < limits.pending
                && let Some(message) = take(&mut buffer)
            {
                asked = true;
                match shared.step(&message, Transport::Tcp) {
                    Step::Nothing => {}
                    Step::Reply(reply) => frame(&mut replies, Some(reply)),
                    Step::Forward(question) => pending.push(shared.complete(*question)),
                }
            }
            if replies.is_empty() {
                break;
            }
            let written = shared.clock.timeout(limits.progress, stream.write_all(&replies)).await;
            written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
            replies.clear();
        }
        let now = shared.clock.monotonic();
        if asked {
            deadline = now + if buffer.is_empty() { limits.idle } else { limits.progress };
        } else if !buffer.is_empty() {
            // The rest has to follow; more pieces of it gain no time.
            deadline = deadline.min(now + limits.progress);
        }
    }
    stream.shutdown().await
}

/// Takes the next whole message off the buffer.
fn take(buffer: &mut BytesMut) -> Option<BytesMut> {
    let length = usize::from(u16::from_be_bytes([*buffer.first()?, *buffer.get(1)?]));
    if buffer.len() < PREFIX + length {
        return None;
    }
    buffer.advance(PREFIX);
    Some(buffer.split_to(length))
}

fn frame(replies: &mut Vec<u8>, reply: Option<Vec<u8>>) {
    if let Some(reply) = reply
        && let Ok(length) = u16::try_from(reply.len())
    {
        replies.extend_from_slice(&length.to_be_bytes());
        replies.extend_from_slice(&reply);
    }
}
