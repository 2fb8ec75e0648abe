//! Why a manifest cannot be read, in the words of kubectl's decoders.
//!
//! A text that begins with a brace is JSON first for kubectl, and its error is encoding/json's; any other is YAML, whose
//! errors are goyaml's. Ours come from another parser: [`yaml_error`] words them anew.

use apimachinery::yaml::YamlError;
use serde_json::Value;

/// What follows `error parsing FILE: `.
pub(super) fn explain(text: &str, error: &YamlError) -> String {
    if text.trim_start().starts_with('{')
        && let Some(told) = json_error(text)
    {
        return told;
    }
    if let Some(separator) = bad_separator(text) {
        return format!("invalid Yaml document separator: {separator}");
    }
    format!("error converting YAML to JSON: {}", yaml_error(text, error))
}

/// What kubectl asks of an object before it sends it, where it validates.
pub(crate) fn check_object(value: Option<&Value>) -> Result<(), String> {
    let Some(Value::Object(fields)) = value else {
        return Err("invalid object to validate".to_owned());
    };
    let absent = |key: &str| {
        let value = fields.get(key).and_then(Value::as_str).unwrap_or_default();
        value.is_empty().then(|| format!("{key} not set"))
    };
    let absent: Vec<String> = ["apiVersion", "kind"].into_iter().filter_map(absent).collect();
    match absent.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

/// What stands behind dashes that separate documents, where nothing may.
pub(super) fn bad_separator(text: &str) -> Option<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("---"))
        .map(str::trim)
        .find(|rest| !rest.is_empty() && !rest.starts_with('#'))
}

/// Phrases of our parser, and goyaml's for the same.
const PHRASES: &[(&str, &str)] = &[
    ("tabs disallowed within this context", "found character that cannot start any token"),
    ("unexpected character: `", "found character that cannot start any token"),
    ("simple key expect ':'", "could not find expected ':'"),
];

/// goyaml does not say what it was parsing. It counts lines from 0 where the parser fails, not where the scanner does,
/// and does not tell the first.
fn yaml_error(text: &str, error: &YamlError) -> String {
    if error.content {
        return if error.message.contains("!!binary") {
            format!("yaml: {}", error.message)
        } else {
            error.go_message()
        };
    }
    let after = |context: &str| {
        let told = error.message.strip_prefix(context)?.split_once(", ")?;
        Some(told.1)
    };
    if error.message.contains("found unknown anchor") {
        return format!("yaml: unknown anchor '{}' referenced", anchor_at(text, error));
    }
    let phrase = PHRASES.iter().find(|(ours, _)| error.message.contains(ours));
    let (problem, line) = match (after("while parsing"), phrase) {
        (Some(problem), None) => (problem, error.line - 1),
        (_, Some((_, problem))) => (*problem, error.line),
        (None, None) => (after("while scanning").unwrap_or(&error.message), error.line),
    };
    // The scanner is then at the end of the text.
    let line = if problem.contains("unexpected end of stream") {
        text.matches('\n').count() + 1
    } else {
        line
    };
    let scanned = after("while parsing").is_none();
    if line == 0 || (line == 1 && scanned && !problem.contains("end of stream")) {
        format!("yaml: {problem}")
    } else {
        format!("yaml: line {line}: {problem}")
    }
}

fn anchor_at<'a>(text: &'a str, error: &YamlError) -> &'a str {
    let line = text.lines().nth(error.line.saturating_sub(1)).unwrap_or_default();
    let rest = line.split_once('*').map_or("", |(_, rest)| rest);
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
    &rest[..end.unwrap_or(rest.len())]
}

/// encoding/json's error about the first value of a text; `None`: that value is good.
fn json_error(text: &str) -> Option<String> {
    let mut scanner = Scanner { text: text.as_bytes(), at: 0 };
    match scanner.value() {
        Ok(()) => None,
        Err(Failure::End) => Some("unexpected EOF".to_owned()),
        Err(Failure::At(context)) => {
            let rest = &text[scanner.at..];
            let c = rest.chars().next().unwrap_or('\u{FFFD}');
            let quoted = match c {
                '\'' => "'\\''".to_owned(),
                '"' => "'\"'".to_owned(),
                c => {
                    let quoted = apimachinery::field::go_quote(&c.to_string());
                    format!("'{}'", &quoted[1..quoted.len() - 1])
                }
            };
            let offset = scanner.at + 1;
            Some(format!("json: offset {offset}: invalid character {quoted} {context}"))
        }
    }
}

enum Failure {
    /// The text ends in the midst of the value.
    End,
    /// The character at hand fits nothing.
    At(String),
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Result<u8, Failure> {
        self.text.get(self.at).copied().ok_or(Failure::End)
    }

