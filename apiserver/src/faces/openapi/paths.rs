//! The resource table as OpenAPI: the paths of a resource, and what can be done at each.

use apimachinery::resource::{ResourceInfo, SubresourceInfo};
use serde_json::{Map, Value, json};

use super::schemas::{Dialect, tag};

/// A parameter of a query: name, type, description.
type Parameter = (&'static str, &'static str, &'static str);

const PRETTY: Parameter =
    ("pretty", "string", "Accepted for the sake of other clients; answers are always compact.");
const DRY_RUN: Parameter = ("dryRun", "string", "`All`: everything is done but the storing.");
const FIELD_MANAGER: Parameter =
    ("fieldManager", "string", "The name under which changed fields are owned.");
const FIELD_VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "What becomes of unknown and repeated fields: Ignore, Warn or Strict.",
);
const FORCE: Parameter =
    ("force", "boolean", "Takes over fields that others own, for apply patches.");

const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
const DELETE: &[Parameter] = &[
    DRY_RUN,
    ("gracePeriodSeconds", "integer", "How long the object is given to end; 0 is at once."),
    ("orphanDependents", "boolean", "Replaced by propagationPolicy."),
    (
        "propagationPolicy",
        "string",
        "What becomes of dependents: Orphan, Background or Foreground.",
    ),
];
const LIST: &[Parameter] = &[
    ("allowWatchBookmarks", "boolean", "Whether a watch is told how far it has come."),
    ("continue", "string", "Goes on with a list that `limit` has cut."),
    ("fieldSelector", "string", "Selects objects by their fields."),
    ("labelSelector", "string", "Selects objects by their labels."),
    ("limit", "integer", "The most objects that one answer has."),
    ("resourceVersion", "string", "How new the answer must be."),
    ("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    ("sendInitialEvents", "boolean", "Whether a watch begins with what there is."),
    ("timeoutSeconds", "integer", "How long a list may take, or a watch last."),
    ("watch", "boolean", "Whether changes are told as they happen."),
];

/// Strategic merge comes last: kinds that are defined at run time have all but that. kubectl reads here how it may patch.
const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
const BODIES: [&str; 1] = ["*/*"];
const ANSWERS: [&str; 2] = ["application/json", "application/yaml"];
const WATCHED: [&str; 3] =
    ["application/json", "application/json;stream=watch", "application/yaml"];

/// References to the definitions that operations name.
pub(super) struct References {
    /// The kind of the resource, none if it is any JSON.
    pub(super) kind: Value,
    pub(super) list: Value,
    pub(super) delete_options: Value,
    pub(super) patch: Value,
    /// Whether strategic merge patches are understood.
    pub(super) strategic: bool,
    pub(super) status: Value,
}

impl References {
    fn patches(&self) -> &'static [&'static str] {
        if self.strategic { &PATCHES } else { &PATCHES[..PATCHES.len() - 1] }
    }
}

/// What speaks of a path's operations.
pub(super) struct Paths<'a> {
    pub(super) dialect: Dialect,
    pub(super) info: &'a ResourceInfo,
    pub(super) references: &'a References,
}

