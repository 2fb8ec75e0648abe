//! OpenAPI v3, as far as clients need it to know what this server can do.
//!
//! kubectl looks for the PATCH operation of a kind with the parameter `fieldValidation`; where it finds it, it leaves
//! validation to the server. The documents list the operations with their parameters, generated from the resource
//! table. They carry no schemas yet, so `kubectl explain` has nothing to show.
//!
//! For a kind that is not served, kubectl asks for OpenAPI v2, as protobuf, before it says that there is no such kind;
//! that document has no definitions either.

use std::collections::BTreeMap;

use apimachinery::resource::{self, ResourceInfo};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// The documents: the index under "", the others under `/api/v1` and the like.
#[derive(Debug)]
pub(super) struct OpenApi {
    documents: BTreeMap<String, Bytes>,
}

impl Default for OpenApi {
    fn default() -> Self {
        let mut by_version: BTreeMap<String, Vec<&'static ResourceInfo>> = BTreeMap::new();
        for info in resource::served() {
            by_version.entry(path_of(info)).or_default().push(info);
        }
        let mut documents = BTreeMap::new();
        let mut index = Map::new();
        for (path, infos) in by_version {
            let paths: Map<String, Value> =
                infos.iter().flat_map(|info| paths(&path, info)).collect();
            let document = json!({
                "openapi": "3.0.0",
                "info": {"title": "Kubernetes", "version": super::discovery::GIT_VERSION},
                "paths": paths,
            });
            let url = format!("/openapi/v3/{path}?hash={}", super::discovery::GIT_VERSION);
            index.insert(path.clone(), json!({"serverRelativeURL": url}));
            documents.insert(format!("/{path}"), Bytes::from(document.to_string()));
        }
        documents.insert(String::new(), Bytes::from(json!({"paths": index}).to_string()));
        Self { documents }
    }
}

/// The media type in which kubectl asks for OpenAPI v2.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

impl OpenApi {
    /// The OpenAPI v2 document in the form that `accept` asks for, with its media type.
    pub(super) fn version_2(accept: &str) -> (&'static str, Bytes) {
        let version = super::discovery::GIT_VERSION;
        if !accept.contains("proto-openapi.spec.v2") {
            let document = json!({
                "swagger": "2.0",
                "info": {"title": "Kubernetes", "version": version},
                "paths": {},
                "definitions": {},
            });
            return ("application/json", Bytes::from(document.to_string()));
        }
        // Document { string swagger = 1; Info info = 2 }, Info { string title = 1; string version = 2 }
        let text = |field: u8, value: &[u8]| {
            let length = u8::try_from(value.len()).expect("titles and versions are short");
            [&[field << 3 | 2, length], value].concat()
        };
        let info = [text(1, b"Kubernetes"), text(2, version.as_bytes())].concat();
        (V2_PROTOBUF, Bytes::from([text(1, b"2.0"), text(2, &info)].concat()))
    }

    /// The document below `/openapi/v3`.
    pub(super) fn document(&self, rest: &str) -> Option<Bytes> {
        self.documents.get(rest.trim_end_matches('/')).cloned()
    }
}

/// `api/v1`, `apis/apps/v1`.
fn path_of(info: &ResourceInfo) -> String {
    if info.group.is_empty() {
        format!("api/{}", info.version)
    } else {
        format!("apis/{}/{}", info.group, info.version)
    }
}

fn paths(base: &str, info: &'static ResourceInfo) -> Vec<(String, Value)> {
    let collection = if info.namespaced {
        format!("/{base}/namespaces/{{namespace}}/{}", info.resource)
    } else {
        format!("/{base}/{}", info.resource)
    };
    let pick = |verbs: &[(&'static str, &'static str)]| {
        let operations: Map<String, Value> = verbs
            .iter()
            .filter(|(_, verb)| info.has_verb(verb))
            .map(|(method, verb)| ((*method).to_owned(), operation(info, verb)))
            .collect();
        Value::Object(operations)
    };
    vec![
        (
            collection.clone(),
            pick(&[("get", "list"), ("post", "create"), ("delete", "deletecollection")]),
        ),
        (
            format!("{collection}/{{name}}"),
            pick(&[("get", "get"), ("put", "update"), ("patch", "patch"), ("delete", "delete")]),
        ),
    ]
}

fn operation(info: &ResourceInfo, verb: &str) -> Value {
    let parameters: &[(&str, &str)] = match verb {
        "create" | "update" => {
            &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")]
        }
        "patch" => &[
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
            ("force", "boolean"),
        ],
        "delete" => &[
            ("dryRun", "string"),
            ("gracePeriodSeconds", "integer"),
            ("orphanDependents", "boolean"),
            ("propagationPolicy", "string"),
        ],
        "list" | "deletecollection" => &[
            ("allowWatchBookmarks", "boolean"),
            ("continue", "string"),
            ("fieldSelector", "string"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("sendInitialEvents", "boolean"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
        ],
        _ => &[],
    };
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|(name, kind)| {
            json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
        })
        .collect();
    let action = match verb {
        "create" => "post",
        "update" => "put",
        other => other,
    };
    json!({
        "operationId": format!("{action}{}", info.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": info.group, "kind": info.kind, "version": info.version},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_comes_as_json_and_as_protobuf() {
        let (json_type, body) = OpenApi::version_2("*/*");
        assert_eq!(json_type, "application/json");
        assert!(body.starts_with(b"{\"definitions\":{}"), "{body:?}");
        let (_, body) = OpenApi::version_2(V2_PROTOBUF);
        assert_eq!(&body[..5], b"\x0a\x032.0");
        assert_eq!(usize::from(body[6]), body.len() - 7);
    }
}
