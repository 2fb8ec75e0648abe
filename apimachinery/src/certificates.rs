//! The vocabulary of `certificates.k8s.io`: signers, usages, conditions (`k8s.io/api/certificates/v1`).

use crate::object::Object;

/// Signs client certificates for the API server.
pub const KUBE_APISERVER_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Signs client certificates of kubelets for the API server.
pub const KUBE_APISERVER_CLIENT_KUBELET: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signs serving certificates of kubelets.
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// Signs what was asked for before requests named their signer.
pub const LEGACY_UNKNOWN: &str = "kubernetes.io/legacy-unknown";

/// The condition of a request that may be signed.
pub const APPROVED: &str = "Approved";
/// The condition of a request that will not be signed.
pub const DENIED: &str = "Denied";
/// The condition of a request that could not be signed.
pub const FAILED: &str = "Failed";

/// What a usage stands for in a certificate (RFC 5280, 4.2.1.3 and 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Usage {
    /// A bit of the key usage.
    Key(u8),
    /// An object identifier of the extended key usage.
    Extended(&'static [u64]),
}

const CLIENT_AUTH_OID: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];
const EMAIL_OID: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 4];

/// All usages that a request may name, sorted by their names.
pub const USAGES: &[(&str, Usage)] = &[
    ("any", Usage::Extended(&[2, 5, 29, 37, 0])),
    ("cert sign", Usage::Key(5)),
    ("client auth", Usage::Extended(CLIENT_AUTH_OID)),
    ("code signing", Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 3])),
    ("content commitment", Usage::Key(1)),
    ("crl sign", Usage::Key(6)),
    ("data encipherment", Usage::Key(3)),
    ("decipher only", Usage::Key(8)),
    ("digital signature", Usage::Key(0)),
    ("email protection", Usage::Extended(EMAIL_OID)),
    ("encipher only", Usage::Key(7)),
    ("ipsec end system", Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 5])),
    ("ipsec tunnel", Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 6])),
    ("ipsec user", Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 7])),
    ("key agreement", Usage::Key(4)),
    ("key encipherment", Usage::Key(2)),
    ("microsoft sgc", Usage::Extended(&[1, 3, 6, 1, 4, 1, 311, 10, 3, 3])),
    ("netscape sgc", Usage::Extended(&[2, 16, 840, 1, 113_730, 4, 1])),
    ("ocsp signing", Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 9])),
    ("s/mime", Usage::Extended(EMAIL_OID)),
    ("server auth", Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 1])),
    ("signing", Usage::Key(0)),
    ("timestamping", Usage::Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 8])),
];

/// What a usage's name stands for; None: there is no such usage.
#[must_use]
pub fn usage(name: &str) -> Option<Usage> {
    USAGES.iter().find(|(known, _)| *known == name).map(|(_, usage)| *usage)
}

/// How a request stands, in one word or more, as `kubectl get` tells it.
#[must_use]
pub fn summary(request: &Object) -> String {
    let conditions = request.get_list(&["status", "conditions"]);
    let has = |kind: &str| conditions.iter().any(|condition| condition["type"] == kind);
    let mut text = match (has(DENIED), has(APPROVED)) {
        (true, _) => DENIED,
        (false, true) => APPROVED,
        (false, false) => "Pending",
    }
    .to_owned();
    if has(FAILED) {
        text.push_str(",Failed");
    }
    if !request.get_str(&["status", "certificate"]).is_empty() {
        text.push_str(",Issued");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usages_are_sorted_and_found() {
        assert!(USAGES.is_sorted_by_key(|(name, _)| *name));
        assert_eq!(usage("client auth"), Some(Usage::Extended(CLIENT_AUTH_OID)));
        assert_eq!(usage("clientauth"), None);
    }

    #[test]
    fn a_request_is_summed_up() {
        let check = |types: &[&str], certificate: &str, expected: &str| {
            let conditions: Vec<_> = types.iter().map(|kind| json!({"type": kind})).collect();
            let status = json!({"conditions": conditions, "certificate": certificate});
            let request = Object::from_value(json!({"status": status})).unwrap();
            assert_eq!(summary(&request), expected);
        };
        check(&[], "", "Pending");
        check(&["Approved"], "", "Approved");
        check(&["Approved"], "eA==", "Approved,Issued");
        check(&["Approved", "Failed"], "", "Approved,Failed");
        check(&["Denied"], "", "Denied");
    }
}
