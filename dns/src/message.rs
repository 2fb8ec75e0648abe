//! DNS messages: what is accepted, and how answers are put into packets. Pure.
//!
//! What is not acceptable is told apart from its header alone, as CoreDNS does, before anything is parsed:
//!
//! | message | gets |
//! |---|---|
//! | shorter than a header; a response | silence |
//! | another operation than a query | NOTIMP |
//! | not exactly one question, or sections that no query has; cannot be parsed | FORMERR |
//! | EDNS of another version than 0 | BADVERS |
//!
//! An answer that does not fit is cut at a whole record and marked (TC). Additional records are left out before that,
//! without a mark, as RFC 2181 says.

use hickory_proto::{
    ProtoError,
    op::{Edns, Header, Message, MessageType, Metadata, OpCode, ResponseCode, emit_message_parts},
    rr::{Name, Record},
    serialize::binary::{BinDecodable, BinEncodable, BinEncoder},
};

use crate::records::Answer;

/// The largest datagram that we take and send: inside the cluster none is ever fragmented.
pub const MAX_UDP: u16 = 4096;
/// What fits into a datagram for who does not say otherwise.
const MIN_UDP: u16 = 512;
/// An OPT record without options.
const OPT_LENGTH: u16 = 11;
/// The smallest message.
const HEADER_LENGTH: usize = 12;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A connection.
    Tcp,
}

/// What to do with the bytes that came.
#[derive(Debug)]
pub enum Received {
    /// A query with one question.
    Query(Message),
    /// To be refused with this.
    Rejected(Vec<u8>),
    /// Not to be answered.
    Ignored,
}

/// Reads a message.
#[must_use]
pub fn receive(bytes: &[u8]) -> Received {
    if bytes.len() < HEADER_LENGTH {
        return Received::Ignored;
    }
    let Ok(header) = Header::from_bytes(bytes) else { return Received::Ignored };
    if header.metadata.message_type == MessageType::Response {
        return Received::Ignored;
    }
    let counts = header.counts;
    if header.metadata.op_code != OpCode::Query {
        return reject(&header.metadata, ResponseCode::NotImp);
    }
    if counts.queries != 1 || counts.answers > 0 || counts.authorities > 1 || counts.additionals > 2
    {
        return reject(&header.metadata, ResponseCode::FormErr);
    }
    match Message::from_vec(bytes) {
        Ok(message) if message.queries.len() == 1 => Received::Query(message),
        _ => reject(&header.metadata, ResponseCode::FormErr),
    }
}

fn reject(request: &Metadata, code: ResponseCode) -> Received {
    let mut message = Message::response(request.id, request.op_code);
    message.metadata.recursion_desired = request.recursion_desired;
    message.metadata.response_code = code;
    encode(&message, u16::MAX).map_or(Received::Ignored, Received::Rejected)
}

/// Begins the response to a query: its question and its EDNS.
#[must_use]
pub fn response(query: &Message) -> Message {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.checking_disabled = query.metadata.checking_disabled;
    message.queries.clone_from(&query.queries);
    message.edns = query.edns.as_ref().map(|asked| {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP).set_dnssec_ok(asked.flags().dnssec_ok);
        edns
    });
    message
}

/// Puts an answer of our zone into a response.
pub fn fill(message: &mut Message, answer: Answer) {
    message.metadata.authoritative = answer.code != ResponseCode::Refused;
    message.metadata.response_code = answer.code;
    message.answers = answer.answers;
    message.authorities = answer.authorities;
    message.additionals = answer.additionals;
}

/// The largest response that the asker takes.
#[must_use]
pub fn limit(query: &Message, transport: Transport) -> u16 {
    match (transport, &query.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(MIN_UDP, MAX_UDP),
        (Transport::Udp, None) => MIN_UDP,
    }
}

