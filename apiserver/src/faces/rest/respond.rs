//! Answers as HTTP. An error becomes HTTP here, in [`error`], and nowhere else.

use apimachinery::status::Status;
use axum::{body::Body, response::Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderValue, StatusCode, header};

use super::{
    compress::{Gzip, THRESHOLD},
    negotiate::Format,
};
use crate::{
    faces::guard::Refused,
    handler::{Answer, ListReply, Reply},
    registry::cacher::{WatchItem, Watcher},
};

/// How much of a list is put together at a time.
const CHUNK: usize = 128 * 1024;

/// An error as HTTP: the code, the status as the body, and when to come back.
pub(in crate::faces) fn error(status: &Status) -> Response {
    let body = serde_json::to_vec(status).expect("a status is JSON");
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, body.into());
    if let Some(seconds) = status.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status.code == 401 {
        let challenge = HeaderValue::from_static("Basic realm=\"kubernetes-master\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response.extensions_mut().insert(Refused(status.clone()));
    response
}

/// A JSON document.
pub(super) fn json(code: StatusCode, body: Bytes) -> Response {
    with_type(code, "application/json", Body::from(body))
}

/// A body with its media type.
pub(super) fn with_type(code: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// The chain's answer, in gzip if it is long and `gzip` says that the client takes it.
pub(super) fn answer(answer: Answer, format: Format, gzip: bool) -> Response {
    let Answer { reply, warnings } = answer;
    let mut response = match reply {
        Reply::Object { body, created } => {
            document(if created { StatusCode::CREATED } else { StatusCode::OK }, body, format, gzip)
        }
        Reply::List(list) if format == Format::Json => {
            let chunks = ListChunks::new(list);
            let length = chunks.length();
            pieces(StatusCode::OK, "application/json", chunks, length, gzip)
        }
        Reply::List(list) => {
            let body: BytesMut = ListChunks::new(list).flatten().collect();
            document(StatusCode::OK, body.freeze(), format, gzip)
        }
        Reply::Watch(watcher) => watch_stream(watcher),
    };
    for warning in warnings {
        let text = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(['\r', '\n'], " ");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

fn document(code: StatusCode, body: Bytes, format: Format, gzip: bool) -> Response {
    let (content_type, text) = match format {
        Format::Json => ("application/json", body),
        Format::Yaml => match serde_json::from_slice(&body) {
            Ok(value) => ("application/yaml", apimachinery::yaml::emit(&value).into()),
            Err(error) => return self::error(&Status::internal(error)),
        },
    };
    let length = text.len();
    pieces(code, content_type, std::iter::once(text), length, gzip)
}

/// A body that is put together as it is sent: its length told ahead, or compressed.
fn pieces(
    code: StatusCode,
    content_type: &'static str,
    pieces: impl Iterator<Item = Bytes> + Send + 'static,
    length: usize,
    gzip: bool,
) -> Response {
    if gzip && length > THRESHOLD {
        let mut response = with_type(code, content_type, stream(Gzip::new(pieces)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        return response;
    }
    let mut response = with_type(code, content_type, stream(pieces));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn stream(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Body {
    Body::from_stream(futures::stream::iter(pieces.map(Ok::<_, std::convert::Infallible>)))
}

/// The text of a list, in pieces of bounded size.
struct ListChunks {
    head: Option<Bytes>,
    items: std::vec::IntoIter<Bytes>,
    any: bool,
    done: bool,
}

impl ListChunks {
    fn new(list: ListReply) -> Self {
        let (kind, api_version) = if list.metadata_only {
            ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned())
        } else {
            (list.info.list_kind(), list.info.api_version())
        };
        let metadata = crate::registry::output::list_meta(
            &list.resource_version,
            &list.continue_token,
            list.remaining,
        );
        let head = format!(
            "{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":["
        );
        Self { head: Some(head.into()), items: list.items.into_iter(), any: false, done: false }
    }

    fn length(&self) -> usize {
        let items = self.items.as_slice();
        let head = self.head.as_ref().map_or(0, Bytes::len);
        head + items.iter().map(Bytes::len).sum::<usize>() + items.len().saturating_sub(1) + 2
    }
}

impl Iterator for ListChunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let mut chunk = BytesMut::with_capacity(CHUNK.min(self.length()));
        if let Some(head) = self.head.take() {
            chunk.put_slice(&head);
        }
        while chunk.len() < CHUNK {
            let Some(item) = self.items.next() else {
                chunk.put_slice(b"]}");
                self.done = true;
                break;
            };
            if self.any {
                chunk.put_u8(b',');
            }
            self.any = true;
            chunk.put_slice(&item);
        }
        Some(chunk.freeze())
    }
}

/// A watch as lines; events that are ready together leave together.
fn watch_stream(watcher: Box<Watcher>) -> Response {
    let lines = futures::stream::unfold(watcher, |mut watcher| async move {
        let batch = watcher.next().await?;
        Some((Ok::<_, std::convert::Infallible>(watch_lines(&batch)), watcher))
    });
    with_type(StatusCode::OK, "application/json", Body::from_stream(lines.fuse()))
}

fn watch_lines(batch: &[WatchItem]) -> Bytes {
    let length = batch.iter().map(|item| item.object.len() + 40).sum();
    let mut out = BytesMut::with_capacity(length);
    for WatchItem { kind, object } in batch {
        out.put_slice(b"{\"type\":\"");
        out.put_slice(kind.as_str().as_bytes());
        out.put_slice(b"\",\"object\":");
        out.put_slice(object);
        out.put_slice(b"}\n");
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_spliced_with_the_right_length() {
        let check = |items: &[&'static str], expected: &str| {
            let chunks = ListChunks::new(ListReply {
                info: &apimachinery::resource::PODS,
                metadata_only: false,
                resource_version: "7".into(),
                continue_token: String::new(),
                remaining: None,
                items: items.iter().map(|item| Bytes::from_static(item.as_bytes())).collect(),
            });
            let length = chunks.length();
            let text: Vec<u8> = chunks.flatten().collect();
            assert_eq!(length, text.len());
            assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
        };
        check(
            &[],
            r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[]}"#,
        );
        check(
            &["{}"],
            r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{}]}"#,
        );
        check(
            &["1", "2"],
            r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[1,2]}"#,
        );
    }

    #[test]
    fn errors_carry_code_and_status() {
        let response = error(&Status::too_many_requests("slow down", 3));
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "3");
        assert_eq!(error(&Status::unauthorized()).status(), 401);
    }
}
