//! Ports of a node that lead to one of its pods: `hostPort`.
//!
//! Inside the cluster the node's own address listens, and what comes is passed on as it is; on the host the node's
//! loopback addresses do. No rules are asked, as with the portmap plugin: whoever has the pod has its ports.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{carry::Call, host_ports::refusal, node::NodeInner, pod::BoundPort, ports::Sink, sys};
use crate::{descriptor, network::Incoming, rules::Protocol};

/// Connections that may wait to be passed on.
const WAITING: usize = 128;

/// An open port of the node; dropping it closes it.
#[must_use = "dropping it closes the port"]
pub struct ForwardedPort {
    inside: Option<BoundPort>,
    tasks: Vec<AbortOnDropHandle<()>>,
}

/// An address that could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// In one word.
    pub reason: String,
    /// In a sentence that names the address.
    pub message: String,
}

/// As [`super::Node::forward_port`].
pub(super) fn forward_port(
    node: &Arc<NodeInner>,
    port: u16,
    only: Option<IpAddr>,
    to: SocketAddr,
) -> (ForwardedPort, Vec<Refused>) {
    let wanted = |ip: &IpAddr| only.is_none_or(|only| only == *ip);
    let mut open = ForwardedPort { inside: None, tasks: Vec::new() };
    let mut refused = Vec::new();
    let mut refuse = |address: SocketAddr, error: &io::Error| {
        let (reason, message) = refusal((Protocol::Tcp, address), error);
        refused.push(Refused { reason: reason.to_owned(), message });
    };
    let own = node.address();
    if wanted(&own) && to.ip() != own {
        let address = SocketAddr::new(own, port);
        match inside(node, address, to) {
            Ok((bound, task)) => {
                open.inside = Some(bound);
                open.tasks.push(task);
            }
            Err(error) => refuse(address, &error),
        }
    }
    let outside = node.host_ports().addresses.iter();
    for ip in outside.filter(|ip| ip.is_loopback() && wanted(ip)) {
        let address = SocketAddr::new(*ip, port);
        match from_host(node, address, to) {
            Ok(task) => open.tasks.push(task),
            Err(error) => refuse(address, &error),
        }
    }
    (open, refused)
}

type Task = AbortOnDropHandle<()>;

fn inside(
    node: &Arc<NodeInner>,
    address: SocketAddr,
    to: SocketAddr,
) -> io::Result<(BoundPort, Task)> {
    let (sender, mut queue) = mpsc::channel::<Box<Incoming>>(WAITING);
    let (_, bound) = node.own().bind(address, Protocol::Tcp, |_| Sink::Tcp(sender))?;
    let weak = Arc::downgrade(node);
    let task = node.fabric().tasks().spawn(async move {
        while let Some(incoming) = queue.recv().await {
            let Incoming { fd, peer, .. } = *incoming;
            let Some(node) = weak.upgrade() else { return };
            pass_on(&node, Call { fd, from: peer, to, hops: 0 });
        }
    });
    Ok((bound, AbortOnDropHandle::new(task)))
}

fn from_host(node: &Arc<NodeInner>, address: SocketAddr, to: SocketAddr) -> io::Result<Task> {
    let socket = sys::reserve_tcp(address, sys::Sharing::Alone)?;
    sys::start_listening(&socket)?;
    let socket = descriptor::watch(socket)?;
    let (node, stopped) = (Arc::clone(node), node.cancellation().child_token());
    let tasks = node.fabric().tasks().clone();
    let accepting = async move {
        loop {
            let Ok(mut ready) = socket.readable().await else { return };
            match ready.try_io(|socket| sys::accept(socket.get_ref())) {
                Ok(Ok((fd, client))) => {
                    let from = SocketAddr::new(node.fabric().config().host_address, client.port());
                    pass_on(&node, Call { fd, from, to, hops: 0 });
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Ok(Err(error)) => {
                    tracing::warn!(node = node.name(), %error, "cannot accept a connection from the host");
                    node.fabric().pause_after_error().await;
                }
                Err(_would_block) => {}
            }
        }
    };
    Ok(AbortOnDropHandle::new(tasks.spawn(async move {
        tokio::select! { () = accepting => {}, () = stopped.cancelled() => {} }
    })))
}

/// Carries a connection to the pod; one that does not get there is reset.
fn pass_on(node: &Arc<NodeInner>, call: Call) {
    let entered = Arc::clone(node);
    node.spawn(async move { entered.enter_directly(call).await });
}
