//! How a [`Status`] looks as JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Status, StatusDetails, StatusReason};

/// Every reason that Kubernetes knows, with its text.
const REASONS: [(StatusReason, &str); 20] = [
    (StatusReason::Unknown, ""),
    (StatusReason::Unauthorized, "Unauthorized"),
    (StatusReason::Forbidden, "Forbidden"),
    (StatusReason::NotFound, "NotFound"),
    (StatusReason::AlreadyExists, "AlreadyExists"),
    (StatusReason::Conflict, "Conflict"),
    (StatusReason::Gone, "Gone"),
    (StatusReason::Invalid, "Invalid"),
    (StatusReason::ServerTimeout, "ServerTimeout"),
    (StatusReason::StoreReadError, "StorageReadError"),
    (StatusReason::Timeout, "Timeout"),
    (StatusReason::TooManyRequests, "TooManyRequests"),
    (StatusReason::BadRequest, "BadRequest"),
    (StatusReason::MethodNotAllowed, "MethodNotAllowed"),
    (StatusReason::NotAcceptable, "NotAcceptable"),
    (StatusReason::RequestEntityTooLarge, "RequestEntityTooLarge"),
    (StatusReason::UnsupportedMediaType, "UnsupportedMediaType"),
    (StatusReason::InternalError, "InternalError"),
    (StatusReason::Expired, "Expired"),
    (StatusReason::ServiceUnavailable, "ServiceUnavailable"),
];

impl StatusReason {
    /// The text form, "" for none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(text) => text,
            known => REASONS.iter().find(|(r, _)| r == known).map_or("", |(_, text)| text),
        }
    }
}

impl From<&str> for StatusReason {
    fn from(text: &str) -> Self {
        REASONS
            .iter()
            .find(|(_, t)| *t == text)
            .map_or_else(|| Self::Other(text.to_owned()), |(reason, _)| reason.clone())
    }
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    kind: String,
    api_version: String,
    metadata: Empty,
    #[serde(skip_serializing_if = "String::is_empty")]
    status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Box<StatusDetails>>,
    #[serde(skip_serializing_if = "is_zero")]
    code: u16,
}

/// `metadata: {}`.
#[derive(Serialize, Deserialize, Default)]
struct Empty {}

fn is_zero(value: &u16) -> bool {
    *value == 0
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire {
            kind: "Status".to_owned(),
            api_version: "v1".to_owned(),
            metadata: Empty {},
            status: if self.success { "Success" } else { "Failure" }.to_owned(),
            message: self.message.clone(),
            reason: self.reason.as_str().to_owned(),
            details: self.details.clone(),
            code: self.code,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        Ok(Self {
            success: wire.status == "Success",
            code: wire.code,
            reason: StatusReason::from(wire.reason.as_str()),
            message: wire.message,
            details: wire.details,
        })
    }
}
