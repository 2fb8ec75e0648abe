use super::*;

/// The next events as `KIND name`; fails rather than waits.
async fn next(watcher: &mut Watcher) -> Vec<String> {
    let batch = Clock::real().timeout(Duration::from_secs(5), watcher.next()).await;
    let batch = batch.expect("an event").expect("the watch goes on");
    batch
        .iter()
        .map(|item| {
            let object = Object::from_slice(&item.object).unwrap();
            let name = match item.kind {
                WatchKind::Bookmark => "",
                WatchKind::Error => object.get_str(&["reason"]),
                _ => object.name(),
            };
            format!("{} {name}", item.kind.as_str())
        })
        .collect()
}

fn from(version: &str) -> ListOptions {
    ListOptions { resource_version: version.into(), ..ListOptions::default() }
}

#[tokio::test]
async fn a_watch_shows_the_state_and_then_every_change() {
    let chain = Chain::start().await;
    let first = chain.create(&resource::CONFIG_MAPS, config_map("a", json!({}))).await.unwrap();
    let mut all = chain.watch(&resource::CONFIG_MAPS, from("")).await;
    assert_eq!(next(&mut all).await, ["ADDED a"]);
    let mut after = chain.watch(&resource::CONFIG_MAPS, from(first.resource_version())).await;
    let patch = json!({"data": {"k": "v"}});
    chain.patch(&resource::CONFIG_MAPS, "a", PatchType::Merge, patch).await.unwrap();
    for watcher in [&mut all, &mut after] {
        assert_eq!(next(watcher).await, ["MODIFIED a"]);
    }
    chain.delete(&resource::CONFIG_MAPS, "a", DeleteOptions::default()).await.unwrap();
    let batch = after.next().await.unwrap();
    let gone = Object::from_slice(&batch[0].object).unwrap();
    let now = chain.storage.current_revision().await.unwrap();
    assert_eq!(
        (batch[0].kind, gone.resource_version()),
        (WatchKind::Deleted, now.to_string().as_str())
    );
    // Resumed from the middle: nothing is missed, nothing twice.
    let mut resumed = chain.watch(&resource::CONFIG_MAPS, from(first.resource_version())).await;
    assert_eq!(next(&mut resumed).await, ["MODIFIED a", "DELETED a"]);
}

#[tokio::test]
async fn objects_move_into_and_out_of_a_selection() {
    let chain = Chain::start().await;
    let now = chain.storage.current_revision().await.unwrap().to_string();
    let options = ListOptions { label_selector: "app=x".into(), ..from(&now) };
    let mut watcher = chain.watch(&resource::CONFIG_MAPS, options).await;
    let label = async |value: Value| {
        let patch = json!({"metadata": {"labels": {"app": value}}});
        chain.patch(&resource::CONFIG_MAPS, "a", PatchType::Merge, patch).await.unwrap()
    };
    chain.create(&resource::CONFIG_MAPS, config_map("a", json!({}))).await.unwrap();
    label("x".into()).await;
    assert_eq!(next(&mut watcher).await, ["ADDED a"]);
    let out = label("y".into()).await;
    let batch = watcher.next().await.unwrap();
    let shown = Object::from_slice(&batch[0].object).unwrap();
    assert_eq!(batch[0].kind, WatchKind::Deleted);
    assert_eq!((shown.label("app"), shown.resource_version()), (Some("x"), out.resource_version()));
    label("x".into()).await;
    chain.delete(&resource::CONFIG_MAPS, "a", DeleteOptions::default()).await.unwrap();
    assert_eq!(next(&mut watcher).await, ["ADDED a", "DELETED a"]);
}

#[tokio::test]
async fn a_kubelet_sees_its_pods_come_and_go() {
    let chain = Chain::start().await;
    let options = ListOptions {
        field_selector: "spec.nodeName=node-1".into(),
        ..from(&chain.storage.current_revision().await.unwrap().to_string())
    };
    let mut watcher = chain.watch(&resource::PODS, options.clone()).await;
    for (name, node) in [("a", "node-1"), ("b", "node-2")] {
        chain.create(&resource::PODS, pod(name)).await.unwrap();
        let binding = json!({"metadata": {"name": name}, "target": {"name": node}});
        let context = chain.context(Verb::Create, &resource::PODS, &format!("{name}/binding"));
        chain.object(context, Request::Create(binding.to_string().into())).await.unwrap();
    }
    assert_eq!(next(&mut watcher).await, ["ADDED a"]);
    let listed = ListOptions { resource_version: String::new(), ..options };
    assert_eq!(names(&chain.list(&resource::PODS, listed).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn the_initial_state_ends_with_a_bookmark() {
    let chain = Chain::start().await;
    chain.create(&resource::CONFIG_MAPS, config_map("a", json!({}))).await.unwrap();
    let options = ListOptions {
        send_initial_events: Some(true),
        allow_bookmarks: true,
        resource_version_match: "NotOlderThan".into(),
        ..ListOptions::default()
    };
    let mut watcher = chain.watch(&resource::CONFIG_MAPS, options).await;
    assert_eq!(next(&mut watcher).await, ["ADDED a"]);
    let end = watcher.next().await.unwrap();
    let bookmark = Object::from_slice(&end[0].object).unwrap();
    assert_eq!(end[0].kind, WatchKind::Bookmark);
    assert_eq!(bookmark.annotation("k8s.io/initial-events-end"), Some("true"));
    let context = chain.context(Verb::Watch, &resource::CONFIG_MAPS, "");
    let wrong = ListOptions { send_initial_events: Some(true), ..ListOptions::default() };
    let error = chain.handler.handle(&context, Request::Watch(wrong)).await.unwrap_err();
    assert!(error.is_invalid());
}

#[tokio::test]
async fn who_comes_too_late_is_told_so() {
    let chain = Chain::start().await;
    let first = chain.create(&resource::CONFIG_MAPS, config_map("a", json!({}))).await.unwrap();
    chain.create(&resource::CONFIG_MAPS, config_map("b", json!({}))).await.unwrap();
    chain.storage.compact(chain.storage.current_revision().await.unwrap()).await.unwrap();
    let mut watcher = chain.watch(&resource::CONFIG_MAPS, from(first.resource_version())).await;
    assert_eq!(next(&mut watcher).await, ["ERROR Expired"]);
    assert!(watcher.next().await.is_none());
}

#[tokio::test]
async fn a_watch_ends_with_its_timeout_and_with_the_server() {
    let chain = Chain::start().await;
    let options = ListOptions { timeout: Some(Duration::from_millis(1)), ..from("") };
    let mut watcher = chain.watch(&resource::CONFIG_MAPS, options).await;
    assert!(watcher.next().await.is_none());
    let mut watcher = chain.watch(&resource::CONFIG_MAPS, from("")).await;
    chain.handler.shutdown.cancel();
    assert!(watcher.next().await.is_none());
}
