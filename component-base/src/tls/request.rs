//! Requests for certificates (PKCS#10) from outside, and what the authority makes of them.
//!
//! A certificate that is signed here carries the request's subject, key and alternative names as they are, and nothing
//! else of it: usages and validity are the signer's decision. The structure is RFC 5280's; extensions stand in the order
//! in which Go's `x509.CreateCertificate`, and with it Kubernetes, writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::{Timestamp, tz::TimeZone};
use rcgen::{PKCS_ECDSA_P256_SHA256, SigningKey as _};
use rustls::crypto::{SecureRandom, ring};
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    pem::Pem,
    prelude::{FromDer, X509Certificate},
    x509::{AttributeTypeAndValue, X509Name},
};
use yasna::{DERWriter, DERWriterSeq, Tag, models::ObjectIdentifier};

use super::{CertificateAuthority, TlsError};

/// Why a request is none, or a certificate is none, in the words of Kubernetes and Go where they have some.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct RequestError(String);

/// The subject of a request: its parts, each as often as it occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The last common name; a user's name.
    pub common_name: String,
    /// Its number among those of the same name.
    pub serial_number: String,
    /// The organizations: a user's groups.
    pub organizations: Vec<String>,
    /// Their parts.
    pub organizational_units: Vec<String>,
    /// The countries.
    pub countries: Vec<String>,
    /// The towns.
    pub localities: Vec<String>,
    /// The provinces.
    pub provinces: Vec<String>,
    /// The streets.
    pub street_addresses: Vec<String>,
    /// The postal codes.
    pub postal_codes: Vec<String>,
}

/// A request that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    der: Vec<u8>,
    /// For whom.
    pub subject: Subject,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// Mail addresses.
    pub email_addresses: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// URIs.
    pub uris: Vec<String>,
}

/// What the signer decides about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Bits of the key usage, the first one is bit 0.
    pub key_usages: Vec<u8>,
    /// Object identifiers of the extended key usage.
    pub extended_key_usages: Vec<&'static [u64]>,
    /// From when on it holds.
    pub not_before: Timestamp,
    /// Until when; not longer than the authority's own certificate.
    pub not_after: Timestamp,
}

impl CertificateRequest {
    /// Reads the first PEM block.
    ///
    /// # Errors
    /// There is none, it is of another kind, or its content is malformed.
    pub fn from_pem(text: &[u8]) -> Result<Self, RequestError> {
        let no_pem = || RequestError("PEM block type must be CERTIFICATE REQUEST".to_owned());
        let block = blocks(text).next().and_then(Result::ok).ok_or_else(no_pem)?;
        if block.label != "CERTIFICATE REQUEST" {
            return Err(no_pem());
        }
        let mut read = Self {
            subject: Subject::default(),
            dns_names: Vec::new(),
            email_addresses: Vec::new(),
            ips: Vec::new(),
            uris: Vec::new(),
            der: block.contents,
        };
        let der = std::mem::take(&mut read.der);
        let request = parse(&der)?;
        read.subject = subject(&request.certification_request_info.subject);
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                read.take_names(&names.general_names)?;
            }
        }
        read.der = der;
        Ok(read)
    }

    fn take_names(&mut self, names: &[GeneralName<'_>]) -> Result<(), RequestError> {
        for name in names {
            match name {
                GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => self.email_addresses.push((*name).to_owned()),
                GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
                GeneralName::IPAddress(bytes) => self.ips.push(address(bytes)?),
                // As Go, which knows these four.
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that whoever asks has the key.
    ///
    /// # Errors
    /// The signature does not fit, or is of a kind that is not known here.
    pub fn verify(&self) -> Result<(), RequestError> {
        parse(&self.der)?.verify_signature().map_err(|error| RequestError(format!("x509: {error}")))
    }
}

fn parse(der: &[u8]) -> Result<X509CertificationRequest<'_>, RequestError> {
    match X509CertificationRequest::from_der(der) {
        Ok(([], request)) => Ok(request),
        Ok(_) => Err(RequestError("asn1: syntax error: trailing data".to_owned())),
        Err(_) => Err(RequestError("x509: malformed certificate request".to_owned())),
    }
}

fn blocks(text: &[u8]) -> impl Iterator<Item = Result<Pem, RequestError>> {
    Pem::iter_from_buffer(text).map(|block| block.map_err(|error| RequestError(error.to_string())))
}

fn subject(name: &X509Name<'_>) -> Subject {
    let texts = |oid: &[u64]| -> Vec<String> {
        let wanted = |part: &&AttributeTypeAndValue<'_>| {
            part.attr_type().iter().is_some_and(|parts| parts.eq(oid.iter().copied()))
        };
        let parts = name.iter_attributes().filter(wanted);
        parts.filter_map(|part| part.as_str().ok().map(str::to_owned)).collect()
    };
    let last = |oid: &[u64]| texts(oid).pop().unwrap_or_default();
    Subject {
        common_name: last(&[2, 5, 4, 3]),
        serial_number: last(&[2, 5, 4, 5]),
        countries: texts(&[2, 5, 4, 6]),
        localities: texts(&[2, 5, 4, 7]),
        provinces: texts(&[2, 5, 4, 8]),
        street_addresses: texts(&[2, 5, 4, 9]),
        organizations: texts(&[2, 5, 4, 10]),
        organizational_units: texts(&[2, 5, 4, 11]),
        postal_codes: texts(&[2, 5, 4, 17]),
    }
}

fn address(bytes: &[u8]) -> Result<IpAddr, RequestError> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).map_err(|_| {
        RequestError(format!("x509: cannot parse IP address of length {}", bytes.len()))
    })?;
    Ok(Ipv6Addr::from(sixteen).into())
}

