//! Which requests a signer of `kubernetes.io` takes: pure, in Kubernetes' order and words
//! (`pkg/apis/certificates/helpers.go`, `pkg/controller/certificates/signer`).

use std::collections::BTreeSet;

use apimachinery::certificates::{
    KUBE_APISERVER_CLIENT, KUBE_APISERVER_CLIENT_KUBELET, KUBELET_SERVING, LEGACY_UNKNOWN,
};
use component_base::tls::CertificateRequest;

/// A signer: its name, and why it does not take a request with these usages.
pub type Signer = (&'static str, fn(&CertificateRequest, &[String]) -> Result<(), String>);

/// All signers that the controller stands for.
pub const SIGNERS: [Signer; 4] = [
    (KUBELET_SERVING, kubelet_serving),
    (KUBE_APISERVER_CLIENT_KUBELET, kubelet_client),
    (KUBE_APISERVER_CLIENT, api_server_client),
    (LEGACY_UNKNOWN, anything),
];

const CLIENT_AUTH: &str = "client auth";
const SERVER_AUTH: &str = "server auth";
const DIGITAL_SIGNATURE: &str = "digital signature";
const KEY_ENCIPHERMENT: &str = "key encipherment";

/// Whether a kubelet asks for a client certificate, as it should.
///
/// # Errors
/// Why not.
pub fn kubelet_client(request: &CertificateRequest, usages: &[String]) -> Result<(), String> {
    of_nodes(request)?;
    let forbidden = [
        ("DNS", request.dns_names.is_empty()),
        ("Email", request.email_addresses.is_empty()),
        ("IP", request.ips.is_empty()),
        ("URI", request.uris.is_empty()),
    ];
    for (what, none) in forbidden {
        no_names(what, none)?;
    }
    of_a_node(request)?;
    exactly(usages, CLIENT_AUTH)
}

fn kubelet_serving(request: &CertificateRequest, usages: &[String]) -> Result<(), String> {
    of_nodes(request)?;
    if request.dns_names.is_empty() && request.ips.is_empty() {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    no_names("Email", request.email_addresses.is_empty())?;
    no_names("URI", request.uris.is_empty())?;
    exactly(usages, SERVER_AUTH)?;
    of_a_node(request)
}

fn api_server_client(_: &CertificateRequest, usages: &[String]) -> Result<(), String> {
    let known = [CLIENT_AUTH, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT];
    if let Some(usage) = usages.iter().find(|usage| !known.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {usage}"));
    }
    if !usages.iter().any(|usage| usage == CLIENT_AUTH) {
        return Err(format!("missing required usage for client certificate: {CLIENT_AUTH}"));
    }
    Ok(())
}

/// What bears no signer's name has no rules.
fn anything(_: &CertificateRequest, _: &[String]) -> Result<(), String> {
    Ok(())
}

fn of_nodes(request: &CertificateRequest) -> Result<(), String> {
    if request.subject.organizations == ["system:nodes"] {
        return Ok(());
    }
    Err("subject organization is not system:nodes".to_owned())
}

fn of_a_node(request: &CertificateRequest) -> Result<(), String> {
    if request.subject.common_name.starts_with("system:node:") {
        return Ok(());
    }
    Err("subject common name does not begin with system:node:".to_owned())
}

fn no_names(what: &str, none: bool) -> Result<(), String> {
    if none { Ok(()) } else { Err(format!("{what} subjectAltNames are not allowed")) }
}

/// The usages of a kubelet: that one, signatures, and perhaps key encipherment, which only RSA knows.
fn exactly(usages: &[String], purpose: &str) -> Result<(), String> {
    let asked: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let all = BTreeSet::from([purpose, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT]);
    let without = BTreeSet::from([purpose, DIGITAL_SIGNATURE]);
    if asked == all || asked == without {
        return Ok(());
    }
    let names: Vec<&str> = all.into_iter().collect();
    Err(format!("usages did not match [{}]", names.join(" ")))
}
