//! From parser events to JSON values.
//!
//! A stack of open lists and maps takes the events one by one, so deep nesting costs no call stack; [`MAX_DEPTH`] keeps
//! the result as deep as the JSON reader allows. Anchored values are remembered and copied at each alias, counting
//! what is copied, so that a small text cannot grow without bound.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::{
    Document, Repeated, YamlError, error,
    resolve::{Scalar, resolve},
};
use crate::{field::go_quote, number::format_float32};

/// Deepest nesting of lists and maps: what serde_json takes, too.
const MAX_DEPTH: usize = 127;
/// Most values that all aliases of a stream together may copy.
const MAX_ALIASED: usize = 200_000;
/// Most lines that [`read`] changes, and most bytes that it reads again for it.
const MAX_REPAIRS: usize = 500;
const MAX_REREAD: usize = 16 << 20;
const CORE: &str = "tag:yaml.org,2002:";

struct Reader {
    repeated: Repeated,
    stack: Vec<Open>,
    anchors: HashMap<usize, Value>,
    aliased: usize,
    /// The finished root of the current document.
    root: Option<Value>,
    document_line: usize,
}

/// A list or a map that is not finished.
struct Open {
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    Map(OpenMap),
}

#[derive(Default)]
struct OpenMap {
    map: Map<String, Value>,
    /// Keys that a merge brought; explicit ones that follow replace them.
    merged: HashSet<String>,
    key: Option<Key>,
}

enum Key {
    Text(String),
    Merge,
}

/// A finished value and how it may serve as a key.
struct Node {
    value: Value,
    /// The key's text; an error for what cannot be a key.
    key: Result<Key, String>,
}

/// Reads a stream, forgiving what goyaml forgives and saphyr-parser does not: lines of a flow collection that are
/// indented too little (`args: [` … `]` below `args`), and a tab behind a key's colon.
///
/// Neither means anything, so such a line is indented, or its tabs made spaces, and the whole read again.
pub(super) fn read(text: &str, repeated: Repeated) -> Result<Vec<Document>, YamlError> {
    let mut first = match parse(text, repeated) {
        Err(e) if is_repairable(&e) => e,
        result => return result,
    };
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let depth = |line: &String| line.len() - line.trim_start().len();
    // Deeper than any indentation in force; lines that are nearly all blanks are not indentation.
    let deepest = lines.iter().map(depth).max().unwrap_or(0).min(1000) + 1;
    let mut indented = HashSet::new();
    let size = text.len() + deepest;
    for _ in 0..MAX_REPAIRS.min(MAX_REREAD / size) {
        let column = first.column.saturating_sub(1);
        let Some(line) = lines.get_mut(first.line.saturating_sub(1)) else { break };
        if first.message == TAB {
            let end = line.char_indices().nth(column).map_or(line.len(), |(i, _)| i);
            let start = line[..end].trim_end_matches([' ', '\t']).len();
            let blanks = " ".repeat(end - start);
            line.replace_range(start..end, &blanks);
        } else if line.chars().take(column).all(char::is_whitespace) && indented.insert(first.line)
        {
            line.insert_str(0, &" ".repeat(deepest));
        } else {
            break;
        }
        match parse(&lines.join("\n"), repeated) {
            Err(e) if is_repairable(&e) => first = e,
            Err(e) if indented.contains(&e.line) => {
                return Err(YamlError { column: e.column.saturating_sub(deepest).max(1), ..e });
            }
            result => return result,
        }
    }
    Err(first)
}

const TAB: &str = "':' must be followed by a valid YAML whitespace";

fn is_repairable(e: &YamlError) -> bool {
    let indentation = ["invalid indentation", "invalid indentation in flow construct"];
    e.message == TAB || indentation.contains(&e.message.as_str())
}

