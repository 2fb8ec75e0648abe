//! JSON as Go's encoding/json writes it, which is what `kubectl get -o json` prints.
//!
//! It differs from serde_json's in floats (`1e+21`) and in escaping `<`, `>`, `&`, U+2028 and U+2029. Four spaces
//! indent the pretty form. On the wire plain serde_json does; this is for what people compare and scripts parse.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{
    Serializer, Value,
    ser::{CompactFormatter, Formatter, PrettyFormatter},
};

use crate::number::format_json_float;

/// The compact form, without a line break.
#[must_use]
pub fn to_string(value: &Value) -> String {
    write(value, CompactFormatter)
}

/// The form of `kubectl -o json`, without a final line break.
#[must_use]
pub fn to_string_pretty(value: &Value) -> String {
    write(value, PrettyFormatter::with_indent(b"    "))
}

fn write(value: &Value, inner: impl Formatter) -> String {
    let mut serializer = Serializer::with_formatter(Vec::new(), GoFormatter(inner));
    value.serialize(&mut serializer).expect("a JSON value always serializes into memory");
    String::from_utf8(serializer.into_inner()).expect("serde_json writes UTF-8")
}

/// Another formatter's layout with Go's floats and escapes.
struct GoFormatter<F>(F);

impl<F: Formatter> Formatter for GoFormatter<F> {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(format_json_float(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(i) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (head, tail) = rest.split_at(i);
            let c = tail.chars().next().expect("found one here");
            write!(writer, "{head}\\u{:04x}", c as u32)?;
            rest = &tail[c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(w, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(w, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_gos() {
        let value =
            json!({"b": [1, 1e21, 1e-7, 2.5], "a": "<&>\u{2028}\n\"é\u{1}", "e": {}, "l": []});
        assert_eq!(
            to_string(&value),
            r#"{"a":"\u003c\u0026\u003e\u2028\n\"é\u0001","b":[1,1e+21,1e-7,2.5],"e":{},"l":[]}"#
        );
        assert_eq!(
            to_string_pretty(&json!({"a": {"b": [1]}, "e": {}, "l": []})),
            "{\n    \"a\": {\n        \"b\": [\n            1\n        ]\n    },\n    \"e\": {},\n    \"l\": []\n}"
        );
        assert_eq!(serde_json::from_str::<Value>(&to_string(&value)).unwrap(), value);
    }
}
