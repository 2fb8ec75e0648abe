//! OpenAPI v3, as far as clients need it to know what this server can do.
//!
//! kubectl looks for the PATCH operation of a kind with the parameter `fieldValidation`; where it finds it, it leaves
//! validation to the server. The documents list the operations with their parameters, generated from the resource
//! table. They carry no schemas yet, so `kubectl explain` has nothing to show.

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

impl OpenApi {
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
