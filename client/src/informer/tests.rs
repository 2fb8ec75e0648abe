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
