//! rustls configurations from PEM, and the identity in a client's certificate.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{KeyPair, TlsError};

/// The configuration of a server that offers HTTP/2 and HTTP/1.1.
///
/// A client certificate is optional at this level, since bearer tokens exist too; when one is given it must be signed by
/// `client_ca_pem` and be good for client authentication. Without `client_ca_pem` none is asked for.
///
/// # Errors
/// When a PEM is not what it should be, or the key does not fit the certificate.
pub fn server_config(
    serving: &KeyPair,
    client_ca_pem: Option<&str>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?;
    let builder = match client_ca_pem {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pem)?), provider())
                    .allow_unauthenticated()
                    .build()
                    .map_err(TlsError::Verifier)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let (chain, key) = chain_and_key(serving)?;
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Config)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The configuration of a client that speaks HTTP/2 to servers signed by `ca_pem`.
///
/// # Errors
/// When a PEM is not what it should be, or the key does not fit the certificate.
pub fn client_config(
    ca_pem: &str,
    client: Option<&KeyPair>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?
        .with_root_certificates(roots(ca_pem)?);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(key_pair) => {
            let (chain, key) = chain_and_key(key_pair)?;
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Config)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A client keeps its connection; what it would remember for the next one costs more than a whole handshake saves.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The configuration of a client that takes any certificate: for backends behind a proxy, whose names nobody knows.
///
/// # Errors
/// When the library refuses its own defaults.
pub(crate) fn unverified_client_config() -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Takes any certificate, but only of who holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// User (common name) and groups (organizations) of a certificate, as Kubernetes' x509 authenticator reads them.
/// `None` when it has no common name. The certificate must have been verified before.
#[must_use]
pub fn identity_of(certificate: &CertificateDer<'_>) -> Option<(String, Vec<String>)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject
        .iter_organization()
        .filter_map(|organization| organization.as_str().ok())
        .map(str::to_owned)
        .collect();
    (!user.is_empty()).then_some((user, groups))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(TlsError::Config)?;
    }
    Ok(roots)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "a certificate";
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem { what, source: Some(source) })?;
    if certificates.is_empty() {
        return Err(TlsError::Pem { what, source: None });
    }
    Ok(certificates)
}

fn chain_and_key(
    key_pair: &KeyPair,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let key = PrivateKeyDer::from_pem_slice(key_pair.key_pem.as_bytes())
        .map_err(|source| TlsError::Pem { what: "a private key", source: Some(source) })?;
    Ok((certificates(&key_pair.cert_pem)?, key))
}
