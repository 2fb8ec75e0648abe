//! Why a server could not be reached, read from an error's chain of causes.

use std::{error::Error, io};

/// What stood between us and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens there.
    Refused,
    /// The server's certificate is not from the authority that we trust.
    UnknownAuthority,
    /// TLS failed in another way.
    Tls,
    /// No answer in time.
    TimedOut,
    /// The connection was lost, or anything else.
    Lost,
}

impl Failure {
    /// The kind of failure behind `error`, and the innermost cause's words.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> (Self, String) {
        let mut failure = Self::Lost;
        let mut cause = error;
        loop {
            if let Some(error) = cause.downcast_ref::<io::Error>() {
                failure = match error.kind() {
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
                    io::ErrorKind::TimedOut => Self::TimedOut,
                    _ => failure,
                };
                // An io::Error's source() skips the error that it wraps.
                if let Some(inner) = error.get_ref() {
                    cause = inner;
                    continue;
                }
            } else if let Some(error) = cause.downcast_ref::<rustls::Error>() {
                failure = match error {
                    rustls::Error::InvalidCertificate(
                        rustls::CertificateError::UnknownIssuer
                        | rustls::CertificateError::BadSignature,
                    ) => Self::UnknownAuthority,
                    _ => Self::Tls,
                };
            }
            match cause.source() {
                Some(source) => cause = source,
                None => return (failure, cause.to_string()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::Failure;

    #[test]
    fn the_innermost_cause_counts() {
        let check = |error: io::Error, expected: Failure, words: &str| {
            assert_eq!(Failure::of(&error), (expected, words.to_owned()));
        };
        check(io::ErrorKind::ConnectionRefused.into(), Failure::Refused, "connection refused");
        check(io::Error::other(io::Error::other("why")), Failure::Lost, "why");
        check(io::ErrorKind::TimedOut.into(), Failure::TimedOut, "timed out");
        let issuer = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let words = issuer.to_string();
        check(
            io::Error::new(io::ErrorKind::InvalidData, issuer),
            Failure::UnknownAuthority,
            &words,
        );
    }
}
