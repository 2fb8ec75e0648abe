//! `create configmap`.

use std::collections::BTreeMap;

use apimachinery::validation;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    GenerateError, Generated, error, hash, metadata, object,
    sources::{CONFIG_MAP_WORDS, Entry, Sources},
};

/// What the flags of `create configmap` say.
#[derive(Clone, Debug, Default)]
pub struct ConfigMap {
    /// Its name.
    pub name: String,
    /// Where the data is.
    pub sources: Sources,
    /// Of `--append-hash`.
    pub append_hash: bool,
}

#[derive(Default)]
struct Data {
    text: Map<String, Value>,
    binary: Map<String, Value>,
}

impl ConfigMap {
    /// Makes the object.
    ///
    /// # Errors
    /// When a source cannot be read, or a key is invalid or stands twice.
    pub fn generate(&self) -> Generated {
        self.sources.check()?;
        let mut data = Data::default();
        self.sources.read(CONFIG_MAP_WORDS, |entry| self.add(&mut data, entry))?;
        let mut config_map = object(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(&self.name, &BTreeMap::new()),
        }));
        if self.append_hash {
            let name =
                format!("{}-{}", self.name, hash::config_map(&self.name, &data.text, &data.binary));
            config_map.set(&["metadata", "name"], name);
        }
        if !data.text.is_empty() {
            config_map.set(&["data"], data.text);
        }
        if !data.binary.is_empty() {
            config_map.set(&["binaryData"], data.binary);
        }
        Ok(config_map)
    }

    fn add(&self, data: &mut Data, (key, value): Entry) -> Result<(), GenerateError> {
        let problems = validation::is_config_map_key(&key);
        if !problems.is_empty() {
            return error(format!(
                "{key:?} is not a valid key name for a ConfigMap: {}",
                problems.join(",")
            ));
        }
        for (member, field) in [(&data.text, "Data"), (&data.binary, "BinaryData")] {
            if member.contains_key(&key) {
                return error(format!(
                    "cannot add key {key:?}, another key by that name already exists in {field} for ConfigMap {:?}",
                    self.name
                ));
            }
        }
        match String::from_utf8(value) {
            Ok(text) => data.text.insert(key, text.into()),
            Err(bytes) => data.binary.insert(key, STANDARD.encode(bytes.as_bytes()).into()),
        };
        Ok(())
    }
}
