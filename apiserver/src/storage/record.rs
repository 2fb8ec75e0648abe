//! How a record is written down.
//!
//! ```text
//! put:     1  flags  create version [expiry] [slot] key [index] value...
//! delete:  2         key
//! ```
//! Numbers are LEB128; texts are preceded by their length; the value runs to the end. The revision and the place within
//! its transaction are the record's key, and are not repeated. Pure: bytes in, bytes out.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::{
    KeyValue, Revision,
    engine::{Record, RecordId},
    types::decimal_len,
};

const PUT: u8 = 1;
const DELETE: u8 = 2;

const HAS_EXPIRY: u8 = 1;
const HAS_SLOT: u8 = 2;
const HAS_INDEX: u8 = 4;

/// The bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed record")]
pub(super) struct Malformed;

/// Appends the encoded record to `out`.
pub(super) fn encode(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::Put(kv) => {
            let flags = [
                (kv.expires_at.is_some(), HAS_EXPIRY),
                (kv.slot.is_some(), HAS_SLOT),
                (kv.index.is_some(), HAS_INDEX),
            ];
            out.push(PUT);
            out.push(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
            put_number(kv.create_revision.0, out);
            put_number(kv.version, out);
            if let Some(at) = kv.expires_at {
                put_number(expiry_millis(at), out);
            }
            if let Some(slot) = kv.slot {
                put_number(slot as u64, out);
            }
            put_text(&kv.key, out);
            if let Some(index) = &kv.index {
                put_text(index, out);
            }
            out.extend_from_slice(&kv.value);
        }
        Record::Delete { key, .. } => {
            out.push(DELETE);
            put_text(key, out);
        }
    }
}

/// The encoded length of a put.
pub(super) fn put_len(kv: &KeyValue) -> usize {
    2 + number_len(kv.create_revision.0)
        + number_len(kv.version)
        + kv.expires_at.map_or(0, |at| number_len(expiry_millis(at)))
        + kv.slot.map_or(0, |slot| number_len(slot as u64))
        + text_len(&kv.key)
        + kv.index.as_deref().map_or(0, text_len)
        + kv.value.len()
}

/// The encoded length of a deletion.
pub(super) fn delete_len(key: &str) -> usize {
    1 + text_len(key)
}

/// Reads a record back; its value stays where it is, a slice of `bytes`.
pub(super) fn decode(id: RecordId, bytes: &Bytes) -> Result<Record, Malformed> {
    let mut input = Input(bytes);
    match input.byte()? {
        PUT => {
            let flags = input.byte()?;
            let create_revision = Revision(input.number()?);
            let version = input.number()?;
            let expires_at = (flags & HAS_EXPIRY != 0).then(|| input.timestamp()).transpose()?;
            let slot = (flags & HAS_SLOT != 0).then(|| input.size()).transpose()?;
            let key = input.text()?;
            let index = (flags & HAS_INDEX != 0).then(|| input.text()).transpose()?;
            let value = bytes.slice(bytes.len() - input.0.len()..);
            let digits = decimal_len(id.revision);
            if slot.is_some_and(|slot| slot.saturating_add(digits) > value.len()) {
                return Err(Malformed);
            }
            let kv = KeyValue {
                key,
                value,
                create_revision,
                mod_revision: id.revision,
                version,
                index,
                expires_at,
                slot,
                sub: id.sub,
            };
            Ok(Record::Put(Arc::new(kv)))
        }
        DELETE => {
            let key = input.text()?;
            if input.0.is_empty() { Ok(Record::Delete { key, id }) } else { Err(Malformed) }
        }
        _ => Err(Malformed),
    }
}

fn expiry_millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number_len(number: u64) -> usize {
    number.checked_ilog2().map_or(1, |log| log as usize / 7 + 1)
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn text_len(text: &str) -> usize {
    number_len(text.len() as u64) + text.len()
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn size(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed)
    }

    fn timestamp(&mut self) -> Result<Timestamp, Malformed> {
        let millis = i64::try_from(self.number()?).map_err(|_| Malformed)?;
        Timestamp::from_millisecond(millis).map_err(|_| Malformed)
    }

    fn text(&mut self) -> Result<Arc<str>, Malformed> {
        let len = self.size()?;
        std::str::from_utf8(self.take(len)?).map(Into::into).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kv: &KeyValue) {
        let record = Record::Put(Arc::new(kv.clone()));
        let mut out = Vec::new();
        encode(&record, &mut out);
        assert_eq!(out.len(), put_len(kv));
        let bytes = Bytes::from(out);
        assert_eq!(decode(record.id(), &bytes), Ok(record.clone()));
        for cut in 0..bytes.len() - kv.value.len() {
            assert_eq!(decode(record.id(), &bytes.slice(..cut)), Err(Malformed), "cut at {cut}");
        }
    }

    #[test]
    fn puts_come_back_as_they_were() {
        let plain = KeyValue {
            key: "/registry/pods/default/web-1".into(),
            value: Bytes::from_static(b"{}"),
            create_revision: Revision(127),
            mod_revision: Revision(128),
            version: 1,
            index: None,
            expires_at: None,
            slot: None,
            sub: 0,
        };
        check(&plain);
        check(&KeyValue {
            slot: Some(1),
            value: Bytes::from_static(b"\"128\""),
            version: u64::MAX,
            sub: 7,
            ..plain.clone()
        });
        check(&KeyValue { index: Some("node-1".into()), value: Bytes::new(), ..plain.clone() });
        let expires_at = Some(Timestamp::from_second(1_800_000_000).expect("in range"));
        check(&KeyValue { expires_at, create_revision: Revision(1 << 40), ..plain });
    }

    #[test]
    fn deletions_come_back_as_they_were() {
        let record = Record::Delete {
            key: "/registry/pods/a/b".into(),
            id: RecordId { revision: Revision(9), sub: 3 },
        };
        let mut out = Vec::new();
        encode(&record, &mut out);
        assert_eq!(out.len(), delete_len("/registry/pods/a/b"));
        assert_eq!(decode(record.id(), &out.clone().into()), Ok(record.clone()));
        out.push(0);
        assert_eq!(decode(record.id(), &out.into()), Err(Malformed));
    }
}
