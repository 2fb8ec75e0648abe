//! `get --raw`: the API's own JSON for a path.
//!
//! This program speaks gRPC, so that a path is understood here and asked for as a request: resources below `/api/v1` and
//! `/apis/GROUP/VERSION`, and `/version`. Any other path is refused.

use apimachinery::{
    json,
    resource::{self, ResourceInfo},
    status::{Status, StatusReason},
};
use client::ListOptions;
use serde_json::{Value, json};

use crate::{PROGRAM, context::Context, errors::CommandError, resources::discover};

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    group: &'a str,
    version: &'a str,
    namespace: &'a str,
    resource: &'a str,
    name: &'a str,
    subresource: &'a str,
}

/// Prints what stands at `path`.
pub(super) async fn run(context: &Context, path: &str) -> Result<(), CommandError> {
    if !path.starts_with('/') {
        return refuse(format!(
            "--raw must be a valid URL path: parse {path:?}: invalid URI for request"
        ));
    }
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if path == "/version" {
        let reply = context.request(context.client()?.discovery()).await?;
        return context.print_bytes(&reply.version);
    }
    let Some(place) = parse(path) else {
        return refuse(format!(
            "--raw {path} is not supported: {PROGRAM} speaks gRPC, which has /version and the resources below /api/v1 and /apis/GROUP/VERSION"
        ));
    };
    let mut info = resource::find(place.group, place.version, place.resource).filter(|i| i.served);
    if info.is_none() {
        let names = (place.group, place.version, place.resource);
        let served = discover(context).await?.iter().copied();
        info = served.into_iter().find(|i| (i.group, i.version, i.resource) == names);
    }
    let Some(info) = info else {
        return Err(CommandError::from(Status {
            code: 404,
            reason: StatusReason::NotFound,
            message: "the server could not find the requested resource".to_owned(),
            ..Status::default()
        }));
    };
    if place.name.is_empty() {
        return list(context, info, place.namespace, query).await;
    }
    if !query.is_empty() {
        return refuse(format!("--raw: the query {query:?} is not supported here"));
    }
    let client = context.client()?;
    let api = client.resource(info).namespace(place.namespace).subresource(place.subresource);
    let reply = context.request(api.get(place.name)).await?;
    context.print_bytes(&reply.json)
}

fn parse(path: &str) -> Option<Place<'_>> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let place = |namespace, resource, name, subresource| {
        Some(Place { group, version, namespace, resource, name, subresource })
    };
    match rest {
        ["namespaces", namespace, sub @ ("status" | "finalize")] => {
            place("", "namespaces", namespace, sub)
        }
        ["namespaces", namespace, resource] => place(namespace, resource, "", ""),
        ["namespaces", namespace, resource, name] => place(namespace, resource, name, ""),
        ["namespaces", namespace, resource, name, sub] => place(namespace, resource, name, sub),
        [resource] => place("", resource, "", ""),
        [resource, name] => place("", resource, name, ""),
        [resource, name, sub] => place("", resource, name, sub),
        _ => None,
    }
}

async fn list(
    context: &Context,
    info: &'static ResourceInfo,
    namespace: &str,
    query: &str,
) -> Result<(), CommandError> {
    let mut options = ListOptions::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = unescape(value);
        match key {
            "labelSelector" => options.label_selector = value,
            "fieldSelector" => options.field_selector = value,
            "resourceVersion" => options.resource_version = value,
            "resourceVersionMatch" => options.resource_version_match = value,
            "continue" => options.continue_token = value,
            "limit" => options.limit = value.parse().unwrap_or_default(),
            _ => return refuse(format!("--raw: the query parameter {key:?} is not supported")),
        }
    }
    let list = context.request(context.client()?.list_objects(info, namespace, &options)).await?;
    let mut metadata = json!({ "resourceVersion": list.resource_version });
    if !list.continue_token.is_empty() {
        metadata["continue"] = list.continue_token.into();
    }
    if let Some(count) = list.remaining_item_count {
        metadata["remainingItemCount"] = count.into();
    }
    let items: Vec<Value> = list.items.into_iter().map(Value::from).collect();
    context.print(&format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":{}}}\n",
        info.list_kind(),
        info.api_version(),
        json::to_string(&metadata),
        json::to_string(&Value::Array(items))
    ))
}

/// Undoes the escapes of a query: `%2F`, and `+` for a space.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).and_then(|code| u8::from_str_radix(code, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        let check = |path: &str, expected: Option<[&str; 6]>| {
            let place = parse(path);
            let parts =
                place.map(|p| [p.group, p.version, p.namespace, p.resource, p.name, p.subresource]);
            assert_eq!(parts, expected, "{path}");
        };
        check("/api/v1/pods", Some(["", "v1", "", "pods", "", ""]));
        check("/api/v1/nodes/n", Some(["", "v1", "", "nodes", "n", ""]));
        check("/api/v1/namespaces/x", Some(["", "v1", "", "namespaces", "x", ""]));
        check("/api/v1/namespaces/x/status", Some(["", "v1", "", "namespaces", "x", "status"]));
        check(
            "/apis/apps/v1/namespaces/x/deployments/d/scale",
            Some(["apps", "v1", "x", "deployments", "d", "scale"]),
        );
        check("/healthz", None);
        assert_eq!(unescape("a%3Db+c%"), "a=b c%");
    }
}
