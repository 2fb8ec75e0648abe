use super::*;

#[tokio::test]
async fn a_new_object_gets_what_the_server_owns() {
    let chain = Chain::start().await;
    let made =
        chain.create(&resource::CONFIG_MAPS, config_map("a", json!({"k": "v"}))).await.unwrap();
    assert_eq!((made.kind(), made.api_version(), made.namespace()), ("ConfigMap", "v1", "default"));
    assert_eq!(made.uid().len(), 36);
    assert!(made.creation_timestamp().is_some() && !made.resource_version().is_empty());
    assert_eq!(chain.get(&resource::CONFIG_MAPS, "a").await.unwrap(), made);
    assert_eq!(
        chain.create(&resource::CONFIG_MAPS, config_map("a", json!({}))).await.unwrap_err().message,
        "configmaps \"a\" already exists"
    );
    let generated = chain
        .create(&resource::CONFIG_MAPS, json!({"metadata": {"generateName": "a-"}}))
        .await
        .unwrap();
    assert_eq!(generated.name().len(), 7);
    let mut versioned = config_map("b", json!({}));
    versioned["metadata"]["resourceVersion"] = "1".into();
    assert_eq!(
        chain.create(&resource::CONFIG_MAPS, versioned).await.unwrap_err().message,
        "resourceVersion should not be set on objects to be created"
    );
    assert_eq!(
        chain
            .create(
                &resource::CONFIG_MAPS,
                json!({"metadata": {"name": "b", "namespace": "other"}})
            )
            .await
            .unwrap_err()
            .message,
        "the namespace of the provided object does not match the namespace sent on the request (other != default)"
    );
}

#[tokio::test]
async fn updates_conflict_and_are_not_written_for_nothing() {
    let chain = Chain::start().await;
    let first =
        chain.create(&resource::CONFIG_MAPS, config_map("a", json!({"k": "1"}))).await.unwrap();
    let same = chain.update(&resource::CONFIG_MAPS, "a", &first).await.unwrap();
    assert_eq!(same.resource_version(), first.resource_version());
    let mut second = first.clone();
    second.set(&["data", "k"], "2");
    let second = chain.update(&resource::CONFIG_MAPS, "a", &second).await.unwrap();
    assert_ne!(second.resource_version(), first.resource_version());
    assert_eq!(
        (second.uid(), second.creation_timestamp()),
        (first.uid(), first.creation_timestamp())
    );
    let mut stale = first.clone();
    stale.set(&["data", "k"], "3");
    let error = chain.update(&resource::CONFIG_MAPS, "a", &stale).await.unwrap_err();
    assert!(error.is_conflict());
    assert_eq!(
        error.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    stale.metadata_mut().remove("resourceVersion");
    chain.update(&resource::CONFIG_MAPS, "a", &stale).await.unwrap();
    stale.metadata_mut().insert("uid".into(), "other".into());
    assert!(chain.update(&resource::CONFIG_MAPS, "a", &stale).await.unwrap_err().is_conflict());
    let error = chain.update(&resource::CONFIG_MAPS, "b", &first).await.unwrap_err();
    assert_eq!(error.message, "the name of the object (a) does not match the name on the URL (b)");
}

#[tokio::test]
async fn patches_of_each_kind_are_applied_and_checked() {
    let chain = Chain::start().await;
    chain
        .create(&resource::CONFIG_MAPS, config_map("a", json!({"k": "1", "l": "2"})))
        .await
        .unwrap();
    let merge = json!({"data": {"k": null, "m": "3"}});
    let merged = chain.patch(&resource::CONFIG_MAPS, "a", PatchType::Merge, merge).await.unwrap();
    assert_eq!(merged.get(&["data"]), Some(&json!({"l": "2", "m": "3"})));
    let json_patch = json!([{"op": "replace", "path": "/data/l", "value": "x"}]);
    chain.patch(&resource::CONFIG_MAPS, "a", PatchType::Json, json_patch).await.unwrap();
    let error = chain
        .patch(
            &resource::CONFIG_MAPS,
            "a",
            PatchType::Json,
            json!([{"op": "remove", "path": "/data/zz"}]),
        )
        .await
        .unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (422, "the server rejected our request due to an error in our request")
    );
    let mut context = chain.context(Verb::Patch, &resource::CONFIG_MAPS, "a");
    context.field_validation = crate::request::FieldValidation::Strict;
    let patch = Request::Patch(PatchType::Strategic, json!({"dta": {"a": "b"}}).to_string().into());
    assert_eq!(
        chain.object(context.clone(), patch.clone()).await.unwrap_err().message,
        " \"\" is invalid: patch: Invalid value: \"map[dta:map[a:b]]\": strict decoding error: unknown field \"dta\""
    );
    context.field_validation = crate::request::FieldValidation::Warn;
    let answer = chain.handler.handle(&context, patch).await.unwrap();
    assert_eq!(answer.warnings, ["unknown field \"dta\""]);
}

