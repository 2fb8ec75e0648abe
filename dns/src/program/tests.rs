//! The image in a container, following a real API server.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use apimachinery::{api::core::Service, object::Object, status::Status};
use apiserver::kubelet::KubeletDialer;
use client::DeleteOptions;
use component_base::{
    shutdown::Shutdown,
    transport::{Endpoint, Listener},
};
use container_runtime::{Container, ContainerSpec, ImageCatalogue, Runtime};
use hickory_proto::rr::RecordType;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    exchange::exchange,
    testing::{LONG, World, query},
};

struct NoKubelets;

impl KubeletDialer for NoKubelets {
    fn dial(&self, _: &Object) -> Result<tonic::transport::Channel, Status> {
        Err(Status::service_unavailable("no kubelets"))
    }
}

async fn api(world: &World, shutdown: &Shutdown) -> Client {
    let (listener, connector) = Listener::in_process();
    let config = apiserver::Config {
        listeners: vec![listener],
        ..apiserver::Config::new(world.clock.clone(), Arc::new(NoKubelets))
    };
    let server = apiserver::Server::bind(config).await.unwrap();
    let end = shutdown.clone();
    shutdown.spawn("api", async move { server.run(end).await.unwrap() });
    let connector = connector.with_identity("admin", &["system:masters"]);
    Client::new(&Endpoint::InProcess(connector)).unwrap()
}

fn container(world: &World, client: &Client, folder: &std::path::Path) -> Container {
    let mut catalogue = ImageCatalogue::new();
    let config = CoreDnsConfig {
        lameduck: Duration::from_millis(50),
        ..CoreDnsConfig::with_client(client.clone())
    };
    catalogue.register(CoreDns::IMAGE, CoreDns::new(config)).unwrap();
    let spec = ContainerSpec {
        name: "coredns".into(),
        image: catalogue.resolve("registry.k8s.io/coredns/coredns:v1.12.1").unwrap(),
        command: vec![],
        args: vec![],
        env: vec![],
        working_dir: None,
        mounts: vec![],
        network: world.server.clone(),
        hostname: "coredns".into(),
        ports: vec![],
        log_path: folder.join("log"),
        stdin: false,
        stdin_once: false,
        tty: false,
        termination_message_path: "/dev/termination-log".into(),
    };
    Runtime::new(world.clock.clone()).create(spec).unwrap()
}

async fn get(world: &World, port: u16, path: &str) -> String {
    let address = SocketAddr::new(world.server.ip(), port);
    let Ok(mut stream) = world.client.connect_tcp(address).await else { return String::new() };
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Asks until the answer is this.
async fn until(world: &World, name: &str, expected: &[&str]) {
    let expected: Vec<IpAddr> = expected.iter().map(|ip| ip.parse().unwrap()).collect();
    let mut last = None;
    let asked = async {
        loop {
            let asked = query(name, RecordType::A);
            let patience = Duration::from_secs(1);
            let answer = exchange(&world.client, &world.clock, world.dns(), asked, patience).await;
            if let Ok(answer) = answer {
                let found: Vec<_> =
                    answer.answers.iter().filter_map(|record| record.data.ip_addr()).collect();
                if found == expected {
                    return;
                }
                last = Some(answer);
            }
            world.clock.sleep(Duration::from_millis(5)).await;
        }
    };
    let done = world.clock.timeout(LONG, asked).await;
    assert!(done.is_ok(), "{name}: {last:?}");
}

#[tokio::test]
async fn the_image_follows_the_api() {
    let (world, shutdown) = (World::new().await, Shutdown::new());
    let client = api(&world, &shutdown).await;
    let folder = tempfile::tempdir().unwrap();
    let container = container(&world, &client, folder.path());
    container.start().unwrap();
    until(&world, "kubernetes.default.svc.cluster.local.", &["10.96.0.1"]).await;
    assert!(get(&world, 8080, "/health").await.ends_with("\r\n\r\nOK"));
    assert!(get(&world, 8181, "/ready").await.starts_with("HTTP/1.1 200"));
    assert!(get(&world, 8181, "/nosuch").await.starts_with("HTTP/1.1 404"));
    let metrics = get(&world, 9153, "/metrics").await;
    assert!(metrics.contains("coredns_dns_responses_total{rcode=\"NOERROR\"}"), "{metrics}");

    let name = "late.default.svc.cluster.local.";
    until(&world, name, &[]).await;
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "late", "namespace": "default"},
        "spec": {"clusterIP": "10.96.7.7", "ports": [{"port": 80}]},
    }))
    .unwrap();
    client.create(&service).await.unwrap();
    let since = world.clock.monotonic();
    until(&world, name, &["10.96.7.7"]).await;
    let late = world.clock.monotonic() - since;
    assert!(late < Duration::from_secs(2), "{late:?}");
    client.delete::<Service>("default", "late", &DeleteOptions::default()).await.unwrap();
    until(&world, name, &[]).await;

    container.stop(LONG).await;
    shutdown.cancel();
}

#[test]
fn the_manifest_is_whole() {
    let documents = apimachinery::yaml::read(MANIFEST, "coredns.yaml");
    let kinds: Vec<_> =
        documents.unwrap().iter().map(|d| d.value["kind"].as_str().unwrap().to_owned()).collect();
    let expected = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Deployment", "Service"];
    assert_eq!(kinds, expected);
}