/// Checks that a text holds certificates as PEM, and no other blocks; what stands between them is let be.
///
/// # Errors
/// It does not.
pub fn check_certificates(text: &[u8]) -> Result<(), RequestError> {
    let mut count = 0;
    // What cannot be read as a block is text between blocks.
    for block in blocks(text).filter_map(Result::ok) {
        if block.label != "CERTIFICATE" {
            let label = &block.label;
            let why = format!("only CERTIFICATE PEM blocks are allowed, found \"{label}\"");
            return Err(RequestError(why));
        }
        let read = X509Certificate::from_der(&block.contents);
        if !matches!(read, Ok(([], _))) {
            return Err(RequestError("x509: malformed certificate".to_owned()));
        }
        count += 1;
    }
    if count == 0 {
        return Err(RequestError("must contain at least one CERTIFICATE PEM block".to_owned()));
    }
    Ok(())
}

/// Until when the first certificate of a text holds; None: there is none.
#[must_use]
pub fn not_after(text: &[u8]) -> Option<Timestamp> {
    let block = blocks(text).next()?.ok()?;
    let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

impl CertificateAuthority {
    /// Signs what a request asks for, on these terms, and gives the certificate as PEM.
    ///
    /// # Errors
    /// The request's signature does not fit, or the authority's key is no ECDSA P-256.
    pub fn sign(&self, request: &CertificateRequest, terms: &Terms) -> Result<String, TlsError> {
        let key = self.signing_key();
        if key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(TlsError::Algorithm);
        }
        request.verify().map_err(TlsError::Request)?;
        let parsed = parse(&request.der).map_err(TlsError::Request)?;
        let unreadable = || TlsError::Pem { what: "the authority's certificate", source: None };
        let own = blocks(self.cert_pem().as_bytes()).next().and_then(Result::ok);
        let own = own.ok_or_else(unreadable)?;
        let (_, own) = X509Certificate::from_der(&own.contents).map_err(|_| unreadable())?;
        let to_be_signed = to_be_signed(&own, &parsed, terms)?;
        let failed =
            |source| TlsError::Issue { subject: request.subject.common_name.clone(), source };
        let signature = key.sign(&to_be_signed).map_err(failed)?;
        let der = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&to_be_signed);
                write_algorithm(writer.next());
                writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        });
        Ok(pem("CERTIFICATE", &der))
    }
}

