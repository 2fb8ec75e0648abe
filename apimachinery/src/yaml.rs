//! YAML as Kubernetes reads and prints it: sigs.k8s.io/yaml on goyaml v2.
//!
//! Reading goes through saphyr-parser's events, so that every error knows file, line and column; scalars follow
//! goyaml's rules ([`resolve`]), which are neither YAML 1.1 nor 1.2: `0644` and `0o644` are octal, `yes` and `on` are
//! booleans, `1e3` becomes the integer 1000, timestamps stay text. Aliases and merges (`<<`) are expanded, within
//! bounds. Repeated keys are refused by [`read`], and by [`read_forgiving`] the last one counts, as for kubectl. JSON (one value or a stream of them) is read as JSON.
//!
//! Printing ([`emit`]) gives byte for byte what `kubectl get -o yaml` prints: libyaml's emitter with goyaml's choice of
//! styles. A test compares both directions with a real kubectl where there is one.

use std::fmt;

use serde_json::Value;

mod emit;
mod json;
mod read;
mod resolve;
mod scalar;

pub use emit::emit;

/// One document of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The content, as JSON.
    pub value: Value,
    /// The line of the stream where the content starts, from 1.
    pub line: usize,
}

/// Why a text cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// The name of the source, as given to [`read`].
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// Whether the text is well-formed and only its content is refused.
    pub content: bool,
}

impl YamlError {
    /// The message as sigs.k8s.io/yaml words it, with a line but without file and column.
    #[must_use]
    pub fn go_message(&self) -> String {
        if self.content {
            format!("yaml: unmarshal errors:\n  line {}: {}", self.line, self.message)
        } else {
            format!("yaml: line {}: {}", self.line, self.message)
        }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl std::error::Error for YamlError {}

/// Reads all documents of a YAML or JSON text; empty ones are left out, as kubectl does.
///
/// `source` names the text in errors.
///
/// # Errors
/// The first thing that is wrong.
pub fn read(text: &str, source: &str) -> Result<Vec<Document>, YamlError> {
    read_with(text, source, Repeated::Refused)
}

/// [`read`] for those who take the last of a map's repeated keys.
///
/// # Errors
/// The first thing that is wrong.
pub fn read_forgiving(text: &str, source: &str) -> Result<Vec<Document>, YamlError> {
    read_with(text, source, Repeated::LastWins)
}

/// What becomes of a key that a map has twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeated {
    Refused,
    LastWins,
}

fn read_with(text: &str, source: &str, repeated: Repeated) -> Result<Vec<Document>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let result = if json::looks_like_json(text) {
        // A flow mapping also begins with a brace, so YAML has the last word unless the text is clearly JSON.
        json::read(text, repeated).or_else(|json_error| {
            read::read(text, repeated)
                .map_err(|e| if json::is_clearly_json(text) { json_error } else { e })
        })
    } else {
        read::read(text, repeated)
    };
    result.map_err(|e| YamlError { file: source.to_owned(), ..e })
}

/// An error without its file, which [`read`] adds.
fn error(line: usize, column: usize, message: impl Into<String>) -> YamlError {
    YamlError { file: String::new(), line, column, message: message.into(), content: false }
}

#[cfg(test)]
mod tests;