fn parse(text: &str, repeated: Repeated) -> Result<Vec<Document>, YamlError> {
    let mut parser = Parser::new_from_str(text);
    let mut reader = Reader {
        repeated,
        stack: Vec::new(),
        anchors: HashMap::new(),
        aliased: 0,
        root: None,
        document_line: 1,
    };
    let mut documents = Vec::new();
    while let Some((event, span)) = next(&mut parser)? {
        match event {
            Event::DocumentStart(_) => {
                reader.anchors.clear();
                reader.root = None;
                reader.document_line = 0;
            }
            Event::DocumentEnd => {
                let value = reader.root.take().unwrap_or_default();
                if !value.is_null() {
                    documents.push(Document { value, line: reader.document_line });
                }
            }
            event => reader
                .take(event, span)
                .map_err(|e| e.located(span.start.line(), span.start.col() + 1))?,
        }
    }
    Ok(documents)
}

fn next<'a>(parser: &mut Parser<'a, StrInput<'a>>) -> Result<Option<(Event<'a>, Span)>, YamlError> {
    parser.next_event().transpose().map_err(|e| {
        let mark = e.marker();
        error(mark.line(), mark.col() + 1, e.info())
    })
}

/// A mistake whose place the caller knows.
enum Mistake {
    /// The text makes no sense.
    Syntax(String),
    /// The text is YAML, but its content is refused.
    Content(String),
}

impl Mistake {
    fn located(self, line: usize, column: usize) -> YamlError {
        match self {
            Self::Syntax(message) => error(line, column, message),
            Self::Content(message) => YamlError { content: true, ..error(line, column, message) },
        }
    }
}

fn content<T>(message: impl Into<String>) -> Result<T, Mistake> {
    Err(Mistake::Content(message.into()))
}

impl Reader {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Mistake> {
        if self.document_line == 0 {
            self.document_line = span.start.line();
        }
        match event {
            Event::SequenceStart(anchor, _) => self.open(anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.open(anchor, Content::Map(OpenMap::default())),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.stack.pop() else {
                    return Err(Mistake::Syntax("unexpected end of a collection".to_owned()));
                };
                let value = match open.content {
                    Content::List(list) => Value::Array(list),
                    Content::Map(map) => Value::Object(map.map),
                };
                let key = Err(format!("invalid map key: {value}"));
                self.finish(open.anchor, Node { value, key })
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = scalar(&text, style == ScalarStyle::Plain, tag.as_deref())?;
                self.finish(anchor, node)
            }
            Event::Alias(anchor) => {
                let Some(value) = self.anchors.get(&anchor) else {
                    return content("anchor value contains itself");
                };
                let (size, depth) = measure(value);
                self.aliased += size;
                if self.aliased > MAX_ALIASED {
                    return content("document contains excessive aliasing");
                }
                if self.stack.len() + depth > MAX_DEPTH {
                    return too_deep();
                }
                let value = value.clone();
                let key = match &value {
                    Value::String(text) => Ok(Key::Text(text.clone())),
                    Value::Bool(_) | Value::Number(_) => Ok(Key::Text(value.to_string())),
                    other => Err(format!("invalid map key: {other}")),
                };
                self.finish(0, Node { value, key })
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, anchor: usize, content: Content) -> Result<(), Mistake> {
        if self.stack.len() >= MAX_DEPTH {
            return too_deep();
        }
        self.stack.push(Open { anchor, content });
        Ok(())
    }

    /// Hands a finished value to whoever is open.
    fn finish(&mut self, anchor: usize, node: Node) -> Result<(), Mistake> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.value.clone());
        }
        match self.stack.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node.value),
            Some(Content::List(list)) => list.push(node.value),
            Some(Content::Map(map)) => match map.key.take() {
                None => map.key = Some(node.key.map_err(Mistake::Content)?),
                Some(Key::Text(key)) => map.insert(key, node.value, self.repeated)?,
                Some(Key::Merge) => map.merge(node.value)?,
            },
        }
        Ok(())
    }
}

