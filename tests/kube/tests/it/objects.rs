//! Objects: typed, dynamic, as metadata, as tables; patches, ownership, collections; who asks.

use k8s_openapi::api::{
    apps::v1::Deployment, authentication::v1::SelfSubjectReview, core::v1::ConfigMap,
};
use kube::{
    Api, Client, Discovery, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
        PostParams, Preconditions, entry::Entry,
    },
    discovery::{self, Scope},
};
use serde_json::{Value, json};

use super::support::{client, config, config_map, control_plane, refusal};

#[tokio::test]
async fn objects_are_written_and_read() {
    let cluster = control_plane().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster).await);
    let params = PostParams::default();
    let made = maps.create(&params, &config_map("one", "1")).await.unwrap();
    assert!(made.uid().is_some() && made.creation_timestamp().is_some());
    let refused = refusal(maps.create(&params, &config_map("one", "1")).await);
    assert!(refused.is_already_exists(), "{refused:?}");
    assert_eq!(refused.message, r#"configmaps "one" already exists"#);
    assert!(maps.get_opt("two").await.unwrap().is_none());
    assert!(refusal(maps.get("two").await).is_not_found());

    let mut changed = made.clone();
    changed.data = config_map("", "2").data;
    let replaced = maps.replace("one", &params, &changed).await.unwrap();
    assert_ne!(replaced.resource_version(), made.resource_version());
    let refused = refusal(maps.replace("one", &params, &changed).await);
    assert!(refused.is_conflict() && refused.message.contains("please apply your changes"));
    let again = maps.replace("one", &params, &replaced).await.unwrap();
    assert_eq!(again.resource_version(), replaced.resource_version(), "nothing was changed");

    let dry = PostParams { dry_run: true, ..PostParams::default() };
    assert!(maps.create(&dry, &config_map("dry", "1")).await.unwrap().uid().is_some());
    assert!(maps.get_opt("dry").await.unwrap().is_none());

    let Entry::Vacant(vacant) = maps.entry("entry").await.unwrap() else { panic!("it exists") };
    vacant.insert(config_map("entry", "1")).commit(&params).await.unwrap();
    let entry = maps.entry("entry").await.unwrap();
    let mut entry = entry.or_insert(|| panic!("it does not exist"));
    entry.get_mut().data = None;
    entry.commit(&params).await.unwrap();
    assert_eq!(maps.get("entry").await.unwrap().data, None);

    let uid = Preconditions { uid: Some("other".to_owned()), resource_version: None };
    let other = DeleteParams::default().preconditions(uid);
    assert!(refusal(maps.delete("one", &other).await).is_conflict());
    let told = maps.delete("one", &DeleteParams::default()).await.unwrap().unwrap_right();
    assert!(told.is_success());
    assert_eq!(Some(told.details.unwrap().uid), made.uid());
}

#[tokio::test]
async fn patches_are_merged_and_fields_owned() {
    let cluster = control_plane().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster).await);
    maps.create(&PostParams::default(), &config_map("one", "1")).await.unwrap();
    let params = PatchParams::default();
    let json_patch = serde_json::from_value(json!([
        {"op": "test", "path": "/metadata/finalizers", "value": null},
        {"op": "add", "path": "/data/other", "value": "2"},
    ]));
    let value = |map: &ConfigMap, key: &str| map.data.as_ref().and_then(|d| d.get(key).cloned());
    let patched = maps.patch("one", &params, &Patch::Json::<()>(json_patch.unwrap())).await;
    assert_eq!(value(&patched.unwrap(), "other").as_deref(), Some("2"));
    let merge = Patch::Merge(json!({"data": {"other": null}}));
    assert_eq!(value(&maps.patch("one", &params, &merge).await.unwrap(), "other"), None);
    let labels = Patch::Strategic(json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!(maps.patch("one", &params, &labels).await.unwrap().labels()["a"], "b");
    let strict = params.clone().validation_strict();
    let wrong = Patch::Merge(json!({"nope": 1}));
    let refused = refusal(maps.patch("one", &strict, &wrong).await);
    assert!(refused.message.contains(r#"unknown field "nope""#), "{refused:?}");

    let apply = |value: &str| {
        Patch::Apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "two"}, "data": {"key": value},
        }))
    };
    let (first, second) = (PatchParams::apply("first"), PatchParams::apply("second"));
    maps.patch("two", &first, &apply("1")).await.unwrap();
    let refused = refusal(maps.patch("two", &second, &apply("2")).await);
    assert!(refused.is_conflict(), "{refused:?}");
    assert_eq!(
        refused.message,
        r#"Apply failed with 1 conflict: conflict with "first": .data.key"#
    );
    let cause = &refused.details.as_ref().unwrap().causes[0];
    assert_eq!(
        (cause.reason.as_str(), cause.field.as_str()),
        ("FieldManagerConflict", ".data.key")
    );
    let tried = second.clone().force().dry_run();
    assert_eq!(value(&maps.patch("two", &tried, &apply("2")).await.unwrap(), "key").unwrap(), "2");
    assert_eq!(value(&maps.get("two").await.unwrap(), "key").unwrap(), "1");
    let forced = maps.patch("two", &second.force(), &apply("2")).await.unwrap();
    let owners: Vec<_> = forced.managed_fields().iter().filter(|e| e.fields_v1.is_some()).collect();
    assert_eq!(owners.len(), 1, "first owns nothing any more: {owners:?}");
    assert_eq!(owners[0].manager.as_deref(), Some("second"));
}

