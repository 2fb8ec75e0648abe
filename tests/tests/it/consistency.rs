//! Everybody reads its own writes, on both faces.

use apimachinery::api::core::ConfigMap;
use apimachinery::api::meta::ObjectMeta;
use client::{Client, DeleteOptions, ListOptions};
use http::Method;
use serde_json::{Value, json};
use tests::TestCluster;
use tokio::task::JoinSet;

use crate::{rest::Rest, support::size};

const CLIENTS: usize = 64;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn rounds() -> usize {
    size(320, 10_000).div_ceil(CLIENTS)
}

async fn over_grpc(client: Client, number: usize) {
    for round in 0..rounds() {
        let name = format!("c{number}-{round}");
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some("default".to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        client.create(&map).await.unwrap();
        client.get::<ConfigMap>("default", &name).await.unwrap_or_else(|e| panic!("GET: {e}"));
        assert!(lists(&client, &name).await, "LIST misses {name}");
        client.delete::<ConfigMap>("default", &name, &DeleteOptions::default()).await.unwrap();
        let gone = client.get::<ConfigMap>("default", &name).await;
        assert!(gone.is_err_and(|status| status.is_not_found()), "GET still has {name}");
        assert!(!lists(&client, &name).await, "LIST still has {name}");
    }
}

async fn lists(client: &Client, name: &str) -> bool {
    let list = client.list::<ConfigMap>("default", &ListOptions::default()).await.unwrap();
    list.items.iter().any(|map| map.metadata.name.as_deref() == Some(name))
}

async fn over_rest(rest: Rest, number: usize) {
    let listed = async |name: &str| {
        let (status, list) = rest.send(Method::GET, MAPS, &Value::Null).await;
        assert_eq!(status, 200);
        list["items"].as_array().unwrap().iter().any(|map| map["metadata"]["name"] == name)
    };
    for round in 0..rounds() {
        let name = format!("r{number}-{round}");
        let path = format!("{MAPS}/{name}");
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        assert_eq!(rest.send(Method::POST, MAPS, &map).await.0, 201);
        assert_eq!(rest.send(Method::GET, &path, &Value::Null).await.0, 200, "GET misses {name}");
        assert!(listed(&name).await, "LIST misses {name}");
        assert_eq!(rest.send(Method::DELETE, &path, &Value::Null).await.0, 200);
        assert_eq!(
            rest.send(Method::GET, &path, &Value::Null).await.0,
            404,
            "{name} is still there"
        );
        assert!(!listed(&name).await, "LIST still has {name}");
    }
}

#[tokio::test]
async fn clients_read_their_own_writes_over_grpc() {
    let cluster = TestCluster::builder().nodes(0).start().await.unwrap();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = cluster.client_as("kubernetes-admin", &["system:masters"]).unwrap();
        clients.spawn(over_grpc(client, number));
    }
    clients.join_all().await;
}

#[tokio::test]
async fn clients_read_their_own_writes_over_rest() {
    let cluster = TestCluster::builder().nodes(0).start().await.unwrap();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(over_rest(Rest::admin(&cluster), number));
    }
    clients.join_all().await;
}
