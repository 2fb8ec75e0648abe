//! Watches: the two ways to begin one, metadata alone, and a reflector's store through many changes and a restart.

use std::collections::BTreeMap;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt, reflector,
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use serde_json::json;
use tests::{Component, TestCluster};

use super::support::{client, config_map, control_plane, soon};

/// What an event says, in short.
fn short<K: kube::Resource>(event: &watcher::Event<K>) -> String {
    match event {
        watcher::Event::Init => "init".to_owned(),
        watcher::Event::InitApply(object) => format!("has {}", object.name_any()),
        watcher::Event::InitDone => "done".to_owned(),
        watcher::Event::Apply(object) => format!("set {}", object.name_any()),
        watcher::Event::Delete(object) => format!("gone {}", object.name_any()),
    }
}

async fn next<K: kube::Resource>(
    events: &mut (impl Stream<Item = watcher::Result<watcher::Event<K>>> + Unpin),
    expected: &[&str],
) {
    let mut seen = Vec::new();
    for _ in expected {
        seen.push(short(&soon("an event", events.next()).await.unwrap().unwrap()));
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn watches_begin_with_a_list_or_with_all_that_is_there() {
    let cluster = control_plane().await;
    let client = client(&cluster).await;
    for (name, begins) in [
        ("list", watcher::Config::default()),
        ("pieces", watcher::Config::default().page_size(1)),
        ("any", watcher::Config::default().any_semantic()),
        ("stream", watcher::Config::default().streaming_lists()),
    ] {
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let metadata_alone: Api<PartialObjectMeta<ConfigMap>> =
            Api::default_namespaced(client.clone());
        let labelled = |suffix: &str| {
            let mut map = config_map(&format!("{name}-{suffix}"), "");
            map.labels_mut().insert("begins".to_owned(), name.to_owned());
            map
        };
        let (a, b, c) = (labelled("a"), labelled("b"), labelled("c"));
        for map in [&a, &b] {
            maps.create(&PostParams::default(), map).await.unwrap();
        }
        let config = begins.labels(&format!("begins={name}"));
        let mut full = Box::pin(watcher(maps.clone(), config.clone()));
        let mut metadata = Box::pin(watcher(metadata_alone, config));
        let [a, b, c] = [a, b, c].map(|map| map.name_any());
        let expected = ["init", &format!("has {a}"), &format!("has {b}"), "done"];
        next(&mut full, &expected).await;
        next(&mut metadata, &expected).await;

        maps.create(&PostParams::default(), &labelled("c")).await.unwrap();
        let patch = Patch::Merge(json!({"data": {"key": "new"}}));
        maps.patch(&a, &PatchParams::default(), &patch).await.unwrap();
        // What leaves the selection is gone for who watches it.
        let unlabelled = Patch::Merge(json!({"metadata": {"labels": null}}));
        maps.patch(&b, &PatchParams::default(), &unlabelled).await.unwrap();
        maps.delete(&c, &DeleteParams::default()).await.unwrap();
        let expected =
            [format!("set {c}"), format!("set {a}"), format!("gone {b}"), format!("gone {c}")];
        let expected = expected.each_ref().map(String::as_str);
        next(&mut full, &expected).await;
        next(&mut metadata, &expected).await;
    }
}

#[tokio::test]
async fn a_plain_watch_tells_what_has_happened_since() {
    let cluster = control_plane().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster).await);
    let before = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version;
    maps.create(&PostParams::default(), &config_map("one", "1")).await.unwrap();
    maps.delete("one", &DeleteParams::default()).await.unwrap();
    let params = WatchParams::default().fields("metadata.name=one").timeout(290);
    let watch = maps.watch(&params, &before.unwrap()).await.unwrap();
    let seen: Vec<_> = soon("two events", watch.take(2).try_collect()).await.unwrap();
    assert!(matches!(&seen[0], WatchEvent::Added(map) if map.name_any() == "one"), "{seen:?}");
    assert!(matches!(&seen[1], WatchEvent::Deleted(map) if map.name_any() == "one"), "{seen:?}");

    // Its time is over: an end in order.
    let watch = maps.watch(&WatchParams::default().timeout(1), "0").await.unwrap();
    let seen: Vec<_> = soon("the end of a watch", watch.try_collect()).await.unwrap();
    assert!(seen.iter().all(|event| !matches!(event, WatchEvent::Error(_))), "{seen:?}");
}

/// The store's content is the API's.
async fn is_same(cluster: &TestCluster, maps: &Api<ConfigMap>, store: &Store<ConfigMap>) {
    let content = |maps: &mut dyn Iterator<Item = ConfigMap>| -> BTreeMap<_, _> {
        maps.map(|map| (map.name_any(), (map.resource_version(), map.data))).collect()
    };
    cluster
        .eventually("the store is what the API has", async || {
            let listed = maps.list(&ListParams::default()).await.map_err(|e| e.to_string())?;
            let there = content(&mut listed.items.into_iter());
            let here = content(&mut store.state().into_iter().map(|map| (*map).clone()));
            if here == there { Ok(()) } else { Err(format!("{here:?} instead of {there:?}")) }
        })
        .await;
}

async fn change_much(maps: &Api<ConfigMap>, round: usize) {
    let (post, patch) = (PostParams::default(), PatchParams::default());
    for number in 0..40 {
        let name = format!("round-{round}-{number}");
        maps.create(&post, &config_map(&name, "new")).await.unwrap();
        let merge = Patch::Merge(json!({"data": {"key": format!("{number}")}}));
        maps.patch(&name, &patch, &merge).await.unwrap();
        if number % 3 == 0 {
            maps.delete(&name, &DeleteParams::default()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflector_keeps_up_through_a_restart_of_the_api_server() {
    let builder = TestCluster::builder().nodes(0).durable().do_not_wait();
    let cluster = builder.start().await.unwrap();
    let client = client(&cluster).await;
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let (store, writer) = reflector::store();
        let events = watcher(maps.clone(), config).default_backoff().reflect(writer);
        let following = events.for_each(|_| std::future::ready(()));
        let checks = async {
            store.wait_until_ready().await.unwrap();
            change_much(&maps, 1).await;
            is_same(&cluster, &maps, &store).await;
            cluster.stop(Component::ApiServer).await.unwrap();
            cluster.start(Component::ApiServer).await.unwrap();
            change_much(&maps, 2).await;
            is_same(&cluster, &maps, &store).await;
            let key = ObjectRef::new("round-2-1").within("default");
            assert_eq!(store.get(&key).unwrap().data.as_ref().unwrap()["key"], "1");
            let all = ListParams::default();
            maps.delete_collection(&DeleteParams::default(), &all).await.unwrap();
            is_same(&cluster, &maps, &store).await;
        };
        tokio::select! {
            () = following => panic!("the watch ended"),
            () = checks => {}
        }
    }
}