fn to_be_signed(
    authority: &X509Certificate<'_>,
    request: &X509CertificationRequest<'_>,
    terms: &Terms,
) -> Result<Vec<u8>, TlsError> {
    let mut serial = [0; 16];
    let random: &dyn SecureRandom = ring::default_provider().secure_random;
    random.fill(&mut serial).map_err(|_| TlsError::Random)?;
    let info = &request.certification_request_info;
    let last = authority.validity().not_after.timestamp();
    let not_after = terms.not_after.as_second().min(last);
    Ok(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            // Version 3.
            writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
            writer.next().write_bigint_bytes(&serial, true);
            write_algorithm(writer.next());
            writer.next().write_der(authority.subject().as_raw());
            writer.next().write_sequence(|writer| {
                writer.next().write_der(&time(terms.not_before.as_second()));
                writer.next().write_der(&time(not_after));
            });
            writer.next().write_der(info.subject.as_raw());
            writer.next().write_der(info.subject_pki.raw);
            writer.next().write_tagged(Tag::context(3), |writer| {
                writer.write_sequence(|writer| extensions(writer, authority, request, terms));
            });
        });
    }))
}

/// ecdsa-with-SHA256.
fn write_algorithm(writer: DERWriter<'_>) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&ObjectIdentifier::from_slice(&[1, 2, 840, 10045, 4, 3, 2]));
    });
}

fn extensions(
    writer: &mut DERWriterSeq<'_>,
    authority: &X509Certificate<'_>,
    request: &X509CertificationRequest<'_>,
    terms: &Terms,
) {
    if !terms.key_usages.is_empty() {
        extension(writer, 15, true, &key_usage(&terms.key_usages));
    }
    if !terms.extended_key_usages.is_empty() {
        let usages = sequence(|writer| {
            for oid in &terms.extended_key_usages {
                writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
            }
        });
        extension(writer, 37, false, &usages);
    }
    // Basic constraints: no authority.
    extension(writer, 19, true, &sequence(|_| {}));
    let own_key = authority.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    if let Some(id) = own_key {
        let key = sequence(|writer| {
            writer.next().write_tagged_implicit(Tag::context(0), |w| w.write_bytes(id));
        });
        extension(writer, 35, false, &key);
    }
    let names = request.requested_extensions().into_iter().flatten().find_map(|e| match e {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    if let Some(names) = names {
        let nobody = request.certification_request_info.subject.iter().next().is_none();
        extension(writer, 17, nobody, &alternative_names(names));
    }
}

/// A whole sequence.
fn sequence(write: impl FnOnce(&mut DERWriterSeq<'_>)) -> Vec<u8> {
    yasna::construct_der(|writer| writer.write_sequence(write))
}

/// An extension of the arc 2.5.29.
fn extension(writer: &mut DERWriterSeq<'_>, id: u64, critical: bool, value: &[u8]) {
    writer.next().write_sequence(|writer| {
        writer.next().write_oid(&ObjectIdentifier::from_slice(&[2, 5, 29, id]));
        if critical {
            writer.next().write_bool(true);
        }
        writer.next().write_bytes(value);
    });
}

/// A bit string without zeros at its end.
fn key_usage(bits: &[u8]) -> Vec<u8> {
    let mut bytes = [0_u8; 2];
    for bit in bits {
        bytes[usize::from(bit / 8) % 2] |= 0x80 >> (bit % 8);
    }
    let length = usize::from(bits.iter().max().copied().unwrap_or(0)) + 1;
    yasna::construct_der(|writer| writer.write_bitvec_bytes(&bytes[..length.div_ceil(8)], length))
}

/// The four kinds of names that are taken over.
fn alternative_names(names: &[GeneralName<'_>]) -> Vec<u8> {
    sequence(|writer| {
        for name in names {
            let (tag, bytes) = match name {
                GeneralName::RFC822Name(name) => (1, name.as_bytes()),
                GeneralName::DNSName(name) => (2, name.as_bytes()),
                GeneralName::URI(uri) => (6, uri.as_bytes()),
                GeneralName::IPAddress(bytes) => (7, *bytes),
                _ => continue,
            };
            writer.next().write_tagged_implicit(Tag::context(tag), |w| w.write_bytes(bytes));
        }
    })
}

/// UTCTime until 2049, then GeneralizedTime.
fn time(seconds: i64) -> Vec<u8> {
    let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let at = at.to_zoned(TimeZone::UTC);
    let (tag, text) = if at.year() < 2050 {
        (0x17, at.strftime("%y%m%d%H%M%SZ").to_string())
    } else {
        (0x18, at.strftime("%Y%m%d%H%M%SZ").to_string())
    };
    let length = u8::try_from(text.len()).expect("at most fifteen characters");
    [&[tag, length], text.as_bytes()].concat()
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests;
