//! The copy follows the server through cuts, outages and compaction, and every change is told once.

use std::sync::Arc;

use apimachinery::{api::core::ConfigMap, object::ObjectKey, resource, status::Status};
use parking_lot::Mutex;
use serde_json::json;

use super::{Informer, Informers};
use crate::{
    reflector::ListWatch,
    store::{Delta, Store},
    stored::{DynamicObject, PartialObject, Stored},
    testing::Fixture,
};

/// Changes as told to a handler: `+name`, `name`, `-name`.
type Told = Arc<Mutex<Vec<String>>>;

fn tell<T: Stored>(informer: &mut Informer<T>) -> Told {
    let told = Told::default();
    let heard = Arc::clone(&told);
    informer.on_change(move |delta| {
        let sign = match delta {
            Delta::Added(_) => "+",
            Delta::Updated { .. } => "",
            Delta::Deleted(_) => "-",
        };
        heard.lock().push(format!("{sign}{}", delta.object().key().name));
    });
    told
}

fn names(store: &Store<ConfigMap>) -> Vec<String> {
    store.list().iter().map(|object| object.key().name).collect()
}

const INFO: &resource::ResourceInfo = &resource::CONFIG_MAPS;

#[tokio::test]
async fn the_copy_follows_through_everything() {
    let fixture = Fixture::new();
    let server = &fixture.server;
    server.put(INFO, "default", "a", json!({}));
    server.put(INFO, "default", "b", json!({}));
    let mut informers = Informers::new(&fixture.client, &fixture.clock);
    let told = tell(informers.informer::<ConfigMap>());
    let told_too = tell(informers.informer::<ConfigMap>());
    let store = informers.store::<ConfigMap>();
    assert!(!store.has_synced());
    informers.start(&fixture.shutdown);
    store.synced().await;
    assert_eq!(*told.lock(), ["+a", "+b"]);
    assert_eq!(*told_too.lock(), ["+a", "+b"]);

    server.put(INFO, "default", "a", json!({}));
    server.remove(INFO, "default", "b");
    fixture.eventually("the deletion", || names(&store) == ["a"]).await;

    // The watch ends in order: it resumes where it was.
    server.cut_watches();
    server.put(INFO, "default", "c", json!({}));
    fixture.eventually("the addition", || names(&store) == ["a", "c"]).await;

    // The server is away while things change, and its log forgets them: the copy is swapped.
    server.set_outage(Some(Status::service_unavailable("down")));
    server.remove(INFO, "default", "a");
    server.put(INFO, "default", "d", json!({}));
    fixture.test_clock.advance(std::time::Duration::from_secs(60)).await;
    assert_eq!(names(&store), ["a", "c"]);
    server.compact();
    server.set_outage(None);
    fixture.eventually("the swap", || names(&store) == ["c", "d"]).await;
    assert_eq!(*told.lock(), ["+a", "+b", "a", "-b", "+c", "-a", "+d"]);
    assert_eq!(*told_too.lock(), *told.lock());
    let lists = server.requests().iter().filter(|request| request.starts_with("list")).count();
    assert_eq!(lists, 2, "only the compaction makes a second list");
}

/// An object that changes and goes while nobody listens: handlers hear of the deletion, with the state that they knew.
#[tokio::test]
async fn a_deletion_in_a_gap_comes_with_the_last_known_state() {
    let fixture = Fixture::new();
    let server = &fixture.server;
    server.put(INFO, "default", "a", json!({"data": {"state": "known"}}));
    let mut informer =
        Informer::<ConfigMap>::new(&fixture.client, &fixture.clock, ListWatch::all(INFO));
    let gone = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&gone);
    informer.on_change(move |delta| {
        if let Delta::Deleted(last) = delta {
            heard.lock().push(last.data["state"].clone());
        }
    });
    let store = informer.store();
    informer.start(&fixture.shutdown);
    store.synced().await;
    server.set_outage(Some(Status::service_unavailable("down")));
    server.put(INFO, "default", "a", json!({"data": {"state": "never seen"}}));
    server.remove(INFO, "default", "a");
    server.compact();
    server.set_outage(None);
    fixture.eventually("the deletion", || !gone.lock().is_empty()).await;
    assert_eq!(*gone.lock(), ["known"]);
    assert!(store.is_empty());
}

