//! ConfigMap, Secret, ServiceAccount, Event, Lease.

use serde_json::{Value, json};

use crate::registry::{
    kinds::{
        config_map::ConfigMap,
        event::Event,
        event_v1,
        lease::Lease,
        secret::Secret,
        service_account::ServiceAccount,
        testing::{
            cells, check_create, check_default, check_row, check_update, created, defaults, edited,
            rows,
        },
    },
    strategy::Strategy,
};

const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn base() -> Value {
    json!({"metadata": {"name": "x", "namespace": "default"}})
}

fn with(fields: &Value) -> Value {
    let mut object = base();
    for (name, value) in fields.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

#[test]
fn config_maps() {
    rows! { check_create(&ConfigMap, &base());
        "data" = {"a.b": "c"}, "binaryData" = {"d": "AAAA"} => [];
        "data" = {"a b": "c"} => [&format!("data[a b]: Invalid value: \"a b\": {KEY}")];
        "data" = {"..": "c"} => ["data[..]: Invalid value: \"..\": must not be '..'"];
        "data" = {"a": "c"}, "binaryData" = {"a": "AAAA"} => ["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"];
    }
    let large = "x".repeat((1 << 20) + 1);
    check_create(
        &ConfigMap,
        &base(),
        &[("data.a", large.into())],
        &["<nil>: Too long: may not be more than 1048576 bytes"],
    );
    rows! { check_update(&ConfigMap, "", &with(&json!({"data": {"a": "b"}, "immutable": true})));
        "metadata.labels.a" = "b" => [];
        "data.a" = "c" => ["data: Forbidden: field is immutable when `immutable` is set"];
        "immutable" = false => ["immutable: Forbidden: field is immutable when `immutable` is set"];
        "binaryData.b" = "AAAA" => ["binaryData: Forbidden: field is immutable when `immutable` is set"];
    }
    cells! { &ConfigMap, &with(&json!({"data": {"a": "", "b": ""}, "binaryData": {"c": ""}})); => "x|3|<unknown>"; }
}

#[test]
fn secrets() {
    defaults! { &Secret, &base();
        "data" = null => "type" = "Opaque", "data" = null;
        "stringData" = {"a": "hello"}, "data" = {"a": "eA==", "b": "eA=="} => "data" = {"a": "aGVsbG8=", "b": "eA=="}, "stringData" = null;
    }
    rows! { check_create(&Secret, &base());
        "data" = {"a": "eA=="} => [];
        "data" = {"a/b": "eA=="} => [&format!("data[a/b]: Invalid value: \"a/b\": {KEY}")];
        "type" = "kubernetes.io/tls" => ["data[tls.crt]: Required value", "data[tls.key]: Required value"];
        "type" = "kubernetes.io/tls", "stringData" = {"tls.crt": "", "tls.key": ""} => [];
        "type" = "kubernetes.io/basic-auth" => ["data[username]: Required value", "data[password]: Required value"];
        "type" = "kubernetes.io/basic-auth", "stringData" = {"username": ""} => [];
        "type" = "kubernetes.io/ssh-auth", "stringData" = {"ssh-privatekey": ""} => ["data[ssh-privatekey]: Required value"];
        "type" = "kubernetes.io/dockerconfigjson" => ["data[.dockerconfigjson]: Required value"];
        "type" = "kubernetes.io/dockerconfigjson", "stringData" = {".dockerconfigjson": "{}"} => [];
        "type" = "kubernetes.io/dockerconfigjson", "stringData" = {".dockerconfigjson": "x"}
            => ["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 'x' looking for beginning of value"];
        "type" = "kubernetes.io/dockercfg", "stringData" = {".dockercfg": ""}
            => ["data[.dockercfg]: Invalid value: \"<secret contents redacted>\": unexpected end of JSON input"];
        "type" = "kubernetes.io/service-account-token"
            => ["metadata.annotations[kubernetes.io/service-account.name]: Required value"];
        "type" = "mine.io/own" => [];
    }
    rows! { check_update(&Secret, "", &with(&json!({"data": {"a": "eA=="}})));
        "data.b" = "eA==" => [];
        "type" = "x" => ["type: Invalid value: \"x\": field is immutable"];
    }
    rows! { check_update(&Secret, "", &with(&json!({"data": {"a": "eA=="}, "immutable": true})));
        "stringData.a" = "z" => ["data: Forbidden: field is immutable when `immutable` is set"];
    }
    cells! { &Secret, &with(&json!({"type": "Opaque", "data": {"a": ""}})); => "x|Opaque|1|<unknown>"; }
    assert_eq!(
        Secret.selectable_fields(&edited(&with(&json!({"type": "t"})), &[])),
        [("type", "t".to_owned())]
    );
}

#[test]
fn service_accounts() {
    rows! { check_create(&ServiceAccount, &base()); => []; }
    cells! { &ServiceAccount, &with(&json!({"secrets": [{"name": "a"}]})); => "x|1|<unknown>"; => "x|1|<unknown>"; }
}

#[test]
fn leases() {
    rows! { check_create(&Lease, &base());
        "spec" = {"holderIdentity": "a", "leaseDurationSeconds": 40} => [];
        "spec.leaseDurationSeconds" = 0 => ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"];
        "spec.leaseTransitions" = (-1) => ["spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"];
        "spec.preferredHolder" = "b" => ["spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"];
    }
    cells! { &Lease, &with(&json!({"spec": {"holderIdentity": "node-1"}})); => "x|node-1|<unknown>"; }
    assert!(Lease.allow_create_on_update() && !Lease.allow_unconditional_update());
}

#[test]
fn events() {
    let event = with(&json!({
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web", "fieldPath": "spec.containers{a}"},
        "reason": "Pulled", "message": "all is well\n", "type": "Normal",
        "source": {"component": "kubelet", "host": "node-1"}, "count": 4,
        "firstTimestamp": "2026-05-01T11:00:00Z", "lastTimestamp": "2026-05-01T11:59:00Z",
    }));
    rows! { check_create(&Event, &event);
        => [];
        "metadata.name" = "No_Rule" => [];
        "involvedObject.namespace" = "other" => ["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"];
        "involvedObject.namespace" = null => [];
        "involvedObject.namespace" = null, "metadata.namespace" = "a"
            => ["involvedObject.namespace: Invalid value: \"\": does not match event.namespace"];
        "eventTime" = "2026-05-01T11:00:00.000000Z"
            => ["reportingComponent: Required value",
                "reportingComponent: Invalid value: \"\": name part must be non-empty",
                "reportingComponent: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                "reportingInstance: Required value", "action: Required value"];
        "eventTime" = "2026-05-01T11:00:00.000000Z", "reportingComponent" = "kubelet", "reportingInstance" = "node-1", "action" = "Pulling" => [];
    }
    cells! { &Event, &event;
        => "60s|Normal|Pulled|pod/web|spec.containers{a}|kubelet, node-1|all is well|60m|4|x";
        "source" = {}, "reportingComponent" = "scheduler", "count" = null, "firstTimestamp" = null, "lastTimestamp" = null, "eventTime" = "2026-05-01T11:58:00.000000Z"
            => "2m|Normal|Pulled|pod/web|spec.containers{a}|scheduler|all is well|2m|1|x";
        "series" = {"count": 9, "lastObservedTime": "2026-05-01T11:59:50.000000Z"}
            => "10s|Normal|Pulled|pod/web|spec.containers{a}|kubelet, node-1|all is well|60m|9|x";
        "involvedObject" = {"kind": "Node"}, "firstTimestamp" = null, "lastTimestamp" = null
            => "<unknown>|Normal|Pulled|node||kubelet, node-1|all is well|<unknown>|4|x";
    }
    let fields = Event.selectable_fields(&edited(&event, &[]));
    for (name, value) in
        [("involvedObject.name", "web"), ("source", "kubelet"), ("reason", "Pulled")]
    {
        assert!(fields.contains(&(name, value.to_owned())), "{name}");
    }
}

#[test]
fn events_have_two_names() {
    let base = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": "web.1", "namespace": "default"},
        "regarding": {"kind": "Pod", "namespace": "default", "name": "web"},
        "eventTime": "2026-05-01T11:00:00.000000Z", "type": "Normal", "reason": "Pulling", "action": "Pulling",
        "note": "it pulls", "reportingController": "kubelet", "reportingInstance": "node-1",
    });
    rows! { check_create(&event_v1::Event, &base);
        => [];
        "reportingController" = null
            => ["reportingController: Required value",
                "reportingController: Invalid value: \"\": name part must be non-empty",
                "reportingController: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"];
        "eventTime" = null => ["eventTime: Required value"];
        "type" = "Odd" => ["type: Invalid value: \"\": has invalid value: Odd"];
        "deprecatedCount" = 3, "deprecatedSource" = {"component": "a"}
            => ["count: Invalid value: \"\": needs to be unset", "source: Invalid value: \"\": needs to be unset"];
        "series" = {"count": 1}
            => ["series.count: Invalid value: \"\": should be at least 2", "series.lastObservedTime: Required value"];
    }
    rows! { check_update(&event_v1::Event, "", &base);
        "series" = {"count": 2, "lastObservedTime": "2026-05-01T11:00:01.000000Z"} => [];
        "eventTime" = "2026-05-01T11:00:00.000000001Z" => [];
        "note" = "else" => ["message: Invalid value: \"else\": field is immutable"];
        "reportingController" = "other" => ["reportingController: Invalid value: \"other\": field is immutable"];
    }
    cells! { &event_v1::Event, &base;
        => "60m|Normal|Pulling|pod/web||kubelet, node-1|it pulls|60m|1|web.1";
    }
    let strategy = event_v1::Event;
    let made = created(&strategy, &base, &[]);
    let mut stored = made.clone();
    strategy.to_storage(&mut stored);
    assert_eq!((stored.api_version(), stored.get_str(&["message"])), ("v1", "it pulls"));
    assert_eq!(stored.get_str(&["involvedObject", "name"]), "web");
    assert_eq!(strategy.on_read(&stored), Some(made.clone()));
    assert_eq!(strategy.on_read(&made), None, "it is served already");
}
