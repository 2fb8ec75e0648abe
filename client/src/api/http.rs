//! Requests of Kubernetes' REST API over the same connection: for paths that are no resource, or that somebody else says.

use apimachinery::status::{Status, StatusReason};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use tonic::body::Body;
use tower::ServiceExt;

use super::{Client, MAX_MESSAGE};
use crate::wire;

impl Client {
    /// Sends a request as it is, with this client's credentials; the URI is a path. The answer comes as it is.
    ///
    /// # Errors
    /// A failure on the way; never what the server says.
    pub async fn http(&self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        self.sign(request.headers_mut());
        let sent = self.channel.clone().oneshot(request).await;
        sent.map_err(|error| wire::from_tonic(&tonic::Status::from_error(Box::new(error))))
    }

    /// Puts this client's credentials, impersonation included, on a request.
    pub fn sign(&self, headers: &mut http::HeaderMap) {
        for entry in self.headers.0.iter() {
            let tonic::metadata::KeyAndValueRef::Ascii(key, value) = entry else { continue };
            let name = HeaderName::from_bytes(key.as_str().as_bytes());
            let value = HeaderValue::from_bytes(value.as_encoded_bytes());
            if let (Ok(name), Ok(value)) = (name, value) {
                if name == http::header::USER_AGENT && headers.contains_key(&name) {
                    continue;
                }
                headers.append(name, value);
            }
        }
    }

    /// What stands at a path (with its query), as the server sends it.
    ///
    /// # Errors
    /// The server's refusal, or a failure on the way.
    pub async fn get_raw(&self, path: &str) -> Result<Bytes, Status> {
        let request = Request::get(path)
            .body(Body::new(Full::new(Bytes::new())))
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let answer = self.http(request).await?;
        let code = answer.status();
        let body = Limited::new(answer.into_body(), MAX_MESSAGE).collect().await;
        let body = body.map_err(|e| {
            Status::internal(format!("unexpected error when reading response body: {e}"))
        })?;
        let body = body.to_bytes();
        if code.is_success() { Ok(body) } else { Err(refusal(code.as_u16(), &body)) }
    }
}

/// What a failed answer means: the Status in it, or what client-go makes of its code.
fn refusal(code: u16, body: &[u8]) -> Status {
    if let Ok(status) = serde_json::from_slice::<Status>(body)
        && status.code == code
    {
        return status;
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let text = if text.is_empty() { "unknown" } else { text };
    let (reason, message) = match code {
        401 => (
            StatusReason::Unauthorized,
            "the server has asked for the client to provide credentials".to_owned(),
        ),
        403 => (StatusReason::Forbidden, text.to_owned()),
        404 => {
            (StatusReason::NotFound, "the server could not find the requested resource".to_owned())
        }
        405 => (
            StatusReason::MethodNotAllowed,
            "the server does not allow this method on the requested resource".to_owned(),
        ),
        406 | 415 => (StatusReason::NotAcceptable, text.to_owned()),
        409 => (StatusReason::Conflict, "the server reported a conflict".to_owned()),
        429 => (
            StatusReason::TooManyRequests,
            "the server has received too many requests and has asked us to try again later"
                .to_owned(),
        ),
        503 => (
            StatusReason::ServiceUnavailable,
            "the server is currently unable to handle the request".to_owned(),
        ),
        504 => (
            StatusReason::Timeout,
            "the server was unable to return a response in the time allotted, but may still be processing the request".to_owned(),
        ),
        500.. => (
            StatusReason::InternalError,
            format!("an error on the server ({text:?}) has prevented the request from succeeding"),
        ),
        _ => (
            StatusReason::Unknown,
            format!("the server responded with the status code {code} but did not return more information"),
        ),
    };
    Status { code, reason, message, ..Status::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_worded_by_their_code() {
        let check = |code, body: &str, expected: &str| {
            assert_eq!(refusal(code, body.as_bytes()).message, expected);
        };
        check(404, "404 page not found\n", "the server could not find the requested resource");
        check(
            500,
            "[-]x failed\nhealthz check failed\n",
            "an error on the server (\"[-]x failed\\nhealthz check failed\") has prevented the request from succeeding",
        );
        check(
            403,
            r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","code":403}"#,
            "no",
        );
    }
}
