use super::*;

fn grace(seconds: i64) -> DeleteOptions {
    DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() }
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let chain = Chain::start().await;
    let mut object = config_map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    chain.create(&resource::CONFIG_MAPS, object).await.unwrap();
    let marked = chain.delete(&resource::CONFIG_MAPS, "a", DeleteOptions::default()).await.unwrap();
    assert!(marked.deletion_timestamp().is_some());
    let release = json!({"metadata": {"finalizers": null}});
    chain.patch(&resource::CONFIG_MAPS, "a", PatchType::Merge, release).await.unwrap();
    assert!(chain.get(&resource::CONFIG_MAPS, "a").await.unwrap_err().is_not_found());
    let status = chain.create(&resource::CONFIG_MAPS, config_map("b", json!({}))).await.unwrap();
    let deleted =
        chain.delete(&resource::CONFIG_MAPS, "b", DeleteOptions::default()).await.unwrap();
    assert_eq!(deleted.get_str(&["status"]), "Success");
    assert_eq!(deleted.get_str(&["details", "uid"]), status.uid());
    assert_eq!(
        chain
            .delete(&resource::CONFIG_MAPS, "b", DeleteOptions::default())
            .await
            .unwrap_err()
            .message,
        "configmaps \"b\" not found"
    );
}

#[tokio::test]
async fn a_running_pod_gets_its_grace() {
    let chain = Chain::start().await;
    chain.create(&resource::PODS, pod("pending")).await.unwrap();
    chain.delete(&resource::PODS, "pending", DeleteOptions::default()).await.unwrap();
    assert!(chain.get(&resource::PODS, "pending").await.unwrap_err().is_not_found());

    let mut running = pod("running");
    running["spec"]["nodeName"] = "node-1".into();
    let made = chain.create(&resource::PODS, running).await.unwrap();
    let marked = chain.delete(&resource::PODS, "running", DeleteOptions::default()).await.unwrap();
    assert_eq!(marked.get_i64(&["metadata", "deletionGracePeriodSeconds"]), Some(30));
    assert_eq!(marked.generation(), made.generation() + 1);
    // Asked for more: nothing changes; for less: sooner.
    let same = chain.delete(&resource::PODS, "running", grace(60)).await.unwrap();
    assert_eq!(same.resource_version(), marked.resource_version());
    let sooner = chain.delete(&resource::PODS, "running", grace(1)).await.unwrap();
    assert_eq!(sooner.get_i64(&["metadata", "deletionGracePeriodSeconds"]), Some(1));
    // The kubelet's last word.
    let context = RequestContext {
        preconditions: Preconditions { uid: Some("other".into()), resource_version: None },
        ..chain.context(Verb::Delete, &resource::PODS, "running")
    };
    let error = chain.object(context, Request::Delete(grace(0))).await.unwrap_err();
    assert!(
        error.is_conflict()
            && error.message.contains("Precondition failed: UID in precondition: other")
    );
    chain.delete(&resource::PODS, "running", grace(0)).await.unwrap();
    assert!(chain.get(&resource::PODS, "running").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_namespace_terminates_before_it_goes() {
    let chain = Chain::start().await;
    chain.create(&resource::NAMESPACES, json!({"metadata": {"name": "x"}})).await.unwrap();
    let mut terminating =
        chain.delete(&resource::NAMESPACES, "x", DeleteOptions::default()).await.unwrap();
    assert_eq!(terminating.get_str(&["status", "phase"]), "Terminating");
    let mut context = chain.context(Verb::Create, &resource::CONFIG_MAPS, "");
    context.namespace = "x".into();
    let body = config_map("a", json!({})).to_string();
    let error = chain.object(context, Request::Create(body.into())).await.unwrap_err();
    assert_eq!(
        error.message,
        "configmaps \"a\" is forbidden: unable to create new content in namespace x because it is being terminated"
    );
    terminating.set(&["spec", "finalizers"], json!([]));
    chain.update(&resource::NAMESPACES, "x/finalize", &terminating).await.unwrap();
    assert!(chain.get(&resource::NAMESPACES, "x").await.unwrap_err().is_not_found());
    assert!(
        chain
            .delete(&resource::NAMESPACES, "default", DeleteOptions::default())
            .await
            .unwrap_err()
            .is_forbidden()
    );
}

#[tokio::test]
async fn propagation_becomes_finalizers_and_collections_go() {
    let chain = Chain::start().await;
    chain.create(&resource::CONFIG_MAPS, config_map("a", json!({}))).await.unwrap();
    let policy = |policy: &str| DeleteOptions {
        propagation_policy: policy.into(),
        ..DeleteOptions::default()
    };
    let marked = chain.delete(&resource::CONFIG_MAPS, "a", policy("Foreground")).await.unwrap();
    assert_eq!(marked.finalizers().collect::<Vec<_>>(), ["foregroundDeletion"]);
    assert_eq!(
        chain.delete(&resource::CONFIG_MAPS, "a", policy("x")).await.unwrap_err().message,
        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"x\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
    );
    chain.delete(&resource::CONFIG_MAPS, "a", policy("Background")).await.unwrap();
    for n in 0..100 {
        let mut object = config_map(&format!("c{n}"), json!({}));
        object["metadata"]["labels"] = json!({"odd": (n % 2).to_string()});
        chain.create(&resource::CONFIG_MAPS, object).await.unwrap();
    }
    let odd = ListOptions { label_selector: "odd=1".into(), ..ListOptions::default() };
    let context = chain.context(Verb::DeleteCollection, &resource::CONFIG_MAPS, "");
    let request = Request::DeleteCollection(odd, DeleteOptions::default());
    let deleted = chain.object(context, request).await.unwrap();
    assert_eq!(deleted.get_list(&["items"]).len(), 50);
    assert_eq!(chain.keys("/registry/configmaps/").await.len(), 50);
}