fn too_deep<T>() -> Result<T, Mistake> {
    content(format!("exceeded max depth of {MAX_DEPTH}"))
}

impl OpenMap {
    fn insert(&mut self, key: String, value: Value, repeated: Repeated) -> Result<(), Mistake> {
        let known = self.map.contains_key(&key) && !self.merged.remove(&key);
        if known && repeated == Repeated::Refused {
            return content(format!("key {} already set in map", go_quote(&key)));
        }
        self.map.insert(key, value);
        Ok(())
    }

    /// Adds the entries of a map, or of a list of maps of which the first wins. As in goyaml v2, and unlike in the
    /// definition of `<<`, the place decides: explicit keys win only where they follow.
    fn merge(&mut self, value: Value) -> Result<(), Mistake> {
        let refuse = || content("map merge requires map or sequence of maps as the value");
        let maps = match value {
            Value::Object(map) => vec![map],
            Value::Array(list) => {
                let mut maps = Vec::with_capacity(list.len());
                for item in list {
                    let Value::Object(map) = item else { return refuse() };
                    maps.push(map);
                }
                maps
            }
            _ => return refuse(),
        };
        for (key, value) in maps.into_iter().rev().flatten() {
            self.merged.insert(key.clone());
            self.map.insert(key, value);
        }
        Ok(())
    }
}

/// Number of values and depth of nesting.
fn measure(value: &Value) -> (usize, usize) {
    let of = |children: &mut dyn Iterator<Item = &Value>| {
        children.map(measure).fold((1, 0), |(n, d), (size, depth)| (n + size, d.max(depth)))
    };
    match value {
        Value::Array(list) => {
            let (size, depth) = of(&mut list.iter());
            (size, depth + 1)
        }
        Value::Object(map) => {
            let (size, depth) = of(&mut map.values());
            (size, depth + 1)
        }
        _ => (1, 0),
    }
}

fn scalar(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Node, Mistake> {
    let core = tag.filter(|t| t.handle == CORE || t.handle == "!!").map(|t| t.suffix.as_str());
    let resolved = match (tag, core) {
        (None, _) if plain => resolve(text),
        (_, Some("binary")) => return binary(text),
        (_, Some(wanted @ ("int" | "float" | "bool" | "null" | "timestamp"))) => {
            tagged(text, wanted)?
        }
        (_, Some("merge")) if text == "<<" => Scalar::Merge,
        _ => Scalar::Str,
    };
    let value = resolved.to_json(text).map_err(Mistake::Syntax)?;
    let key = match resolved {
        Scalar::Merge => Ok(Key::Merge),
        Scalar::Null => Err("unsupported map key of type: null".to_owned()),
        Scalar::Uint(_) => Err(format!("unsupported map key of type: uint64, key: {text}")),
        Scalar::Float(number) => Ok(Key::Text(format_float32(number as f32))),
        Scalar::Bool(_) | Scalar::Int(_) => Ok(Key::Text(value.to_string())),
        Scalar::Timestamp | Scalar::Str => Ok(Key::Text(text.to_owned())),
    };
    Ok(Node { value, key })
}

/// A scalar that its tag wants to be something else than a string.
fn tagged(text: &str, wanted: &str) -> Result<Scalar, Mistake> {
    let resolved = resolve(text);
    let found = resolved.tag();
    match (resolved, wanted) {
        (Scalar::Int(value), "float") => Ok(Scalar::Float(value as f64)),
        _ if found.strip_prefix("!!") == Some(wanted) => Ok(resolved),
        _ => Err(Mistake::Syntax(format!("cannot decode {found} `{text}` as a !!{wanted}"))),
    }
}

fn binary(text: &str) -> Result<Node, Mistake> {
    let compact: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(compact)
        .map_err(|_| Mistake::Syntax("!!binary value contains invalid base64 data".to_owned()))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Node { key: Ok(Key::Text(text.clone())), value: text.into() })
}
