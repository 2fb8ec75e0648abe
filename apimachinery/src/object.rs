//! The object: a Kubernetes object is its JSON, kept whole.
//!
//! [`Object`] reads and writes single fields without a schema, so that nothing unknown is lost on the way through.
//! Typed code takes a [`Object::view`] (a serde struct that need not know every field) and writes back only the
//! fields that it owns. Maps are sorted by key, which is the order in which Kubernetes prints.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{status::Status, time::Time};

/// `namespace/name` of an object; the namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl ObjectKey {
    /// A key from its two parts.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of a cluster-scoped object.
    #[must_use]
    pub fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// The identity of one incarnation of an object: `metadata.uid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(pub String);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeName(pub String);

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A reference from a dependent to its owner: `metav1.OwnerReference`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// `group/version` of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner, in the dependent's namespace or in none.
    pub name: String,
    /// Uid of the owner.
    pub uid: String,
    /// Whether the owner manages this object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether a foreground deletion of the owner waits for this object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// A Kubernetes object as its JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Object(pub Map<String, Value>);

impl Object {
    /// Reads an object from JSON text.
    ///
    /// # Errors
    /// BadRequest when the text is not JSON or not a JSON object.
    pub fn from_slice(json: &[u8]) -> Result<Self, Status> {
        serde_json::from_slice(json).map(Self).map_err(|e| {
            Status::bad_request(format!("couldn't get version/kind; json parse error: {e}"))
        })
    }

    /// Takes a JSON value as an object.
    ///
    /// # Errors
    /// BadRequest when the value is not a JSON object.
    pub fn from_value(value: Value) -> Result<Self, Status> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            other => Err(Status::bad_request(format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct",
                json_type(&other)
            ))),
        }
    }

    /// Turns any serializable value that is a JSON object into an object.
    ///
    /// # Errors
    /// When serialization fails or gives something else than a JSON object.
    pub fn from_serialize<T: Serialize>(value: &T) -> Result<Self, Status> {
        let value = serde_json::to_value(value)
            .map_err(|e| Status::internal(format!("serializing an object: {e}")))?;
        Self::from_value(value)
    }

    /// The JSON text.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(&self.0).expect("a JSON map with text keys always serializes").into()
    }

    /// The whole as a JSON value.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// A typed view; `T` may know fewer fields than the object has.
    ///
    /// # Errors
    /// When a field that `T` knows has another type.
    pub fn view<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde::Deserialize::deserialize(serde::de::value::MapDeserializer::new(
            self.0.iter().map(|(k, v)| (k.as_str(), v)),
        ))
    }

    /// The field at `path`, if every step of it exists.
    #[must_use]
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, key| value.get(*key))
    }

    /// The field at `path`, to be changed.
    pub fn get_mut(&mut self, path: &[&str]) -> Option<&mut Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get_mut(*first)?, |value, key| value.get_mut(*key))
    }

    /// The text at `path`, "" where it is absent or no text.
    #[must_use]
    pub fn get_str(&self, path: &[&str]) -> &str {
        self.get(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// The integer at `path`.
    #[must_use]
    pub fn get_i64(&self, path: &[&str]) -> Option<i64> {
        self.get(path).and_then(Value::as_i64)
    }

    /// The boolean at `path`.
    #[must_use]
    pub fn get_bool(&self, path: &[&str]) -> Option<bool> {
        self.get(path).and_then(Value::as_bool)
    }

    /// The list at `path`, empty where it is absent or no list.
    #[must_use]
    pub fn get_list(&self, path: &[&str]) -> &[Value] {
        self.get(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// Sets the field at `path`; steps that are absent, null or no maps become maps.
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        let Some((last, steps)) = path.split_last() else { return };
        let mut map = &mut self.0;
        for step in steps {
            let next = map.entry(*step).or_insert(Value::Null);
            if !next.is_object() {
                *next = Value::Object(Map::new());
            }
            map = next.as_object_mut().expect("made an object one line above");
        }
        map.insert((*last).to_owned(), value.into());
    }

    /// Removes the field at `path` and returns it.
    pub fn remove(&mut self, path: &[&str]) -> Option<Value> {
        let (last, steps) = path.split_last()?;
        if steps.is_empty() {
            return self.0.remove(*last);
        }
        self.get_mut(steps)?.as_object_mut()?.remove(*last)
    }

    /// `metadata`, made when it is absent.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        let metadata = self.0.entry("metadata").or_insert(Value::Null);
        if !metadata.is_object() {
            *metadata = Value::Object(Map::new());
        }
        metadata.as_object_mut().expect("made an object one line above")
    }

    fn metadata_str(&self, key: &str) -> &str {
        self.get_str(&["metadata", key])
    }

    /// `apiVersion`, "" when absent.
    #[must_use]
    pub fn api_version(&self) -> &str {
        self.get_str(&["apiVersion"])
    }

    /// `kind`, "" when absent.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.get_str(&["kind"])
    }

    /// `metadata.name`, "" when absent.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata_str("name")
    }

    /// `metadata.generateName`, "" when absent.
    #[must_use]
    pub fn generate_name(&self) -> &str {
        self.metadata_str("generateName")
    }

    /// `metadata.namespace`, "" when absent.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata_str("namespace")
    }

    /// `metadata.uid`, "" when absent.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.metadata_str("uid")
    }

    /// `metadata.resourceVersion`, "" when absent.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        self.metadata_str("resourceVersion")
    }

    /// `metadata.generation`, 0 when absent.
    #[must_use]
    pub fn generation(&self) -> i64 {
        self.get_i64(&["metadata", "generation"]).unwrap_or_default()
    }

    /// The labels, sorted by key.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        text_map(self.get(&["metadata", "labels"]))
    }

    /// The value of one label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.get(&["metadata", "labels", key]).and_then(Value::as_str)
    }

    /// The annotations, sorted by key.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        text_map(self.get(&["metadata", "annotations"]))
    }

    /// The value of one annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.get(&["metadata", "annotations", key]).and_then(Value::as_str)
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> + Clone {
        self.get_list(&["metadata", "finalizers"]).iter().filter_map(Value::as_str)
    }

    /// `metadata.ownerReferences`; malformed entries are left out.
    #[must_use]
    pub fn owner_references(&self) -> Vec<OwnerReference> {
        self.get_list(&["metadata", "ownerReferences"])
            .iter()
            .filter_map(|v| OwnerReference::deserialize(v).ok())
            .collect()
    }

    /// The owner reference with `controller: true`.
    #[must_use]
    pub fn controller(&self) -> Option<OwnerReference> {
        self.owner_references().into_iter().find(|o| o.controller == Some(true))
    }

    /// `metadata.creationTimestamp`.
    #[must_use]
    pub fn creation_timestamp(&self) -> Option<Time> {
        self.metadata_str("creationTimestamp").parse().ok()
    }

    /// `metadata.deletionTimestamp`: present once deletion was asked for.
    #[must_use]
    pub fn deletion_timestamp(&self) -> Option<Time> {
        self.metadata_str("deletionTimestamp").parse().ok()
    }

    /// Namespace and name.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.namespace(), self.name())
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object.0)
    }
}