/// A server that forgets while a watch runs, as etcd's compaction lets it: 410 is the watch's last event.
#[tokio::test]
async fn a_watch_that_expires_under_way_is_healed_by_a_list() {
    let fixture = Fixture::new();
    let server = &fixture.server;
    for name in ["a", "b"] {
        server.put(INFO, "default", name, json!({}));
    }
    let mut informers = Informers::new(&fixture.client, &fixture.clock);
    let told = tell(informers.informer::<ConfigMap>());
    let store = informers.store::<ConfigMap>();
    informers.start(&fixture.shutdown);
    store.synced().await;
    server.fail_watches(Status::expired("too old resource version"));
    server.remove(INFO, "default", "a");
    server.compact();
    fixture.eventually("the swap", || names(&store) == ["b"]).await;
    assert_eq!(*told.lock(), ["+a", "+b", "-a"]);
    let lists = server.requests().iter().filter(|request| request.starts_with("list")).count();
    assert_eq!(lists, 2);
}

/// A watch that hangs is given up half a minute after it should have ended, and resumed without a loss.
#[tokio::test]
async fn a_watch_that_hangs_is_given_up() {
    let fixture = Fixture::new();
    let server = &fixture.server;
    server.put(INFO, "default", "a", json!({}));
    let mut informers = Informers::new(&fixture.client, &fixture.clock);
    let told = tell(informers.informer::<ConfigMap>());
    let store = informers.store::<ConfigMap>();
    informers.start(&fixture.shutdown);
    store.synced().await;
    fixture.test_clock.settle().await;
    server.mute_watches();
    server.remove(INFO, "default", "a");
    fixture.test_clock.advance(std::time::Duration::from_secs(300)).await;
    assert_eq!(names(&store), ["a"], "nobody can know");
    fixture.test_clock.advance(std::time::Duration::from_secs(340)).await;
    assert_eq!(*told.lock(), ["+a", "-a"]);
    let lists = server.requests().iter().filter(|request| request.starts_with("list")).count();
    assert_eq!(lists, 1, "it is resumed where it was");
}

#[tokio::test]
async fn a_bookmark_spares_the_list_after_compaction() {
    let fixture = Fixture::new();
    let server = &fixture.server;
    let mut informers = Informers::new(&fixture.client, &fixture.clock);
    let store = informers.store::<ConfigMap>();
    informers.start(&fixture.shutdown);
    store.synced().await;
    server.put(&resource::SECRETS, "default", "other", json!({}));
    server.bookmark(INFO);
    fixture.eventually("the bookmark", || store.resource_version() == "2").await;
    server.compact();
    server.cut_watches();
    server.put(INFO, "default", "a", json!({}));
    fixture.eventually("the addition", || names(&store) == ["a"]).await;
    let lists = server.requests().iter().filter(|request| request.starts_with("list")).count();
    assert_eq!(lists, 1);
}

#[tokio::test]
async fn an_object_reborn_under_its_name_is_two_changes() {
    let fixture = Fixture::new();
    let server = &fixture.server;
    server.put(INFO, "default", "a", json!({}));
    let mut informer =
        Informer::<DynamicObject>::new(&fixture.client, &fixture.clock, ListWatch::all(INFO));
    let told = tell(&mut informer);
    let store = informer.store();
    informer.start(&fixture.shutdown);
    store.synced().await;
    server.set_outage(Some(Status::service_unavailable("down")));
    server.remove(INFO, "default", "a");
    server.put(INFO, "default", "a", json!({"data": {"reborn": "yes"}}));
    server.compact();
    server.set_outage(None);
    fixture.eventually("the rebirth", || told.lock().len() == 3).await;
    assert_eq!(*told.lock(), ["+a", "-a", "+a"]);
    let object = store.get(&ObjectKey::new("default", "a")).unwrap();
    assert_eq!(object.0.get_str(&["data", "reborn"]), "yes");
}

#[tokio::test]
async fn one_resource_may_be_followed_in_several_shapes() {
    let fixture = Fixture::new();
    fixture.server.put(INFO, "default", "a", json!({}));
    let mut informers = Informers::new(&fixture.client, &fixture.clock);
    let typed = informers.store::<ConfigMap>();
    let partial = informers.informer_of::<PartialObject>(INFO).store();
    informers.start(&fixture.shutdown);
    typed.synced().await;
    partial.synced().await;
    assert_eq!(typed.list()[0].key(), partial.list()[0].key());
}
