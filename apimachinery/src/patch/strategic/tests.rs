//! Cases as `strategicpatch`'s own tests have them, on real kinds; applied ones compared with kubectl.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema;

fn pod() -> &'static Struct {
    schema::find("", "v1", "Pod").unwrap()
}

fn deployment() -> &'static Struct {
    schema::find("apps", "v1", "Deployment").unwrap()
}

/// A pod with one container, two variables, a volume and finalizers.
fn base() -> Value {
    json!({
        "metadata": {"name": "a", "finalizers": ["a", "b", "c"]},
        "spec": {
            "containers": [{
                "name": "a", "image": "a",
                "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
            }],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    })
}

fn patched(patch: &Value) -> Result<Value, PatchError> {
    let mut target = base();
    apply(&mut target, patch, pod())?;
    Ok(target)
}

#[test]
fn patches_change_the_object() {
    fn check(patch: &Value, pointer: &str, expected: &Value) {
        let found = patched(patch).unwrap();
        assert_eq!(found.pointer(pointer).unwrap_or(&Value::Null), expected, "{patch}");
    }
    let env = |env: Value| json!({"spec": {"containers": [{"name": "a", "env": env}]}});
    let env_at = "/spec/containers/0/env";
    check(
        &env(json!([{"name": "X", "value": "9"}])),
        env_at,
        &json!([{"name": "X", "value": "9"}, {"name": "Y", "value": "2"}]),
    );
    check(
        &env(json!([{"name": "Z", "value": "9"}])),
        env_at,
        &json!([{"name": "Z", "value": "9"}, {"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]),
    );
    check(
        &env(json!([{"name": "X", "$patch": "delete"}])),
        env_at,
        &json!([{"name": "Y", "value": "2"}]),
    );
    check(
        &env(json!([{"$patch": "replace"}, {"name": "q", "value": "w"}])),
        env_at,
        &json!([{"name": "q", "value": "w"}]),
    );
    check(&env(Value::Null), env_at, &Value::Null);
    check(&env(json!("text")), env_at, &json!("text"));

    // Objects.
    check(
        &json!({"spec": {"$patch": "replace", "hostNetwork": true}}),
        "/spec",
        &json!({"hostNetwork": true}),
    );
    check(&json!({"spec": {"$patch": "delete"}}), "/spec", &json!({}));
    check(
        &json!({"metadata": {"labels": {"a": "b", "c": null}}}),
        "/metadata/labels",
        &json!({"a": "b"}),
    );
    check(
        &json!({"metadata": {"labels": {"$patch": "replace", "a": "b"}}}),
        "/metadata/labels",
        &Value::Null,
    );
    check(
        &json!({"metadata": {"labels": {"$retainKeys": ["a"], "a": "b"}}}),
        "/metadata/labels",
        &json!({"a": "b"}),
    );
    check(&json!({"nope": {"a": 1}}), "/nope", &json!({"a": 1}));

    // Lists of scalars.
    let finalizers = |patch: Value| json!({"metadata": patch});
    let finalizers_at = "/metadata/finalizers";
    check(
        &finalizers(json!({"finalizers": ["z", "b"]})),
        finalizers_at,
        &json!(["z", "a", "b", "c"]),
    );
    check(
        &finalizers(json!({"$deleteFromPrimitiveList/finalizers": ["b"], "finalizers": ["z"]})),
        finalizers_at,
        &json!(["z", "a", "c"]),
    );
    check(
        &finalizers(json!({"$setElementOrder/finalizers": ["c", "z", "a"], "finalizers": ["z"]})),
        finalizers_at,
        &json!(["b", "c", "z", "a"]),
    );
    check(
        &finalizers(json!({"$setElementOrder/finalizers": ["c", "b", "a"]})),
        finalizers_at,
        &json!(["c", "b", "a"]),
    );

    // Lists without a strategy are replaced.
    check(
        &json!({"spec": {"tolerations": [{"$patch": "replace"}, {"key": "a", "effect": null}]}}),
        "/spec/tolerations",
        &json!([{"key": "a"}]),
    );

    // $retainKeys.
    check(
        &json!({"spec": {"volumes": [
            {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}},
        ]}}),
        "/spec/volumes",
        &json!([{"name": "v", "hostPath": {"path": "/x"}}]),
    );
    check(
        &json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}),
        "/spec/volumes",
        &json!([{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]),
    );

    // $setElementOrder on objects.
    check(
        &json!({"spec": {
            "$setElementOrder/containers": [{"name": "z"}, {"name": "a"}],
            "containers": [{"name": "z", "image": "q"}, {"name": "a", "image": "w", "env": null}],
        }}),
        "/spec/containers",
        &json!([{"name": "z", "image": "q"}, {"name": "a", "image": "w"}]),
    );
    check(
        &json!({"spec": {"$setElementOrder/initContainers": [{"name": "a"}]}}),
        "/spec/initContainers",
        &Value::Null,
    );
    // One port key, two protocols: the merge key alone does not tell them apart.
    check(
        &json!({"spec": {"containers": [
            {"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}]},
        ]}}),
        "/spec/containers/0/ports",
        &json!([{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}]),
    );
}

#[test]
fn bad_patches_are_refused_in_kubernetes_words() {
    fn check(patch: &Value, expected: &str) {
        assert_eq!(patched(patch).unwrap_err().to_string(), expected, "{patch}");
    }
    let env = |env: Value| json!({"spec": {"containers": [{"name": "a", "env": env}]}});
    check(
        &env(json!([{"$patch": "delete"}])),
        "map: map[$patch:delete] does not contain declared merge key: name",
    );
    check(
        &env(json!([{"$patch": "merge", "name": "X"}])),
        "merging lists cannot yet be specified in the patch",
    );
    check(
        &env(json!([{"$patch": "frob", "name": "X"}])),
        "unknown patch type: frob in map: map[$patch:frob name:X]",
    );
    check(
        &json!({"spec": {"$patch": "merge", "hostNetwork": true}}),
        "unknown patch type: merge in map: map[$patch:merge hostNetwork:true]",
    );
    check(
        &json!({"spec": {"containers": [{"image": "q"}]}}),
        "map: map[image:q] does not contain declared merge key: name",
    );
    check(
        &json!({"spec": {"containers": ["q"]}}),
        "list element types are not identical: [[map[env:[map[name:X value:1] map[name:Y value:2]] image:a name:a]] [q]]",
    );
    check(
        &json!({"metadata": {"finalizers": ["z", 5]}}),
        "list element types are not identical: [[a b c] [z 5]]",
    );
    check(
        &json!({"metadata": {"$setElementOrder/finalizers": ["c"], "finalizers": ["z"]}}),
        "The order in patch list:\n[z]\n doesn't match $setElementOrder list:\n[c]\n",
    );
    check(
        &json!({"metadata": {"$setElementOrderfinalizers": ["c"]}}),
        "invalid patch format of setElementOrder list",
    );
    check(
        &json!({"metadata": {"$deleteFromPrimitiveListfinalizers": ["c"]}}),
        "invalid patch format of primitive list",
    );
    check(
        &json!({"metadata": {"$setElementOrder/nope": ["c"]}}),
        "unable to find api field in struct ObjectMeta for the json field \"nope\"",
    );
    check(
        &json!({"metadata": {"$setElementOrder/finalizers": "c"}}),
        "expected a []interface {}, but received a string",
    );
    check(
        &json!({"spec": {
            "$setElementOrder/containers": [{"nam": "z"}, {"name": "a"}],
            "containers": [{"name": "a", "image": "w"}],
        }}),
        "map: map[nam:z] does not contain declared merge key: name",
    );
    for retained in [json!(["name"]), json!("name")] {
        check(
            &json!({"spec": {"volumes": [
                {"name": "v", "$retainKeys": retained, "hostPath": {"path": "/x"}},
            ]}}),
            "invalid patch format of retainKeys",
        );
    }
    check(&json!([]), "invalid JSON document");
}

#[test]
fn two_way_patches_are_minimal() {
    fn check(original: &Value, modified: &Value, expected: &Value) {
        let patch = create_two_way(original, modified, pod()).unwrap();
        assert_eq!(patch, *expected, "{original} {modified}");
        let mut found = original.clone();
        apply(&mut found, &patch, pod()).unwrap();
        assert_eq!(found, *modified);
    }
    let containers = |containers: Value| json!({"spec": {"containers": containers}});
    check(&base(), &base(), &json!({}));
    check(
        &containers(json!([{"name": "a", "image": "1"}, {"name": "b"}])),
        &containers(json!([{"name": "a", "image": "2"}, {"name": "b"}])),
        &json!({"spec": {
            "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
            "containers": [{"name": "a", "image": "2"}],
        }}),
    );
    check(
        &containers(json!([{"name": "a"}, {"name": "b"}, {"name": "c"}])),
        &containers(json!([{"name": "d"}, {"name": "c"}, {"name": "a"}])),
        &json!({"spec": {
            "$setElementOrder/containers": [{"name": "d"}, {"name": "c"}, {"name": "a"}],
            "containers": [{"name": "d"}, {"name": "b", "$patch": "delete"}],
        }}),
    );
    // Only the order.
    check(
        &containers(json!([{"name": "a"}, {"name": "b"}])),
        &containers(json!([{"name": "b"}, {"name": "a"}])),
        &json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}),
    );
    // Scalars with a merge strategy.
    check(
        &json!({"metadata": {"finalizers": ["a", "b"]}}),
        &json!({"metadata": {"finalizers": ["c", "b"]}}),
        &json!({"metadata": {
            "$deleteFromPrimitiveList/finalizers": ["a"],
            "$setElementOrder/finalizers": ["c", "b"],
            "finalizers": ["c"],
        }}),
    );
    // Lists without a strategy, members taken out.
    check(
        &json!({"spec": {"tolerations": [{"key": "a"}], "hostNetwork": true}}),
        &json!({"spec": {"tolerations": [{"key": "b"}]}}),
        &json!({"spec": {"tolerations": [{"key": "b"}], "hostNetwork": null}}),
    );
    // $retainKeys of a volume whose source changes.
    check(
        &json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
        &json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}),
        &json!({"spec": {
            "$setElementOrder/volumes": [{"name": "v"}],
            "volumes": [{
                "name": "v", "$retainKeys": ["hostPath", "name"],
                "emptyDir": null, "hostPath": {"path": "/x"},
            }],
        }}),
    );
}

