//! OpenAPI v2 in protobuf, the encoding in which kubectl asks for it: the messages of `openapi.v2`.
//!
//! Maps are lists of named values there, what may be one of several things is wrapped once more, and extensions are YAML
//! (of which JSON is a part).

use serde_json::{Map, Value};

/// A message being written.
#[derive(Default)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push((number & 0x7f) as u8);
    }

    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    pub(super) fn text(&mut self, field: u32, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u32, value: Option<&Value>) {
        for text in value.and_then(Value::as_array).into_iter().flatten() {
            self.bytes(field, text.as_str().unwrap_or_default().as_bytes());
        }
    }

    fn flag(&mut self, field: u32, value: Option<&Value>) {
        if value.and_then(Value::as_bool) == Some(true) {
            self.varint(u64::from(field) << 3);
            self.varint(1);
        }
    }

    /// Any value, as YAML.
    fn any(&mut self, field: u32, value: &Value) {
        self.message(field, |any| any.bytes(2, value.to_string().as_bytes()));
    }

    /// Whatever begins with `x-`.
    fn extensions(&mut self, field: u32, object: &Map<String, Value>) {
        for (name, value) in object.iter().filter(|(name, _)| name.starts_with("x-")) {
            self.message(field, |named| {
                named.bytes(1, name.as_bytes());
                named.any(2, value);
            });
        }
    }

    fn named(&mut self, field: u32, name: &str, write: impl FnOnce(&mut Self)) {
        self.message(field, |named| {
            named.bytes(1, name.as_bytes());
            named.message(2, write);
        });
    }
}

/// A document without paths and definitions: what comes first.
pub(super) fn head(title: &str, version: &str) -> Message {
    let mut document = Message::default();
    document.bytes(1, b"2.0");
    document.message(2, |info| {
        info.bytes(1, title.as_bytes());
        info.bytes(2, version.as_bytes());
    });
    document
}

/// Adds a path to `Paths`.
pub(super) fn path(paths: &mut Message, name: &str, item: &Value) {
    const METHODS: [(&str, u32); 5] =
        [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)];
    paths.named(2, name, |path| {
        for (method, field) in METHODS {
            if let Some(Value::Object(written)) = item.get(method) {
                path.message(field, |out| operation(out, written));
            }
        }
        parameters(path, 9, item.get("parameters"));
    });
}

/// Adds a definition to `Definitions`.
pub(super) fn definition(definitions: &mut Message, name: &str, value: &Value) {
    definitions.named(1, name, |out| schema(out, value));
}

fn operation(out: &mut Message, written: &Map<String, Value>) {
    out.texts(1, written.get("tags"));
    out.text(3, written.get("description"));
    out.text(5, written.get("operationId"));
    out.texts(6, written.get("produces"));
    out.texts(7, written.get("consumes"));
    parameters(out, 8, written.get("parameters"));
    out.message(9, |responses| {
        for (code, answer) in
            written.get("responses").and_then(Value::as_object).into_iter().flatten()
        {
            responses.named(1, code, |one| {
                one.message(1, |response| {
                    response.text(1, answer.get("description"));
                    if let Some(value) = answer.get("schema") {
                        response.message(2, |item| item.message(1, |out| schema(out, value)));
                    }
                });
            });
        }
    });
    out.extensions(13, written);
}

fn parameters(out: &mut Message, field: u32, list: Option<&Value>) {
    for parameter in list.and_then(Value::as_array).into_iter().flatten() {
        let place = parameter["in"].as_str().unwrap_or_default();
        out.message(field, |item| {
            item.message(1, |wrapped| match place {
                "body" => wrapped.message(1, |body| {
                    body.text(2, parameter.get("name"));
                    body.text(3, parameter.get("in"));
                    body.flag(4, parameter.get("required"));
                    body.message(5, |out| schema(out, &parameter["schema"]));
                }),
                // A parameter of the path has no field `allowEmptyValue`, so the later numbers are one less.
                _ => wrapped.message(2, |plain| {
                    let (kind, shift) = if place == "path" { (4, 1) } else { (3, 0) };
                    plain.message(kind, |out| {
                        out.flag(1, parameter.get("required"));
                        out.text(2, parameter.get("in"));
                        out.text(3, parameter.get("description"));
                        out.text(4, parameter.get("name"));
                        out.text(6 - shift, parameter.get("type"));
                        out.flag(20 - shift, parameter.get("uniqueItems"));
                    });
                }),
            });
        });
    }
}

fn schema(out: &mut Message, value: &Value) {
    out.text(1, value.get("$ref"));
    out.text(2, value.get("format"));
    out.text(4, value.get("description"));
    out.texts(19, value.get("required"));
    for one in value.get("enum").and_then(Value::as_array).into_iter().flatten() {
        out.any(20, one);
    }
    if let Some(inner) = value.get("additionalProperties") {
        out.message(21, |item| item.message(1, |out| schema(out, inner)));
    }
    if let Some(kind) = value.get("type") {
        out.message(22, |item| item.text(1, Some(kind)));
    }
    if let Some(inner) = value.get("items") {
        out.message(23, |item| item.message(1, |out| schema(out, inner)));
    }
    if let Some(properties) = value.get("properties").and_then(Value::as_object) {
        out.message(25, |all| {
            for (name, property) in properties {
                all.named(1, name, |out| schema(out, property));
            }
        });
    }
    if let Some(object) = value.as_object() {
        out.extensions(31, object);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_written_as_gnostic_reads_it() {
        let mut out = Message::default();
        schema(&mut out, &json!({"type": "string", "x-a": 1}));
        // TypeItem in 22; NamedAny in 31 with the name and an Any whose yaml is "1".
        let expected = b"\xb2\x01\x08\x0a\x06string\xfa\x01\x0a\x0a\x03x-a\x12\x03\x12\x011";
        assert_eq!(out.0, expected);
        let mut out = Message::default();
        out.bytes(1, &[0; 300]);
        assert_eq!(out.0[..3], [0x0a, 0xac, 0x02]);
    }
}