fn text_map(value: Option<&Value>) -> impl Iterator<Item = (&str, &str)> + Clone {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|map| map.iter().filter_map(|(k, v)| Some((k.as_str(), v.as_str()?))))
}

/// The name that Go's encoding/json gives a value's type in its errors.
#[must_use]
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Object {
        Object::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "web-1", "namespace": "default", "labels": {"b": "2", "a": "1"},
                "finalizers": ["x/y"], "deletionTimestamp": "2026-01-02T03:04:05Z", "generation": 3,
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u",
                    "controller": true}],
            },
            "spec": {"replicas": 2, "unknown": {"kept": true}},
        }))
        .unwrap()
    }

    #[test]
    fn accessors_read_metadata() {
        let pod = pod();
        assert_eq!(pod.key().to_string(), "default/web-1");
        assert_eq!(pod.labels().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(pod.finalizers().collect::<Vec<_>>(), ["x/y"]);
        assert_eq!(pod.generation(), 3);
        assert_eq!(pod.deletion_timestamp().unwrap().to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(pod.controller().unwrap().name, "web");
        assert_eq!(pod.uid(), "");
    }

    #[test]
    fn fields_are_set_and_removed_without_touching_others() {
        let mut pod = pod();
        pod.set(&["status", "phase"], "Running");
        pod.set(&["spec", "replicas"], 5);
        assert_eq!(pod.get_str(&["status", "phase"]), "Running");
        assert_eq!(pod.get_i64(&["spec", "replicas"]), Some(5));
        assert_eq!(pod.get_bool(&["spec", "unknown", "kept"]), Some(true));
        assert_eq!(pod.remove(&["spec", "replicas"]), Some(json!(5)));
        assert_eq!(pod.remove(&["spec", "absent", "deeper"]), None);
        pod.metadata_mut().insert("uid".into(), "u-1".into());
        assert_eq!(pod.uid(), "u-1");
    }

    #[test]
    fn views_are_typed() {
        #[derive(Deserialize)]
        struct View {
            kind: String,
            metadata: Value,
        }
        let view: View = pod().view().unwrap();
        assert_eq!(view.kind, "Pod");
        assert!(view.metadata.is_object());
    }

    #[test]
    fn anything_but_a_map_is_refused() {
        assert!(Object::from_slice(b"[1]").is_err());
        assert!(Object::from_slice(b"{").is_err());
        assert!(Object::from_value(json!(1)).is_err());
    }
}
