//! TLS Secrets to what a server presents, by the name that the client asks for.

use std::{collections::HashMap, sync::Arc};

use apimachinery::{api::core::Secret, object::ObjectKey};
use arc_swap::ArcSwap;
use component_base::tls::{CertSpec, CertificateAuthority};
use rustls::{
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::{directory::Snapshot, routes::wildcard_of};

/// Reads a Secret of type `kubernetes.io/tls`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn read(secret: &Secret) -> Result<Arc<CertifiedKey>, String> {
    let part = |name: &str| {
        let value = secret.data.get(name).map(|value| value.0.as_slice()).filter(|v| !v.is_empty());
        value.ok_or_else(|| format!("it has no {name}"))
    };
    certified(part("tls.crt")?, part("tls.key")?)
}

fn certified(certificate: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("its tls.crt is no PEM: {error:?}"))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("its tls.key is no PEM: {error:?}"))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map(Arc::new)
        .map_err(|error| format!("its certificate cannot be used: {error}"))
}

/// A certificate for hosts without one of their own; nobody trusts it.
///
/// # Errors
/// It cannot be made.
pub fn fallback(now: jiff::Timestamp) -> Result<Arc<CertifiedKey>, String> {
    let authority =
        CertificateAuthority::create("Kubernetes Ingress Controller Fake Certificate", now)
            .map_err(|error| error.to_string())?;
    let spec = CertSpec::server("ingress.local", &["ingress.local"], &[]);
    let pair = authority.issue(&spec, now).map_err(|error| error.to_string())?;
    certified(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes())
}

/// The certificates by host; wildcards by what follows the `*`.
pub type Certificates = HashMap<String, Arc<CertifiedKey>>;

/// Chooses by SNI from the snapshot of the moment, so that a changed Secret counts from the next handshake on.
pub(crate) struct BySni {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) fallback: Arc<CertifiedKey>,
}

impl std::fmt::Debug for BySni {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BySni")
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        let snapshot = self.snapshot.load();
        Some(choose(&snapshot.certificates, &name).unwrap_or(&self.fallback).clone())
    }
}

pub(crate) fn choose<'c>(
    certificates: &'c Certificates,
    name: &str,
) -> Option<&'c Arc<CertifiedKey>> {
    certificates.get(name).or_else(|| certificates.get(wildcard_of(name)?))
}

/// Joins the routes' Secrets to what was read of them, for each host the first that can be used; what cannot is told.
pub(crate) fn join<'a>(
    secrets: impl Iterator<Item = (&'a str, &'a [ObjectKey])>,
    read: &HashMap<ObjectKey, Result<Arc<CertifiedKey>, String>>,
) -> (Certificates, Vec<String>) {
    let (mut certificates, mut problems) = (Certificates::new(), Vec::new());
    for (host, key) in secrets.flat_map(|(host, keys)| keys.iter().map(move |key| (host, key))) {
        match read.get(key) {
            Some(Ok(certificate)) => {
                certificates.entry(host.to_owned()).or_insert_with(|| certificate.clone());
            }
            Some(Err(why)) => problems.push(format!("Secret {key} for {host}: {why}")),
            None => problems.push(format!(
                "Secret {key} for {host}: there is no such Secret of type kubernetes.io/tls"
            )),
        }
    }
    problems.sort();
    (certificates, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose_certificates() {
        let now = "2026-05-01T12:00:00Z".parse().unwrap();
        let authority = CertificateAuthority::create("ca", now).unwrap();
        let make = |name: &str| {
            let pair = authority.issue(&CertSpec::server(name, &[name], &[]), now).unwrap();
            certified(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes()).unwrap()
        };
        let (own, wild) = (make("a.example"), make("*.b.example"));
        let certificates = Certificates::from([
            ("a.example".to_owned(), own.clone()),
            (".b.example".to_owned(), wild.clone()),
        ]);
        let check = |name: &str, expected: Option<&Arc<CertifiedKey>>| {
            let found = choose(&certificates, name);
            assert_eq!(found.map(Arc::as_ptr), expected.map(Arc::as_ptr), "{name}");
        };
        check("a.example", Some(&own));
        check("x.b.example", Some(&wild));
        check("b.example", None);
        check("x.y.b.example", None);
        check("", None);
        let key = |name: &str| ObjectKey::new("default", name);
        let read_secrets = HashMap::from([
            (key("broken"), Err("it has no tls.crt".to_owned())),
            (key("own"), Ok(own.clone())),
        ]);
        let keys = [key("broken"), key("none"), key("own")];
        let (joined, problems) = join([("a.example", &keys[..])].into_iter(), &read_secrets);
        assert!(Arc::ptr_eq(&joined["a.example"], &own), "what is of no use shadows nothing");
        assert_eq!(problems.len(), 2);
        assert!(fallback(now).is_ok());
        assert_eq!(read(&Secret::default()).unwrap_err(), "it has no tls.crt");
        assert!(certified(b"x", b"y").is_err());
    }
}
