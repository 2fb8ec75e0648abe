//! The documents of defined kinds: their schemas are OpenAPI already.

use std::collections::BTreeMap;

use apimachinery::resource::ResourceInfo;
use serde_json::{Value, json};

use super::{Documented, META, OpenApi, Schema, document, path_of};
use crate::apiextensions::Table;

impl OpenApi {
    /// Publishes the documents of the kinds that are defined now, and withdraws those of others.
    pub(in crate::faces) fn follow(&self, table: &Table) {
        let mut followed = self.followed.lock();
        if followed.0 == table.generation {
            return;
        }
        let mut documents: BTreeMap<String, Vec<Documented<'_>>> = BTreeMap::new();
        for (info, schema) in table.schemas() {
            let schema =
                Schema::Given { name: name_of(info), definition: definition(info, schema) };
            documents.entry(path_of(info)).or_default().push(Documented { info, schema });
        }
        for path in followed.1.iter().filter(|path| !documents.contains_key(*path)) {
            self.withdraw(path);
        }
        for (path, kinds) in &documents {
            self.publish(path, &document(kinds));
        }
        *followed = (table.generation, documents.into_keys().collect());
    }
}

/// `com.example.v1.Widget`
fn name_of(info: &ResourceInfo) -> String {
    let group: Vec<&str> = info.group.rsplit('.').collect();
    format!("{}.{}.{}", group.join("."), info.version, info.kind)
}

/// The schema with what every kind has.
fn definition(info: &ResourceInfo, mut schema: Value) -> Value {
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let properties = &mut schema["properties"];
    properties["apiVersion"] = json!({"type": "string", "description":
        "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"});
    properties["kind"] = json!({"type": "string", "description":
        "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"});
    properties["metadata"] = json!({
        "description": "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
        "allOf": [{"$ref": format!("#/components/schemas/{META}.ObjectMeta")}],
    });
    schema["x-kubernetes-group-version-kind"] =
        json!([{"group": info.group, "version": info.version, "kind": info.kind}]);
    schema
}