    /// The next byte that is no white space.
    fn next_word(&mut self) -> Result<u8, Failure> {
        while matches!(self.peek()?, b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        self.peek()
    }

    fn fail<T>(context: &str) -> Result<T, Failure> {
        Err(Failure::At(context.to_owned()))
    }

    fn value(&mut self) -> Result<(), Failure> {
        match self.next_word()? {
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Self::fail("looking for beginning of value"),
        }
    }

    fn object(&mut self) -> Result<(), Failure> {
        self.at += 1;
        if self.next_word()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.next_word()? != b'"' {
                return Self::fail("looking for beginning of object key string");
            }
            self.string()?;
            if self.next_word()? != b':' {
                return Self::fail("after object key");
            }
            self.at += 1;
            self.value()?;
            match self.next_word()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Self::fail("after object key:value pair"),
            }
        }
    }

    fn array(&mut self) -> Result<(), Failure> {
        self.at += 1;
        if self.next_word()? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value()?;
            match self.next_word()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Self::fail("after array element"),
            }
        }
    }

    fn string(&mut self) -> Result<(), Failure> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    match self.peek()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        b'u' => {
                            self.at += 1;
                            for _ in 0..4 {
                                if !self.peek()?.is_ascii_hexdigit() {
                                    return Self::fail("in \\u hexadecimal character escape");
                                }
                                self.at += 1;
                            }
                        }
                        _ => return Self::fail("in string escape code"),
                    }
                }
                0..=0x1f => return Self::fail("in string literal"),
                _ => self.at += 1,
            }
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), Failure> {
        for expected in word.bytes() {
            if self.peek()? != expected {
                let context = format!("in literal {word} (expecting '{}')", char::from(expected));
                return Err(Failure::At(context));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Failure> {
        if self.peek()? == b'-' {
            self.at += 1;
            if !self.peek()?.is_ascii_digit() {
                return Self::fail("in numeric literal");
            }
        }
        let zero = self.peek()? == b'0';
        self.at += 1;
        if !zero {
            self.digits();
        }
        if self.peek().is_ok_and(|c| c == b'.') {
            self.at += 1;
            if !self.peek()?.is_ascii_digit() {
                return Self::fail("after decimal point in numeric literal");
            }
            self.digits();
        }
        if self.peek().is_ok_and(|c| matches!(c, b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek()?, b'+' | b'-') {
                self.at += 1;
            }
            if !self.peek()?.is_ascii_digit() {
                return Self::fail("in exponent of numeric literal");
            }
            self.digits();
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_ok_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::yaml;

    use super::*;

    #[test]
    fn errors_are_those_of_kubectls_decoders() {
        let check = |text: &str, expected: &str| {
            let error = yaml::read(text, "").unwrap_err();
            assert_eq!(explain(text, &error), expected, "{text}");
        };
        let yaml = |told: &str| format!("error converting YAML to JSON: yaml: {told}");
        check("a: b: c\n", &yaml("mapping values are not allowed in this context"));
        check("a: x\nb: b: c\n", &yaml("line 2: mapping values are not allowed in this context"));
        check("a: 1\nb:\n\tc: x\n", &yaml("line 3: found character that cannot start any token"));
        check("a: 1\nb: \"x\n", &yaml("line 3: found unexpected end of stream"));
        check("a: *x\n", &yaml("unknown anchor 'x' referenced"));
        check("a: 1\nb: {a: @x}\n", &yaml("line 2: found character that cannot start any token"));
        check(
            "{\"a\": \"1\" \"b\": 2}\n",
            "json: offset 11: invalid character '\"' after object key:value pair",
        );
        check(
            "{a: b\n",
            "json: offset 2: invalid character 'a' looking for beginning of object key string",
        );
        check(
            "{,}\n",
            "json: offset 2: invalid character ',' looking for beginning of object key string",
        );
        check("{\"a\": \"\\q\"}\n", "json: offset 9: invalid character 'q' in string escape code");
        check("{\"a\": 1", "unexpected EOF");
        check("{\"a\": [\"1\" 2]}\n", "json: offset 12: invalid character '2' after array element");
        check(
            "{\"a\": {\"b\": tru]}\n",
            "json: offset 16: invalid character ']' in literal true (expecting 'e')",
        );
    }

    #[test]
    fn objects_say_what_they_are() {
        let check = |value: serde_json::Value, expected: Result<(), &str>| {
            assert_eq!(check_object(Some(&value)), expected.map_err(ToOwned::to_owned));
        };
        check(serde_json::json!({ "apiVersion": "v1", "kind": "A" }), Ok(()));
        check(serde_json::json!({ "apiVersion": "v1" }), Err("kind not set"));
        check(serde_json::json!({}), Err("[apiVersion not set, kind not set]"));
        check(serde_json::json!([1]), Err("invalid object to validate"));
    }

    #[test]
    fn separators_stand_alone() {
        assert_eq!(bad_separator("a: b\n--- x\n"), Some("x"));
        assert_eq!(bad_separator("a: b\n---\n--- # next\n---\t\nc: d\n"), None);
    }
}
