//! Services: defaults, linked fields, rules, cells.

use serde_json::{Value, json};

use super::Service;
use crate::registry::{
    kinds::testing::{
        at, cells, check_create, check_default, check_row, check_update, check_warnings, created,
        defaults, replaced, rows,
    },
    strategy::Strategy,
};

const PORT: &str = "must be between 1 and 65535, inclusive";

fn base() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    })
}

#[test]
fn what_is_left_out_is_filled_in() {
    defaults! { &Service, &base();
        "metadata.labels" = {} => "spec" = {
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        }, "status" = {"loadBalancer": {}};
        "spec.ports.0.targetPort" = "http" => "spec.ports.0.targetPort" = "http";
        "spec.ports.0.targetPort" = 0 => "spec.ports.0.targetPort" = 80;
        "spec.ports.0.targetPort" = "" => "spec.ports.0.targetPort" = 80;
        "spec.ports.0.nodePort" = 0 => "spec.ports.0.nodePort" = null;
        "spec.type" = "NodePort" => "spec.externalTrafficPolicy" = "Cluster";
        "spec.externalIPs" = ["1.2.3.4"] => "spec.externalTrafficPolicy" = "Cluster";
        "spec.type" = "LoadBalancer" => "spec.allocateLoadBalancerNodePorts" = true, "spec.externalTrafficPolicy" = "Cluster";
        "spec.type" = "ExternalName" => "spec.internalTrafficPolicy" = null, "spec.externalTrafficPolicy" = null;
        "spec.sessionAffinity" = "ClientIP" => "spec.sessionAffinityConfig" = {"clientIP": {"timeoutSeconds": 10800}};
        "spec.sessionAffinity" = "ClientIP", "spec.sessionAffinityConfig.clientIP.timeoutSeconds" = 5
            => "spec.sessionAffinityConfig" = {"clientIP": {"timeoutSeconds": 5}};
        "spec.sessionAffinityConfig" = {"clientIP": {}} => "spec.sessionAffinityConfig" = null;
        "spec.type" = "LoadBalancer", "status.loadBalancer.ingress" = [{"ip": "1.2.3.4"}]
            => "status.loadBalancer.ingress" = [{"ip": "1.2.3.4", "ipMode": "VIP"}];
    }
}

#[test]
fn linked_fields_agree_after_creation() {
    let check = |edits: &[(&str, Value)], expected: &[(&str, Value)]| {
        let service = created(&Service, &base(), edits);
        for (path, value) in expected {
            assert_eq!(&at(&service, path), value, "{path} with {edits:?}");
        }
        assert_eq!(at(&service, "status"), json!({"loadBalancer": {}}));
    };
    let none = Value::Null;
    check(
        &[("status.loadBalancer.ingress", json!([{"ip": "1.1.1.1"}]))],
        &[
            ("spec.ipFamilies", json!(["IPv4"])),
            ("spec.ipFamilyPolicy", json!("SingleStack")),
            ("spec.clusterIPs", none.clone()),
        ],
    );
    check(&[("spec.clusterIP", json!("10.96.0.7"))], &[("spec.clusterIPs", json!(["10.96.0.7"]))]);
    check(
        &[("spec.clusterIP", json!("None"))],
        &[("spec.clusterIPs", json!(["None"])), ("spec.ipFamilies", json!(["IPv4"]))],
    );
    check(
        &[("spec.clusterIP", json!("None")), ("spec.selector", json!(null))],
        &[
            ("spec.ipFamilyPolicy", json!("RequireDualStack")),
            ("spec.ipFamilies", json!(["IPv4", "IPv6"])),
        ],
    );
    check(
        &[("spec.type", json!("ExternalName")), ("spec.externalName", json!("a.b"))],
        &[("spec.ipFamilies", none.clone()), ("spec.ipFamilyPolicy", none)],
    );
}

