//! Namespace, Node, Endpoints, EndpointSlice.

use serde_json::{Value, json};

use crate::registry::{
    kinds::{
        endpoint_slice::EndpointSlice,
        endpoints::Endpoints,
        namespace::Namespace,
        node::Node,
        testing::{
            at, cells, check_create, check_default, check_row, check_update, check_warnings,
            created, defaults, replaced, rows,
        },
    },
    strategy::Strategy,
};

#[test]
fn namespaces() {
    let base = json!({"metadata": {"name": "dev"}});
    defaults! { &Namespace, &base;
        "metadata.labels.a" = "b" => "metadata.labels" = {"a": "b", "kubernetes.io/metadata.name": "dev"}, "status.phase" = "Active";
        "metadata.name" = null => "metadata.labels" = null;
    }
    let stored = created(&Namespace, &base, &[("status.phase", json!("Terminating"))]);
    assert_eq!(at(&stored, "spec"), json!({"finalizers": ["kubernetes"]}));
    assert_eq!(at(&stored, "status"), json!({"phase": "Active"}));
    let edits = [("spec.finalizers", json!([])), ("status.phase", json!("Terminating"))];
    let check = |subresource: &str, finalizers: Value, phase: &str| {
        let new = replaced(&Namespace, subresource, &stored, &edits);
        assert_eq!(at(&new, "spec.finalizers"), finalizers, "{subresource}");
        assert_eq!(at(&new, "status.phase"), phase, "{subresource}");
    };
    check("", json!(["kubernetes"]), "Active");
    check("finalize", json!([]), "Active");
    check("status", json!(["kubernetes"]), "Terminating");
    rows! { check_create(&Namespace, &base);
        => [];
        "metadata.name" = "Dev"
            => ["metadata.name: Invalid value: \"Dev\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"];
        "metadata.namespace" = "x" => ["metadata.namespace: Forbidden: not allowed on this type"];
        "spec.finalizers" = ["mine"]
            => ["spec.finalizers: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"];
    }
    rows! { check_update(&Namespace, "status", &base);
        "status.phase" = "Terminating"
            => ["status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"];
    }
    cells! { &Namespace, &base; "status.phase" = "Active" => "dev|Active|<unknown>"; }
}

#[test]
fn nodes() {
    let base = json!({
        "metadata": {"name": "node-1"}, "spec": {"podCIDR": "10.244.1.0/24"},
        "status": {"capacity": {"cpu": 4, "memory": "1048576Ki"}},
    });
    defaults! { &Node, &base;
        "spec.unschedulable" = false => "spec" = {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
            "status.allocatable" = {"cpu": "4", "memory": "1Gi"};
    }
    rows! { check_create(&Node, &base);
        => [];
        "status.capacity.cpu" = "-1"
            => ["status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                "status.allocatable.cpu: Invalid value: \"-1\": must be greater than or equal to 0"];
        "spec.podCIDRs" = ["x"] => ["spec.podCIDRs[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"];
        "spec.podCIDRs" = ["10.1.0.0/24", "10.2.0.0/24"]
            => ["spec.podCIDRs: Invalid value: [\"10.1.0.0/24\",\"10.2.0.0/24\"]: may specify no more than one CIDR for each IP family"];
        "spec.taints" = [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}] => [];
        "spec.taints" = [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]
            => ["metadata.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\"}: taints must be unique by key and effect pair"];
        "spec.taints.0" = {"key": "a"} => ["metadata.taints[0].effect: Required value"];
        "spec.taints.0" = {"key": "a", "effect": "Never"}
            => ["metadata.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""];
    }
    rows! { check_update(&Node, "", &base);
        "spec.unschedulable" = true => [];
        "spec.podCIDR" = "10.244.2.0/24", "spec.podCIDRs" = ["10.244.2.0/24"]
            => ["spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"];
    }
    rows! { check_update(&Node, "status", &base);
        "status.addresses" = [{"type": "InternalIP", "address": "1"}, {"type": "InternalIP", "address": "1"}]
            => ["status.addresses[1]: Duplicate value: {\"address\":\"1\",\"type\":\"InternalIP\"}"];
    }
    let stored = json!({
        "metadata": {"name": "node-1", "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "db"}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "192.168.1.101"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Linux", "kernelVersion": "6", "containerRuntimeVersion": "kube-mini://1"},
        },
    });
    cells! { &Node, &stored;
        => "node-1|Ready|db,worker|<unknown>|v1.36.0|192.168.1.101|<none>|Linux|6|kube-mini://1";
        "spec.unschedulable" = true, "metadata.labels" = {} => "node-1|Ready,SchedulingDisabled|<none>|<unknown>|v1.36.0|192.168.1.101|<none>|Linux|6|kube-mini://1";
        "status" = {"conditions": [{"type": "Ready", "status": "Unknown"}]}, "metadata.labels" = {}
            => "node-1|NotReady|<none>|<unknown>||<none>|<none>|<unknown>|<unknown>|<unknown>";
        "status" = {}, "metadata.labels" = {} => "node-1|Unknown|<none>|<unknown>||<none>|<none>|<unknown>|<unknown>|<unknown>";
    }
    assert_eq!(
        Node.selectable_fields(&created(&Node, &base, &[])),
        [("spec.unschedulable", "false".to_owned())]
    );
}

