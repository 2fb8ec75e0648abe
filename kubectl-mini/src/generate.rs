//! The objects that `create`, `run` and `expose` make from flags: pure functions from options to JSON.
//!
//! Each generator gives exactly the object that kubectl makes of the same flags, with the members that Go prints even
//! when they are empty (`creationTimestamp: null`, `resources: {}`, `status: {}`), because `--dry-run=client -o yaml`
//! shows them. Errors are kubectl's sentences. Files are read in [`sources`] and nowhere else.

pub mod config_map;
pub mod deployment;
pub mod disruption_budget;
pub mod go_order;
pub mod hash;
pub mod ingress;
pub mod pod;
pub mod rbac;
pub mod secret;
pub mod selector;
pub mod service;
pub mod simple;
pub mod sources;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
};

use apimachinery::object::Object;
use serde_json::{Map, Value, json};

/// Why no object can be made, in kubectl's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GenerateError(pub String);

/// A generated object.
pub type Generated = Result<Object, GenerateError>;

fn error<T>(message: impl Into<String>) -> Result<T, GenerateError> {
    Err(GenerateError(message.into()))
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(map) => Object(map),
        _ => Object::default(),
    }
}

/// `metadata` as Go prints it: with its empty creationTimestamp.
fn metadata(name: &str, labels: &BTreeMap<String, String>) -> Value {
    let mut metadata = Map::new();
    metadata.insert("creationTimestamp".to_owned(), Value::Null);
    metadata.insert("name".to_owned(), name.into());
    if !labels.is_empty() {
        metadata.insert("labels".to_owned(), json!(labels));
    }
    Value::Object(metadata)
}

fn app_labels(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), name.to_owned())])
}

/// Reads `a=b,c=d`.
///
/// # Errors
/// When a pair has no key or no equal sign, or a key stands twice.
pub fn parse_labels(spec: &str) -> Result<BTreeMap<String, String>, GenerateError> {
    if spec.is_empty() {
        return error("no label spec passed");
    }
    let mut labels = BTreeMap::new();
    for pair in spec.split(',') {
        let Some((key, value)) =
            pair.split_once('=').filter(|(key, value)| !key.is_empty() && !value.contains('='))
        else {
            return error(format!("unexpected label spec: {pair}"));
        };
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

/// A name for the container of an image: its last path segment without tag and digest.
///
/// Where that is no DNS label for its `_` or `.`, these become `-` and a random suffix is added, as kubectl does.
#[must_use]
pub fn container_name(image: &str, suffix: impl FnOnce() -> String) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    let name = name.split([':', '@']).next().unwrap_or(name);
    if name.contains(['_', '.']) {
        format!("{}-{}", name.replace(['_', '.'], "-"), suffix())
    } else {
        name.to_owned()
    }
}

/// Five random characters from Kubernetes' alphabet for generated names.
#[must_use]
pub fn random_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    // A new RandomState has new random keys.
    let mut random = RandomState::new().hash_one(0_u8);
    (0..5)
        .map(|_| {
            let digit = random % ALPHABET.len() as u64;
            random /= ALPHABET.len() as u64;
            char::from(ALPHABET[usize::try_from(digit).unwrap_or_default()])
        })
        .collect()
}

#[cfg(test)]
mod tests;