#[test]
fn three_way_patches_are_kubectls() {
    fn check(original: &Value, modified: &Value, current: &Value, expected: &Value) {
        let patch = create_three_way(original, modified, current, deployment()).unwrap();
        assert_eq!(patch, *expected, "{original} {modified} {current}");
    }
    let template =
        |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let manifest = |replicas: i64, image: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "annotations": {}, "labels": {"app": "web"}},
            "spec": {
                "replicas": replicas,
                "template": {"spec": {"containers": [{"name": "nginx", "image": image}]}},
            },
        })
    };
    let mut live = manifest(2, "nginx:1");
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    live["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
    live["status"] = json!({"replicas": 2});

    // Nothing to do.
    check(&manifest(2, "nginx:1"), &manifest(2, "nginx:1"), &live.clone(), &json!({}));
    // A new image.
    check(
        &manifest(2, "nginx:1"),
        &manifest(2, "nginx:2"),
        &live.clone(),
        &json!({"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "nginx"}],
            "containers": [{"name": "nginx", "image": "nginx:2"}],
        }}}}),
    );
    // Scaled by others: set back.
    check(
        &manifest(2, "nginx:1"),
        &manifest(5, "nginx:1"),
        &live,
        &json!({"spec": {"replicas": 5}}),
    );
    // A container taken out of the manifest, one that others injected stays.
    check(
        &template(json!([{"name": "a"}, {"name": "b"}])),
        &template(json!([{"name": "a", "image": "x"}])),
        &template(json!([{"name": "sidecar"}, {"name": "a"}, {"name": "b"}])),
        &json!({"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "a"}],
            "containers": [{"name": "a", "image": "x"}, {"name": "b", "$patch": "delete"}],
        }}}}),
    );
    // A variable taken out.
    check(
        &template(json!([{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y"}]}])),
        &template(json!([{"name": "a", "env": [{"name": "Y"}]}])),
        &template(json!([{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y"}]}])),
        &json!({"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "a"}],
            "containers": [{
                "name": "a",
                "$setElementOrder/env": [{"name": "Y"}],
                "env": [{"name": "X", "$patch": "delete"}],
            }],
        }}}}),
    );
    // Another strategy clears the parameters of the old one.
    let strategy = |strategy: Value| json!({"spec": {"strategy": strategy}});
    check(
        &strategy(json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})),
        &strategy(json!({"type": "Recreate"})),
        &strategy(
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        ),
        &json!({"spec": {"strategy": {
            "$retainKeys": ["type"], "rollingUpdate": null, "type": "Recreate",
        }}}),
    );
    // Created without apply: nothing was applied last.
    let mut found = template(json!([{"name": "a", "image": "1"}]));
    let modified = template(json!([{"name": "a", "image": "2"}]));
    let patch = create_three_way(&Value::Null, &modified, &found, deployment()).unwrap();
    apply(&mut found, &patch, deployment()).unwrap();
    assert_eq!(found, modified);
}

#[test]
fn unknown_members_need_no_patch_while_equal() {
    let crd = |x: i64| json!({"metadata": {"name": "a"}, "spec": {"nope": {"x": x}}});
    assert_eq!(create_two_way(&crd(1), &crd(1), pod()).unwrap(), json!({}));
    let error = create_two_way(&crd(1), &crd(2), pod()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unable to find api field in struct PodSpec for the json field \"nope\""
    );
}

/// Random pods with every kind of list: merged by key, nested, of scalars, replaced, retained.
fn any_pod() -> impl Strategy<Value = Value> {
    let name = || "[a-d]";
    let env = || {
        prop::collection::btree_map(name(), 0..3_i64, 0..4)
            .prop_shuffle_values(|(name, value)| json!({"name": name, "value": value.to_string()}))
    };
    let container = (env(), prop::option::of("[x-z]"), prop::collection::vec("[a-c]", 0..3));
    let containers = prop::collection::btree_map(name(), container, 0..4).prop_shuffle_values(
        |(name, (env, image, args))| {
            let mut item = json!({"name": name, "args": args});
            if !env.is_empty() {
                item["env"] = env.into();
            }
            if let Some(image) = image {
                item["image"] = image.into();
            }
            item
        },
    );
    let volumes = prop::collection::btree_map(name(), any::<bool>(), 0..3).prop_shuffle_values(
        |(name, host)| match host {
            true => json!({"name": name, "hostPath": {"path": "/"}}),
            false => json!({"name": name, "emptyDir": {}}),
        },
    );
    let finalizers = prop::collection::btree_set(name(), 0..4)
        .prop_map(|set| set.into_iter().collect::<Vec<_>>())
        .prop_shuffle();
    let labels = prop::collection::btree_map(name(), "[x-z]", 0..3);
    (containers, volumes, finalizers, labels).prop_map(
        |(containers, volumes, finalizers, labels)| {
            json!({
                "metadata": {"name": "p", "finalizers": finalizers, "labels": labels},
                "spec": {"containers": containers, "volumes": volumes, "hostNetwork": true},
            })
        },
    )
}

/// Turns a strategy for maps into one for shuffled lists.
trait ShuffleValues: Strategy + Sized {
    fn prop_shuffle_values<K, V, T: Clone + std::fmt::Debug>(
        self,
        item: impl Fn((K, V)) -> T,
    ) -> impl Strategy<Value = Vec<T>>
    where
        Self::Value: IntoIterator<Item = (K, V)>,
    {
        self.prop_map(move |map| map.into_iter().map(&item).collect::<Vec<_>>()).prop_shuffle()
    }
}

impl<S: Strategy> ShuffleValues for S {}

proptest! {
    #[test]
    fn a_two_way_patch_yields_the_other(a in any_pod(), b in any_pod()) {
        let patch = create_two_way(&a, &b, pod()).unwrap();
        let mut found = a;
        apply(&mut found, &patch, pod()).unwrap();
        prop_assert_eq!(found, b);
    }

    #[test]
    fn a_three_way_patch_sets_all_of_the_manifest(
        original in any_pod(), modified in any_pod(), current in any_pod(),
    ) {
        let patch = create_three_way(&original, &modified, &current, pod()).unwrap();
        let mut found = current;
        apply(&mut found, &patch, pod()).unwrap();
        // Applied again there is nothing left to set but the order, which Kubernetes repeats.
        let again = create_three_way(&modified, &modified, &found, pod()).unwrap();
        let mut twice = found.clone();
        apply(&mut twice, &again, pod()).unwrap();
        prop_assert_eq!(twice, found);
    }
}
