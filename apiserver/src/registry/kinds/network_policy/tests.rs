use serde_json::{Value, json};

use super::NetworkPolicy;
use crate::registry::kinds::testing::{
    cells, check_create, check_default, check_row, check_update, check_warnings, defaults, rows,
};

fn base() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}},
    })
}

#[test]
fn policies_are_defaulted_as_kubernetes_does() {
    defaults! { &NetworkPolicy, &base();
        => "spec.policyTypes" = ["Ingress"];
        "spec.ingress" = [{}] => "spec.policyTypes" = ["Ingress"];
        "spec.egress" = [{}] => "spec.policyTypes" = ["Ingress", "Egress"];
        "spec.policyTypes" = ["Egress"] => "spec.policyTypes" = ["Egress"];
        "spec.ingress" = [{"ports": [{"port": 80}, {"protocol": "UDP"}]}]
            => "spec.ingress.0.ports.0.protocol" = "TCP", "spec.ingress.0.ports.1.protocol" = "UDP";
        "spec" = null => "spec.podSelector" = {}, "spec.policyTypes" = ["Ingress"];
    }
}

#[test]
fn policies_are_checked_as_kubernetes_checks_them() {
    rows! { check_create(&NetworkPolicy, &base());
        => [];
        "metadata.name" = "A" => ["metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"];
        "spec.podSelector" = {"matchExpressions": [{"key": "a", "operator": "In"}]}
            => ["spec.podSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"];
        "spec.policyTypes" = ["Egress", "Ingress"] => [];
        "spec.policyTypes" = ["Both"] => ["spec.policyTypes[0]: Unsupported value: \"Both\": supported values: \"Egress\", \"Ingress\""];
        "spec.policyTypes" = ["Ingress", "Ingress", "Egress"]
            => ["spec.policyTypes: Invalid value: [\"Ingress\",\"Ingress\",\"Egress\"]: may not specify more than two policyTypes"];
        "spec.ingress" = [{"ports": [{"port": 80, "endPort": 90}, {"port": "http"}, {"protocol": "SCTP"}, {}]}] => [];
        "spec.ingress" = [{"ports": [{"protocol": "ICMP"}]}]
            => ["spec.ingress[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\""];
        "spec.ingress" = [{"ports": [{"port": 0}]}]
            => ["spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"];
        "spec.egress" = [{"ports": [{"port": 80, "endPort": 79}]}]
            => ["spec.egress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"];
        "spec.egress" = [{"ports": [{"port": 80, "endPort": 70000}]}]
            => ["spec.egress[0].ports[0].endPort: Invalid value: 70000: must be between 1 and 65535, inclusive"];
        "spec.egress" = [{"ports": [{"port": "http", "endPort": 90}]}]
            => ["spec.egress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is non-numeric"];
        "spec.egress" = [{"ports": [{"endPort": 90}]}]
            => ["spec.egress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is not specified"];
        "spec.ingress" = [{"from": [{}]}] => ["spec.ingress[0].from[0]: Required value: must specify a peer"];
        "spec.ingress" = [{"from": [{"podSelector": {}}, {"namespaceSelector": {}}, {"podSelector": {}, "namespaceSelector": {}}]}] => [];
        "spec.egress" = [{"to": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}]
            => ["spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer"];
        "spec.egress" = [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.3.4/32"]}}]}] => [];
        "spec.egress" = [{"to": [{"ipBlock": {"cidr": ""}}]}] => ["spec.egress[0].to[0].ipBlock.cidr: Required value"];
        "spec.egress" = [{"to": [{"ipBlock": {"cidr": "10.0.0.0"}}]}]
            => ["spec.egress[0].to[0].ipBlock.cidr: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"];
        "spec.egress" = [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16", "10.0.0.0/8"]}}]}]
            => ["spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
                "spec.egress[0].to[0].ipBlock.except[1]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`"];
    }
    rows! { check_update(&NetworkPolicy, "", &base());
        "spec.podSelector" = {} => [];
        "spec.policyTypes" = ["Both"] => ["spec.policyTypes[0]: Unsupported value: \"Both\": supported values: \"Egress\", \"Ingress\""];
    }
    rows! { check_warnings(&NetworkPolicy, &base());
        => [];
        "spec.ingress" = [{"ports": [{"protocol": "SCTP", "port": 80}]}]
            => ["spec.ingress[0].ports[0].protocol: SCTP is not carried by the pod network: the rule matches nothing"];
    }
}

#[test]
fn rows_show_whom_a_policy_is_for() {
    cells! { &NetworkPolicy, &base();
        => "web|app=web|<unknown>";
        "spec.podSelector" = {} => "web|<none>|<unknown>";
        "spec.podSelector" = {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x", "y"]}]}
            => "web|a notin (x,y)|<unknown>";
    }
}
