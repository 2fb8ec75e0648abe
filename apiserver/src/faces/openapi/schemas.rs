//! The schema table as OpenAPI: one definition per struct, and all that a kind is made of.
//!
//! The two versions differ in where definitions stand and in how a reference carries a description: version 2 writes
//! it beside `$ref`, version 3 wraps the reference in `allOf`.

use std::collections::{BTreeMap, HashMap};

use apimachinery::schema::{self, Field, ListType, PatchStrategy, Shape, Struct};
use serde_json::{Map, Value, json};

use super::descriptions::{Descriptions, FieldSaid, plain};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

/// The version of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// A reference to a definition.
    pub(super) fn reference(self, name: &str) -> Value {
        match self {
            Self::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Self::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }

    /// A reference with more beside it.
    fn with(self, reference: Value, more: Map<String, Value>) -> Value {
        if more.is_empty() {
            return reference;
        }
        let mut value = more;
        match (self, reference) {
            (Self::V3, Value::Object(reference)) if reference.contains_key("$ref") => {
                value.insert("allOf".into(), json!([reference]));
            }
            (_, Value::Object(reference)) => value.extend(reference),
            _ => {}
        }
        Value::Object(value)
    }
}

/// Group, version and kind, as the documents tag definitions and operations.
pub(super) fn tag(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "kind": kind, "version": version})
}

/// Makes definitions, and those that they refer to.
pub(super) struct Definitions<'a> {
    dialect: Dialect,
    said: &'a Descriptions<'a>,
    names: HashMap<*const Struct, &'static str>,
    kinds: HashMap<*const Struct, Vec<Value>>,
    made: BTreeMap<String, Value>,
}

impl<'a> Definitions<'a> {
    pub(super) fn new(dialect: Dialect, said: &'a Descriptions<'a>) -> Self {
        let names = schema::definitions()
            .map(|(name, strukt)| (std::ptr::from_ref(strukt), name))
            .collect();
        let mut kinds: HashMap<*const Struct, Vec<Value>> = HashMap::new();
        for (group, version, kind) in schema::kinds() {
            if let Some(strukt) = schema::find(group, version, kind) {
                kinds
                    .entry(std::ptr::from_ref(strukt))
                    .or_default()
                    .push(tag(group, version, kind));
            }
        }
        Self { dialect, said, names, kinds, made: BTreeMap::new() }
    }

    /// The definitions by name.
    pub(super) fn finish(self) -> BTreeMap<String, Value> {
        self.made
    }

    /// Adds a definition that is written elsewhere.
    pub(super) fn give(&mut self, name: &str, definition: Value) {
        self.made.insert(name.to_owned(), definition);
    }

    /// A reference to a struct's definition, which is made with all that it needs.
    pub(super) fn struct_of(&mut self, strukt: &Struct) -> (Option<&'static str>, Value) {
        let Some(name) = self.names.get(&std::ptr::from_ref(strukt)).copied() else {
            return (None, self.body("", strukt));
        };
        if !self.made.contains_key(name) {
            self.made.insert(name.to_owned(), Value::Null);
            let body = self.body(name, strukt);
            self.made.insert(name.to_owned(), body);
        }
        (Some(name), self.dialect.reference(name))
    }

    /// A reference to the definition of a kind's list.
    pub(super) fn list_of(&mut self, item: &str, kind: &str, group: &str, version: &str) -> Value {
        let name = format!("{item}List");
        if !self.made.contains_key(&name) {
            let identity = self
                .said
                .of(item)
                .map(|said| ["apiVersion", "kind"].map(|name| self.scalar(said.fields.get(name))));
            let [api_version, kind_field] = identity.unwrap_or_default();
            let metadata =
                schema::definitions().find(|(name, _)| *name == format!("{META}.ListMeta"));
            let metadata = metadata.map(|(_, strukt)| self.struct_of(strukt).1).unwrap_or_default();
            let said = describe("Standard list metadata.");
            let items = self.dialect.reference(item);
            let definition = json!({
                "description": format!("{kind}List is a collection of {kind}."),
                "type": "object",
                "properties": {
                    "apiVersion": api_version,
                    "items": {
                        "description": format!("List of {kind}."),
                        "type": "array",
                        "items": items,
                    },
                    "kind": kind_field,
                    "metadata": self.dialect.with(metadata, said),
                },
                "required": ["items"],
                "x-kubernetes-group-version-kind": [tag(group, version, &format!("{kind}List"))],
            });
            self.made.insert(name.clone(), definition);
        }
        self.dialect.reference(&name)
    }

    fn scalar(&self, said: Option<&FieldSaid<'_>>) -> Value {
        let said = said.copied().unwrap_or_default();
        json!({"description": plain(said.description), "type": "string"})
    }

