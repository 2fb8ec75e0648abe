//! The way to another node process: one Unix stream connection per peer node, opened at the first need, on which
//! connections and datagrams go out and answers come back. What the peer wants of us comes on its own link.
//!
//! Reading and writing are two loops that never wait for each other, so two nodes that flood each other cannot
//! block. Both sides refuse a peer of another uid. A link that breaks answers everything in flight with "no route"
//! and is replaced at the next need.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
};
use tracing::debug;

use super::{
    Fabric,
    carry::{Call, Failed, Outcome, Reached},
    node::NodeInner,
    wire::{self, Answer, Frame, FrameReader, MAX_DESCRIPTORS},
};
use crate::network;

/// Frames that wait for the socket; beyond, connections wait and datagrams are lost.
const QUEUE: usize = 1024;

type Outgoing = Frame<Arc<OwnedFd>>;
type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>;

/// The way to one peer node.
pub(super) struct Link {
    out: mpsc::Sender<Outgoing>,
    pending: Pending,
    next_call: AtomicU64,
}

impl Link {
    /// Starts to connect to the peer's socket; what is sent meanwhile waits.
    pub(super) fn open(path: PathBuf, fabric: &Fabric) -> Arc<Self> {
        let (out, queue) = mpsc::channel(QUEUE);
        let pending = Pending::default();
        let link =
            Arc::new(Self { out, pending: Arc::clone(&pending), next_call: AtomicU64::new(0) });
        let task = run(path, queue, pending, fabric.clone());
        let cancelled = fabric.cancellation().clone().cancelled_owned();
        fabric.tasks().spawn(async move {
            tokio::select! { () = task => {}, () = cancelled => {} }
        });
        link
    }

    /// Reports whether the connection is gone for good.
    pub(super) fn is_closed(&self) -> bool {
        self.out.is_closed()
    }

    /// Brings a connection to the peer and waits for what becomes of it.
    pub(super) async fn connect(&self, call: Call) -> Outcome {
        let id = self.next_call.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.pending.lock().insert(id, answer);
        let _forget = Forget { pending: &self.pending, id };
        let Call { fd, from, to, hops } = call;
        let fd = Arc::new(fd);
        let frame = Frame::Connect { call: id, from, to, hops: hops + 1, fd: Arc::clone(&fd) };
        let answer = match self.out.send(frame).await {
            Ok(()) => answered.await.unwrap_or(Answer::NoRoute),
            Err(_closed) => Answer::NoRoute,
        };
        match answer.into_result() {
            Ok(()) => Ok(Reached::Queued),
            // The writer may not have let go of its share yet; then a second descriptor does as well.
            Err(error) => {
                let fd = Arc::try_unwrap(fd).or_else(|shared| shared.try_clone());
                let left = matches!(answer, Answer::Left | Answer::NoRoute);
                Err(Failed { error, fd: fd.ok(), left })
            }
        }
    }

    /// Sends one datagram, or loses it.
    pub(super) fn datagram(&self, from: SocketAddr, to: SocketAddr, hops: u8, payload: Bytes) {
        let _ = self.out.try_send(Frame::Datagram { from, to, hops: hops + 1, payload });
    }
}

/// Takes a call off the list however its waiting ends.
struct Forget<'a> {
    pending: &'a Pending,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.id);
    }
}

async fn run(path: PathBuf, mut queue: mpsc::Receiver<Outgoing>, pending: Pending, fabric: Fabric) {
    let result = async {
        let stream = UnixStream::connect(&path).await?;
        check_uid(&stream)?;
        tokio::select! {
            result = write_loop(&stream, &mut queue) => result,
            result = read_answers(&stream, &pending, &fabric) => result,
        }
    };
    if let Err(error) = result.await {
        debug!(path = %path.display(), %error, "link to a node ended");
    }
    // First no more can come in, then what came in is answered: dropping a call's sender says "no route".
    queue.close();
    while queue.try_recv().is_ok() {}
    pending.lock().clear();
}

