//! What the authority signs says what was asked, and survives storing.

use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{CertSpec, CertificateAuthority, KeyPair, client_config, identity_of, server_config};

fn authority() -> CertificateAuthority {
    CertificateAuthority::create("kubernetes", jiff::Timestamp::now()).unwrap()
}

fn identity(key_pair: &KeyPair) -> Option<(String, Vec<String>)> {
    identity_of(&CertificateDer::from_pem_slice(key_pair.cert_pem.as_bytes()).unwrap())
}

#[test]
fn a_client_certificate_carries_user_and_groups() {
    let authority = authority();
    let now = jiff::Timestamp::now();
    let check = |user: &str, groups: &[&str]| {
        let key_pair = authority.issue(&CertSpec::client(user, groups), now).unwrap();
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        assert_eq!(identity(&key_pair), Some((user.to_owned(), groups)));
    };
    check("kubernetes-admin", &["system:masters"]);
    check("system:node:node-1", &["system:nodes"]);
    check("nobody", &[]);
    authority.issue(&CertSpec::client("jane", &["a", "b"]), now).unwrap_err();
}

#[test]
fn a_loaded_authority_signs_for_the_same_trust() {
    let first = authority();
    let again = CertificateAuthority::load(first.key_pair().clone()).unwrap();
    let serving =
        again.issue(&CertSpec::server("api", &["localhost"], &[]), jiff::Timestamp::now()).unwrap();
    server_config(&serving, Some(first.cert_pem())).unwrap();
    client_config(first.cert_pem(), Some(&serving)).unwrap();
}

#[test]
fn unusable_pem_is_refused_with_its_kind() {
    let authority = authority();
    let serving = authority
        .issue(&CertSpec::server("api", &["localhost"], &[]), jiff::Timestamp::now())
        .unwrap();
    let check = |key_pair: &KeyPair, expected: &str| {
        assert_eq!(server_config(key_pair, None).unwrap_err().to_string(), expected);
    };
    let with_cert = |pem: &str| KeyPair { cert_pem: pem.to_owned(), ..serving.clone() };
    let with_key = |pem: &str| KeyPair { key_pem: pem.to_owned(), ..serving.clone() };
    check(&with_cert(""), "failed to read a certificate from PEM");
    check(&with_key("nonsense"), "failed to read a private key from PEM");
    check(&with_key(&authority.key_pair().key_pem), "failed to build the TLS configuration");
    assert!(!format!("{serving:?}").contains("PRIVATE KEY-----"));
}
