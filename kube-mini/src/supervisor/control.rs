//! The supervisor's control socket: one JSON line asks, one JSON line answers.
//!
//! Only processes of the same user may ask: the socket lies in a folder of mode 0700, and the peer's uid is checked.

use std::{collections::BTreeMap, io, path::Path};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{ComponentStatus, Statuses};

/// A request is one short line.
const MAX_LINE: u64 = 1024;

/// What a client asks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// How the components are.
    Status,
    /// End the cluster; the connection closes when all is down.
    Stop,
}

/// What it hears.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// The supervisor's own pid.
    pub pid: u32,
    /// The components.
    pub components: BTreeMap<String, ComponentStatus>,
}

/// Opens the socket in place of one that a dead supervisor left: the caller holds the cluster's lock.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    UnixListener::bind(path)
}

pub(super) async fn serve(
    listener: UnixListener,
    statuses: Statuses,
    stop: CancellationToken,
    end: CancellationToken,
) {
    let connections = TaskTracker::new();
    let closed = CancellationToken::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(e) => {
                    tracing::error!(error = %e, "cannot accept on the control socket");
                    continue;
                }
            },
            () = end.cancelled() => break,
        };
        let (statuses, stop, end) = (statuses.clone(), stop.clone(), end.clone());
        let closed = closed.clone();
        connections.spawn(async move {
            if let Err(e) = answer(stream, &statuses, &stop, &end, &closed).await {
                tracing::debug!(error = %e, "a control connection failed");
            }
        });
    }
    // Whoever asked for the end hears of it when nobody is taken in any more: the next `up` must not reach a supervisor that
    // hangs up.
    drop(listener);
    closed.cancel();
    connections.close();
    connections.wait().await;
}

async fn answer(
    stream: UnixStream,
    statuses: &Statuses,
    stop: &CancellationToken,
    end: &CancellationToken,
    closed: &CancellationToken,
) -> io::Result<()> {
    let own = rustix::process::getuid().as_raw();
    if stream.peer_cred()?.uid() != own {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(MAX_LINE));
    tokio::select! {
        read = reader.read_line(&mut line) => { read?; }
        () = end.cancelled() => return Ok(()),
    }
    let request: Request = serde_json::from_str(&line).map_err(io::Error::other)?;
    let reply = Reply { pid: std::process::id(), components: statuses.lock().clone() };
    let mut text = serde_json::to_string(&reply).map_err(io::Error::other)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await?;
    if matches!(request, Request::Stop) {
        stop.cancel();
        closed.cancelled().await;
    }
    Ok(())
}

/// Asks the supervisor; for [`Request::Stop`] returns when the cluster is down.
///
/// # Errors
/// Nobody listens (`NotFound`, `ConnectionRefused`): the cluster does not run.
pub async fn ask(path: &Path, request: Request) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(path).await?;
    let mut text = serde_json::to_string(&request).map_err(io::Error::other)?;
    text.push('\n');
    stream.write_all(text.as_bytes()).await?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    let reply = serde_json::from_str(&line).map_err(io::Error::other)?;
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await?;
    Ok(reply)
}
