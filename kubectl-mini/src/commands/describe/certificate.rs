//! Describes CertificateSigningRequests: what is asked for, read from the request itself.

use apimachinery::{
    api::certificates::CertificateSigningRequest, certificates, duration::HumanDuration,
    object::Object,
};
use component_base::tls::CertificateRequest;
use jiff::SignedDuration;

use super::{
    Text,
    related::{Related, view},
};
use crate::{errors::CommandError, printers::table};

pub(super) async fn describe<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let request: CertificateSigningRequest = view(object)?;
    let asked = CertificateRequest::from_pem(&request.spec.request.0)
        .map_err(|error| CommandError::message(format!("Error parsing CSR: {error}")))?;
    text.field(0, "Name", object.name());
    let pairs = |map: &std::collections::BTreeMap<String, String>| {
        table::format_labels(map.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    };
    text.field(0, "Labels", pairs(&request.metadata.labels));
    text.field(0, "Annotations", pairs(&request.metadata.annotations));
    let made = request.metadata.creation_timestamp.map(|time| {
        let zoned = time.0.to_zoned(text.zone().clone());
        zoned.strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
    });
    text.field(0, "CreationTimestamp", made.unwrap_or_default());
    text.field(0, "Requesting User", request.spec.username.as_deref().unwrap_or_default());
    text.optional(0, "Signer", Some(&request.spec.signer_name));
    if let Some(seconds) = request.spec.expiration_seconds {
        let duration = HumanDuration(SignedDuration::from_secs(seconds.into()));
        text.field(0, "Requested Duration", duration);
    }
    text.field(0, "Status", certificates::summary(object));
    subject(&asked, &mut text);
    text.events(related.events(object).await);
    Ok(text)
}

fn subject(asked: &CertificateRequest, text: &mut Text<'_>) {
    let subject = &asked.subject;
    text.raw("Subject:\n");
    text.raw(&format!("\tCommon Name:\t{}\n", subject.common_name));
    text.raw(&format!("\tSerial Number:\t{}\n", subject.serial_number));
    let mut list = |name: &str, values: &[String]| {
        if !values.is_empty() {
            text.raw(&format!("\t{name}:\t{}\n", values.join("\n\t\t")));
        }
    };
    for (name, values) in [
        ("Organization", &subject.organizations),
        ("Organizational Unit", &subject.organizational_units),
        ("Country", &subject.countries),
        ("Locality", &subject.localities),
        ("Province", &subject.provinces),
        ("StreetAddress", &subject.street_addresses),
        ("PostalCode", &subject.postal_codes),
    ] {
        list(name, values);
    }
    let ips: Vec<String> = asked.ips.iter().map(ToString::to_string).collect();
    let names = [
        ("DNS Names", &asked.dns_names),
        ("Email Addresses", &asked.email_addresses),
        ("URIs", &asked.uris),
        ("IP Addresses", &ips),
    ];
    if names.iter().any(|(_, values)| !values.is_empty()) {
        text.raw("Subject Alternative Names:\n");
        let mut list = |name: &str, values: &[String]| {
            if !values.is_empty() {
                text.raw(&format!("\t{name}:\t{}\n", values.join("\n\t\t")));
            }
        };
        names.iter().for_each(|(name, values)| list(name, values));
    }
}
