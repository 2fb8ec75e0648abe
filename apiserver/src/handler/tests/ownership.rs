use super::*;

/// The entries of an object as `manager/operation[/subresource]: fields`.
fn owners(object: &Object) -> Vec<(String, Value)> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    object
        .get_list(&["metadata", "managedFields"])
        .iter()
        .map(|entry| {
            assert_eq!(entry["fieldsType"], "FieldsV1");
            let mut who = format!("{} {}", text(entry, "manager"), text(entry, "operation"));
            if !text(entry, "subresource").is_empty() {
                who = format!("{who} {}", text(entry, "subresource"));
            }
            (who, entry["fieldsV1"].clone())
        })
        .collect()
}

impl Chain {
    fn manager(
        &self,
        verb: Verb,
        info: &'static ResourceInfo,
        name: &str,
        by: &str,
    ) -> RequestContext {
        RequestContext {
            field_manager: by.into(),
            manager_given: true,
            ..self.context(verb, info, name)
        }
    }

    async fn apply(
        &self,
        info: &'static ResourceInfo,
        name: &str,
        by: &str,
        config: Value,
    ) -> Result<Object, Status> {
        let context = self.manager(Verb::Patch, info, name, by);
        self.object(context, Request::Patch(PatchType::Apply, config.to_string().into())).await
    }

    async fn force(
        &self,
        info: &'static ResourceInfo,
        name: &str,
        by: &str,
        config: Value,
    ) -> Result<Object, Status> {
        let context = RequestContext { force: true, ..self.manager(Verb::Patch, info, name, by) };
        self.object(context, Request::Patch(PatchType::Apply, config.to_string().into())).await
    }
}

fn deployment(spec: impl Into<Value>) -> Value {
    let spec: Value = spec.into();
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

fn web(replicas: i64, image: &str) -> Value {
    deployment(json!({
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "nginx", "image": image}]},
        },
    }))
}

#[tokio::test]
async fn a_created_pod_belongs_to_its_maker_and_its_status_to_the_kubelet() {
    let chain = Chain::start().await;
    let mut object = pod("web");
    object["metadata"]["labels"] = json!({"run": "web"});
    let context = chain.manager(Verb::Create, &resource::PODS, "", "kubectl-run");
    let made = chain.object(context, Request::Create(object.to_string().into())).await.unwrap();
    // As Kubernetes notes it: what admission adds (tolerations, priority, the account) is nobody's.
    let spec = json!({
        "f:containers": {"k:{\"name\":\"c\"}": {
            ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
            "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
        }},
        "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {}, "f:schedulerName": {},
        "f:securityContext": {}, "f:terminationGracePeriodSeconds": {},
    });
    let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:run": {}}}, "f:spec": spec});
    let own = ("kubectl-run Update".to_owned(), fields);
    assert_eq!(owners(&made), std::slice::from_ref(&own));
    let entry = &made.get_list(&["metadata", "managedFields"])[0];
    assert_eq!(entry["apiVersion"], "v1");
    assert_eq!(entry["time"], made.get_str(&["metadata", "creationTimestamp"]));

    let context = chain.manager(Verb::Patch, &resource::PODS, "web/status", "kubelet");
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let patch = Request::Patch(PatchType::Strategic, status.to_string().into());
    let running = chain.object(context.clone(), patch.clone()).await.unwrap();
    let condition = json!({".": {}, "f:status": {}, "f:type": {}});
    let fields = json!({"f:status": {
        "f:conditions": {".": {}, "k:{\"type\":\"Ready\"}": condition}, "f:phase": {}}});
    let of_kubelet = ("kubelet Update status".to_owned(), fields);
    let now = owners(&running);
    assert!(now.len() == 2 && now.contains(&of_kubelet) && now.contains(&own), "{now:?}");
    // The same again is no write.
    let same = chain.object(context, patch).await.unwrap();
    assert_eq!(same.resource_version(), running.resource_version());
    // What a subresource brings is not believed.
    let context = chain.manager(Verb::Patch, &resource::PODS, "web/status", "kubelet");
    let forged = json!({"metadata": {"managedFields": [{}]}, "status": {"phase": "Succeeded"}});
    let patch = Request::Patch(PatchType::Merge, forged.to_string().into());
    let after = chain.object(context, patch).await.unwrap();
    assert_eq!(owners(&after).len(), 2);
}

