//! An object as it is stored: its JSON, with the place where the writer puts the resourceVersion.
//!
//! Keys come sorted, as `serde_json`'s map keeps them, so equal objects have equal bytes. The metadata's
//! `resourceVersion` is written empty whatever it holds; the offset between its quotes is the *slot* that the storage's
//! writer fills in with the revision of the transaction ([`crate::storage::Put::slot`]).

use apimachinery::object::Object;
use bytes::Bytes;
use serde_json::{Map, Value};

/// An object's bytes and the offset of its resourceVersion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) slot: usize,
}

const RESOURCE_VERSION: &str = "resourceVersion";

/// Serializes an object once, for ever.
pub(crate) fn encode(object: &Object) -> Encoded {
    let mut out = Vec::with_capacity(2048);
    let mut slot = None;
    out.push(b'{');
    for (index, (key, value)) in object.0.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_key(&mut out, key);
        match value {
            Value::Object(metadata) if key == "metadata" => {
                slot = Some(write_metadata(&mut out, metadata));
            }
            _ => write_value(&mut out, value),
        }
    }
    let slot = slot.unwrap_or_else(|| {
        if out.len() > 1 {
            out.push(b',');
        }
        write_key(&mut out, "metadata");
        write_metadata(&mut out, &Map::new())
    });
    out.push(b'}');
    Encoded { bytes: out.into(), slot }
}

fn write_metadata(out: &mut Vec<u8>, metadata: &Map<String, Value>) -> usize {
    let mut slot = None;
    let mut first = true;
    out.push(b'{');
    for (key, value) in metadata {
        if slot.is_none() && key.as_str() >= RESOURCE_VERSION {
            slot = Some(write_slot(out, first));
            first = false;
            if key == RESOURCE_VERSION {
                continue;
            }
        }
        if !first {
            out.push(b',');
        }
        first = false;
        write_key(out, key);
        write_value(out, value);
    }
    let slot = slot.unwrap_or_else(|| write_slot(out, first));
    out.push(b'}');
    slot
}

fn write_slot(out: &mut Vec<u8>, first: bool) -> usize {
    if !first {
        out.push(b',');
    }
    write_key(out, RESOURCE_VERSION);
    out.extend_from_slice(b"\"\"");
    out.len() - 1
}

fn write_key(out: &mut Vec<u8>, key: &str) {
    serde_json::to_writer(&mut *out, key).expect("a string is JSON");
    out.push(b':');
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(&mut *out, value).expect("a JSON value is JSON");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_slot_is_where_the_version_goes() {
        let check = |value: Value| {
            let object = Object::from_value(value).unwrap();
            let encoded = encode(&object);
            let mut bytes = encoded.bytes.to_vec();
            bytes.splice(encoded.slot..encoded.slot, *b"42");
            let mut expected = object;
            expected.set(&["metadata", "resourceVersion"], "42");
            assert_eq!(
                std::str::from_utf8(&bytes).unwrap(),
                serde_json::to_string(&expected.0).unwrap()
            );
        };
        check(
            json!({"kind": "Pod", "metadata": {"name": "a", "uid": "u", "resourceVersion": "7"}, "spec": {"x": "\"é"}}),
        );
        check(json!({"kind": "Pod", "metadata": {"name": "a", "uid": "u"}}));
        check(json!({"kind": "Pod", "metadata": {"name": "a"}}));
        check(json!({"kind": "Pod", "metadata": {"uid": "a"}}));
        check(json!({"kind": "Pod", "metadata": {}}));
        check(json!({"kind": "Pod"}));
        check(json!({}));
    }
}