#[tokio::test]
async fn concurrent_patches_all_succeed() {
    let chain = Arc::new(Chain::start().await);
    chain.create(&resource::CONFIG_MAPS, config_map("a", json!({}))).await.unwrap();
    let patches = (0..32).map(|n| {
        let chain = chain.clone();
        async move {
            let patch = json!({"data": {format!("k{n}"): "v"}});
            chain.patch(&resource::CONFIG_MAPS, "a", PatchType::Merge, patch).await.unwrap();
        }
    });
    futures::future::join_all(patches).await;
    let object = chain.get(&resource::CONFIG_MAPS, "a").await.unwrap();
    assert_eq!(object.get(&["data"]).unwrap().as_object().unwrap().len(), 32);
}

#[tokio::test]
async fn bodies_are_checked_before_anything_is_stored() {
    let chain = Chain::start().await;
    let check = async |body: &str, expected: &str| {
        let mut context = chain.context(Verb::Create, &resource::DEPLOYMENTS, "");
        context.field_validation = crate::request::FieldValidation::Strict;
        let error =
            chain.object(context, Request::Create(body.to_owned().into())).await.unwrap_err();
        assert_eq!(error.message, expected);
    };
    check(
        r#"{"metadata": {"name": "a"}, "spec": {"replica": 1, "replicas": 1, "replicas": 2}}"#,
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: duplicate field \"spec.replicas\", unknown field \"spec.replica\"",
    )
    .await;
    check(
        r#"{"metadata": {"name": "a"}, "spec": {"replicas": "x"}}"#,
        "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
    )
    .await;
    check(
        r#"{"apiVersion": "v1", "kind": "Deployment"}"#,
        "no kind \"Deployment\" is registered for version \"v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
    )
    .await;
    check(
        r#"{"apiVersion": "v1", "kind": "Pod"}"#,
        "the API version in the data (v1) does not match the expected API version (apps/v1)",
    )
    .await;
    let huge = format!("{{\"metadata\": {{\"name\": \"{}\"}}}}", "a".repeat(MAX_BODY));
    check(&huge, "Request entity too large: limit is 3145728").await;
    assert!(chain.keys("/registry/deployments/").await.is_empty());
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let chain = Chain::start().await;
    let revision = chain.storage.current_revision().await.unwrap();
    let dry = |verb, name: &str| RequestContext {
        dry_run: true,
        ..chain.context(verb, &resource::SERVICES, name)
    };
    let service =
        json!({"metadata": {"name": "a"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let made = chain
        .object(dry(Verb::Create, ""), Request::Create(service.to_string().into()))
        .await
        .unwrap();
    assert!(!made.get_str(&["spec", "clusterIP"]).is_empty());
    let options = DeleteOptions::default();
    chain.object(dry(Verb::Delete, "kubernetes"), Request::Delete(options)).await.unwrap();
    assert_eq!(chain.storage.current_revision().await.unwrap(), revision);
}

#[tokio::test]
async fn services_hold_their_claims_in_their_own_transaction() {
    let chain = Chain::start().await;
    let service = |name: &str, kind: &str, node_port: u16| json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80, "nodePort": node_port}]}});
    let made = chain.create(&resource::SERVICES, service("a", "NodePort", 30080)).await.unwrap();
    let ip = made.get_str(&["spec", "clusterIP"]).to_owned();
    let claims = chain.keys("/registry/ranges/").await;
    assert!(claims.contains(&format!("/registry/ranges/serviceips/{ip}")));
    assert!(claims.contains(&"/registry/ranges/servicenodeports/30080".to_owned()));
    assert_eq!(
        chain
            .create(&resource::SERVICES, service("b", "NodePort", 30080))
            .await
            .unwrap_err()
            .message,
        "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
    );
    // A change of type gives the port back, a deletion everything.
    let to_cluster_ip =
        json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": null}]}});
    chain.patch(&resource::SERVICES, "a", PatchType::Merge, to_cluster_ip).await.unwrap();
    chain.create(&resource::SERVICES, service("b", "NodePort", 30080)).await.unwrap();
    for name in ["a", "b"] {
        chain.delete(&resource::SERVICES, name, DeleteOptions::default()).await.unwrap();
    }
    assert_eq!(chain.keys("/registry/ranges/").await, ["/registry/ranges/serviceips/10.96.0.1"]);
    chain.create(&resource::SERVICES, service("c", "NodePort", 30080)).await.unwrap();
}