    fn body(&mut self, name: &str, strukt: &Struct) -> Value {
        let all = self.said;
        let said = all.of(name);
        let object = self.kinds.contains_key(&std::ptr::from_ref(strukt));
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in strukt.fields.iter() {
            let said = said.and_then(|said| said.fields.get(&*field.name)).copied();
            let property = self.property(field, said.unwrap_or_default());
            properties.insert(field.name.to_string(), property);
            // Kubernetes' types demand no metadata of an object.
            if field.required && !(object && field.name == "metadata") {
                required.push(Value::from(&*field.name));
            }
        }
        let mut body = describe(&plain(said.map_or("", |said| said.description)));
        body.insert("type".into(), "object".into());
        if !properties.is_empty() {
            body.insert("properties".into(), properties.into());
        }
        if !required.is_empty() {
            body.insert("required".into(), required.into());
        }
        if let Some(kinds) = self.kinds.get(&std::ptr::from_ref(strukt)) {
            body.insert("x-kubernetes-group-version-kind".into(), kinds.clone().into());
        }
        if strukt.atomic {
            body.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        body.into()
    }

    fn property(&mut self, field: &Field, said: FieldSaid<'_>) -> Value {
        let mut more = describe(&plain(said.description));
        merging(field, &mut more);
        let schema = self.shape(&field.shape, said);
        self.dialect.with(schema, more)
    }

    fn shape(&mut self, shape: &Shape, said: FieldSaid<'_>) -> Value {
        match shape {
            Shape::String if said.values.is_empty() => json!({"type": "string"}),
            Shape::String => {
                let values: Vec<&str> = said
                    .values
                    .split(',')
                    .map(|value| if value == "\"\"" { "" } else { value })
                    .collect();
                json!({"type": "string", "enum": values})
            }
            Shape::Boolean => json!({"type": "boolean"}),
            Shape::Int32 => json!({"type": "integer", "format": "int32"}),
            Shape::Int64 => json!({"type": "integer", "format": "int64"}),
            Shape::Float64 => json!({"type": "number", "format": "double"}),
            Shape::Bytes => json!({"type": "string", "format": "byte"}),
            Shape::Quantity => self.opaque(QUANTITY),
            Shape::IntOrString => self.opaque(INT_OR_STRING),
            Shape::Time => self.opaque(&format!("{META}.Time")),
            Shape::MicroTime => self.opaque(&format!("{META}.MicroTime")),
            Shape::Any if said.opaque.is_empty() => json!({}),
            Shape::Any => self.opaque(said.opaque),
            Shape::Struct(strukt) => self.struct_of(strukt).1,
            Shape::List(item) => {
                json!({"type": "array", "items": self.inner(item, said)})
            }
            Shape::Map(value) => {
                json!({"type": "object", "additionalProperties": self.inner(value, said)})
            }
        }
    }

    /// What a list or map holds; version 3 says that a struct is never absent there.
    fn inner(&mut self, shape: &Shape, said: FieldSaid<'_>) -> Value {
        let schema = self.shape(shape, said);
        if self.dialect == Dialect::V3 && matches!(shape, Shape::Struct(_)) {
            let more = Map::from_iter([("default".to_owned(), json!({}))]);
            return self.dialect.with(schema, more);
        }
        schema
    }

    /// A reference to a type that is no struct.
    fn opaque(&mut self, name: &str) -> Value {
        if !self.made.contains_key(name) {
            let mut body = match (name.rsplit('.').next().unwrap_or(""), self.dialect) {
                ("Quantity", Dialect::V3) => {
                    json!({"oneOf": [{"type": "string"}, {"type": "number"}]})
                }
                ("Quantity", Dialect::V2) => json!({"type": "string"}),
                ("IntOrString", Dialect::V3) => json!({
                    "format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}],
                }),
                ("IntOrString", Dialect::V2) => {
                    json!({"type": "string", "format": "int-or-string"})
                }
                ("Time" | "MicroTime", _) => json!({"type": "string", "format": "date-time"}),
                ("FieldsV1" | "RawExtension" | "CustomResourceSubresourceStatus", _) => {
                    json!({"type": "object"})
                }
                // Any JSON, or one of two shapes.
                _ => json!({}),
            };
            if let Some(said) = self.said.of(name) {
                body["description"] = plain(said.description).into();
            }
            self.made.insert(name.to_owned(), body);
        }
        self.dialect.reference(name)
    }
}

fn describe(text: &str) -> Map<String, Value> {
    let mut map = Map::new();
    if !text.is_empty() {
        map.insert("description".into(), text.into());
    }
    map
}

/// How values of a field are merged: `x-kubernetes-list-type` and its kin.
fn merging(field: &Field, into: &mut Map<String, Value>) {
    let list = matches!(field.shape, Shape::List(_));
    let map = matches!(field.shape, Shape::Map(_));
    match &field.list {
        ListType::Set => _ = into.insert("x-kubernetes-list-type".into(), "set".into()),
        ListType::Map(keys) => {
            into.insert("x-kubernetes-list-type".into(), "map".into());
            into.insert("x-kubernetes-list-map-keys".into(), keys.iter().collect());
        }
        ListType::Atomic if map => _ = into.insert("x-kubernetes-map-type".into(), "atomic".into()),
        ListType::Atomic | ListType::Default if list => {
            into.insert("x-kubernetes-list-type".into(), "atomic".into());
        }
        ListType::Granular => {
            into.insert("x-kubernetes-map-type".into(), "granular".into());
        }
        ListType::Atomic | ListType::Default => {}
    }
    let strategy = match (field.patch.strategy, field.patch.retain_keys) {
        (PatchStrategy::Default, false) => "",
        (PatchStrategy::Default, true) => "retainKeys",
        (PatchStrategy::Replace, _) => "replace",
        (PatchStrategy::Merge, false) => "merge",
        (PatchStrategy::Merge, true) => "merge,retainKeys",
    };
    if !strategy.is_empty() {
        into.insert("x-kubernetes-patch-strategy".into(), strategy.into());
    }
    if !field.patch.merge_key.is_empty() {
        into.insert("x-kubernetes-patch-merge-key".into(), (*field.patch.merge_key).into());
    }
}