async fn read_answers(stream: &UnixStream, pending: &Pending, fabric: &Fabric) -> io::Result<()> {
    let mut reader = FrameReader::default();
    while let Some(frame) = reader.next(stream).await? {
        match frame {
            Frame::Answer { call, answer } => {
                if let Some(waiting) = pending.lock().remove(&call) {
                    let _ = waiting.send(answer);
                }
            }
            Frame::Unreachable { from, to } => fabric.unreachable(from, to),
            Frame::Connect { .. } | Frame::Datagram { .. } => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "request on an answering link",
                ));
            }
        }
    }
    Ok(())
}

async fn write_loop(stream: &UnixStream, queue: &mut mpsc::Receiver<Outgoing>) -> io::Result<()> {
    let mut frames = Vec::with_capacity(MAX_DESCRIPTORS);
    let mut bytes = BytesMut::new();
    while queue.recv_many(&mut frames, MAX_DESCRIPTORS).await > 0 {
        bytes.clear();
        let descriptors: Vec<Arc<OwnedFd>> =
            frames.drain(..).filter_map(|frame| frame.encode(&mut bytes)).collect();
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(|fd| fd.as_fd()).collect();
        wire::write(stream, &bytes, &borrowed).await?;
    }
    Ok(())
}

/// Serves the links of other node processes to `node` until the fabric ends.
pub(super) async fn serve(node: Arc<NodeInner>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = Arc::clone(&node);
                node.spawn(async move {
                    let served = async {
                        check_uid(&stream)?;
                        serve_link(&serving, &stream).await
                    };
                    if let Err(error) = served.await {
                        debug!(node = serving.name(), %error, "link of another node ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(node = node.name(), %error, "cannot accept a node link");
                node.fabric().pause_after_error().await;
            }
        }
    }
}

async fn serve_link(node: &Arc<NodeInner>, stream: &UnixStream) -> io::Result<()> {
    let (answers, mut queue) = mpsc::channel::<Outgoing>(QUEUE);
    tokio::select! {
        result = write_loop(stream, &mut queue) => result,
        result = read_requests(node, stream, &answers) => result,
    }
}

async fn read_requests(
    node: &Arc<NodeInner>,
    stream: &UnixStream,
    answers: &mpsc::Sender<Outgoing>,
) -> io::Result<()> {
    let mut reader = FrameReader::default();
    while let Some(frame) = reader.next(stream).await? {
        match frame {
            Frame::Connect { call: id, from, to, hops, fd } => {
                let call = Call { fd, from, to, hops };
                match node.receive_at_once(call) {
                    Ok(outcome) => answer(answers, id, outcome).await,
                    // It has to wait for something: that must not hold up the others.
                    Err(call) => {
                        let (receiving, answers) = (Arc::clone(node), answers.clone());
                        node.spawn(async move {
                            let outcome = receiving.receive_and_join(call).await;
                            answer(&answers, id, outcome).await;
                        });
                    }
                }
            }
            Frame::Datagram { from, to, hops, payload } => {
                if node.receive_datagram(from, to, hops, payload).is_err() {
                    let _ = answers.try_send(Frame::Unreachable { from, to });
                }
            }
            Frame::Answer { .. } | Frame::Unreachable { .. } => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "answer on a requesting link",
                ));
            }
        }
    }
    Ok(())
}

async fn answer(answers: &mpsc::Sender<Outgoing>, call: u64, outcome: Outcome) {
    let answer = Answer::of(&outcome);
    let _ = answers.send(Frame::Answer { call, answer }).await;
}

/// Refuses a peer that runs as somebody else.
fn check_uid(stream: &UnixStream) -> io::Result<()> {
    let (peer, own) = (stream.peer_cred()?.uid(), rustix::process::geteuid().as_raw());
    if peer == own {
        return Ok(());
    }
    let message = format!("node socket peer runs as uid {peer}, this node as {own}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

/// Says that nothing is known of an address.
pub(super) fn no_route(fd: OwnedFd) -> Outcome {
    Err(Failed { error: network::no_route(), fd: Some(fd), left: true })
}
