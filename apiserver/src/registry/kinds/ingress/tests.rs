use serde_json::{Value, json};

use super::Ingress;
use crate::registry::kinds::{
    ingress_class::IngressClass,
    testing::{
        at, cells, check_create, check_default, check_row, check_update, check_warnings, created,
        defaults, replaced, rows,
    },
};

fn backend() -> Value {
    json!({"service": {"name": "web", "port": {"number": 80}}})
}

fn base() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"rules": [{"host": "a.example", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": backend()},
        ]}}]},
    })
}

#[test]
fn ingresses_are_checked_as_kubernetes_checks_them() {
    rows! { check_create(&Ingress, &base());
        => [];
        "spec" = {} => ["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"];
        "spec" = {"defaultBackend": {"service": {"name": "web", "port": {"name": "http"}}}} => [];
        "spec.defaultBackend" = {} => ["spec.defaultBackend: Invalid value: \"\": resource or service backend is required"];
        "spec.defaultBackend" = {"resource": {"kind": "Bucket", "name": "b"}, "service": {"name": "a", "port": {"number": 1}}}
            => ["spec.defaultBackend: Invalid value: \"\": cannot set both resource and service backends"];
        "spec.defaultBackend" = {"resource": {"apiGroup": "x.io", "kind": "Bucket", "name": "b"}} => [];
        "spec.defaultBackend" = {"resource": {}}
            => ["spec.defaultBackend.resource.kind: Required value: kind is required", "spec.defaultBackend.resource.name: Required value: name is required"];
        "spec.rules.0.host" = "*.example.com" => [];
        "spec.rules.0.host" = "10.0.0.1" => ["spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address"];
        "spec.rules.0.host" = "*" => ["spec.rules[0].host: Invalid value: \"*\": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"];
        "spec.rules.0.http" = null => [];
        "spec.rules.0.http.paths" = [] => ["spec.rules[0].http.paths: Required value"];
        "spec.rules.0.http.paths.0.pathType" = null => ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"];
        "spec.rules.0.http.paths.0.pathType" = "Regex"
            => ["spec.rules[0].http.paths[0].pathType: Unsupported value: \"Regex\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\""];
        "spec.rules.0.http.paths.0.path" = "a" => ["spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path"];
        "spec.rules.0.http.paths.0.path" = null => ["spec.rules[0].http.paths[0].path: Invalid value: \"\": must be an absolute path"];
        "spec.rules.0.http.paths.0.path" = "/a//b/.." => ["spec.rules[0].http.paths[0].path: Invalid value: \"/a//b/..\": must not contain '//'",
            "spec.rules[0].http.paths[0].path: Invalid value: \"/a//b/..\": cannot end with '/..'"];
        "spec.rules.0.http.paths.0.pathType" = "ImplementationSpecific", "spec.rules.0.http.paths.0.path" = null => [];
        "spec.rules.0.http.paths.0.backend" = {"service": {"port": {}}}
            => ["spec.rules[0].http.paths[0].backend.service.name: Required value", "spec.rules[0].http.paths[0].backend: Required value: port name or number is required"];
        "spec.rules.0.http.paths.0.backend.service.port" = {"name": "http", "number": 80}
            => ["spec.rules[0].http.paths[0].backend: Invalid value: \"\": cannot set both port name & port number"];
        "spec.rules.0.http.paths.0.backend.service.port" = {"number": 70000}
            => ["spec.rules[0].http.paths[0].backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive"];
        "spec.tls" = [{"hosts": ["a.example", "*.b.example"], "secretName": "cert"}, {}] => [];
        "spec.ingressClassName" = "kube-mini" => [];
        "spec.ingressClassName" = "kube-mini", "metadata.annotations" = {"kubernetes.io/ingress.class": "nginx"}
            => ["annotations.kubernetes.io/ingress.class: Invalid value: \"nginx\": must match `ingressClassName` when both are specified"];
    }
    rows! { check_update(&Ingress, "status", &base());
        "status.loadBalancer.ingress" = [{"ip": "127.1.0.1"}, {"hostname": "a.b"}] => [];
        "status.loadBalancer.ingress" = [{"ip": "x"}]
            => ["status.loadBalancer.ingress[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"];
        "status.loadBalancer.ingress" = [{"hostname": "1.2.3.4"}]
            => ["status.loadBalancer.ingress[0].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address"];
    }
    rows! { check_warnings(&Ingress, &base());
        "metadata.annotations" = {"kubernetes.io/ingress.class": "nginx"}
            => ["annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"];
    }
}

#[test]
fn an_ingress_and_its_status_are_written_apart() {
    let edits = [("status.loadBalancer.ingress", json!([{"ip": "1.1.1.1"}]))];
    let stored = created(&Ingress, &base(), &edits);
    assert_eq!(at(&stored, "status"), json!({"loadBalancer": {}}));
    assert_eq!(at(&replaced(&Ingress, "", &stored, &edits), "status"), json!({"loadBalancer": {}}));
    let written = replaced(&Ingress, "status", &stored, &edits);
    assert_eq!(at(&written, "status.loadBalancer.ingress.0.ip"), json!("1.1.1.1"));
}

#[test]
fn rows_show_hosts_and_addresses() {
    cells! { &Ingress, &base();
        => "web|<none>|a.example||80|<unknown>";
        "spec.ingressClassName" = "kube-mini", "spec.tls" = [{}], "status.loadBalancer.ingress" = [{"ip": "2.2.2.2"}, {"ip": "1.1.1.1"}]
            => "web|kube-mini|a.example|1.1.1.1,2.2.2.2|80, 443|<unknown>";
        "spec.rules" = [{}] => "web|<none>|*||80|<unknown>";
        "spec.rules" = [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}, {"host": "e"}]
            => "web|<none>|a,b,c + 2 more...||80|<unknown>";
    }
}

#[test]
fn classes_are_checked_as_kubernetes_checks_them() {
    let base =
        json!({"metadata": {"name": "kube-mini"}, "spec": {"controller": "kube-mini.io/ingress"}});
    defaults! { &IngressClass, &base;
        "spec.parameters" = {"kind": "K", "name": "n"} => "spec.parameters.scope" = "Cluster";
    }
    rows! { check_create(&IngressClass, &base);
        => [];
        "spec" = {} => ["spec.controller: Required value"];
        "spec.controller" = "nginx" => ["spec.controller: Invalid value: \"nginx\": must be a domain-prefixed path (such as \"acme.io/foo\")"];
        "spec.parameters" = {"kind": "K", "name": "n", "scope": "Namespace"}
            => ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"];
        "spec.parameters" = {"kind": "K", "name": "n", "namespace": "x"}
            => ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"];
        "spec.parameters" = {"kind": "K", "name": "n", "scope": "World"}
            => ["spec.parameters.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespace\""];
    }
    rows! { check_update(&IngressClass, "", &base);
        "spec.controller" = "a.b/c" => ["spec.controller: Invalid value: \"a.b/c\": field is immutable"];
    }
    cells! { &IngressClass, &base;
        => "kube-mini|kube-mini.io/ingress|<none>|<unknown>";
        "spec.parameters" = {"apiGroup": "g.io", "kind": "K", "name": "n"} => "kube-mini|kube-mini.io/ingress|K.g.io/n|<unknown>";
    }
}