#[test]
fn replacements_keep_what_was_allocated() {
    let mut stored = base();
    stored["spec"]["type"] = json!("NodePort");
    stored["spec"]["clusterIP"] = json!("10.96.0.7");
    stored["spec"]["ports"] = json!([
        {"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 81, "nodePort": 30081},
    ]);
    let check = |edits: &[(&str, Value)], expected: &[(&str, Value)]| {
        let old = created(&Service, &stored, &[]);
        let new = replaced(&Service, "", &old, edits);
        for (path, value) in expected {
            assert_eq!(&at(&new, path), value, "{path} with {edits:?}");
        }
    };
    let none = || Value::Null;
    check(
        &[
            ("spec.clusterIP", none()),
            ("spec.clusterIPs", none()),
            ("spec.ports.0.nodePort", none()),
        ],
        &[
            ("spec.clusterIP", json!("10.96.0.7")),
            ("spec.clusterIPs", json!(["10.96.0.7"])),
            ("spec.ports.0.nodePort", json!(30080)),
        ],
    );
    check(
        &[("spec.ports.0.nodePort", json!(30081)), ("spec.ports.1.nodePort", none())],
        &[("spec.ports.1.nodePort", none())],
    );
    check(
        &[("spec.type", json!("ClusterIP"))],
        &[
            ("spec.ports.0.nodePort", none()),
            ("spec.externalTrafficPolicy", none()),
            ("spec.clusterIP", json!("10.96.0.7")),
        ],
    );
    check(
        &[("spec.type", json!("ExternalName")), ("spec.externalName", json!("a.b"))],
        &[("spec.clusterIP", none()), ("spec.clusterIPs", none()), ("spec.ipFamilies", none())],
    );
    check(&[("spec.type", json!("LoadBalancer"))], &[("spec.ports.0.nodePort", json!(30080))]);
    check(
        &[("status.loadBalancer.ingress", json!([{}]))],
        &[("status", json!({"loadBalancer": {}}))],
    );
}

#[test]
fn rules_of_new_services() {
    rows! { check_create(&Service, &base());
        => [];
        "metadata.name" = "1web"
            => ["metadata.name: Invalid value: \"1web\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"];
        "spec.ports" = [] => ["spec.ports: Required value"];
        "spec.ports" = [], "spec.clusterIP" = "None" => [];
        "spec.ports.0.port" = 0 => [&format!("spec.ports[0].port: Invalid value: 0: {PORT}"), &format!("spec.ports[0].targetPort: Invalid value: 0: {PORT}")];
        "spec.ports.0" = {"port": 70000, "targetPort": 80} => [&format!("spec.ports[0].port: Invalid value: 70000: {PORT}")];
        "spec.ports.0.targetPort" = 65536 => [&format!("spec.ports[0].targetPort: Invalid value: 65536: {PORT}")];
        "spec.ports.0.targetPort" = "A_"
            => ["spec.ports[0].targetPort: Invalid value: \"A_\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                "spec.ports[0].targetPort: Invalid value: \"A_\": must contain at least one letter (a-z)"];
        "spec.ports.0.protocol" = "tcp"
            => ["spec.ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\""];
        "spec.ports" = [{"port": 80}, {"port": 81}] => ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"];
        "spec.ports" = [{"name": "a", "port": 80}, {"name": "a", "port": 81}] => ["spec.ports[1].name: Duplicate value: \"a\""];
        "spec.ports" = [{"name": "a", "port": 80}, {"name": "b", "port": 80}]
            => ["spec.ports[1]: Duplicate value: {\"AppProtocol\":null,\"Name\":\"\",\"NodePort\":0,\"Port\":80,\"Protocol\":\"TCP\",\"TargetPort\":0}"];
        "spec.ports" = [{"name": "a", "port": 80}, {"name": "b", "port": 80, "protocol": "UDP"}] => [];
        "spec.ports.0.nodePort" = 30080 => ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"];
        "spec.type" = "NodePort", "spec.ports" = [{"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 81, "nodePort": 30080}]
            => ["spec.ports[1].nodePort: Duplicate value: 30080"];
        "spec.type" = "Cluster"
            => ["spec.type: Unsupported value: \"Cluster\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\""];
        "spec.type" = "NodePort", "spec.clusterIP" = "None"
            => ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"];
        "spec.type" = "ExternalName" => ["spec.externalName: Required value"];
        "spec.type" = "ExternalName", "spec.externalName" = "a.b." => [];
        "spec.type" = "ExternalName", "spec.externalName" = "a.b", "spec.clusterIP" = "10.96.0.1"
            => ["spec.clusterIPs: Forbidden: may not be set for ExternalName services"];
        "spec.sessionAffinity" = "Cookie"
            => ["spec.sessionAffinity: Unsupported value: \"Cookie\": supported values: \"ClientIP\", \"None\""];
        "spec.sessionAffinity" = "ClientIP", "spec.sessionAffinityConfig.clientIP.timeoutSeconds" = 86401
            => ["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400"];
        "spec.clusterIP" = "here" => ["spec.clusterIPs[0]: Invalid value: \"here\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"];
        "spec.clusterIP" = "10.96.0.1", "spec.clusterIPs" = ["10.96.0.2"]
            => ["spec.clusterIPs: Invalid value: [\"10.96.0.2\"]: first value must match `clusterIP`"];
        "spec.clusterIPs" = ["10.96.0.2"] => ["spec.clusterIPs: Invalid value: [\"10.96.0.2\"]: must be empty when `clusterIP` is not specified"];
        "spec.ipFamilyPolicy" = "RequireDualStack"
            => ["spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"];
        "spec.ipFamilyPolicy" = "PreferDualStack" => [];
        "spec.ipFamilies" = ["IPv6"] => ["spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"];
        "spec.ipFamilies" = ["IPv5"] => ["spec.ipFamilies[0]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \"IPv6\""];
        "spec.ipFamilies" = ["IPv6"], "spec.clusterIP" = "10.96.0.1"
            => ["spec.clusterIPs[0]: Invalid value: \"10.96.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`"];
        "spec.externalIPs" = ["127.0.0.1"] => ["spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"];
        "spec.externalTrafficPolicy" = "Local"
            => ["spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"];
        "spec.type" = "NodePort", "spec.externalTrafficPolicy" = "x"
            => ["spec.externalTrafficPolicy: Unsupported value: \"x\": supported values: \"Cluster\", \"Local\""];
        "spec.internalTrafficPolicy" = "x"
            => ["spec.internalTrafficPolicy: Unsupported value: \"x\": supported values: \"Cluster\", \"Local\""];
        "spec.type" = "NodePort", "spec.healthCheckNodePort" = 30000
            => ["spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"];
        "spec.allocateLoadBalancerNodePorts" = true
            => ["spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'"];
        "spec.loadBalancerClass" = "a/b" => ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"];
        "spec.type" = "LoadBalancer", "spec.loadBalancerSourceRanges" = ["10.0.0.0/33"]
            => ["spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"];
        "spec.selector" = {"a": "b c"}
            => ["spec.selector: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"];
    }
}

#[test]
fn rules_of_replacements() {
    let mut stored = base();
    stored["spec"]["clusterIP"] = json!("10.96.0.7");
    rows! { check_update(&Service, "", &stored);
        => [];
        "spec.ports.0.port" = 8080 => [];
        "spec.clusterIP" = "10.96.0.8", "spec.clusterIPs" = ["10.96.0.8"]
            => ["spec.clusterIPs[0]: Invalid value: [\"10.96.0.8\"]: may not change once set"];
        "spec.clusterIP" = "10.96.0.8" => ["spec.clusterIPs[0]: Invalid value: [\"10.96.0.8\"]: may not change once set"];
        "spec.clusterIP" = "None" => ["spec.clusterIPs[0]: Invalid value: [\"None\"]: may not change once set"];
        "spec.type" = "NodePort" => [];
        "spec.type" = "ExternalName", "spec.externalName" = "a.b" => [];
    }
    let mut balanced = base();
    balanced["spec"]["type"] = json!("LoadBalancer");
    rows! { check_update(&Service, "", &balanced);
        "spec.loadBalancerClass" = "a/b" => ["spec.loadBalancerClass: Invalid value: \"a/b\": may not change once set"];
    }
    rows! { check_update(&Service, "status", &balanced);
        "status.loadBalancer.ingress" = [{"ip": "1.2.3.4"}, {"hostname": "a.b"}] => [];
        "status.loadBalancer.ingress" = [{"ip": "x"}]
            => ["status.loadBalancer.ingress[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"];
        "status.loadBalancer.ingress" = [{"hostname": "1.2.3.4"}]
            => ["status.loadBalancer.ingress[0].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address"];
    }
    rows! { check_update(&Service, "status", &stored);
        "status.loadBalancer.ingress" = [{"ip": "1.2.3.4"}]
            => ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"];
    }
}

#[test]
fn services_print() {
    let stored = json!({
        "metadata": {"name": "web", "creationTimestamp": "2026-05-01T10:00:00Z"},
        "spec": {"type": "NodePort", "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"], "selector": {"b": "2", "a": "1"},
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]},
    });
    cells! { &Service, &stored;
        => "web|NodePort|10.96.1.1|<none>|80:30080/TCP,53/UDP|120m|a=1,b=2";
        "spec.externalIPs" = ["1.1.1.1", "2.2.2.2"] => "web|NodePort|10.96.1.1|1.1.1.1,2.2.2.2|80:30080/TCP,53/UDP|120m|a=1,b=2";
        "spec.type" = "LoadBalancer" => "web|LoadBalancer|10.96.1.1|<pending>|80:30080/TCP,53/UDP|120m|a=1,b=2";
        "spec.type" = "LoadBalancer", "status.loadBalancer.ingress" = [{"ip": "127.1.1.128"}, {"hostname": "h"}]
            => "web|LoadBalancer|10.96.1.1|127.1.1.128,h|80:30080/TCP,53/UDP|120m|a=1,b=2";
        "spec.type" = "ExternalName", "spec.externalName" = "a.b", "spec.clusterIP" = null, "spec.clusterIPs" = null, "spec.ports" = null, "spec.selector" = null
            => "web|ExternalName|<none>|a.b|<none>|120m|<none>";
        "spec.clusterIPs" = ["None"], "spec.type" = "ClusterIP" => "web|ClusterIP|None|<none>|80:30080/TCP,53/UDP|120m|a=1,b=2";
    }
}

#[test]
fn warnings_and_fields() {
    rows! { check_warnings(&Service, &base());
        => [];
        "spec.clusterIP" = "None", "spec.sessionAffinity" = "ClientIP" => ["spec.SessionAffinity is ignored when spec.clusterIP is \"None\""];
        "spec.trafficDistribution" = "PreferClose" => [];
    }
    let service = created(&Service, &base(), &[("spec.clusterIP", json!("10.96.0.7"))]);
    assert_eq!(
        Service.selectable_fields(&service),
        [("spec.clusterIP", "10.96.0.7".to_owned()), ("spec.type", "ClusterIP".to_owned())]
    );
}