/// Makes the packet, cutting the message to `limit` bytes. `None` when it has no representation.
#[must_use]
pub fn encode(message: &Message, limit: u16) -> Option<Vec<u8>> {
    let whole = pack(message, message.answers.len(), Sections::All, u16::MAX)?;
    if whole.bytes.len() <= usize::from(limit) && !whole.cut {
        return Some(whole.bytes);
    }
    let short = pack(message, message.answers.len(), Sections::WithoutAdditionals, u16::MAX)?;
    if short.bytes.len() <= usize::from(limit) && !short.cut {
        return Some(short.bytes);
    }
    let room = if message.edns.is_some() { limit.saturating_sub(OPT_LENGTH) } else { limit };
    let fitting = pack(message, message.answers.len(), Sections::AnswersAlone, room)?.answers;
    pack(message, fitting, Sections::Cut, limit).map(|packet| packet.bytes)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sections {
    All,
    WithoutAdditionals,
    /// To see how many fit.
    AnswersAlone,
    /// Answers and EDNS, marked as cut.
    Cut,
}

struct Packet {
    bytes: Vec<u8>,
    answers: usize,
    cut: bool,
}

fn pack(message: &Message, answers: usize, sections: Sections, limit: u16) -> Option<Packet> {
    let mut bytes = Vec::with_capacity(512);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(limit);
    let mut metadata = message.metadata;
    metadata.truncation |= sections == Sections::Cut;
    let whole = matches!(sections, Sections::All | Sections::WithoutAdditionals);
    let authorities = if whole { &*message.authorities } else { &[] };
    let additionals = if sections == Sections::All { &*message.additionals } else { &[] };
    let edns = message.edns.as_ref().filter(|_| sections != Sections::AnswersAlone);
    let asked = message.queries.first().map(|query| &query.name);
    let answers: Vec<_> =
        message.answers[..answers].iter().map(|record| Compact { record, asked }).collect();
    let header = emit_message_parts(
        &metadata,
        &mut message.queries.iter(),
        &mut answers.iter(),
        &mut authorities.iter(),
        &mut additionals.iter(),
        edns,
        None,
        &mut encoder,
    )
    .ok()?;
    let answers = usize::from(header.counts.answers);
    Some(Packet { bytes, answers, cut: header.metadata.truncation && !metadata.truncation })
}

/// A record whose owner, when it is the name asked for, is a pointer to the question.
///
/// hickory searches for compressible names, and for no more than 120 in a message; long answers all have this owner.
struct Compact<'a> {
    record: &'a Record,
    asked: Option<&'a Name>,
}

/// Where the question's name is: behind the header.
const POINTER_TO_QUESTION: u16 = 0xc000 | HEADER_LENGTH as u16;