#[tokio::test]
async fn collections_are_listed_in_pieces_and_deleted() {
    let cluster = control_plane().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster).await);
    for number in 0..7 {
        let mut map = config_map(&format!("many-{number}"), "");
        map.labels_mut().insert("odd".to_owned(), (number % 2).to_string());
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    let mut piece = ListParams::default().labels("odd").limit(3);
    let mut names = Vec::new();
    loop {
        let found = maps.list(&piece).await.unwrap();
        let left = found.metadata.remaining_item_count;
        names.extend(found.items.iter().map(ResourceExt::name_any));
        // A selector hides how many are left.
        assert_eq!(left, None);
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => piece = piece.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names, (0..7).map(|number| format!("many-{number}")).collect::<Vec<_>>());
    let one = ListParams::default().fields("metadata.name=many-3");
    assert_eq!(maps.list(&one).await.unwrap().items.len(), 1);
    assert_eq!(maps.list(&ListParams::default().match_any()).await.unwrap().items.len(), 8);

    let odd = ListParams::default().labels("odd=1");
    let deleted = maps.delete_collection(&DeleteParams::default(), &odd).await.unwrap();
    assert_eq!(deleted.unwrap_left().items.len(), 3);
    assert_eq!(maps.list(&ListParams::default().labels("odd")).await.unwrap().items.len(), 4);
}

#[tokio::test]
async fn metadata_and_tables_are_given() {
    let cluster = control_plane().await;
    let client = client(&cluster).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    maps.create(&PostParams::default(), &config_map("one", "1")).await.unwrap();
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"a": "b"}}}));
    let patched = maps.patch_metadata("one", &PatchParams::default(), &patch).await.unwrap();
    let types = patched.types.unwrap();
    assert_eq!(
        (types.api_version.as_str(), types.kind.as_str()),
        ("meta.k8s.io/v1", "PartialObjectMetadata")
    );
    assert_eq!(maps.get_metadata("one").await.unwrap().metadata.annotations.unwrap()["a"], "b");
    let listed = maps.list_metadata(&ListParams::default()).await.unwrap();
    assert!(listed.items.iter().any(|item| item.name_any() == "one"));
    assert_eq!(listed.types.kind, "PartialObjectMetadataList");

    let request = http::Request::get("/api/v1/namespaces/default/configmaps/one")
        .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io, application/json")
        .body(Vec::new());
    let table: Value = client.request(request.unwrap()).await.unwrap();
    assert_eq!(table["kind"], "Table");
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..2], [json!("one"), json!(1)]);
}

#[tokio::test]
async fn what_is_served_is_told() {
    let cluster = control_plane().await;
    let client = client(&cluster).await;
    assert_eq!(client.apiserver_version().await.unwrap().major, "1");
    let deployment = GroupVersionKind::gvk("apps", "v1", "Deployment");
    let found = [
        Discovery::new(client.clone()).run().await.unwrap(),
        Discovery::new(client.clone()).run_aggregated().await.unwrap(),
    ];
    for all in &found {
        let (resource, can) = all.resolve_gvk(&deployment).unwrap();
        assert_eq!((resource.plural.as_str(), &can.scope), ("deployments", &Scope::Namespaced));
        assert!(can.supports_operation(discovery::verbs::WATCH));
        let mut names: Vec<_> = can.subresources.iter().map(|(s, _)| s.plural.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["scale", "status"]);
        assert!(all.has_group("") && all.has_group("apiextensions.k8s.io"));
    }
    let names = |all: &Discovery| {
        let kinds = all.groups_alphabetical().into_iter().flat_map(|group| {
            let kinds = group.recommended_resources().into_iter();
            kinds.map(|(resource, _)| format!("{}/{}", resource.api_version, resource.kind))
        });
        let mut kinds: Vec<_> = kinds.collect();
        kinds.sort_unstable();
        kinds
    };
    assert_eq!(names(&found[0]), names(&found[1]), "both ways tell the same");

    let (resource, _) = discovery::pinned_kind(&client, &deployment).await.unwrap();
    let anything: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        },
    }))
    .unwrap();
    let made = anything.create(&PostParams::default(), &object).await.unwrap();
    assert_eq!(made.data["spec"]["strategy"]["type"], "RollingUpdate");
    let typed: Api<Deployment> = Api::default_namespaced(client.clone());
    let restarted = typed.restart("web").await.unwrap();
    let template = restarted.spec.unwrap().template.metadata.unwrap();
    assert!(template.annotations.unwrap().contains_key("kube.kubernetes.io/restartedAt"));
    let nowhere = ApiResource::from_gvk(&GroupVersionKind::gvk("nobody.example", "v1", "Nothing"));
    let nothing: Api<DynamicObject> = Api::all_with(client, &nowhere);
    let refused = refusal(nothing.list(&ListParams::default()).await);
    assert_eq!(refused.code, 404);
}

#[tokio::test]
async fn somebody_else_may_be_asked_for() {
    let cluster = control_plane().await;
    let mut config = config(&cluster).await;
    config.auth_info.impersonate = Some("jane".to_owned());
    config.auth_info.impersonate_groups = Some(vec!["shops".to_owned(), "sellers".to_owned()]);
    let jane = Client::try_from(config).unwrap();
    let reviews: Api<SelfSubjectReview> = Api::all(jane.clone());
    let told = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let user = told.status.unwrap().user_info.unwrap();
    assert_eq!(user.username.as_deref(), Some("jane"));
    assert_eq!(user.groups.unwrap(), ["shops", "sellers", "system:authenticated"]);
    let maps: Api<ConfigMap> = Api::default_namespaced(jane);
    let refused = refusal(maps.list(&ListParams::default()).await);
    assert!(refused.is_forbidden());
    assert_eq!(
        refused.message,
        r#"configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" in the namespace "default""#
    );
}
