//! An object as it is stored: its JSON, with the place where the writer puts the resourceVersion.
//!
//! Keys come sorted, as `serde_json`'s map keeps them, so equal objects have equal bytes. The metadata's
//! `resourceVersion` is written empty whatever it holds; the offset between its quotes is the *slot* that the storage's
//! writer fills in with the revision of the transaction ([`crate::storage::Put::slot`]).

use apimachinery::object::Object;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::field_manager::Owners;

/// An object's bytes and the offset of its resourceVersion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) slot: usize,
}

const MANAGED_FIELDS: &str = "managedFields";
const RESOURCE_VERSION: &str = "resourceVersion";

/// Serializes an object once, for ever; with these owners, where they are not in it.
pub(crate) fn encode(object: &Object, owners: Option<&Owners>) -> Encoded {
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
                slot = Some(write_metadata(&mut out, metadata, owners));
            }
            _ => write_value(&mut out, value),
        }
    }
    let slot = slot.unwrap_or_else(|| {
        if out.len() > 1 {
            out.push(b',');
        }
        write_key(&mut out, "metadata");
        write_metadata(&mut out, &Map::new(), owners)
    });
    out.push(b'}');
    Encoded { bytes: out.into(), slot }
}

fn write_metadata(
    out: &mut Vec<u8>,
    metadata: &Map<String, Value>,
    mut owners: Option<&Owners>,
) -> usize {
    let mut slot = None;
    out.push(b'{');
    for (key, value) in metadata {
        if let Some(owners) = owners.take_if(|_| key.as_str() >= MANAGED_FIELDS) {
            write_owners(out, owners);
        }
        if slot.is_none() && key.as_str() >= RESOURCE_VERSION {
            slot = Some(write_slot(out));
        }
        if key != RESOURCE_VERSION {
            write_name(out, key);
            write_value(out, value);
        }
    }
    if let Some(owners) = owners {
        write_owners(out, owners);
    }
    let slot = slot.unwrap_or_else(|| write_slot(out));
    out.push(b'}');
    slot
}

fn write_owners(out: &mut Vec<u8>, owners: &Owners) {
    write_name(out, MANAGED_FIELDS);
    out.extend_from_slice(owners.0.as_bytes());
}

fn write_slot(out: &mut Vec<u8>) -> usize {
    write_name(out, RESOURCE_VERSION);
    out.extend_from_slice(b"\"\"");
    out.len() - 1
}

/// A key, after a comma where it is not the first.
fn write_name(out: &mut Vec<u8>, key: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    write_key(out, key);
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
            let encoded = encode(&object, None);
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
    #[test]
    fn owners_beside_the_object_are_written_where_they_belong() {
        for metadata in [
            json!({"labels": {"a": "b"}, "name": "a", "uid": "u"}),
            json!({"name": "a"}),
            json!({"annotations": {}}),
            json!({}),
        ] {
            let mut object =
                Object::from_value(json!({"kind": "Pod", "metadata": metadata})).unwrap();
            let owners = Owners(r#"[{"manager":"m"}]"#.to_owned());
            let beside = encode(&object, Some(&owners));
            object.metadata_mut().insert("managedFields".into(), json!([{"manager": "m"}]));
            assert_eq!(beside, encode(&object, None));
        }
    }
}
