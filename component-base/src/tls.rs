//! Certificates: the cluster's authority, what it signs, and the rustls configurations made from PEM.
//!
//! A cluster has one authority. Every component holds a client certificate whose common name is its Kubernetes user and
//! whose organizations are its groups (`system:node:node-1` in `system:nodes`); a server adds DNS names and addresses.
//! Keys are ECDSA P-256: small, and a handshake costs well under a millisecond. The `ring` provider is passed
//! explicitly everywhere; nothing depends on a process-wide default.
//!
//! Certificates live in real time, also where a test runs on a virtual clock: pass the real `now`.

mod authority;
mod config;
mod request;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use self::config::unverified_client_config;
pub use self::{
    authority::{CertSpec, CertificateAuthority, Usage, create_signing_key},
    config::{client_config, identity_of, server_config},
    request::{CertificateRequest, RequestError, Subject, Terms, check_certificates, not_after},
};

/// A certificate chain with its private key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The certificate, then any intermediates.
    pub cert_pem: String,
    /// The private key (PKCS#8).
    pub key_pem: String,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("key_pem", &"<redacted>").finish_non_exhaustive()
    }
}

/// Why a certificate could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority could not sign.
    #[error("failed to issue a certificate for {subject:?}")]
    Issue {
        /// The common name asked for.
        subject: String,
        /// What the certificate library says.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate library writes one organization; the second group would be lost.
    #[error("failed to issue a certificate for {subject:?}: more than one organization")]
    Organizations {
        /// The common name asked for.
        subject: String,
    },
    /// What was to be signed is no good request.
    #[error("failed to take a certificate request")]
    Request(#[source] RequestError),
    /// The authority's key is of another kind.
    #[error("failed to sign a certificate: the authority's key is no ECDSA P-256")]
    Algorithm,
    /// The system has no randomness.
    #[error("failed to make a serial number")]
    Random,
    /// The PEM of an authority does not hold a usable certificate and key.
    #[error("failed to load the certificate authority")]
    Load(#[source] rcgen::Error),
    /// A text holds no PEM of the wanted kind.
    #[error("failed to read {what} from PEM")]
    Pem {
        /// "a certificate", "a private key".
        what: &'static str,
        /// What the PEM reader says; none when the text is empty.
        #[source]
        source: Option<rustls_pki_types::pem::Error>,
    },
    /// Certificate and key do not fit, or a certificate cannot be trusted.
    #[error("failed to build the TLS configuration")]
    Config(#[source] rustls::Error),
    /// The authority's certificate cannot verify clients.
    #[error("failed to build the verifier of client certificates")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}
