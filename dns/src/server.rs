//! The server: port 53 of the pod, datagrams and connections.
//!
//! What our zone answers is answered where it was read: a lookup costs microseconds and waits for nothing. Only questions
//! that go to upstream servers become tasks, and of these there are at most so many at a time.
//!
//! # The enemy at the socket
//! Any pod may send anything. A datagram costs one lookup or is dropped. Connections are bounded in number, and each in
//! what it may have pending; it has to send its first question and each further one in time, to finish what it began,
//! and to take its answers.

mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use cni::network::{PodListener, PodUdpSocket, Sandbox};
use component_base::clock::Clock;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, Name, Record, RecordType},
};
use tokio::task::JoinSet;

use crate::{
    message::{self, Received, Transport},
    metrics::Metrics,
    records::{Answer, Found, Records},
    upstream::Upstreams,
};

/// The records of this moment, as the server sees them.
pub type Published = Arc<ArcSwap<Records>>;

/// What a server grants and expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time; a surplus one is closed.
    pub connections: usize,
    /// Questions of one connection that wait for upstream servers.
    pub pending: usize,
    /// For the next question of a connection to begin.
    pub idle: Duration,
    /// For a question that has begun to be complete, and for an answer to be taken.
    pub progress: Duration,
    /// Datagrams that wait for upstream servers.
    pub forwarded: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            pending: 64,
            idle: Duration::from_secs(8),
            progress: Duration::from_secs(2),
            forwarded: 1000,
        }
    }
}

/// What a server is made with.
#[derive(Debug)]
pub struct ServerConfig {
    /// The records, whoever keeps them.
    pub records: Published,
    /// The time.
    pub clock: Clock,
    /// Servers of other zones.
    pub upstreams: Vec<SocketAddr>,
    /// What peers may do.
    pub limits: Limits,
    /// Where it counts.
    pub metrics: Metrics,
}

/// A server whose ports are open.
pub struct Server {
    shared: Arc<Shared>,
    socket: Arc<PodUdpSocket>,
    listener: PodListener,
}

impl Server {
    /// Opens port 53 of all the pod's addresses.
    ///
    /// # Errors
    /// As [`Sandbox::bind_udp`] and [`Sandbox::listen_tcp`].
    pub async fn bind(config: ServerConfig, sandbox: &Sandbox) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 53));
        let socket = Arc::new(sandbox.bind_udp(address).await?);
        let listener = sandbox.listen_tcp(address).await?;
        let upstreams = Upstreams::new(config.upstreams, sandbox.clone(), config.clock.clone());
        let shared = Shared {
            records: config.records,
            upstreams,
            clock: config.clock,
            limits: config.limits,
            metrics: config.metrics,
            turn: AtomicUsize::new(0),
        };
        Ok(Self { shared: Arc::new(shared), socket, listener })
    }

    /// Serves until the pod's network is gone. Everything ends when the future is dropped.
    pub async fn run(self) {
        let mut tasks = JoinSet::new();
        tasks.spawn(udp::serve(Arc::clone(&self.shared), self.socket));
        tasks.spawn(tcp::serve(self.shared, self.listener));
        // Both end with the network; when one fails the other is dropped with the set.
        while let Some(Ok(())) = tasks.join_next().await {}
    }
}

struct Shared {
    records: Published,
    upstreams: Upstreams,
    clock: Clock,
    limits: Limits,
    metrics: Metrics,
    /// Counts answers, to begin each with another address.
    turn: AtomicUsize,
}

/// What to do about a message.
enum Step {
    Nothing,
    Reply(Vec<u8>),
    Forward(Box<Pending>),
}

/// A response that upstream servers have to complete.
struct Pending {
    response: Message,
    alias: Option<Name>,
    limit: u16,
}

impl Shared {
    /// Answers a message, as far as that needs no waiting.
    fn step(&self, bytes: &[u8], transport: Transport) -> Step {
        let query = match message::receive(bytes) {
            Received::Query(query) => query,
            Received::Rejected(reply) => return Step::Reply(reply),
            Received::Ignored => return Step::Nothing,
        };
        let limit = message::limit(&query, transport);
        let mut response = message::response(&query);
        response.metadata.recursion_available = !self.upstreams.is_empty();
        let (answer, forward) = self.answer(&query);
        let alias = answer.alias.clone();
        message::fill(&mut response, answer);
        if forward || (alias.is_some() && !self.upstreams.is_empty()) {
            return Step::Forward(Box::new(Pending { response, alias, limit }));
        }
        self.pack(&response, limit)
    }

    /// The answer, and whether it is the upstream servers' to give.
    fn answer(&self, query: &Message) -> (Answer, bool) {
        let verdict = |code| (Answer { code, ..Answer::default() }, false);
        let Some(question) = query.queries.first() else { return verdict(ResponseCode::FormErr) };
        if query.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return verdict(ResponseCode::BADVERS);
        }
        if question.query_class != DNSClass::IN
            || matches!(question.query_type, RecordType::AXFR | RecordType::IXFR)
        {
            return verdict(ResponseCode::Refused);
        }
        match self.records.load().lookup(&question.name, question.query_type) {
            Found::Answer(mut answer) => {
                self.rotate(&mut answer.answers);
                (answer, false)
            }
            Found::Upstream(answer) => (answer, !self.upstreams.is_empty()),
        }
    }

    /// Lets each answer begin with another of its addresses: many clients take the first.
    fn rotate(&self, answers: &mut [Record]) {
        let aliases = answers.iter().take_while(|r| r.record_type() == RecordType::CNAME).count();
        let addresses = &mut answers[aliases..];
        if addresses.len() > 1
            && matches!(addresses[0].record_type(), RecordType::A | RecordType::AAAA)
        {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            addresses.rotate_left(turn % addresses.len());
        }
    }

    async fn complete(&self, mut pending: Pending) -> Option<Vec<u8>> {
        self.upstreams.complete(&mut pending.response, pending.alias).await;
        match self.pack(&pending.response, pending.limit) {
            Step::Reply(reply) => Some(reply),
            Step::Nothing | Step::Forward(_) => None,
        }
    }

    fn pack(&self, response: &Message, limit: u16) -> Step {
        self.metrics.answered(response);
        message::encode(response, limit).map_or(Step::Nothing, Step::Reply)
    }

    /// Gives a pending question up, for there are too many.
    fn give_up(&self, mut pending: Pending) -> Step {
        let answer = Answer { code: ResponseCode::ServFail, ..Answer::default() };
        message::fill(&mut pending.response, answer);
        pending.response.metadata.authoritative = false;
        self.pack(&pending.response, pending.limit)
    }
}