#[test]
fn endpoints() {
    let base = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "10.1.1.1"}, {"ip": "10.1.1.2"}], "ports": [{"port": 80}]}],
    });
    rows! { check_create(&Endpoints, &base);
        => [];
        "subsets.0" = {} => ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"];
        "subsets.0.addresses.0.ip" = "x"
            => ["subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                "subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP address"];
        "subsets.0.addresses.0.ip" = "169.254.1.1"
            => ["subsets[0].addresses[0].ip: Invalid value: \"169.254.1.1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)"];
        "subsets.0.addresses.0.ip" = "0.0.0.0" => ["subsets[0].addresses[0].ip: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)"];
        "subsets.0.ports.1.port" = 0
            => ["subsets[0].ports[0].name: Required value", "subsets[0].ports[1].name: Required value",
                "subsets[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive"];
    }
    rows! { check_warnings(&Endpoints, &base);
        => ["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"];
    }
    cells! { &Endpoints, &base;
        => "web|10.1.1.1:80,10.1.1.2:80|<unknown>";
        "subsets.0.ports.1.port" = 81 => "web|10.1.1.1:80,10.1.1.2:80,10.1.1.1:81 + 1 more...|<unknown>";
        "subsets.0.ports" = null => "web|10.1.1.1,10.1.1.2|<unknown>";
        "subsets" = [] => "web|<none>|<unknown>";
        "subsets.0.addresses" = null => "web||<unknown>";
    }
}

#[test]
fn endpoint_slices() {
    let base = json!({
        "metadata": {"name": "web-1", "namespace": "default"}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.1.1"]}], "ports": [{"port": 80}],
    });
    defaults! { &EndpointSlice, &base;
        "metadata.labels" = {} => "ports.0" = {"name": "", "port": 80, "protocol": "TCP"};
    }
    rows! { check_create(&EndpointSlice, &base);
        => [];
        "addressType" = null => ["addressType: Required value"];
        "addressType" = "IP" => ["addressType: Unsupported value: \"IP\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""];
        "endpoints.0.addresses" = [] => ["endpoints[0].addresses: Required value: must contain at least 1 address"];
        "endpoints.0.addresses.0" = "::1"
            => ["endpoints[0].addresses[0]: Invalid value: \"::1\": must be a valid IPv4 address",
                "endpoints[0].addresses[0]: Invalid value: \"::1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"];
        "addressType" = "FQDN", "endpoints.0.addresses.0" = "local"
            => ["endpoints[0].addresses[0]: Invalid value: \"local\": should be a domain with at least two segments separated by dots"];
        "addressType" = "FQDN", "endpoints.0.addresses.0" = "a.b." => [];
        "ports" = [{"name": "a"}, {"name": "a"}] => ["ports[1].name: Duplicate value: \"a\""];
        "ports.0.port" = 70000 => ["ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"];
        "ports.0.protocol" = "x" => ["ports[0].protocol: Unsupported value: \"x\": supported values: \"SCTP\", \"TCP\", \"UDP\""];
        "endpoints.0.hints.forZones" = [{"name": "a"}, {"name": "a"}] => ["endpoints[0].hints.forZones[1].name: Duplicate value: \"a\""];
    }
    rows! { check_update(&EndpointSlice, "", &base);
        "addressType" = "IPv6", "endpoints" = [] => ["addressType: Invalid value: \"IPv6\": field is immutable"];
    }
    cells! { &EndpointSlice, &base;
        => "web-1|IPv4|80|10.1.1.1|<unknown>";
        "ports" = [{"name": "a"}, {"port": 1}, {"port": 2}, {"port": 3}, {}] => "web-1|IPv4|a,1,2 + 2 more...|10.1.1.1|<unknown>";
        "ports" = [], "endpoints" = [] => "web-1|IPv4|<unset>|<unset>|<unknown>";
    }
    let old = created(&EndpointSlice, &base, &[]);
    let new = replaced(&EndpointSlice, "", &old, &[("endpoints", json!([]))]);
    assert!(EndpointSlice.generation_changed(&new, &old));
    assert!(!EndpointSlice.generation_changed(&old, &old));
}
