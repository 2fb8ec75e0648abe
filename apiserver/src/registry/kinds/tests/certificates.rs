//! CertificateSigningRequest.

use serde_json::{Value, json};

use crate::registry::{
    kinds::{
        certificate_signing_request::CertificateSigningRequest,
        testing::{
            at, cells, check_create, check_row, check_update, context, created, replaced, rows,
        },
    },
    strategy::Strategy,
};

/// Jane's, in the groups dev and ops.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIbU1JR05BZ0VBTUNzeEREQUtCZ05WQkFvTUEyUmxkakVNTUFvR0ExVUVDZ3dEYjNCek1RMHdDd1lEVlFRRApEQVJxWVc1bE1Ga3dFd1lIS29aSXpqMENBUVlJS29aSXpqMERBUWNEUWdBRVh1YmRObG1XQ2xCcWlXcmtqUUVXCjNaTnd1R3ZBWEpqek5EMEJzOU5KM1VLS090b2VHeEFPYjY1RTQ5VFBpaU5OSkhhQmxRTnFwM0UvSC9RSjR0VUwKNTZBQU1Bb0dDQ3FHU000OUJBTUNBMGdBTUVVQ0lBVi8xQXhCUWE1UHpTWExRMU1yZEwrSkwxTjZMWmtSb0VGSwo2QUlGTkRmTkFpRUFvN2RqbGFaci9SdnJJSlFMRXFZR0xvN0gyMW1hemJPekZIZmR5T3czcFAwPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
/// What is no certificate.
const TEXT: &str = "c29tZSB0ZXh0";

fn base() -> Value {
    json!({
        "metadata": {"name": "jane"},
        "spec": {
            "request": REQUEST,
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth", "digital signature"],
        },
    })
}

fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": "Tested", "lastUpdateTime": "2026-05-01T11:00:00Z",
        "lastTransitionTime": "2026-05-01T11:00:00Z"})
}

#[test]
fn requests_are_checked_as_kubernetes_checks_them() {
    rows! { check_create(&CertificateSigningRequest, &base());
        => [];
        "metadata.name" = "Any name at all" => [];
        "spec.expirationSeconds" = 600 => [];
        "spec.expirationSeconds" = 599
            => ["spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"];
        "spec.request" = TEXT
            => ["spec.request: Invalid value: \"c29tZSB0ZXh0\": PEM block type must be CERTIFICATE REQUEST"];
        "spec.usages" = [] => ["spec.usages: Required value"];
        "spec.usages" = ["client auth", "client auth"] => ["spec.usages[1]: Duplicate value: \"client auth\""];
        "spec.usages" = ["drive"]
            => ["spec.usages[0]: Unsupported value: \"drive\": supported values: \"any\", \"cert sign\", \"client auth\", \"code signing\", \"content commitment\", \"crl sign\", \"data encipherment\", \"decipher only\", \"digital signature\", \"email protection\", \"encipher only\", \"ipsec end system\", \"ipsec tunnel\", \"ipsec user\", \"key agreement\", \"key encipherment\", \"microsoft sgc\", \"netscape sgc\", \"ocsp signing\", \"s/mime\", \"server auth\", \"signing\", \"timestamping\""];
        "spec.signerName" = "" => ["spec.signerName: Required value"];
        "spec.signerName" = "kubernetes.io/legacy-unknown"
            => ["spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version"];
        "spec.signerName" = "example.com/a.b" => [];
        "spec.signerName" = "example.com/a/b"
            => ["spec.signerName: Invalid value: \"example.com/a/b\": must be a fully qualified domain and path of the form 'example.com/signer-name'"];
        "spec.signerName" = "example/own"
            => ["spec.signerName: Invalid value: \"example\": should be a domain with at least two segments separated by dots"];
    }
}

#[test]
fn what_each_may_write_is_bounded() {
    let (approved, denied, failed) =
        (condition("Approved"), condition("Denied"), condition("Failed"));
    rows! { check_update(&CertificateSigningRequest, "", &base());
        "spec.usages" = ["drive"], "status.certificate" = TEXT, "status.conditions" = [approved] => [];
    }
    rows! { check_update(&CertificateSigningRequest, "approval", &base());
        "status.conditions" = [approved] => [];
        "status.conditions" = [denied], "status.certificate" = TEXT => [];
        "status.conditions" = [approved, denied]
            => ["status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"];
        "status.conditions" = [approved, approved] => ["status.conditions[1].type: Duplicate value: \"Approved\""];
        "status.conditions.0" = {"type": "Approved", "status": "False"}
            => ["status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\""];
        "status.conditions.0" = {"type": ""}
            => ["status.conditions[0].type: Required value", "status.conditions[0].status: Required value"];
    }
    rows! { check_update(&CertificateSigningRequest, "status", &base());
        "status.conditions" = [failed] => [];
        "status.conditions" = [approved]
            => ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""];
        "status.certificate" = TEXT
            => ["status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block"];
        "status.certificate" = REQUEST
            => ["status.certificate: Invalid value: \"<certificate data>\": only CERTIFICATE PEM blocks are allowed, found \"CERTIFICATE REQUEST\""];
    }
}

#[test]
fn decisions_stay() {
    let stored = {
        let edits = [("status.conditions", json!([condition("Approved")]))];
        let new = created(&CertificateSigningRequest, &base(), &[]);
        let mut stored = replaced(&CertificateSigningRequest, "approval", &new, &edits);
        stored.set(&["status", "certificate"], "eA==");
        stored
    };
    let strategy = CertificateSigningRequest;
    let check = |subresource: &str, path: &str, value: Value, expected: &[&str]| {
        let new = replaced(&strategy, subresource, &stored, &[(path, value)]);
        let errors = strategy.validate_update(&context(subresource), &new, &stored);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts, expected, "{subresource} {path}");
    };
    check(
        "approval",
        "status.conditions",
        json!([]),
        &["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""],
    );
    check(
        "status",
        "status.conditions",
        json!([]),
        &["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""],
    );
    // What stands there already is put back.
    check("status", "status.conditions.0.reason", json!("Other"), &[]);
    check(
        "status",
        "status.certificate",
        json!(""),
        &["status.certificate: Forbidden: updates may not modify existing certificate content"],
    );
}

#[test]
fn the_server_says_who_asks() {
    let edits = [
        ("spec.username", json!("root")),
        ("spec.groups", json!(["system:masters"])),
        ("spec.uid", json!("1")),
        ("spec.extra", json!({"a": ["b"]})),
        ("status.certificate", json!("eA==")),
    ];
    let object = created(&CertificateSigningRequest, &base(), &edits);
    assert_eq!(at(&object, "spec.username"), "admin");
    for gone in ["spec.groups", "spec.uid", "spec.extra", "status.certificate"] {
        assert_eq!(at(&object, gone), Value::Null, "{gone}");
    }
    let edits = [("status.conditions.0", json!({"type": "Approved", "status": "True"}))];
    let approved = replaced(&CertificateSigningRequest, "approval", &object, &edits);
    for time in ["lastUpdateTime", "lastTransitionTime"] {
        assert_eq!(at(&approved, &format!("status.conditions.0.{time}")), "2026-05-01T12:00:00Z");
    }
    cells! { &CertificateSigningRequest, &base();
        => "jane|<unknown>|kubernetes.io/kube-apiserver-client||<none>|Pending";
        "spec.username" = "jane", "spec.expirationSeconds" = 86400, "status.conditions.0" = {"type": "Approved"}
            => "jane|<unknown>|kubernetes.io/kube-apiserver-client|jane|24h|Approved";
    }
}
