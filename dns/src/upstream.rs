//! Names of other zones: the configured upstream servers are asked, and nobody when there are none.

use std::{net::SocketAddr, time::Duration};

use cni::network::Sandbox;
use component_base::clock::Clock;
use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{DNSClass, Name},
};
use tokio::sync::Semaphore;

use crate::{exchange::exchange, message};

/// For one server.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions on their way at one time; CoreDNS' `max_concurrent` of kubeadm's Corefile.
const MAX_CONCURRENT: usize = 1000;
/// What an answer from outside may be long without being fragmented.
const PAYLOAD: u16 = 1232;

/// Asks the servers of other zones.
#[derive(Debug)]
pub(crate) struct Upstreams {
    servers: Vec<SocketAddr>,
    sandbox: Sandbox,
    clock: Clock,
    permits: Semaphore,
}

impl Upstreams {
    pub(crate) fn new(servers: Vec<SocketAddr>, sandbox: Sandbox, clock: Clock) -> Self {
        Self { servers, sandbox, clock, permits: Semaphore::new(MAX_CONCURRENT) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Completes a response: the question is another zone's, or an alias leads there.
    pub(crate) async fn complete(&self, response: &mut Message, alias: Option<Name>) {
        let Some(question) = response.queries.first() else { return };
        let name = alias.clone().unwrap_or_else(|| question.name.clone());
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.metadata.checking_disabled = response.metadata.checking_disabled;
        let mut asked = Query::query(name, question.query_type);
        asked.set_query_class(DNSClass::IN);
        query.add_query(asked);
        let mut edns = Edns::new();
        let secure = response.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        edns.set_max_payload(PAYLOAD).set_dnssec_ok(secure);
        query.set_edns(edns);
        match self.ask(&query).await {
            Some(answer) => {
                response.metadata.response_code = answer.metadata.response_code;
                response.metadata.authentic_data = answer.metadata.authentic_data;
                response.metadata.authoritative = alias.is_some();
                response.answers.extend(answer.answers);
                response.authorities = answer.authorities;
                response.additionals.extend(answer.additionals);
            }
            None => {
                let failure =
                    crate::records::Answer { code: ResponseCode::ServFail, ..Default::default() };
                message::fill(response, failure);
                response.metadata.authoritative = false;
            }
        }
    }

    /// Asks one server after the other, beginning anywhere.
    async fn ask(&self, query: &Message) -> Option<Message> {
        let _permit = self.permits.try_acquire().ok()?;
        let count = self.servers.len();
        let first = usize::try_from(self.clock.random_u64() >> 33).unwrap_or_default();
        for turn in 0..count {
            let server = self.servers[(first + turn) % count];
            match exchange(&self.sandbox, &self.clock, server, query.clone(), PATIENCE).await {
                Ok(answer) => return Some(answer),
                Err(error) => tracing::debug!(%server, %error, "upstream server does not answer"),
            }
        }
        None
    }
}
