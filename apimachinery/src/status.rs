//! THE error of the API: [`Status`], shaped as `metav1.Status`.
//!
//! Constructors bear the names of `k8s.io/apimachinery/pkg/api/errors` and give exactly its codes, reasons, messages
//! and details. A status becomes HTTP or gRPC in the API server's two faces and nowhere else; clients get the same
//! value back.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    field::{FieldErrors, aggregate, go_quote},
    resource::ResourceInfo,
};

mod wire;

/// Why a request failed, for machines: `metav1.StatusReason`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum StatusReason {
    /// No reason given.
    #[default]
    Unknown,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409: create of an existing name.
    AlreadyExists,
    /// 409: changed meanwhile.
    Conflict,
    /// 410.
    Gone,
    /// 422.
    Invalid,
    /// 500: try again.
    ServerTimeout,
    /// 500: stored data cannot be read.
    StoreReadError,
    /// 504.
    Timeout,
    /// 429.
    TooManyRequests,
    /// 400.
    BadRequest,
    /// 405.
    MethodNotAllowed,
    /// 406.
    NotAcceptable,
    /// 413.
    RequestEntityTooLarge,
    /// 415.
    UnsupportedMediaType,
    /// 500.
    InternalError,
    /// 410: the resourceVersion or the continue token is too old.
    Expired,
    /// 503.
    ServiceUnavailable,
    /// A reason of somebody else, such as a webhook.
    Other(String),
}

/// One cause: `metav1.StatusCause`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusCause {
    /// Machine-readable type: `FieldValueInvalid`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What is wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field, as `spec.containers[0].name`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// What the error is about: `metav1.StatusDetails`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StatusDetails {
    /// Name of the object (or of the operation that timed out).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource (`pods`); the kind (`Pod`) in errors about validity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Uid of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Single causes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    /// When to try again; 0: not said.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: i32,
}

fn is_zero(value: &i32) -> bool {
    *value == 0
}

/// The outcome of a request that has no object to return: nearly always a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// True only in the answer to a successful delete and its like.
    pub success: bool,
    /// HTTP status code; 0 where none was given.
    pub code: u16,
    /// For machines.
    pub reason: StatusReason,
    /// For humans.
    pub message: String,
    /// What it is about.
    pub details: Option<Box<StatusDetails>>,
}

impl Status {
    fn failure(code: u16, reason: StatusReason, message: impl Into<String>) -> Self {
        Self { success: false, code, reason, message: message.into(), details: None }
    }

    fn about(mut self, info: &ResourceInfo, name: &str) -> Self {
        self.details = Some(Box::new(StatusDetails {
            name: name.to_owned(),
            group: info.group.to_owned(),
            kind: info.resource.to_owned(),
            ..StatusDetails::default()
        }));
        self
    }

