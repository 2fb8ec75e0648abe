//! Who may not.

use std::{
    collections::BTreeSet,
    fs,
    net::Ipv4Addr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
};

use apimachinery::{
    api::core::{Node, Pod, Secret},
    resource,
    status::Status,
};
use client::{Client, ListOptions, Patch};
use component_base::{
    clock::Clock,
    tls::{CertSpec, CertificateAuthority},
    transport::{Endpoint, TlsEndpoint, channel},
};
use http::Method;
use serde_json::{Value, json};
use tests::{Component, Runner, TestCluster};

use crate::{rest::Rest, support::shell};

/// A client over TLS with whatever certificate; none: nobody in particular.
fn stranger(cluster: &TestCluster, pair: Option<&component_base::tls::KeyPair>) -> Endpoint {
    let address = cluster.api_address().to_string();
    Endpoint::Tls(TlsEndpoint::new(&address, cluster.ca_pem(), pair).unwrap())
}

fn refused<T>(result: Result<T, Status>, what: &str) -> Status {
    match result {
        Ok(_) => panic!("{what} is allowed"),
        Err(status) => status,
    }
}

#[tokio::test]
async fn without_a_certificate_nothing_but_health_and_version() {
    let cluster = TestCluster::builder().nodes(0).start().await.unwrap();
    let endpoint = stranger(&cluster, None);
    let nobody = Client::new(&endpoint).unwrap();
    let status = refused(nobody.list::<Pod>("default", &ListOptions::default()).await, "a list");
    assert_eq!(status.code, 403, "{status}");
    assert!(status.message.contains(r#"User "system:anonymous" cannot list"#), "{status}");
    let rest = Rest::over(channel(&endpoint));
    for (path, expected) in [
        ("/healthz", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/version", 200),
        ("/api/v1/namespaces/default/secrets", 403),
        ("/api/v1/nodes", 403),
        ("/metrics", 403),
    ] {
        let (status, text) = rest.text(Method::GET, path, "").await;
        assert_eq!(status, expected, "{path}: {text}");
    }
}

#[tokio::test]
async fn another_clusters_certificate_opens_nothing() {
    let cluster = TestCluster::builder().nodes(0).start().await.unwrap();
    let now = Clock::real().now();
    let foreign = CertificateAuthority::create("kubernetes", now).unwrap();
    let admin = CertSpec::client("kubernetes-admin", &["system:masters"]);
    let pair = foreign.issue(&admin, now).unwrap();
    let client = Client::new(&stranger(&cluster, Some(&pair))).unwrap();
    let status = refused(client.list::<Pod>("default", &ListOptions::default()).await, "a list");
    assert!(client::wire::transport_failure(&status).is_some() || status.code == 401, "{status}");

    // And the other way round: a client of another cluster does not take this server for its own.
    let address = cluster.api_address().to_string();
    let endpoint = TlsEndpoint::new(&address, foreign.cert_pem(), Some(&pair)).unwrap();
    let client = Client::new(&Endpoint::Tls(endpoint)).unwrap();
    let status = refused(client.list::<Pod>("default", &ListOptions::default()).await, "a list");
    assert!(client::wire::transport_failure(&status).is_some(), "{status}");
}

async fn a_node_keeps_to_its_own(runner: Runner) {
    let cluster = TestCluster::builder().runner(runner).nodes(2).start().await.unwrap();
    for number in [1, 2] {
        let pod = shell(&format!("pod-{number}"), &format!("node-{number}"));
        let secret = format!(
            "    env: [{{name: S, valueFrom: {{secretKeyRef: {{name: secret-{number}, key: s}}}}}}]\n"
        );
        let manifest = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: secret-{number}}}\nstringData: {{s: hush}}\n---{pod}{secret}"
        );
        cluster.apply(&manifest).await.unwrap();
        cluster.wait_pod_ready(&format!("pod-{number}")).await;
    }
    let node = cluster.client_as("system:node:node-1", &["system:nodes"]).unwrap();
    node.get::<Secret>("default", "secret-1").await.expect("its own pod's secret");
    let other = refused(node.get::<Secret>("default", "secret-2").await, "node-2's secret");
    assert_eq!(other.code, 403, "{other}");
    assert!(other.message.contains("no relationship found between node 'node-1'"), "{other}");
    refused(node.list::<Secret>("default", &ListOptions::default()).await, "a list of secrets");

    let label =
        |value: &str| Patch::Merge(json!({"metadata": {"labels": {"example.com/x": value}}}));
    node.patch::<Node>("", "node-1", &label("own"), "").await.expect("its own Node");
    let other = refused(node.patch::<Node>("", "node-2", &label("mine"), "").await, "node-2");
    assert_eq!(other.code, 403, "{other}");
    assert!(other.message.contains("is not allowed to modify node"), "{other}");
    let status = Patch::Merge(json!({"status": {"phase": "Failed"}}));
    refused(node.patch::<Pod>("default", "pod-2", &status, "status").await, "node-2's pod");
    let untouched: Node = cluster.client().get("", "node-2").await.unwrap();
    assert!(!untouched.metadata.labels.contains_key("example.com/x"));
}

#[tokio::test]
async fn a_node_keeps_to_its_own_in_process() {
    a_node_keeps_to_its_own(Runner::InProcess).await;
}

#[tokio::test]
async fn a_node_keeps_to_its_own_as_processes() {
    a_node_keeps_to_its_own(Runner::Process).await;
}

