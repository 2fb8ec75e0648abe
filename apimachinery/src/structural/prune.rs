//! Drops what a schema does not know (`pkg/apiserver/schema/pruning`).

use serde_json::Value;

use super::{Additional, Structural, is_type_or_metadata};

/// Strict decoding tells no more unknown fields than this.
const MAX_PATHS: usize = 100;

/// Removes unknown fields from an object and gives their paths, as `spec.a[0].b`. The object's own type and metadata
/// are known.
pub fn prune(object: &mut Value, schema: &Structural) -> Vec<String> {
    let mut pruner = Pruner { paths: Vec::new() };
    pruner.object(object, schema, true, "");
    pruner.paths
}

/// Whether a default value has fields that the schema does not know.
#[must_use]
pub fn has_unknown(value: &Value, schema: &Structural) -> bool {
    let mut pruner = Pruner { paths: Vec::new() };
    pruner.value(&mut value.clone(), schema, "");
    !pruner.paths.is_empty()
}

struct Pruner {
    paths: Vec<String>,
}

impl Pruner {
    fn value(&mut self, value: &mut Value, schema: &Structural, path: &str) {
        match value {
            Value::Object(_) => self.object(value, schema, schema.embedded, path),
            Value::Array(items) => {
                let Some(item) = &schema.items else {
                    // Lists without a schema of their items have none that is known.
                    if !schema.preserve_unknown {
                        items.clear();
                    }
                    return;
                };
                for (index, value) in items.iter_mut().enumerate() {
                    self.value(value, item, &format!("{path}[{index}]"));
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, value: &mut Value, schema: &Structural, is_resource: bool, path: &str) {
        let Value::Object(fields) = value else { return };
        let mut unknown = Vec::new();
        for (name, value) in fields.iter_mut() {
            if is_resource && is_type_or_metadata(name) {
                continue;
            }
            let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if let Some(property) = schema.properties.get(name) {
                self.value(value, property, &at);
            } else if let Some(additional) = schema.additional.schema() {
                self.value(value, additional, &at);
            } else if !schema.preserve_unknown
                && !matches!(schema.additional, Additional::Allows(true))
            {
                if self.paths.len() < MAX_PATHS {
                    self.paths.push(at);
                }
                unknown.push(name.clone());
            }
        }
        for name in unknown {
            fields.remove(&name);
        }
    }
}