#[tokio::test]
async fn applies_share_conflict_and_give_up() {
    let chain = Chain::start().await;
    let deployments = &resource::DEPLOYMENTS;
    let made = chain.apply(deployments, "web", "one", web(3, "nginx:1")).await.unwrap();
    assert_eq!(made.get_i64(&["spec", "replicas"]), Some(3));
    assert_eq!(made.get_i64(&["spec", "revisionHistoryLimit"]), Some(10));
    let container = json!({"k:{\"name\":\"nginx\"}": {".": {}, "f:image": {}, "f:name": {}}});
    let template = json!({
        "f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:containers": container}});
    let fields = json!({"f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": template}});
    assert_eq!(owners(&made), [("one Apply".to_owned(), fields)]);
    // The same again changes nothing.
    let again = chain.apply(deployments, "web", "one", web(3, "nginx:1")).await.unwrap();
    assert_eq!(again.resource_version(), made.resource_version());

    let error = chain.apply(deployments, "web", "two", web(5, "nginx:1")).await.unwrap_err();
    assert_eq!((error.code, error.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas"
    );
    let cause = &error.details.unwrap().causes[0];
    assert_eq!(
        (cause.reason.as_str(), cause.message.as_str(), cause.field.as_str()),
        ("FieldManagerConflict", "conflict with \"one\"", ".spec.replicas")
    );
    let error = chain.apply(deployments, "web", "two", web(5, "nginx:2")).await.unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.replicas\n- .spec.template.spec.containers[name=\"nginx\"].image"
    );
    let forced = chain.force(deployments, "web", "two", web(5, "nginx:1")).await.unwrap();
    assert_eq!((forced.get_i64(&["spec", "replicas"]), forced.generation()), (Some(5), 2));
    assert_eq!(owners(&forced).len(), 2);
    // It gives replicas up: nobody else has them, so the default comes back.
    let mut config = web(5, "nginx:1");
    config["spec"].as_object_mut().unwrap().remove("replicas");
    let given_up = chain.apply(deployments, "web", "two", config).await.unwrap();
    assert_eq!(given_up.get_i64(&["spec", "replicas"]), Some(1));

    // A scale is an update of the Deployment through its subresource.
    let context = chain.manager(Verb::Patch, deployments, "web/scale", "kubectl");
    let patch = json!({"spec": {"replicas": 7}}).to_string();
    chain.object(context, Request::Patch(PatchType::Merge, patch.into())).await.unwrap();
    let scaled = chain.get(deployments, "web").await.unwrap();
    let of_scale = ("kubectl Update scale".to_owned(), json!({"f:spec": {"f:replicas": {}}}));
    assert!(owners(&scaled).contains(&of_scale), "{:?}", owners(&scaled));
    let error = chain.apply(deployments, "web", "one", web(3, "nginx:1")).await.unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 2}});
    let applied = chain.force(deployments, "web/scale", "hpa", scale).await.unwrap();
    assert_eq!((applied.kind(), applied.get_i64(&["spec", "replicas"])), ("Scale", Some(2)));
}

#[tokio::test]
async fn what_is_no_apply_is_told() {
    let chain = Chain::start().await;
    let deployments = &resource::DEPLOYMENTS;
    let check = |error: Status, code: u16, message: &str| {
        assert_eq!((error.code, error.message.as_str()), (code, message));
    };
    let anonymous = chain.context(Verb::Patch, deployments, "web");
    let body = Request::Patch(PatchType::Apply, web(1, "x").to_string().into());
    check(
        chain.object(anonymous, body).await.unwrap_err(),
        422,
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
    );
    let forced = RequestContext { force: true, ..chain.context(Verb::Patch, deployments, "web") };
    check(
        chain.object(forced, Request::Patch(PatchType::Merge, "{}".into())).await.unwrap_err(),
        422,
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
    );
    let unknown = deployment(json!({"replica": 1}));
    check(
        chain.apply(deployments, "web", "a", unknown).await.unwrap_err(),
        500,
        "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema",
    );
    let mut managed = web(1, "x");
    managed["metadata"]["managedFields"] = json!([]);
    check(
        chain.apply(deployments, "web", "a", managed).await.unwrap_err(),
        400,
        "metadata.managedFields must be nil",
    );
    let mut old = web(1, "x");
    old["apiVersion"] = "apps/v1beta1".into();
    check(
        chain.apply(deployments, "web", "a", old).await.unwrap_err(),
        400,
        "Incorrect version specified in apply patch. Specified patch version: apps/v1beta1, expected: apps/v1",
    );
    let status = web(1, "x");
    assert!(chain.apply(deployments, "web/status", "a", status).await.unwrap_err().is_not_found());
    // YAML is taken, too.
    let context = chain.manager(Verb::Patch, &resource::CONFIG_MAPS, "plain", "a");
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: plain\ndata:\n  a: b\n";
    let made = chain.object(context, Request::Patch(PatchType::Apply, yaml.into())).await.unwrap();
    assert_eq!(made.get_str(&["data", "a"]), "b");
    // Who may patch may not yet create.
    let rules = json!([{"verbs": ["patch"], "apiGroups": [""], "resources": ["configmaps"]}]);
    let role = json!({"metadata": {"name": "patcher"}, "rules": rules});
    chain.create(&resource::ROLES, role).await.unwrap();
    let binding = json!({"metadata": {"name": "ann"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "patcher"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}]});
    chain.create(&resource::ROLE_BINDINGS, binding).await.unwrap();
    let ann = chain.with_user("ann", &["system:authenticated"]);
    let config = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"c": "d"}});
    ann.apply(&resource::CONFIG_MAPS, "plain", "ann", config("plain")).await.unwrap();
    let error = ann.apply(&resource::CONFIG_MAPS, "z", "ann", config("z")).await.unwrap_err();
    assert!(error.is_forbidden() && error.message.contains("cannot create"), "{error}");
}

