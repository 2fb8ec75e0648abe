//! Tests of the table, the check and pruning.

use serde_json::{Value, json};

use super::*;

fn schema(group: &str, kind: &str) -> &'static Struct {
    find(group, "v1", kind).unwrap()
}

fn problems(group: &str, kind: &str, value: &Value) -> Vec<String> {
    check(value, schema(group, kind)).iter().map(ToString::to_string).collect()
}

#[test]
fn fields_are_sorted_and_kinds_too() {
    fn walk(strukt: &Struct, seen: &mut Vec<*const Struct>) {
        if seen.contains(&std::ptr::from_ref(strukt)) {
            return;
        }
        seen.push(strukt);
        assert!(strukt.fields.is_sorted_by(|a, b| a.name < b.name), "{strukt:?}");
        for field in strukt.fields.iter() {
            let mut shape = &field.shape;
            while let Shape::List(item) | Shape::Map(item) = shape {
                shape = item;
            }
            if let Shape::Struct(strukt) = shape {
                walk(strukt, seen);
            }
        }
    }
    let kinds = &table::kinds::KINDS;
    assert!(kinds.is_sorted_by(|a, b| (a.0, a.1, a.2) < (b.0, b.1, b.2)));
    let mut seen = Vec::new();
    kinds.iter().for_each(|kind| walk(kind.3, &mut seen));
    assert!(seen.len() > 400, "{}", seen.len());
}

#[test]
fn merge_rules_are_kubernetes() {
    fn check(kind: (&str, &str), path: &[&str], keys: &[&str], strategy: &str) {
        let mut strukt = schema(kind.0, kind.1);
        let (last, way) = path.split_last().unwrap();
        for name in way {
            let mut shape = &strukt.field(name).unwrap().shape;
            while let Shape::List(item) | Shape::Map(item) = shape {
                shape = item;
            }
            strukt = shape.as_struct().unwrap();
        }
        let field = strukt.field(last).unwrap();
        let found: Vec<&str> = match &field.list {
            ListType::Map(keys) => keys.iter().collect(),
            ListType::Set => vec!["*"],
            ListType::Atomic => vec!["!"],
            ListType::Default => vec![],
            ListType::Granular => vec!["."],
        };
        assert_eq!(found, keys, "{path:?}");
        let retain = if field.patch.retain_keys { "+retainKeys" } else { "" };
        let patch = format!("{:?}{retain}({})", field.patch.strategy, field.patch.merge_key);
        assert_eq!(patch, strategy, "{path:?}");
    }
    let pod = ("", "Pod");
    check(pod, &["spec", "containers"], &["name"], "Merge(name)");
    check(
        pod,
        &["spec", "containers", "ports"],
        &["containerPort", "protocol"],
        "Merge(containerPort)",
    );
    check(pod, &["spec", "containers", "env"], &["name"], "Merge(name)");
    check(pod, &["spec", "containers", "command"], &[], "Default()");
    check(pod, &["spec", "volumes"], &["name"], "Merge+retainKeys(name)");
    check(pod, &["spec", "tolerations"], &[], "Default()");
    check(pod, &["spec", "nodeSelector"], &["!"], "Default()");
    check(pod, &["status", "hostIPs"], &["!"], "Merge(ip)");
    check(pod, &["status", "podIPs"], &["ip"], "Merge(ip)");
    check(pod, &["metadata", "finalizers"], &["*"], "Merge()");
    check(pod, &["metadata", "ownerReferences"], &["uid"], "Merge(uid)");
    check(("", "Service"), &["spec", "ports"], &["port", "protocol"], "Merge(port)");
    check(("", "Node"), &["spec", "podCIDRs"], &["*"], "Merge()");
    check(("apps", "Deployment"), &["spec", "strategy"], &[], "Default+retainKeys()");
    check(("apps", "Deployment"), &["status", "conditions"], &["type"], "Merge(type)");
    check(("batch", "Job"), &["status", "conditions"], &["!"], "Merge(type)");
    check(("policy", "PodDisruptionBudget"), &["spec", "selector"], &[], "Replace()");
    check(("", "PersistentVolume"), &["spec", "claimRef"], &["."], "Default()");
    check(
        ("certificates.k8s.io", "CertificateSigningRequest"),
        &["status", "conditions"],
        &["type"],
        "Default()",
    );
}

#[test]
fn every_resource_has_a_schema() {
    // Options of requests that stream or are carried on are query parameters, not bodies.
    let is_options = |kind: &str| kind.ends_with("Options");
    // Of our own kinds the scheduler makes the objects, and nobody sends them.
    const OWN_GROUP: &str = "kube-mini.dev";
    for info in crate::resource::RESOURCES {
        assert!(for_kind(info).is_some(), "{}", info.resource);
        let with_schema = |sub: &&crate::resource::SubresourceInfo| {
            !is_options(sub.kind) && sub.group != OWN_GROUP
        };
        for sub in info.subresources.iter().filter(with_schema) {
            assert!(
                find(sub.group, sub.version, sub.kind).is_some(),
                "{}/{}",
                info.resource,
                sub.name
            );
        }
    }
}

#[test]
fn unknown_fields_are_named_by_their_path() {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "zzz": 1,
        "metadata": {"name": "a", "labels": {"x": "y"}, "lables": {}},
        "spec": {"containers": [{"name": "a"}, {"name": "b", "imagePullPolice": "Always"}]},
    });
    assert_eq!(
        problems("", "Pod", &pod),
        [
            r#"unknown field "metadata.lables""#,
            r#"unknown field "spec.containers[1].imagePullPolice""#,
            r#"unknown field "zzz""#,
        ]
    );
}