impl BinEncodable for Compact<'_> {
    fn emit(&self, encoder: &mut BinEncoder<'_>) -> Result<(), ProtoError> {
        let record = self.record;
        if self.asked.is_none_or(|asked| asked.is_root() || !record.name.eq_case(asked)) {
            return record.emit(encoder);
        }
        encoder.emit_u16(POINTER_TO_QUESTION)?;
        record.record_type().emit(encoder)?;
        record.dns_class.emit(encoder)?;
        encoder.emit_u32(record.ttl)?;
        let place = encoder.place::<u16>()?;
        record.data.emit(encoder)?;
        let length = u16::try_from(encoder.len_since_place(&place))
            .map_err(|_| ProtoError::Message("record data longer than 65,535 bytes"))?;
        place.replace(encoder, length)
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;
    use hickory_proto::rr::{RData, RecordType, rdata::A};
    use proptest::prelude::*;

    use super::*;

    fn query(edns: Option<u16>) -> Message {
        let mut message = Message::query();
        message.metadata.id = 7;
        message.metadata.recursion_desired = true;
        let name = Name::from_ascii("web.default.svc.cluster.local.").unwrap();
        message.add_query(Query::query(name, RecordType::A));
        if let Some(size) = edns {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            message.set_edns(edns);
        }
        message
    }

    fn record(name: &str, last: u8) -> Record {
        let name = Name::from_ascii(name).unwrap();
        Record::from_rdata(name, 30, RData::A(A::new(10, 0, 0, last)))
    }

    #[test]
    fn cuts_answers_and_leaves_out_additionals() {
        let check = |edns, transport, answers: u8, extra: u8, expected: (usize, usize, bool)| {
            let query = query(edns);
            let mut message = response(&query);
            let asked = "web.default.svc.cluster.local.";
            message.answers = (0..answers).map(|n| record(asked, n)).collect();
            message.additionals = (0..extra).map(|n| record(&format!("x{n}.local."), n)).collect();
            let limit = limit(&query, transport);
            let bytes = encode(&message, limit).unwrap();
            assert!(bytes.len() <= usize::from(limit));
            let got = Message::from_vec(&bytes).unwrap();
            let found = (got.answers.len(), got.additionals.len(), got.metadata.truncation);
            assert_eq!(found, expected, "{edns:?} {transport:?} {answers} {extra}");
            assert_eq!(got.edns.is_some(), edns.is_some());
            assert_eq!(got.queries, query.queries);
        };
        use Transport::{Tcp, Udp};
        check(None, Udp, 1, 1, (1, 1, false));
        // 12 + 35 bytes, then 16 for each.
        check(None, Udp, 29, 0, (29, 0, false));
        check(None, Udp, 30, 0, (29, 0, true));
        check(None, Udp, 29, 1, (29, 0, false));
        check(Some(100), Udp, 30, 0, (28, 0, true));
        check(Some(1232), Udp, 70, 0, (70, 0, false));
        check(Some(65_000), Udp, 250, 0, (250, 0, false));
        check(Some(65_000), Udp, 255, 0, (252, 0, true));
        check(None, Tcp, 255, 255, (255, 255, false));
    }

    #[test]
    fn refuses_what_is_no_query() {
        let check = |change: fn(&mut Vec<u8>), expected: Option<ResponseCode>| {
            let mut bytes = query(None).to_vec().unwrap();
            change(&mut bytes);
            let found = match receive(&bytes) {
                Received::Query(_) => Some(ResponseCode::NoError),
                Received::Ignored => None,
                Received::Rejected(bytes) => {
                    let message = Message::from_vec(&bytes).unwrap();
                    assert_eq!(message.metadata.id, 7);
                    Some(message.metadata.response_code)
                }
            };
            assert_eq!(found, expected, "{bytes:?}");
        };
        check(|_| {}, Some(ResponseCode::NoError));
        check(|bytes| bytes.truncate(11), None);
        check(Vec::clear, None);
        check(|bytes| bytes[2] |= 0x80, None);
        check(|bytes| bytes[2] |= 0x28, Some(ResponseCode::NotImp));
        check(|bytes| bytes[5] = 0, Some(ResponseCode::FormErr));
        check(|bytes| bytes[5] = 2, Some(ResponseCode::FormErr));
        check(|bytes| bytes[7] = 1, Some(ResponseCode::FormErr));
        check(|bytes| bytes[11] = 3, Some(ResponseCode::FormErr));
        check(|bytes| bytes.truncate(20), Some(ResponseCode::FormErr));
        check(|bytes| bytes[12] = 0xff, Some(ResponseCode::FormErr));
        // A pointer to itself.
        check(|bytes| bytes[12..14].copy_from_slice(&[0xc0, 12]), Some(ResponseCode::FormErr));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            drop(receive(&bytes));
        }

        #[test]
        fn no_damage_makes_it_panic(place in 0_usize..60, byte in any::<u8>(), cut in 0_usize..80) {
            let mut bytes = query(Some(1232)).to_vec().unwrap();
            let place = place % bytes.len();
            bytes[place] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut % 20));
            if let Received::Query(query) = receive(&bytes) {
                let bytes = encode(&response(&query), limit(&query, Transport::Udp));
                prop_assert!(bytes.is_none_or(|bytes| bytes.len() <= usize::from(MAX_UDP)));
            }
        }
    }
}