    fn retry_after(mut self, seconds: i32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// The answer to a successful operation without an object.
    #[must_use]
    pub fn success(info: &ResourceInfo, name: &str, uid: &str) -> Self {
        let mut status = Self { success: true, ..Self::default() }.about(info, name);
        status.details.get_or_insert_default().uid = uid.to_owned();
        status
    }

    /// 404: no such object.
    #[must_use]
    pub fn not_found(info: &ResourceInfo, name: &str) -> Self {
        let message = format!("{} {} not found", info.group_resource(), go_quote(name));
        Self::failure(404, StatusReason::NotFound, message).about(info, name)
    }

    /// 404: no such path or resource at all.
    #[must_use]
    pub fn resource_not_found() -> Self {
        let message = "the server could not find the requested resource";
        let mut status = Self::failure(404, StatusReason::NotFound, message);
        status.details = Some(Box::default());
        status
    }

    /// 409: the name is taken.
    #[must_use]
    pub fn already_exists(info: &ResourceInfo, name: &str) -> Self {
        let message = format!("{} {} already exists", info.group_resource(), go_quote(name));
        Self::failure(409, StatusReason::AlreadyExists, message).about(info, name)
    }

    /// 409: `generateName` gave only names that are taken.
    #[must_use]
    pub fn generate_name_conflict(info: &ResourceInfo, name: &str, retry_after: i32) -> Self {
        let message = format!(
            "{} {} already exists, the server was not able to generate a unique name for the object",
            info.group_resource(),
            go_quote(name)
        );
        Self::failure(409, StatusReason::AlreadyExists, message)
            .about(info, name)
            .retry_after(retry_after)
    }

    /// 409: the object changed meanwhile, or a precondition does not hold.
    #[must_use]
    pub fn conflict(info: &ResourceInfo, name: &str, why: impl fmt::Display) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {}: {why}",
            info.group_resource(),
            go_quote(name)
        );
        Self::failure(409, StatusReason::Conflict, message).about(info, name)
    }

    /// 409: the conflict of an update with an outdated resourceVersion.
    #[must_use]
    pub fn modified(info: &ResourceInfo, name: &str) -> Self {
        Self::conflict(
            info,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409: server-side apply meets fields of other managers.
    #[must_use]
    pub fn apply_conflict(causes: Vec<StatusCause>, message: impl Into<String>) -> Self {
        let mut status = Self::failure(409, StatusReason::Conflict, message);
        status.details.get_or_insert_default().causes = causes;
        status
    }

    /// 422: the object's fields are wrong.
    #[must_use]
    pub fn invalid(info: &ResourceInfo, name: &str, errors: FieldErrors) -> Self {
        let mut message = format!("{} {} is invalid", info.group_kind(), go_quote(name));
        if !errors.is_empty() {
            message.push_str(": ");
            message.push_str(&aggregate(&errors));
        }
        let causes = errors
            .into_iter()
            .map(|e| StatusCause {
                reason: e.error_type.reason().to_owned(),
                message: e.body(),
                field: e.field,
            })
            .collect();
        let mut status = Self::failure(422, StatusReason::Invalid, message).about(info, name);
        let details = status.details.get_or_insert_default();
        details.kind = info.kind.to_owned();
        details.causes = causes;
        status
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, StatusReason::BadRequest, message)
    }

    /// 401: who are you? An empty text stands for Kubernetes' own.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::failure(401, StatusReason::Unauthorized, "Unauthorized")
    }

    /// 403: admission forbids it, or authorization does not allow it.
    #[must_use]
    pub fn forbidden(info: &ResourceInfo, name: &str, why: impl fmt::Display) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", info.group_resource())
        } else {
            format!("{} {} is forbidden: {why}", info.group_resource(), go_quote(name))
        };
        Self::failure(403, StatusReason::Forbidden, message).about(info, name)
    }

    /// 403 for a path that is no resource.
    #[must_use]
    pub fn forbidden_path(why: impl fmt::Display) -> Self {
        let mut status = Self::failure(403, StatusReason::Forbidden, format!("forbidden: {why}"));
        status.details = Some(Box::default());
        status
    }

    /// 410: the resourceVersion or the continue token is too old.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, StatusReason::Expired, message)
    }

    /// 410: gone for good.
    #[must_use]
    pub fn gone(message: impl Into<String>) -> Self {
        Self::failure(410, StatusReason::Gone, message)
    }

    /// 429: try again after so many seconds.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, retry_after: i32) -> Self {
        Self::failure(429, StatusReason::TooManyRequests, message).retry_after(retry_after)
    }

    /// 500: our own fault.
    #[must_use]
    pub fn internal(message: impl fmt::Display) -> Self {
        let mut status = Self::failure(
            500,
            StatusReason::InternalError,
            format!("Internal error occurred: {message}"),
        );
        let cause = StatusCause { message: message.to_string(), ..StatusCause::default() };
        status.details.get_or_insert_default().causes = vec![cause];
        status
    }

    /// 504: the request took too long; it may still complete.
    #[must_use]
    pub fn timeout(message: impl fmt::Display, retry_after: i32) -> Self {
        Self::failure(504, StatusReason::Timeout, format!("Timeout: {message}"))
            .retry_after(retry_after)
    }

    /// 500: a passing failure; try again.
    #[must_use]
    pub fn server_timeout(info: &ResourceInfo, operation: &str, retry_after: i32) -> Self {
        let message = format!(
            "The {operation} operation against {} could not be completed at this time, please try again.",
            info.group_resource()
        );
        Self::failure(500, StatusReason::ServerTimeout, message)
            .about(info, operation)
            .retry_after(retry_after)
    }

    /// 405: this resource has no such verb.
    #[must_use]
    pub fn method_not_allowed(info: &ResourceInfo, action: &str) -> Self {
        let message = format!(
            "{action} is not supported on resources of kind {}",
            go_quote(&info.group_resource())
        );
        Self::failure(405, StatusReason::MethodNotAllowed, message).about(info, "")
    }

    /// 406: none of the accepted media types can be given.
    #[must_use]
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        Self::failure(
            406,
            StatusReason::NotAcceptable,
            format!("only the following media types are accepted: {}", accepted.join(", ")),
        )
    }

    /// 415: the body's media type is not taken.
    #[must_use]
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        Self::failure(
            415,
            StatusReason::UnsupportedMediaType,
            format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                accepted.join(", ")
            ),
        )
    }

    /// 413: the body is too large.
    #[must_use]
    pub fn request_entity_too_large(message: impl fmt::Display) -> Self {
        Self::failure(
            413,
            StatusReason::RequestEntityTooLarge,
            format!("Request entity too large: {message}"),
        )
    }

    /// 414: the path with its query is too long. Kubernetes has no reason for it.
    #[must_use]
    pub fn uri_too_long(limit: usize) -> Self {
        let message = format!("Request URI too long: limit is {limit}");
        Self::failure(414, StatusReason::Unknown, message)
    }

    /// 503: not ready to serve.
    #[must_use]
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, StatusReason::ServiceUnavailable, message)
    }

    /// Whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.is(&StatusReason::NotFound, 404)
    }

    /// Whether the name is taken.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.reason == StatusReason::AlreadyExists
    }

    /// Whether the object changed meanwhile.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.is(&StatusReason::Conflict, 409)
    }

    /// Whether the object is invalid.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.is(&StatusReason::Invalid, 422)
    }

    /// Whether the resourceVersion or the continue token is too old.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(self.reason, StatusReason::Expired | StatusReason::Gone)
    }

    /// Whether the caller may not do this.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.is(&StatusReason::Forbidden, 403)
    }

    /// Whether the caller is unknown.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        self.is(&StatusReason::Unauthorized, 401)
    }

    /// Whether the request makes no sense.
    #[must_use]
    pub fn is_bad_request(&self) -> bool {
        self.is(&StatusReason::BadRequest, 400)
    }

    /// Whether the server asks for patience.
    #[must_use]
    pub fn is_too_many_requests(&self) -> bool {
        self.is(&StatusReason::TooManyRequests, 429)
    }

    /// Whether the request took too long.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.is(&StatusReason::Timeout, 504)
    }

    /// Whether a passing failure of the server is the cause.
    #[must_use]
    pub fn is_server_timeout(&self) -> bool {
        self.reason == StatusReason::ServerTimeout
    }

    /// Whether the server is at fault.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.is(&StatusReason::InternalError, 500)
    }

    /// Whether the server is not ready to serve.
    #[must_use]
    pub fn is_service_unavailable(&self) -> bool {
        self.is(&StatusReason::ServiceUnavailable, 503)
    }

    /// Whether the resource has no such verb.
    #[must_use]
    pub fn is_method_not_allowed(&self) -> bool {
        self.is(&StatusReason::MethodNotAllowed, 405)
    }

    /// The seconds after which to try again, where the server said so.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<i32> {
        self.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0)
    }

    /// The reason, or the code where no known reason is given, as client-go compares.
    fn is(&self, reason: &StatusReason, code: u16) -> bool {
        match self.reason {
            StatusReason::Unknown | StatusReason::Other(_) => self.code == code,
            _ => self.reason == *reason,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests;