#[test]
fn wrong_types_speak_go() {
    fn check(group: &str, kind: &str, value: &Value, expected: &str) {
        assert_eq!(problems(group, kind, value), [expected], "{value}");
    }
    let deployment = |spec: Value| json!({"spec": spec});
    let container = |field: Value| json!({"spec": {"template": {"spec": {"containers": [field]}}}});
    for (value, expected) in [
        (
            deployment(json!({"replicas": "3"})),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            deployment(json!({"replicas": 1.5})),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            deployment(json!({"replicas": 3_000_000_000_i64})),
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            deployment(json!([])),
            "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
        (
            container(json!({"env": [{"name": "a", "value": 1}]})),
            "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
        ),
        (
            container(json!({"imagePullPolicy": true})),
            "json: cannot unmarshal bool into Go struct field Container.spec.template.spec.containers.imagePullPolicy of type v1.PullPolicy",
        ),
        (
            container(json!({"args": "x"})),
            "json: cannot unmarshal string into Go struct field Container.spec.template.spec.containers.args of type []string",
        ),
        (
            container(json!("x")),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.template.spec.containers of type v1.Container",
        ),
        (
            container(json!({"ports": {}})),
            "json: cannot unmarshal object into Go struct field Container.spec.template.spec.containers.ports of type []v1.ContainerPort",
        ),
        (
            container(json!({"resources": {"limits": []}})),
            "json: cannot unmarshal array into Go struct field ResourceRequirements.spec.template.spec.containers.resources.limits of type v1.ResourceList",
        ),
        (
            container(json!({"resources": {"limits": {"cpu": "a"}}})),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            container(json!({"livenessProbe": {"httpGet": {"port": true}}})),
            "json: cannot unmarshal bool into Go struct field HTTPGetAction.spec.template.spec.containers.livenessProbe.httpGet.port of type int32",
        ),
        (
            json!({"metadata": {"creationTimestamp": "yesterday"}}),
            r#"parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006""#,
        ),
        (
            json!({"metadata": {"creationTimestamp": "2024-13-01T00:00:00Z"}}),
            r#"parsing time "2024-13-01T00:00:00Z": month out of range"#,
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (json!([]), "json: cannot unmarshal array into Go value of type v1.Deployment"),
    ] {
        check("apps", "Deployment", &value, expected);
    }
    check(
        "",
        "ConfigMap",
        &json!({"data": {"a": 1}}),
        "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
    );
    for (text, offset) in [
        ("?", 0),
        ("a", 0),
        ("aGVsb", 4),
        ("aGVsbG8", 4),
        ("aGVsbG8=x", 8),
        ("aGV=bG8=", 4),
        ("aGVs!G8=", 4),
    ] {
        let message = format!("illegal base64 data at input byte {offset}");
        check("", "Secret", &json!({"data": {"a": text}}), &message);
    }
    assert_eq!(problems("", "Secret", &json!({"data": {"a": "aGVs\nbG8="}})), [""; 0]);
    for (text, message) in [
        ("2024-02-30T00:00:00Z", "day out of range"),
        ("2024-02-20T00:00:00ZZ", r#"extra text: "Z""#),
    ] {
        let message = format!("parsing time \"{text}\": {message}");
        check("", "Pod", &json!({"metadata": {"creationTimestamp": text}}), &message);
    }
    for (text, rest, element) in [
        ("2024-02-20 00:00:00Z", " 00:00:00Z", "T"),
        ("2024-02-20T00:00:00", "", "Z07:00"),
        ("2024-02-20T00:00:00.Z", ".Z", "Z07:00"),
    ] {
        let message = format!(
            "parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{rest}\" as \"{element}\""
        );
        check("", "Pod", &json!({"metadata": {"creationTimestamp": text}}), &message);
    }
    check(
        "coordination.k8s.io",
        "Lease",
        &json!({"spec": {"renewTime": "2024-02-20T00:00:00.123Z"}}),
        r#"parsing time "2024-02-20T00:00:00.123Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse ".123Z" as ".000000""#,
    );
    check(
        "",
        "Pod",
        &json!({"metadata": {"creationTimestamp": 5}}),
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
    );
}

#[test]
fn good_objects_have_no_problems() {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "a", "creationTimestamp": null, "managedFields": [{"fieldsV1": {"f:a": {}}}]},
        "spec": {
            "containers": [{
                "name": "a", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
                "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 3},
            }],
            "nodeSelector": null,
        },
        "status": {"startTime": "2024-02-29T10:00:00Z"},
    });
    assert_eq!(problems("", "Pod", &pod), [""; 0]);
}

#[test]
fn pruning_drops_the_unknown_only() {
    let mut value = json!({
        "metadata": {"name": "a", "x": 1, "annotations": {"any": "thing"}},
        "spec": {"containers": [{"name": "a", "x": 1, "env": [{"name": "n", "y": {}}]}], "x": []},
        "x": 1,
    });
    prune(&mut value, schema("", "Pod"));
    assert_eq!(
        value,
        json!({
            "metadata": {"name": "a", "annotations": {"any": "thing"}},
            "spec": {"containers": [{"name": "a", "env": [{"name": "n"}]}]},
        })
    );
}
