//! The cluster's certificate authority.

use std::{fmt, net::IpAddr, time::Duration};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, SanType,
};

use super::{KeyPair, TlsError};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// kubeadm's validity of an authority.
const AUTHORITY_VALIDITY: Duration = DAY.saturating_mul(3650);
/// kubeadm's validity of everything else.
const CERTIFICATE_VALIDITY: Duration = DAY.saturating_mul(365);
/// Certificates start a little in the past, for hosts whose clocks disagree.
const BACKDATE: Duration = Duration::from_secs(300);

/// Signs the certificates of one cluster.
pub struct CertificateAuthority {
    key_pair: KeyPair,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Serving TLS.
    Server,
    /// Authenticating to a server.
    Client,
    /// Both.
    ServerAndClient,
}

/// The contents of a certificate to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertSpec {
    /// The user name, for clients.
    pub common_name: String,
    /// The user's group, for clients; at most one can be written.
    pub organizations: Vec<String>,
    /// DNS names, for servers.
    pub dns_names: Vec<String>,
    /// Addresses, for servers.
    pub ips: Vec<IpAddr>,
    /// What it is good for.
    pub usage: Usage,
}

impl CertSpec {
    /// A client certificate for `user` in `groups`.
    #[must_use]
    pub fn client(user: &str, groups: &[&str]) -> Self {
        Self {
            common_name: user.to_owned(),
            organizations: groups.iter().map(|&group| group.to_owned()).collect(),
            dns_names: Vec::new(),
            ips: Vec::new(),
            usage: Usage::Client,
        }
    }

    /// A serving certificate for these names and addresses.
    #[must_use]
    pub fn server(common_name: &str, dns_names: &[&str], ips: &[IpAddr]) -> Self {
        Self {
            common_name: common_name.to_owned(),
            organizations: Vec::new(),
            dns_names: dns_names.iter().map(|&name| name.to_owned()).collect(),
            ips: ips.to_vec(),
            usage: Usage::Server,
        }
    }
}

/// Makes a key for signing what is no certificate: ECDSA P-256, as PKCS#8 PEM.
///
/// # Errors
/// When the system has no randomness.
pub fn create_signing_key(subject: &str) -> Result<String, TlsError> {
    let made = rcgen::KeyPair::generate();
    let failed = |source| TlsError::Issue { subject: subject.to_owned(), source };
    Ok(made.map_err(failed)?.serialize_pem())
}

impl CertificateAuthority {
    /// Makes a new authority with a fresh key, valid for ten years from `now`.
    ///
    /// # Errors
    /// When no key can be made, which means that the system has no randomness.
    pub fn create(common_name: &str, now: Timestamp) -> Result<Self, TlsError> {
        let failed = |source| TlsError::Issue { subject: common_name.to_owned(), source };
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        set_validity(&mut params, now, AUTHORITY_VALIDITY);
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let key_pair = KeyPair { cert_pem: certificate.pem(), key_pem: key.serialize_pem() };
        Ok(Self { key_pair, issuer: Issuer::new(params, key) })
    }

    /// Takes an authority up again from its stored PEM.
    ///
    /// # Errors
    /// When either text is not what it should be.
    pub fn load(key_pair: KeyPair) -> Result<Self, TlsError> {
        let key = rcgen::KeyPair::from_pem(&key_pair.key_pem).map_err(TlsError::Load)?;
        let issuer = Issuer::from_ca_cert_pem(&key_pair.cert_pem, key).map_err(TlsError::Load)?;
        Ok(Self { key_pair, issuer })
    }

    /// The certificate that clients and servers trust.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.key_pair.cert_pem
    }

    /// Certificate and key, for storing.
    #[must_use]
    pub fn key_pair(&self) -> &KeyPair {
        &self.key_pair
    }

    pub(super) fn signing_key(&self) -> &rcgen::KeyPair {
        self.issuer.key()
    }

    /// Signs a certificate over a fresh key, valid for a year from `now`.
    ///
    /// # Errors
    /// When a DNS name is not one, there are several organizations, or no key can be made.
    pub fn issue(&self, spec: &CertSpec, now: Timestamp) -> Result<KeyPair, TlsError> {
        if spec.organizations.len() > 1 {
            return Err(TlsError::Organizations { subject: spec.common_name.clone() });
        }
        let failed = |source| TlsError::Issue { subject: spec.common_name.clone(), source };
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(&spec.common_name, &spec.organizations);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match spec.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::ServerAndClient => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
        };
        params.use_authority_key_identifier_extension = true;
        for name in &spec.dns_names {
            let name = name.as_str().try_into().map_err(failed)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.subject_alt_names.extend(spec.ips.iter().copied().map(SanType::IpAddress));
        set_validity(&mut params, now, CERTIFICATE_VALIDITY);
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(KeyPair { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").finish_non_exhaustive()
    }
}

fn distinguished_name(common_name: &str, organizations: &[String]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for organization in organizations {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, validity: Duration) {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = Duration::from_secs(seconds);
    params.not_before = epoch + now.saturating_sub(BACKDATE);
    params.not_after = epoch + (now + validity);
}
