use serde_json::json;

use super::*;

struct Nobody;

#[async_trait::async_trait]
impl Resolver for Nobody {
    async fn resolve(
        &self,
        _: &cni::network::Sandbox,
        _: &str,
    ) -> std::io::Result<Vec<std::net::IpAddr>> {
        Ok(vec![])
    }
}

fn names(cluster_dns: &[&str]) -> Names {
    let node = "# the node's\nnameserver 192.0.2.53\nsearch old.example\nsearch corp.example cluster.local\noptions edns0\n";
    Names {
        cluster_dns: cluster_dns.iter().map(|server| (*server).to_owned()).collect(),
        domain: "cluster.local".to_owned(),
        node: ResolvConf::parse(node),
        resolver: Arc::new(|_| Arc::new(Nobody)),
    }
}

fn pod(spec: &serde_json::Value) -> Pod {
    let metadata = json!({"name": "web", "namespace": "shop", "uid": "u1"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

const CLUSTER: &str = "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
    nameserver 10.96.0.10\noptions ndots:5\n";
const NODE: &str = "search corp.example cluster.local\nnameserver 192.0.2.53\noptions edns0\n";

#[test]
fn policies_and_configs_make_files() {
    for (spec, expected) in [
        (json!({}), CLUSTER),
        (json!({"dnsPolicy": "ClusterFirst"}), CLUSTER),
        (json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}), NODE),
        (json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}), CLUSTER),
        (json!({"dnsPolicy": "ClusterFirstWithHostNet"}), CLUSTER),
        (json!({"dnsPolicy": "Default"}), NODE),
        (json!({"dnsPolicy": "None"}), ""),
        (
            json!({"dnsPolicy": "None", "dnsConfig": {
                "nameservers": ["192.0.2.1", "192.0.2.1"], "searches": ["a.example"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
            "search a.example\nnameserver 192.0.2.1\noptions ndots:2 edns0\n",
        ),
        // What is there already is not repeated; an option is replaced where it stands.
        (
            json!({"dnsConfig": {
                "nameservers": ["10.96.0.10", "192.0.2.1"], "searches": ["cluster.local", "a.example"],
                "options": [{"name": "timeout", "value": "1"}, {"name": "ndots", "value": "1"}]}}),
            "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example a.example\n\
             nameserver 10.96.0.10\nnameserver 192.0.2.1\noptions ndots:1 timeout:1\n",
        ),
    ] {
        let (conf, warnings) = names(&["10.96.0.10"]).of(&pod(&spec));
        assert_eq!(conf.to_string(), expected, "{spec}");
        assert_eq!(warnings, [], "{spec}");
    }
}

#[test]
fn what_is_too_much_or_missing_is_told() {
    let (conf, warnings) = names(&[]).of(&pod(&json!({})));
    assert_eq!(conf.to_string(), NODE);
    let missing = "pod: \"web_shop(u1)\". kubelet does not have ClusterDNS IP configured and cannot create Pod using \
        \"ClusterFirst\" policy. Falling back to \"Default\" policy.";
    assert_eq!(warnings, [("MissingClusterDNS", missing.to_owned())]);

    let servers = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    let many: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
    let long: Vec<String> = (0..20).map(|n| format!("{n:0>120}")).collect();
    for (config, expected_servers, expected_searches, expected_warnings) in [
        (json!({"nameservers": servers}), 3, 0, 1),
        (json!({"searches": many}), 0, 32, 1),
        (json!({"searches": long}), 0, 16, 1),
        (json!({"nameservers": servers, "searches": long}), 3, 16, 2),
    ] {
        let spec = json!({"dnsPolicy": "None", "dnsConfig": config});
        let (conf, warnings) = names(&[]).of(&pod(&spec));
        let counts = (conf.servers.len(), conf.searches.len(), warnings.len());
        assert_eq!(counts, (expected_servers, expected_searches, expected_warnings), "{spec}");
        assert!(warnings.iter().all(|(reason, _)| *reason == "DNSConfigForming"));
    }
}