#[tokio::test]
async fn a_pod_is_bound_and_scaled_workloads_keep_their_rest() {
    let chain = Chain::start().await;
    chain.create(&resource::PODS, pod("web")).await.unwrap();
    let binding =
        json!({"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "node-1"}});
    let context = chain.context(Verb::Create, &resource::PODS, "web/binding");
    let bind = || Request::Create(binding.to_string().into());
    let status = chain.object(context.clone(), bind()).await.unwrap();
    assert_eq!(status.get_str(&["status"]), "Success");
    let bound = chain.get(&resource::PODS, "web").await.unwrap();
    assert_eq!(bound.get_str(&["spec", "nodeName"]), "node-1");
    assert!(chain.object(context, bind()).await.unwrap_err().is_conflict());

    let labels = json!({"app": "web"});
    let deployment = json!({"metadata": {"name": "web"}, "spec": {"replicas": 1, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}}});
    chain.create(&resource::DEPLOYMENTS, deployment).await.unwrap();
    let patch = json!({"spec": {"replicas": 5}});
    let scale =
        chain.patch(&resource::DEPLOYMENTS, "web/scale", PatchType::Merge, patch).await.unwrap();
    assert_eq!((scale.kind(), scale.get_i64(&["spec", "replicas"])), ("Scale", Some(5)));
    let deployment = chain.get(&resource::DEPLOYMENTS, "web").await.unwrap();
    assert_eq!((deployment.get_i64(&["spec", "replicas"]), deployment.generation()), (Some(5), 2));
}

#[tokio::test]
async fn only_the_allowed_may() {
    let chain = Chain::start().await;
    let ann = chain.with_user("ann", &["system:authenticated"]);
    assert_eq!(
        ann.list(&resource::PODS, ListOptions::default()).await.unwrap_err().message,
        "pods is forbidden: User \"ann\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    assert_eq!(
        ann.get(&resource::DEPLOYMENTS, "x/scale").await.unwrap_err().message,
        "deployments.apps \"x\" is forbidden: User \"ann\" cannot get resource \"deployments/scale\" in API group \"apps\" in the namespace \"default\""
    );
    let binding = json!({"metadata": {"name": "ann"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}]});
    chain.create(&resource::ROLE_BINDINGS, binding).await.unwrap();
    // At once, without waiting for anything.
    ann.list(&resource::PODS, ListOptions::default()).await.unwrap();
    assert!(ann.list(&resource::SECRETS, ListOptions::default()).await.unwrap_err().is_forbidden());
    let node = chain.with_user("system:node:node-1", &["system:nodes"]);
    assert!(node.list(&resource::PODS, ListOptions::default()).await.unwrap_err().is_forbidden());
    let own =
        ListOptions { field_selector: "spec.nodeName=node-1".into(), ..ListOptions::default() };
    node.list(&resource::PODS, own).await.unwrap();
    // Who may write roles still grants no more than they hold.
    let role = |verbs: Value| json!({"metadata": {"name": "r"}, "rules": [{"verbs": verbs, "apiGroups": ["", "rbac.authorization.k8s.io"], "resources": ["secrets", "roles"]}]});
    let admin = json!({"metadata": {"name": "bob"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}]});
    chain.create(&resource::ROLE_BINDINGS, admin).await.unwrap();
    let bob = chain.with_user("bob", &["system:authenticated"]);
    let error = bob.create(&resource::ROLES, role(json!(["*"]))).await.unwrap_err();
    assert!(error.message.starts_with("roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"bob\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"]"), "{error}");
    let cluster_admin = json!({"metadata": {"name": "x"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}]});
    assert!(bob.create(&resource::ROLE_BINDINGS, cluster_admin).await.unwrap_err().is_forbidden());
    let view = json!({"metadata": {"name": "x"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}]});
    bob.create(&resource::ROLE_BINDINGS, view).await.unwrap();
}

