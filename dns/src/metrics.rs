//! The server's metrics, under CoreDNS' names.

use component_base::metrics::{Counter, EncodeLabelSet, Family, Registry};
use hickory_proto::op::Message;

/// The verdict of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdict {
    rcode: &'static str,
}

/// Handles of the metrics; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    responses: Family<Verdict, Counter>,
}

impl Metrics {
    /// Registers them.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            responses: registry.register(
                "coredns_dns_responses",
                "Counter of response status codes",
                Family::default(),
            ),
        }
    }

    pub(crate) fn answered(&self, response: &Message) {
        let rcode = match response.metadata.response_code.low() {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            _ => "other",
        };
        self.responses.get_or_create(&Verdict { rcode }).inc();
    }
}
