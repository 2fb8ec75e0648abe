use rcgen::{CertificateParams, DnType, SanType};
use rustls_pki_types::CertificateDer;

use super::*;
use crate::tls::identity_of;

const CLIENT_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];

fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

fn authority() -> CertificateAuthority {
    CertificateAuthority::create("kubernetes", now()).unwrap()
}

/// A request in PEM.
fn request(names: &[(DnType, &str)], alternatives: Vec<SanType>) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in names {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.subject_alt_names = alternatives;
    let key = rcgen::KeyPair::generate().unwrap();
    params.serialize_request(&key).unwrap().pem().unwrap()
}

fn terms(key_usages: &[u8]) -> Terms {
    Terms {
        key_usages: key_usages.to_vec(),
        extended_key_usages: vec![CLIENT_AUTH],
        not_before: now(),
        not_after: now() + jiff::SignedDuration::from_hours(1),
    }
}

fn signed(request: &CertificateRequest, terms: &Terms) -> Vec<u8> {
    let pem = authority().sign(request, terms).unwrap();
    check_certificates(pem.as_bytes()).unwrap();
    blocks(pem.as_bytes()).next().unwrap().unwrap().contents
}

#[test]
fn a_request_is_read_whole() {
    // A second organization, which the library would write over the first under its own name.
    let again = DnType::CustomDnType(vec![2, 5, 4, 10]);
    let names = [
        (DnType::OrganizationName, "dev"),
        (again, "ops"),
        (DnType::CommonName, "jane"),
        (DnType::CountryName, "CH"),
    ];
    let alternatives = vec![
        SanType::DnsName("a.example".try_into().unwrap()),
        SanType::IpAddress("10.0.0.1".parse().unwrap()),
        SanType::IpAddress("fd00::1".parse().unwrap()),
        SanType::Rfc822Name("jane@a.example".try_into().unwrap()),
        SanType::URI("spiffe://a/b".try_into().unwrap()),
    ];
    let text = request(&names, alternatives);
    let read = CertificateRequest::from_pem(format!("said before\n{text}").as_bytes()).unwrap();
    assert_eq!(read.subject.common_name, "jane");
    assert_eq!(read.subject.organizations, ["dev", "ops"]);
    assert_eq!(read.subject.countries, ["CH"]);
    assert_eq!(read.dns_names, ["a.example"]);
    assert_eq!(read.email_addresses, ["jane@a.example"]);
    assert_eq!(read.uris, ["spiffe://a/b"]);
    assert_eq!(read.ips, ["10.0.0.1", "fd00::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    read.verify().unwrap();

    let der = signed(&read, &terms(&[0, 2]));
    let (user, groups) = identity_of(&CertificateDer::from(der.clone())).unwrap();
    assert_eq!((user.as_str(), groups), ("jane", vec!["dev".to_owned(), "ops".to_owned()]));
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 5);
}

#[test]
fn what_is_no_request_is_refused() {
    let good = request(&[(DnType::CommonName, "jane")], Vec::new());
    let check = |text: &str, expected: &str| {
        let read = CertificateRequest::from_pem(text.as_bytes()).and_then(|read| read.verify());
        assert_eq!(read.unwrap_err().to_string(), expected, "{text}");
    };
    check("", "PEM block type must be CERTIFICATE REQUEST");
    check("nothing", "PEM block type must be CERTIFICATE REQUEST");
    check(
        &good.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
        "PEM block type must be CERTIFICATE REQUEST",
    );
    check(
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        "x509: malformed certificate request",
    );
    // A letter of the signature's end.
    let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let last = lines.len() - 2;
    lines[last - 1] = lines[last - 1].chars().rev().collect();
    let damaged = CertificateRequest::from_pem(lines.join("\n").as_bytes());
    assert!(damaged.and_then(|read| read.verify()).is_err());
}

#[test]
fn a_certificate_says_what_the_signer_decided() {
    let text = request(&[(DnType::CommonName, "jane")], Vec::new());
    let read = CertificateRequest::from_pem(text.as_bytes()).unwrap();
    let authority = authority();
    let pem = authority.sign(&read, &terms(&[0, 2])).unwrap();
    let der = blocks(pem.as_bytes()).next().unwrap().unwrap().contents;
    let own = blocks(authority.cert_pem().as_bytes()).next().unwrap().unwrap().contents;
    let (_, own) = X509Certificate::from_der(&own).unwrap();
    let (rest, certificate) = X509Certificate::from_der(&der).unwrap();
    assert!(rest.is_empty());
    certificate.verify_signature(Some(own.public_key())).unwrap();
    assert_eq!(certificate.issuer(), own.subject());
    assert_eq!(certificate.validity().not_before.timestamp(), now().as_second());
    assert_eq!(not_after(pem.as_bytes()).unwrap().as_second(), now().as_second() + 3600);
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && usage.value.key_encipherment());
    assert!(!usage.value.key_cert_sign());
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth);
    let basic = certificate.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && !basic.value.ca);
    assert!(certificate.subject_alternative_name().unwrap().is_none());
    let ids: Vec<_> = certificate.extensions().iter().map(|e| e.oid.to_id_string()).collect();
    assert_eq!(ids, ["2.5.29.15", "2.5.29.37", "2.5.29.19", "2.5.29.35"]);
}

#[test]
fn no_certificate_outlives_the_authority() {
    let text = request(&[(DnType::CommonName, "jane")], Vec::new());
    let read = CertificateRequest::from_pem(text.as_bytes()).unwrap();
    let long = Terms { not_after: "2090-01-01T00:00:00Z".parse().unwrap(), ..terms(&[]) };
    let authority = authority();
    let pem = authority.sign(&read, &long).unwrap();
    assert_eq!(not_after(pem.as_bytes()), not_after(authority.cert_pem().as_bytes()));
}

#[test]
fn key_usages_are_the_shortest_bit_string() {
    let check = |bits: &[u8], expected: &[u8]| assert_eq!(key_usage(bits), expected, "{bits:?}");
    check(&[0], &[3, 2, 7, 0x80]);
    check(&[0, 2], &[3, 2, 5, 0xa0]);
    check(&[8], &[3, 3, 7, 0, 0x80]);
}

#[test]
fn times_change_their_form_with_the_year_2050() {
    let check = |text: &str, tag: u8, expected: &str| {
        let der = time(text.parse::<Timestamp>().unwrap().as_second());
        assert_eq!((der[0], std::str::from_utf8(&der[2..]).unwrap()), (tag, expected));
    };
    check("2049-12-31T23:59:59Z", 0x17, "491231235959Z");
    check("2050-01-01T00:00:00Z", 0x18, "20500101000000Z");
}

#[test]
fn only_certificates_are_certificates() {
    let check = |text: &str, expected: &str| {
        let why = check_certificates(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(why, expected, "{text}");
    };
    check("x", "must contain at least one CERTIFICATE PEM block");
    let request = request(&[(DnType::CommonName, "jane")], Vec::new());
    let text = request.replace("\r\n", "\n");
    check(&text, "only CERTIFICATE PEM blocks are allowed, found \"CERTIFICATE REQUEST\"");
    check(&text.replace("CERTIFICATE REQUEST", "CERTIFICATE"), "x509: malformed certificate");
    let authority = authority();
    check_certificates(format!("said before\n{0}and{0}", authority.cert_pem()).as_bytes()).unwrap();
}
