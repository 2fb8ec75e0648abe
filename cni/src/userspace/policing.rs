//! Asking the policies before a connection or a conversation begins.
//!
//! Egress is judged at the node where a connection starts, once its Service is translated; ingress at the node of the
//! pod that it comes to. What is dropped looks to the caller like a packet that is lost: it goes on trying, as TCP does,
//! and gets through if the rules change before its time is up.
//!
//! Datagrams have no beginning of their own. What was let through is remembered for as long as the kernel would track
//! it, so that answers come through whatever the policies say of the way back.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use parking_lot::Mutex;

use super::{datagrams::FLOW_TIMEOUT, node::NodeInner};
use crate::rules::{Direction, Protocol};

/// Most conversations that are remembered; beyond, idle ones are forgotten, then all.
const MAX_CONVERSATIONS: usize = 16_384;

/// A pod's own address and the other end's.
type Ends = (SocketAddr, SocketAddr);

/// The conversations by datagrams that policies have let through.
#[derive(Default)]
pub(super) struct Conversations(Mutex<HashMap<Ends, Duration>>);

impl Conversations {
    fn goes_on(&self, ends: Ends, now: Duration) -> bool {
        let mut known = self.0.lock();
        let Some(last) = known.get_mut(&ends) else { return false };
        let alive = now.saturating_sub(*last) < FLOW_TIMEOUT;
        if alive {
            *last = now;
        } else {
            known.remove(&ends);
        }
        alive
    }

    fn begin(&self, ends: Ends, now: Duration) {
        let mut known = self.0.lock();
        if known.len() >= MAX_CONVERSATIONS {
            known.retain(|_, last| now.saturating_sub(*last) < FLOW_TIMEOUT);
            if known.len() >= MAX_CONVERSATIONS {
                known.clear();
            }
        }
        known.insert(ends, now);
    }
}

impl NodeInner {
    /// Whether the policies admit a new connection of (or to) the pod at `pod` with `peer`. What a pod says to itself,
    /// and to or from its node, is always admitted.
    fn admits(
        &self,
        direction: Direction,
        pod: IpAddr,
        peer: IpAddr,
        protocol: Protocol,
        destination: SocketAddr,
    ) -> bool {
        self.with_rules(|rules| {
            if !rules.policed.contains_key(&pod) {
                return true;
            }
            self.stance().exemption(direction, pod, peer).is_some()
                || rules.verdict(direction, pod, peer, protocol, destination).admits()
        })
    }

    /// Whether a pod of this node may connect to `to`; anybody else may.
    pub(super) fn may_leave(&self, from: IpAddr, protocol: Protocol, to: SocketAddr) -> bool {
        self.admits(Direction::Egress, from, to.ip(), protocol, to)
    }

    /// Whether `from` may connect to a pod of this node.
    pub(super) fn may_enter(&self, from: IpAddr, protocol: Protocol, to: SocketAddr) -> bool {
        self.admits(Direction::Ingress, to.ip(), from, protocol, to)
    }

    /// Waits until `admitted`, as long as a connect may last: dropped packets are sent again.
    pub(super) async fn wait_until(&self, admitted: impl Fn(&Self) -> bool) -> bool {
        if admitted(self) {
            return true;
        }
        let (fabric, mut generations) = (self.fabric(), self.generations());
        let clock = fabric.clock();
        let give_up = clock.monotonic() + fabric.config().connect_timeout;
        loop {
            if admitted(self) {
                return true;
            }
            let left = give_up.saturating_sub(clock.monotonic());
            if !matches!(clock.timeout(left, generations.changed()).await, Ok(Ok(()))) {
                return false;
            }
        }
    }

    /// Whether a datagram may pass between a pod of this node and `peer`: it begins a conversation that is admitted, or
    /// goes on with one.
    pub(super) fn may_pass(&self, direction: Direction, pod: SocketAddr, peer: SocketAddr) -> bool {
        if self.with_rules(|rules| !rules.policed.contains_key(&pod.ip())) {
            return true;
        }
        let now = self.fabric().clock().monotonic();
        if self.conversations().goes_on((pod, peer), now) {
            return true;
        }
        let destination = if direction == Direction::Egress { peer } else { pod };
        let admitted = self.admits(direction, pod.ip(), peer.ip(), Protocol::Udp, destination);
        if admitted {
            self.conversations().begin((pod, peer), now);
        }
        admitted
    }
}
