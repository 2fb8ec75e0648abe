//! The one API error on the wire: [`Status`] to [`tonic::Status`] and back.
//!
//! A status travels whole, as JSON in the gRPC status' details; code and message are copies for those who do not read
//! details. A gRPC status without details does not come from the API but from the way to it, and becomes a
//! `ServiceUnavailable` that [`transport_failure`] tells from the API server's own.

use apimachinery::status::{Status, StatusCause, StatusDetails, StatusReason};
use bytes::Bytes;
use component_base::transport::Failure;
use tonic::Code;

/// Details are a header: what is longer would break the connection instead of telling what is wrong.
const MAX_DETAILS: usize = 64 * 1024;
/// The copy of the message for those who do not read details.
const MAX_MESSAGE: usize = 1024;
/// `metadata.details.causes[].reason` prefix of a failure that is not the API server's word.
const TRANSPORT: &str = "kubemini.Transport";

/// Encodes an API error for gRPC.
#[must_use]
pub fn to_tonic(status: &Status) -> tonic::Status {
    let mut details = encode(status);
    if details.len() > MAX_DETAILS {
        let mut short = status.clone();
        short.message = truncated(&short.message, MAX_DETAILS / 4).to_owned();
        if let Some(details) = &mut short.details {
            details.causes.clear();
        }
        details = encode(&short);
    }
    let message = truncated(&status.message, MAX_MESSAGE);
    tonic::Status::with_details(code_of(status), message, details)
}

/// Decodes what a call returned as its error.
#[must_use]
pub fn from_tonic(status: &tonic::Status) -> Status {
    if !status.details().is_empty() {
        return serde_json::from_slice(status.details())
            .unwrap_or_else(|_| Status::internal(status.message()));
    }
    match status.code() {
        Code::DeadlineExceeded => Status::timeout(status.message(), 0),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => unreachable(status),
        _ => Status::internal(status.message()),
    }
}

/// Why the API server could not be reached, with the innermost cause's words; `None` when the status is its answer.
#[must_use]
pub fn transport_failure(status: &Status) -> Option<(Failure, &str)> {
    let cause = status.details.as_ref()?.causes.first()?;
    let failure = match cause.reason.strip_prefix(TRANSPORT)? {
        "Refused" => Failure::Refused,
        "UnknownAuthority" => Failure::UnknownAuthority,
        "Tls" => Failure::Tls,
        "TimedOut" => Failure::TimedOut,
        _ => Failure::Lost,
    };
    Some((failure, &cause.message))
}

fn unreachable(status: &tonic::Status) -> Status {
    let (failure, words) = match std::error::Error::source(status) {
        Some(source) => Failure::of(source),
        None => (Failure::Lost, status.message().to_owned()),
    };
    let mut unavailable = Status::service_unavailable(words.clone());
    let cause = StatusCause {
        reason: format!("{TRANSPORT}{failure:?}"),
        message: words,
        field: String::new(),
    };
    unavailable.details =
        Some(Box::new(StatusDetails { causes: vec![cause], ..StatusDetails::default() }));
    unavailable
}

fn encode(status: &Status) -> Bytes {
    serde_json::to_vec(status).expect("a status is plain JSON").into()
}

/// The longest beginning of `text` of at most `length` bytes.
fn truncated(text: &str, length: usize) -> &str {
    &text[..text.floor_char_boundary(length)]
}

/// The nearest gRPC code.
fn code_of(status: &Status) -> Code {
    match (&status.reason, status.code) {
        (StatusReason::AlreadyExists, _) => Code::AlreadyExists,
        (StatusReason::Timeout | StatusReason::ServerTimeout, _) | (_, 504) => {
            Code::DeadlineExceeded
        }
        (_, 400 | 406 | 415 | 422) => Code::InvalidArgument,
        (_, 401) => Code::Unauthenticated,
        (_, 403) => Code::PermissionDenied,
        (_, 404) => Code::NotFound,
        (_, 405 | 501) => Code::Unimplemented,
        (_, 409) => Code::Aborted,
        (_, 410) => Code::OutOfRange,
        (_, 413 | 429) => Code::ResourceExhausted,
        (_, 500) => Code::Internal,
        (_, 503) => Code::Unavailable,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::resource;

    use super::*;

    #[test]
    fn an_api_error_survives_the_wire() {
        let check = |status: Status, code: Code| {
            let wire = to_tonic(&status);
            assert_eq!(wire.code(), code);
            assert_eq!(wire.message(), status.message);
            assert_eq!(from_tonic(&wire), status);
            assert_eq!(transport_failure(&status), None);
        };
        check(Status::not_found(&resource::PODS, "web"), Code::NotFound);
        check(Status::already_exists(&resource::PODS, "web"), Code::AlreadyExists);
        check(Status::modified(&resource::PODS, "web"), Code::Aborted);
        check(Status::unauthorized(), Code::Unauthenticated);
        check(Status::expired("too old resource version: 1 (5)"), Code::OutOfRange);
        check(Status::service_unavailable("starting"), Code::Unavailable);
        check(Status::too_many_requests("slow down", 1), Code::ResourceExhausted);
    }

    #[test]
    fn an_error_too_long_for_a_header_is_shortened() {
        let wire = to_tonic(&Status::bad_request("ä".repeat(1 << 20)));
        assert!(wire.details().len() <= MAX_DETAILS && wire.message().len() <= MAX_MESSAGE);
        let back = from_tonic(&wire);
        assert!(back.is_bad_request() && back.message.starts_with("ää"));
    }

    #[test]
    fn a_failure_on_the_way_is_not_the_servers_word() {
        let check = |error: std::io::Error, expected: Failure| {
            let status = from_tonic(&tonic::Status::from_error(Box::new(error)));
            assert!(status.is_service_unavailable());
            assert_eq!(transport_failure(&status).unwrap().0, expected);
        };
        check(std::io::ErrorKind::ConnectionRefused.into(), Failure::Refused);
        check(std::io::ErrorKind::TimedOut.into(), Failure::TimedOut);
        check(std::io::ErrorKind::BrokenPipe.into(), Failure::Lost);
        assert!(from_tonic(&tonic::Status::deadline_exceeded("late")).is_timeout());
        assert!(from_tonic(&tonic::Status::unimplemented("old server")).is_internal());
    }
}