/// One operation.
struct Operation<'a> {
    method: &'static str,
    /// `x-kubernetes-action`; empty for streams.
    action: &'static str,
    id: String,
    description: String,
    parameters: &'static [Parameter],
    body: Option<(&'a Value, &'static [&'static str])>,
    answer: Option<&'a Value>,
    created: bool,
    kind: Value,
}

impl Paths<'_> {
    /// The paths of the resource and its subresources.
    ///
    /// A subresource's kind is found by `kind_of`.
    pub(super) fn make(
        &self,
        kind_of: impl Fn(&SubresourceInfo) -> Option<Value>,
    ) -> Vec<(String, Value)> {
        let info = self.info;
        let base = format!("/{}", super::path_of(info));
        let collection = if info.namespaced {
            format!("{base}/namespaces/{{namespace}}/{}", info.resource)
        } else {
            format!("{base}/{}", info.resource)
        };
        let mut paths = Vec::new();
        if info.namespaced && info.has_verb("list") {
            let list = self.operation("list", "ForAllNamespaces");
            paths.push(self.path(format!("{base}/{}", info.resource), list.into_iter().collect()));
        }
        let item = format!("{collection}/{{name}}");
        let scope = if info.namespaced { "Namespaced" } else { "" };
        let some = |verbs: &[&str]| {
            verbs
                .iter()
                .filter(|verb| info.has_verb(verb))
                .filter_map(|verb| self.operation(verb, scope))
                .collect()
        };
        paths.push(self.path(collection, some(&["list", "create", "deletecollection"])));
        paths.push(self.path(item.clone(), some(&["get", "update", "patch", "delete"])));
        for sub in info.subresources {
            let kind = kind_of(sub);
            let operations: Vec<Operation<'_>> = sub
                .verbs
                .iter()
                .filter_map(|verb| self.of_subresource(sub, verb, kind.as_ref()))
                .collect();
            paths.push(self.path(format!("{item}/{}", sub.name), operations));
        }
        paths.retain(|(_, path)| path.as_object().is_some_and(|path| path.len() > 1));
        paths
    }

    fn operation(&self, verb: &str, scope: &str) -> Option<Operation<'_>> {
        let (info, references) = (self.info, self.references);
        let kind = &references.kind;
        let (method, action, word, parameters) = method(verb)?;
        let collection = if verb == "deletecollection" { "Collection" } else { "" };
        let group = camel(info);
        let id = if scope == "ForAllNamespaces" {
            format!("{word}{group}{}{scope}", info.kind)
        } else {
            format!("{word}{group}{collection}{scope}{}", info.kind)
        };
        let body = match verb {
            "create" | "update" => Some((kind, &BODIES[..])),
            "patch" => Some((&references.patch, references.patches())),
            "delete" | "deletecollection" => Some((&references.delete_options, &BODIES[..])),
            _ => None,
        };
        let answer = match verb {
            "list" => &references.list,
            "delete" | "deletecollection" => &references.status,
            _ => kind,
        };
        let object = match verb {
            "list" => format!("list or watch objects of kind {}", info.kind),
            "deletecollection" => format!("delete collection of {}", info.kind),
            verb => {
                format!("{} the specified {}", if verb == "get" { "read" } else { verb }, info.kind)
            }
        };
        Some(Operation {
            method,
            action,
            id,
            description: object,
            parameters,
            body,
            answer: Some(answer),
            created: verb == "create",
            kind: tag(info.group, info.version, info.kind),
        })
    }

    fn of_subresource<'s>(
        &'s self,
        sub: &SubresourceInfo,
        verb: &str,
        kind: Option<&'s Value>,
    ) -> Option<Operation<'s>> {
        let stream = matches!(sub.name, "exec" | "attach" | "portforward" | "proxy");
        let (method, action, word, parameters) = method(verb)?;
        let word = if stream { "connect" } else { word };
        let scope = if self.info.namespaced { "Namespaced" } else { "" };
        let mut name = sub.name.to_owned();
        name[..1].make_ascii_uppercase();
        let method_name = if stream { upper_first(method) } else { String::new() };
        let body = match verb {
            "create" | "update" if !stream => kind.map(|kind| (kind, &BODIES[..])),
            "patch" if !stream => Some((&self.references.patch, self.references.patches())),
            _ => None,
        };
        Some(Operation {
            method,
            action: if stream { "connect" } else { action },
            id: format!("{word}{}{method_name}{scope}{}{name}", camel(self.info), self.info.kind),
            description: format!("{word} {} of the specified {}", sub.name, self.info.kind),
            parameters: if stream || sub.name == "log" { &[] } else { parameters },
            body,
            answer: kind.filter(|_| !stream && sub.name != "log"),
            created: verb == "create",
            kind: tag(sub.group, sub.version, sub.kind),
        })
    }

    fn path(&self, path: String, operations: Vec<Operation<'_>>) -> (String, Value) {
        let mut item = Map::new();
        let mut parameters = Vec::new();
        for (name, said) in [
            ("name", format!("name of the {}", self.info.kind)),
            ("namespace", "object name and auth scope, such as for teams and projects".to_owned()),
        ] {
            if path.contains(&format!("{{{name}}}")) {
                parameters.push(self.parameter("path", (name, "string", &said)));
            }
        }
        parameters.push(self.parameter("query", PRETTY));
        for operation in operations {
            item.insert(operation.method.to_owned(), self.written(&operation));
        }
        item.insert("parameters".to_owned(), parameters.into());
        (path, item.into())
    }

    fn parameter(&self, place: &str, (name, kind, said): (&str, &str, &str)) -> Value {
        let mut parameter = json!({"name": name, "in": place, "description": said});
        if place == "path" {
            parameter["required"] = true.into();
        }
        match self.dialect {
            Dialect::V2 => {
                parameter["type"] = kind.into();
                parameter["uniqueItems"] = true.into();
            }
            Dialect::V3 => parameter["schema"] = json!({"type": kind, "uniqueItems": true}),
        }
        parameter
    }

    fn written(&self, operation: &Operation<'_>) -> Value {
        let mut parameters: Vec<Value> =
            operation.parameters.iter().map(|one| self.parameter("query", *one)).collect();
        let group = if self.info.group.is_empty() {
            "core"
        } else {
            self.info.group.split(".k8s.io").next().unwrap_or("")
        };
        let mut written = json!({
            "description": operation.description,
            "operationId": operation.id,
            "tags": [format!("{}_{}", group.replace('.', "_"), self.info.version)],
            "x-kubernetes-action": operation.action,
            "x-kubernetes-group-version-kind": operation.kind,
        });
        let types: &[&str] = if operation.action == "list" { &WATCHED } else { &ANSWERS };
        let answer = |said: &str| match (self.dialect, operation.answer) {
            (_, None) => json!({"description": said}),
            (Dialect::V2, Some(schema)) => json!({"description": said, "schema": schema}),
            (Dialect::V3, Some(schema)) => {
                json!({"description": said, "content": content(types, schema)})
            }
        };
        let mut answers = Map::from_iter([("200".to_owned(), answer("OK"))]);
        if operation.created {
            answers.insert("201".to_owned(), answer("Created"));
        }
        answers.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        written["responses"] = answers.into();
        match (self.dialect, operation.body) {
            (Dialect::V2, Some((schema, types))) => {
                parameters.push(json!({"name": "body", "in": "body", "required": operation.action != "delete" && operation.action != "deletecollection", "schema": schema}));
                written["consumes"] = json!(types);
            }
            (Dialect::V3, Some((schema, types))) => {
                written["requestBody"] = json!({"content": content(types, schema)});
            }
            (_, None) => {}
        }
        if self.dialect == Dialect::V2 {
            written["produces"] = json!(types);
        }
        if !parameters.is_empty() {
            written["parameters"] = parameters.into();
        }
        written
    }
}

/// Method, `x-kubernetes-action`, first word of the operation's id, parameters.
fn method(verb: &str) -> Option<(&'static str, &'static str, &'static str, &'static [Parameter])> {
    Some(match verb {
        "list" => ("get", "list", "list", LIST),
        "get" => ("get", "get", "read", &[]),
        "create" => ("post", "post", "create", WRITE),
        "update" => ("put", "put", "replace", WRITE),
        "patch" => ("patch", "patch", "patch", PATCH),
        "delete" => ("delete", "delete", "delete", DELETE),
        "deletecollection" => ("delete", "deletecollection", "delete", LIST),
        _ => return None,
    })
}

fn content(types: &[&str], schema: &Value) -> Value {
    types
        .iter()
        .map(|kind| ((*kind).to_owned(), json!({"schema": schema})))
        .collect::<Map<_, _>>()
        .into()
}

/// `rbac.authorization.k8s.io` in v1 is `RbacAuthorizationV1`.
fn camel(info: &ResourceInfo) -> String {
    let group = if info.group.is_empty() { "core" } else { info.group };
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    group.split('.').chain([info.version]).map(upper_first).collect()
}

fn upper_first(word: &str) -> String {
    let mut characters = word.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