#[tokio::test]
async fn owners_are_kept_by_those_who_do_not_know_of_them_and_reset_on_demand() {
    let chain = Chain::start().await;
    let maps = &resource::CONFIG_MAPS;
    let context = chain.manager(Verb::Create, maps, "", "maker");
    let object = config_map("a", json!({"x": "1"}));
    let made = chain.object(context, Request::Create(object.to_string().into())).await.unwrap();
    let update = async |change: &dyn Fn(&mut Object), by: &str| {
        let mut object = chain.get(maps, "a").await.unwrap();
        change(&mut object);
        let context = chain.manager(Verb::Update, maps, "a", by);
        chain.object(context, Request::Update(object.to_bytes())).await.unwrap()
    };
    let forgetful = |object: &mut Object| {
        object.remove(&["metadata", "managedFields"]);
        object.set(&["data", "y"], "2");
    };
    let updated = update(&forgetful, "other").await;
    assert_eq!(
        owners(&updated),
        [
            ("maker Update".to_owned(), json!({"f:data": {".": {}, "f:x": {}}})),
            ("other Update".to_owned(), json!({"f:data": {"f:y": {}}})),
        ]
    );
    assert_ne!(updated.resource_version(), made.resource_version());
    for reset in [json!([]), json!([{}])] {
        let cleared = update(
            &|object: &mut Object| object.set(&["metadata", "managedFields"], reset.clone()),
            "other",
        )
        .await;
        assert_eq!(owners(&cleared), []);
        // Untracked it stays, until somebody applies.
        let silent = update(&|object: &mut Object| object.set(&["data", "z"], "3"), "other").await;
        assert_eq!(owners(&silent), []);
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}});
        let applied = chain.apply(maps, "a", "me", config).await.unwrap();
        let names: Vec<String> = owners(&applied).into_iter().map(|(who, _)| who).collect();
        assert_eq!(names, ["me Apply", "before-first-apply Update"]);
    }
}

#[tokio::test]
async fn kubectl_takes_over_from_its_own_client_side_apply() {
    let chain = Chain::start().await;
    let maps = &resource::CONFIG_MAPS;
    const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let config = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": value}});
    let mut object = config("1");
    object["metadata"]["annotations"] = json!({LAST: config("1").to_string()});
    let context = chain.manager(Verb::Create, maps, "", "kubectl-client-side-apply");
    chain.object(context, Request::Create(object.to_string().into())).await.unwrap();
    let error = chain.apply(maps, "a", "other", config("2")).await.unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.k"
    );
    let applied = chain.apply(maps, "a", "kubectl", config("2")).await.unwrap();
    assert_eq!(applied.get_str(&["data", "k"]), "2");
    let noted: Value = serde_json::from_str(applied.annotation(LAST).unwrap()).unwrap();
    assert_eq!(noted["data"]["k"], "2");
}

#[tokio::test]
async fn too_many_updaters_become_ancient() {
    let chain = Chain::start().await;
    let maps = &resource::CONFIG_MAPS;
    chain.create(maps, config_map("a", json!({}))).await.unwrap();
    for n in 0..14 {
        let context = chain.manager(Verb::Patch, maps, "a", &format!("m{n:02}"));
        let patch = json!({"data": {format!("k{n:02}"): "v"}}).to_string();
        chain.object(context, Request::Patch(PatchType::Merge, patch.into())).await.unwrap();
    }
    let object = chain.get(maps, "a").await.unwrap();
    let names: Vec<String> = owners(&object).into_iter().map(|(who, _)| who).collect();
    assert_eq!(names.len(), 10, "{names:?}");
    assert!(names.contains(&"ancient-changes Update".to_owned()), "{names:?}");
}
