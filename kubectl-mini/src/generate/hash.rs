//! The name suffixes of `--append-hash`: of the content, so that a changed ConfigMap or Secret gets a new name.

use apimachinery::json;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

/// The suffix of a ConfigMap.
#[must_use]
pub fn config_map(name: &str, data: &Map<String, Value>, binary: &Map<String, Value>) -> String {
    let mut content = Map::new();
    content.insert("kind".to_owned(), "ConfigMap".into());
    content.insert("name".to_owned(), name.into());
    content.insert("data".to_owned(), map_or_text(data));
    if !binary.is_empty() {
        content.insert("binaryData".to_owned(), binary.clone().into());
    }
    encode(&content.into())
}

/// The suffix of a Secret.
#[must_use]
pub fn secret(name: &str, secret_type: &str, data: &Map<String, Value>) -> String {
    let mut content = Map::new();
    content.insert("kind".to_owned(), "Secret".into());
    content.insert("type".to_owned(), secret_type.into());
    content.insert("name".to_owned(), name.into());
    content.insert("data".to_owned(), map_or_text(data));
    encode(&content.into())
}

/// kubectl hashes an empty text where there is no data.
fn map_or_text(data: &Map<String, Value>) -> Value {
    if data.is_empty() { "".into() } else { data.clone().into() }
}

/// Ten characters of the SHA-256, without those that make words.
fn encode(content: &Value) -> String {
    let hash = digest(&SHA256, json::to_string(content).as_bytes());
    let hex: String = hash.as_ref().iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    hex.chars()
        .map(|digit| match digit {
            '0' => 'g',
            '1' => 'h',
            '3' => 'k',
            'a' => 'm',
            'e' => 't',
            other => other,
        })
        .collect()
}
