//! OpenAPI over HTTP: content negotiation, and caching by hash as Kubernetes has it.
//!
//! The index of version 3 names each document with its hash. Asked for with that hash, a document is immutable; with
//! another one, the client is sent to the right one.

use std::sync::Arc;

use apimachinery::status::Status;
use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{compress::accepts_gzip, query::Query, respond, text};
use crate::{
    apiextensions::Table,
    faces::openapi::{Document, Form, OpenApi},
};

/// The media type in which kubectl asks for version 2.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const JSON: &str = "application/json";

/// Answers a GET below `/openapi`.
///
/// # Errors
/// Not found, and not acceptable.
pub(super) async fn serve(
    openapi: Arc<OpenApi>,
    table: Arc<Table>,
    path: String,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Status> {
    // Making the documents is work that others must not wait for.
    let answered = tokio::task::spawn_blocking(move || {
        openapi.follow(&table);
        answer(&openapi, &path, &query, &headers)
    });
    answered.await.map_err(Status::internal)?
}

fn answer(
    openapi: &OpenApi,
    path: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response, Status> {
    let accepted = text(headers, header::ACCEPT);
    if path == "/openapi/v2" {
        let (form, content_type) = match accepted {
            wanted if takes(wanted, JSON) => (Form::Json, JSON),
            wanted if wanted.contains("proto-openapi.spec.v2") => (Form::Protobuf, V2_PROTOBUF),
            _ => return Err(Status::not_acceptable(&[JSON, V2_PROTOBUF])),
        };
        return Ok(cached(openapi.version_2(form), content_type, headers, false));
    }
    let rest = path.strip_prefix("/openapi/v3").ok_or_else(Status::resource_not_found)?;
    if !takes(accepted, JSON) {
        return Err(Status::not_acceptable(&[JSON]));
    }
    let name = rest.trim_matches('/');
    if name.is_empty() {
        return Ok(respond::json(StatusCode::OK, openapi.index()));
    }
    let document = openapi.version_3(name).ok_or_else(Status::resource_not_found)?;
    match query.get("hash") {
        Some(hash) if hash != document.hash => {
            let right = format!("/openapi/v3/{name}?hash={}", document.hash);
            let mut response =
                respond::with_type(StatusCode::MOVED_PERMANENTLY, JSON, Body::empty());
            if let Ok(right) = HeaderValue::from_str(&right) {
                response.headers_mut().insert(header::LOCATION, right);
            }
            Ok(response)
        }
        hash => Ok(cached(&document, JSON, headers, hash.is_some())),
    }
}

/// Whether an `Accept` header takes the type; an empty one takes all.
fn takes(accepted: &str, wanted: &str) -> bool {
    let (group, _) = wanted.split_once('/').unwrap_or_default();
    accepted.is_empty()
        || accepted.split(',').any(|part| {
            let media = part.split(';').next().unwrap_or("").trim();
            media == wanted || media == "*/*" || media.strip_suffix("/*") == Some(group)
        })
}

/// A document with its `ETag`; nothing but that if the client has it.
fn cached(
    document: &Document,
    content_type: &'static str,
    headers: &HeaderMap,
    immutable: bool,
) -> Response {
    let tag = format!("\"{}\"", document.hash);
    let known = text(headers, header::IF_NONE_MATCH);
    let known =
        known == "*" || known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag);
    let gzip = accepts_gzip(headers);
    let mut response = match (known, gzip) {
        (true, _) => respond::with_type(StatusCode::NOT_MODIFIED, content_type, Body::empty()),
        (false, true) => {
            respond::with_type(StatusCode::OK, content_type, Body::from(document.gzip.clone()))
        }
        (false, false) => {
            respond::with_type(StatusCode::OK, content_type, Body::from(document.text()))
        }
    };
    let headers = response.headers_mut();
    if !known && gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    if immutable {
        let kept = HeaderValue::from_static("public, immutable, max-age=31536000");
        headers.insert(header::CACHE_CONTROL, kept);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, query: &str, accept: &'static str, known: &str) -> Result<Response, Status> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        if !known.is_empty() {
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(known).unwrap());
        }
        answer(&OpenApi::default(), path, &Query::parse(Some(query)).unwrap(), &headers)
    }

    #[test]
    fn documents_are_kept_by_hash() {
        let plain = get("/openapi/v3/apis/apps/v1", "", "application/json", "").unwrap();
        assert_eq!(plain.headers()[header::CACHE_CONTROL], "no-cache, private");
        let tag = plain.headers()[header::ETAG].to_str().unwrap().to_owned();
        let hash = tag.trim_matches('"');
        let kept = get("/openapi/v3/apis/apps/v1", &format!("hash={hash}"), "*/*", "").unwrap();
        assert_eq!(kept.headers()[header::CACHE_CONTROL], "public, immutable, max-age=31536000");
        let known = get("/openapi/v3/apis/apps/v1", "", "", &tag).unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
        let old = get("/openapi/v3/apis/apps/v1", "hash=OLD", "", "").unwrap();
        assert_eq!(old.status(), StatusCode::MOVED_PERMANENTLY);
        assert_eq!(
            old.headers()[header::LOCATION],
            format!("/openapi/v3/apis/apps/v1?hash={hash}")
        );
        assert_eq!(get("/openapi/v3/apis/nope/v1", "", "", "").unwrap_err().code, 404);
    }

    #[test]
    fn version_2_comes_as_json_and_as_protobuf() {
        let kind = |accept: &'static str| {
            let answer = get("/openapi/v2", "", accept, "").map_err(|status| status.code)?;
            Ok(answer.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned())
        };
        assert_eq!(kind("*/*"), Ok(JSON.to_owned()));
        assert_eq!(kind(V2_PROTOBUF), Ok(V2_PROTOBUF.to_owned()));
        assert_eq!(
            kind("application/com.github.proto-openapi.spec.v2@v1.0+protobuf"),
            Ok(V2_PROTOBUF.to_owned())
        );
        assert_eq!(kind("application/xml"), Err(406));
    }
}
