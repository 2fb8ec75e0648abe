//! Typed and dynamic calls reach the server as meant, and its answers and errors come back whole.

use apimachinery::{
    api::core::ConfigMap,
    object::{Object, ObjectKey},
    resource,
    status::Status,
};
use component_base::transport::{Endpoint, Failure};
use futures::StreamExt;
use serde_json::json;

use super::Client;
use crate::{
    options::{DeleteOptions, ListOptions, Patch, WatchOptions},
    testing::Fixture,
    watch::WatchEvent,
    wire,
};

fn config_map(name: &str, value: &str) -> ConfigMap {
    let mut config_map = ConfigMap::default();
    config_map.metadata.namespace = Some("default".to_owned());
    config_map.metadata.name = Some(name.to_owned());
    config_map.data.insert("key".to_owned(), value.to_owned());
    config_map
}

#[tokio::test]
async fn an_object_lives_through_the_typed_calls() {
    let fixture = Fixture::new();
    let client = fixture.client.with_field_manager("tester");
    let mut created = client.create(&config_map("a", "1")).await.unwrap();
    let stale = created.clone();
    created.data.insert("key".to_owned(), "2".to_owned());
    client.update(&created).await.unwrap();
    assert!(client.update(&stale).await.unwrap_err().is_conflict());
    assert!(client.create(&stale).await.unwrap_err().is_already_exists());
    let patch = Patch::Merge(json!({"data": {"more": "3"}}));
    let patched: ConfigMap = client.patch("default", "a", &patch, "").await.unwrap();
    assert_eq!((&*patched.data["key"], &*patched.data["more"]), ("2", "3"));
    assert_eq!(client.get::<ConfigMap>("default", "a").await.unwrap(), patched);

    for name in ["b", "c", "d"] {
        client.create(&config_map(name, "x")).await.unwrap();
    }
    let list = client.list::<ConfigMap>("default", &ListOptions::default()).await.unwrap();
    let names: Vec<_> = list.items.iter().filter_map(|item| item.metadata.name.clone()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert_eq!(list.resource_version, "6");

    client.delete::<ConfigMap>("default", "a", &DeleteOptions::default()).await.unwrap();
    let missing = client.get::<ConfigMap>("default", "a").await.unwrap_err();
    assert_eq!(missing, Status::not_found(&resource::CONFIG_MAPS, "a"));
    let user_agent = fixture.server.headers().get("user-agent").cloned().unwrap();
    assert!(user_agent.to_str().unwrap().starts_with("tester/"), "{user_agent:?}");
    assert!(client.get::<ConfigMap>("default", "").await.is_err(), "an empty name is no list");
}

#[tokio::test]
async fn dynamic_calls_keep_what_views_do_not_know() {
    let fixture = Fixture::new();
    let info = &resource::CONFIG_MAPS;
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default"},
        "unknown": {"field": [1, 2]},
    });
    let object = Object::from_value(object).unwrap();
    let created = fixture.client.create_object(info, &object).await.unwrap();
    assert_eq!(created.get(&["unknown", "field"]), Some(&json!([1, 2])));
    let reply = fixture.client.resource(info).namespace("default").get("a").await.unwrap();
    assert_eq!(reply.warnings, ["a warning"]);
    assert_eq!(reply.object().unwrap(), created);
    let key = ObjectKey::new("default", "a");
    let patch = Patch::Merge(json!({"unknown": null}));
    fixture.client.patch_object(info, &key, &patch, "").await.unwrap();
    fixture.client.delete_object(info, &key, &DeleteOptions::default()).await.unwrap();
    assert_eq!(fixture.server.objects(info), [json!(null); 0]);
}

#[tokio::test]
async fn subresources_are_addressed() {
    let fixture = Fixture::new();
    let pod = ObjectKey::new("default", "web");
    fixture.client.bind(&pod, "uid", "node-1").await.unwrap();
    fixture.client.evict(&pod, &DeleteOptions::uid("uid")).await.unwrap();
    assert_eq!(fixture.server.requests(), ["create pods/web/binding", "create pods/web/eviction"]);
}

#[tokio::test]
async fn a_watch_tells_each_event_and_ends_with_its_error() {
    let fixture = Fixture::new();
    let (server, client) = (&fixture.server, &fixture.client);
    let info = &resource::CONFIG_MAPS;
    server.put(info, "default", "a", json!({}));
    let from = |version: &str| WatchOptions {
        resource_version: version.to_owned(),
        ..WatchOptions::default()
    };
    let mut watch = client.watch::<ConfigMap>("default", &from("0")).await.unwrap();
    server.put(info, "default", "a", json!({}));
    server.remove(info, "default", "a");
    server.bookmark(info);
    let mut told = Vec::new();
    for _ in 0..4 {
        let version = |object: ConfigMap| object.metadata.resource_version.unwrap_or_default();
        told.push(match watch.next().await.unwrap().unwrap() {
            WatchEvent::Added(object) => format!("added {}", version(object)),
            WatchEvent::Modified(object) => format!("modified {}", version(object)),
            WatchEvent::Deleted(object) => format!("deleted {}", version(object)),
            WatchEvent::Bookmark { resource_version, .. } => format!("bookmark {resource_version}"),
        });
    }
    assert_eq!(told, ["added 1", "modified 2", "deleted 3", "bookmark 4"]);
    server.cut_watches();
    assert!(watch.next().await.is_none());
    server.compact();
    let mut watch = client.watch::<ConfigMap>("default", &from("1")).await.unwrap();
    assert!(watch.next().await.unwrap().unwrap_err().is_expired());
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_from_one_that_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::Unix { path: directory.path().join("nobody") };
    let status =
        Client::new(&endpoint).unwrap().get::<ConfigMap>("default", "a").await.unwrap_err();
    let (failure, words) = wire::transport_failure(&status).unwrap();
    assert_eq!((failure, words), (Failure::Refused, "No such file or directory (os error 2)"));

    let fixture = Fixture::new();
    fixture.server.set_outage(Some(Status::service_unavailable("starting")));
    let status = fixture.client.get::<ConfigMap>("default", "a").await.unwrap_err();
    assert_eq!(status, Status::service_unavailable("starting"));
    assert_eq!(wire::transport_failure(&status), None);
}