#[tokio::test]
async fn a_label_or_an_aggregation_grants_no_more_than_its_writer_holds() {
    let chain = Chain::start().await;
    let group = json!(["rbac.authorization.k8s.io"]);
    let maker = json!({"metadata": {"name": "maker"}, "rules": [
        {"verbs": ["*"], "apiGroups": group, "resources": ["clusterroles"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
    // Without `escalate`, which `*` would be.
    let mut maker = maker;
    maker["rules"][0]["verbs"] = json!(["create", "get", "patch", "update"]);
    chain.create(&resource::CLUSTER_ROLES, maker).await.unwrap();
    let binding = json!({"metadata": {"name": "maker"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "maker"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}]});
    chain.create(&resource::CLUSTER_ROLE_BINDINGS, binding).await.unwrap();
    let secrets = json!({"metadata": {"name": "secrets"},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]});
    chain.create(&resource::CLUSTER_ROLES, secrets).await.unwrap();
    let bob = chain.with_user("bob", &["system:authenticated"]);

    // A label could put the rules into `view`.
    let label =
        json!({"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}});
    let patched = bob.patch(&resource::CLUSTER_ROLES, "secrets", PatchType::Merge, label.clone());
    assert_eq!(
        patched.await.unwrap_err().message,
        "clusterroles.rbac.authorization.k8s.io \"secrets\" is forbidden: user \"bob\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"
    );
    let finalizer = json!({"metadata": {"finalizers": ["example.com/wait"]}});
    bob.patch(&resource::CLUSTER_ROLES, "secrets", PatchType::Merge, finalizer).await.unwrap();
    // What one holds one may hand on.
    let pods = json!({"metadata": {"name": "pods"},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
    bob.create(&resource::CLUSTER_ROLES, pods).await.unwrap();
    bob.patch(&resource::CLUSTER_ROLES, "pods", PatchType::Merge, label).await.unwrap();

    let gathers = |name: &str| {
        json!({"metadata": {"name": name},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}})
    };
    let refused = bob.create(&resource::CLUSTER_ROLES, gathers("all")).await.unwrap_err();
    assert_eq!(
        refused.message,
        "clusterroles.rbac.authorization.k8s.io \"all\" is forbidden: must have cluster-admin privileges to use the aggregationRule"
    );
    chain.create(&resource::CLUSTER_ROLES, gathers("all")).await.unwrap();
    // Nor may one that gathers be made one that does not.
    let bare = json!({"aggregationRule": null});
    let patched = bob.patch(&resource::CLUSTER_ROLES, "all", PatchType::Merge, bare).await;
    assert!(patched.unwrap_err().message.ends_with("to use the aggregationRule"));
}