/// Also where pods may reach the world: the host's loopback is not the world.
#[tokio::test]
async fn a_pod_never_reaches_the_hosts_loopback() {
    let cluster = TestCluster::builder().allow_egress().start().await.unwrap();
    cluster.apply(&shell("pod", "node-1")).await.unwrap();
    cluster.wait_pod_ready("pod").await;
    let api = cluster.api_address();
    std::net::TcpStream::connect(api).expect("the host itself reaches the API");
    for address in
        ["127.0.0.1".to_owned(), "localhost".to_owned(), cluster.node_address(1).to_string()]
    {
        let dial = format!("nc {address} {} </dev/null", api.port());
        let dialled = cluster.sh("pod", &dial).await.unwrap();
        assert_ne!(dialled.code, 0, "{address}: {dialled:?}");
        assert!(dialled.stderr.contains("refused"), "{address}: {dialled:?}");
    }
    // The way that is open to pods: the API as a Service.
    let served = cluster.sh("pod", "nc -z 10.96.0.1 443").await.unwrap();
    assert_eq!(served.code, 0, "{served:?}");
}

/// The sockets that a process has open, by inode.
fn socket_inodes(pid: u32) -> BTreeSet<String> {
    let mut inodes = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        // A descriptor may be closed meanwhile.
        let Ok(target) = fs::read_link(entry.unwrap().path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        if let Some(inode) = target.strip_prefix("socket:[").and_then(|t| t.strip_suffix(']')) {
            inodes.insert(inode.to_owned());
        }
    }
    inodes
}

/// The local addresses of these sockets that listen: what `ss -lnt` and `ss -lnu` show.
fn listening(inodes: &BTreeSet<String>) -> Vec<(Ipv4Addr, u16)> {
    let mut found = Vec::new();
    // 0A is LISTEN; an unconnected UDP socket has 07.
    for (table, state) in [("tcp", "0A"), ("udp", "07")] {
        for line in fs::read_to_string(format!("/proc/net/{table}")).unwrap().lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            if columns[3] == state && inodes.contains(columns[9]) {
                let (address, port) = columns[1].split_once(':').unwrap();
                let address = u32::from_str_radix(address, 16).unwrap().swap_bytes();
                found.push((address.into(), u16::from_str_radix(port, 16).unwrap()));
            }
        }
        let six = fs::read_to_string(format!("/proc/net/{table}6")).unwrap_or_default();
        for line in six.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let ours = columns[3] == state && inodes.contains(columns[9]);
            assert!(!ours, "an IPv6 listener: {line}");
        }
    }
    found
}

#[tokio::test]
async fn all_listeners_are_on_127() {
    let cluster = TestCluster::builder().runner(Runner::Process).nodes(2).start().await.unwrap();
    cluster.apply(&crate::support::whoami("web", 2, None)).await.unwrap();
    cluster.wait_ready("web").await;
    let url = cluster.node_port_url("web").await.unwrap();
    crate::support::wait_for_url(&cluster, &url).await;
    let port = u16::try_from(cluster.node_port("web").await.unwrap()).unwrap();

    let pids = cluster.pids();
    assert_eq!(pids.len(), Component::all(2).count());
    let inodes: BTreeSet<String> = pids.into_iter().flat_map(socket_inodes).collect();
    let listeners = listening(&inodes);
    for expected in [
        (Ipv4Addr::LOCALHOST, cluster.api_address().port()),
        (cluster.node_address(1), port),
        (cluster.node_address(2), port),
    ] {
        assert!(listeners.contains(&expected), "{expected:?} is not among {listeners:?}");
    }
    let elsewhere: Vec<_> =
        listeners.iter().filter(|(address, _)| !address.is_loopback()).collect();
    assert!(elsewhere.is_empty(), "listeners outside of 127/8: {elsewhere:?}");
}

/// The sockets of a cluster, in folders that only its user may enter.
#[tokio::test]
async fn sockets_and_secrets_are_private() {
    fn check(folder: &Path, sockets: &mut usize, files: &mut usize) {
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder) & 0o077, 0, "{} is open to others", folder.display());
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_socket() {
                *sockets += 1;
                assert_eq!(mode(&path) & 0o077, 0, "{} is open to others", path.display());
            } else if path.extension().is_some_and(|e| e == "key" || e == "kubeconfig") {
                *files += 1;
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
    let cluster = TestCluster::builder().runner(Runner::Process).nodes(2).start().await.unwrap();
    let (mut sockets, mut keys) = (0, 0);
    for folder in
        ["", "run", "run/net", "state", "state/pki", "state/nodes", "state/db", "state/logs"]
    {
        check(&cluster.folder().join(folder), &mut sockets, &mut keys);
    }
    // Each node: its kubelet, its links, its rules.
    assert!(sockets >= 6, "{sockets} sockets were found");
    assert!(keys >= 6, "{keys} keys were found");
}

/// A token-less pod's identity is not the administrator's: what it may see of itself and no more.
#[tokio::test]
async fn a_service_account_may_nothing_by_default() {
    let cluster = TestCluster::builder().nodes(0).start().await.unwrap();
    let groups =
        ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"];
    let account = cluster.client_as("system:serviceaccount:default:default", &groups).unwrap();
    for info in [&resource::PODS, &resource::SECRETS, &resource::CONFIG_MAPS] {
        let listed = account.list_objects(info, "default", &ListOptions::default()).await;
        assert_eq!(refused(listed, info.resource).code, 403);
    }
    let rest = Rest::admin(&cluster);
    let (status, _) = rest.send(Method::GET, "/api/v1/nodes", &Value::Null).await;
    assert_eq!(status, 200, "the administrator may");
}
