use serde_json::{Value, json};

use super::*;
use crate::request::UserInfo;

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

struct Case {
    user: &'static str,
    info: &'static ResourceInfo,
    name: &'static str,
    subresource: &'static str,
    operation: Operation,
    facts: Facts,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            user: "ann",
            info: &resource::PODS,
            name: "",
            subresource: "",
            operation: Operation::Create,
            facts: Facts {
                namespace: Some(Arc::new(object(json!({"metadata": {"name": "default"}})))),
                service_account: Some(Arc::new(object(json!({"metadata": {"name": "default"}})))),
                random_suffix: "abcde".into(),
                priority_classes: vec![Arc::new(object(
                    json!({"metadata": {"name": "high"}, "value": 1000}),
                ))],
                ingress_classes: vec![],
            },
        }
    }
}

impl Case {
    fn run(&self, new: Value, old: Option<Value>) -> Result<Object, String> {
        let context = RequestContext {
            user: Arc::new(UserInfo {
                name: self.user.into(),
                groups: vec!["system:nodes".into()],
                ..UserInfo::default()
            }),
            name: self.name.into(),
            subresource: self.subresource.into(),
            namespace: if self.info.namespaced { "default".into() } else { String::new() },
            ..RequestContext::new(Verb::Create, self.info)
        };
        let mut new = object(new);
        let old = old.map(object);
        let mut review = Review {
            context: &context,
            operation: self.operation,
            object: &mut new,
            old: old.as_ref(),
            facts: &self.facts,
        };
        admit(&mut review).map(|()| new).map_err(|status| status.message)
    }
}

#[test]
fn a_pod_gets_account_priority_and_tolerations() {
    let pod = Case::default()
        .run(json!({"metadata": {"name": "a"}, "spec": {"containers": []}}), None)
        .unwrap();
    assert_eq!(pod.get_str(&["spec", "serviceAccountName"]), "default");
    assert_eq!(pod.get_list(&["spec", "volumes"]).len(), 0, "no container needs a token");
    assert_eq!(pod.get_i64(&["spec", "priority"]), Some(0));
    assert_eq!(pod.get_list(&["spec", "tolerations"]).len(), 2);
    let pod = Case::default()
        .run(
            json!({"spec": {"priorityClassName": "high", "tolerations": [{"operator": "Exists"}]}}),
            None,
        )
        .unwrap();
    assert_eq!(pod.get_i64(&["spec", "priority"]), Some(1000));
    assert_eq!(pod.get_list(&["spec", "tolerations"]).len(), 1);
}

#[test]
fn a_pods_containers_get_their_accounts_token() {
    let spec = json!({"containers": [{"name": "c"}]});
    let check = |account: Value, spec: &Value, expected: &[&str]| {
        let account = Some(Arc::new(object(account)));
        let facts = Facts { service_account: account, ..Case::default().facts };
        let pod = Case { facts, ..Case::default() }.run(json!({"spec": spec}), None).unwrap();
        let volumes = pod.get_list(&["spec", "volumes"]);
        let names: Vec<&str> = volumes.iter().map(|v| v["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected);
        pod
    };
    let secrets = json!([{"name": "pull"}]);
    let account = json!({"metadata": {"name": "default"}, "imagePullSecrets": secrets});
    let pod = check(account, &spec, &["kube-api-access-abcde"]);
    assert_eq!(pod.get(&["spec", "imagePullSecrets"]), Some(&secrets));
    check(json!({"automountServiceAccountToken": false}), &spec, &[]);
    let mut own = spec.clone();
    own["automountServiceAccountToken"] = true.into();
    check(json!({"automountServiceAccountToken": false}), &own, &["kube-api-access-abcde"]);
    // A mirror pod has no account, and may not make one up.
    let mirror = |spec: Value| {
        let annotations = json!({"kubernetes.io/config.mirror": "x"});
        let pod = json!({"metadata": {"name": "m", "annotations": annotations}, "spec": spec});
        Case::default().run(pod, None).map(|pod| pod.get_list(&["spec", "volumes"]).len())
    };
    let refused = |why: &str| Err(format!("pods \"m\" is forbidden: a mirror pod may not {why}"));
    assert_eq!(mirror(spec), Ok(0));
    assert_eq!(mirror(json!({"serviceAccountName": "a"})), refused("reference service accounts"));
    let token = json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}});
    assert_eq!(
        mirror(json!({"volumes": [token]})),
        refused("use ServiceAccountToken volume projections")
    );
}

#[test]
fn refusals_are_worded_as_kubernetes_words_them() {
    let check = |case: Case, new: Value, old: Option<Value>, expected: &str| {
        assert_eq!(case.run(new, old).map(|_| ()).unwrap_err(), expected);
    };
    check(
        Case { facts: Facts::default(), ..Case::default() },
        json!({"metadata": {"name": "a"}}),
        None,
        "namespaces \"default\" not found",
    );
    let terminating = Facts {
        namespace: Some(Arc::new(object(json!({"status": {"phase": "Terminating"}})))),
        ..Facts::default()
    };
    check(
        Case { facts: terminating, ..Case::default() },
        json!({"metadata": {"name": "a"}}),
        None,
        "pods \"a\" is forbidden: unable to create new content in namespace default because it is being terminated",
    );
    check(
        Case { facts: Facts { service_account: None, ..Case::default().facts }, ..Case::default() },
        json!({"metadata": {"generateName": "a-"}, "spec": {"serviceAccountName": "x"}}),
        None,
        "pods \"a-\" is forbidden: error looking up service account default/x: serviceaccount \"x\" not found",
    );
    check(
        Case::default(),
        json!({"metadata": {"name": "a"}, "spec": {"priorityClassName": "low"}}),
        None,
        "pods \"a\" is forbidden: no PriorityClass with name low was found",
    );
    check(
        Case::default(),
        json!({"metadata": {"name": "a"}, "spec": {"priorityClassName": "high", "priority": 5}}),
        None,
        "pods \"a\" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name",
    );
    check(
        Case {
            info: &resource::NAMESPACES,
            name: "default",
            operation: Operation::Delete,
            ..Case::default()
        },
        json!({"metadata": {"name": "default"}}),
        None,
        "namespaces \"default\" is forbidden: this namespace may not be deleted",
    );
    let node = |name, operation| Case {
        user: "system:node:node-1",
        info: &resource::NODES,
        name,
        operation,
        ..Case::default()
    };
    check(
        node("node-2", Operation::Update),
        json!({"metadata": {"name": "node-2"}}),
        Some(json!({"metadata": {"name": "node-2"}})),
        "nodes \"node-2\" is forbidden: node \"node-1\" is not allowed to modify node \"node-2\"",
    );
    check(
        node("node-1", Operation::Update),
        json!({"metadata": {"name": "node-1", "labels": {"node-role.kubernetes.io/x": ""}}}),
        Some(json!({"metadata": {"name": "node-1"}})),
        "nodes \"node-1\" is forbidden: node \"node-1\" is not allowed to modify labels: node-role.kubernetes.io/x",
    );
    check(
        Case {
            user: "system:node:node-1",
            name: "a",
            subresource: "status",
            operation: Operation::Update,
            ..Case::default()
        },
        json!({"spec": {"nodeName": "node-1"}}),
        Some(json!({"spec": {"nodeName": "node-2"}})),
        "pods \"a\" is forbidden: node \"node-1\" can only update pod status for pods with spec.nodeName set to itself",
    );
    check(
        Case { user: "system:node:node-1", ..Case::default() },
        json!({"metadata": {"name": "a"}, "spec": {"nodeName": "node-1"}}),
        None,
        "pods \"a\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation, node \"node-1\" can only create mirror pods",
    );
    check(
        Case {
            user: "system:node:node-1",
            info: &resource::LEASES,
            name: "node-2",
            operation: Operation::Update,
            ..Case::default()
        },
        json!({}),
        Some(json!({})),
        "leases.coordination.k8s.io \"node-2\" is forbidden: can only access leases in the \"kube-node-lease\" system namespace",
    );
}

#[test]
fn an_ingress_without_a_class_gets_the_default_one() {
    let class = |name: &str, at: &str, default: &str| {
        let annotations = json!({"ingressclass.kubernetes.io/is-default-class": default});
        Arc::new(object(
            json!({"metadata": {"name": name, "creationTimestamp": at, "annotations": annotations}}),
        ))
    };
    let check = |classes: Vec<Arc<Object>>, ingress: Value, expected: &str| {
        let mut case = Case { info: &resource::INGRESSES, ..Case::default() };
        case.facts.ingress_classes = classes;
        let admitted = case.run(ingress, None).unwrap();
        assert_eq!(admitted.get_str(&["spec", "ingressClassName"]), expected);
    };
    let (old, young) = ("2026-05-01T12:00:00Z", "2026-05-01T12:00:01Z");
    let bare = json!({"metadata": {"name": "web"}, "spec": {}});
    check(vec![class("a", old, "true")], bare.clone(), "a");
    check(vec![class("a", old, "false")], bare.clone(), "");
    check(vec![class("a", old, "true"), class("b", young, "true")], bare.clone(), "b");
    check(vec![class("b", old, "true"), class("a", old, "true")], bare, "a");
    let own = json!({"metadata": {"name": "web"}, "spec": {"ingressClassName": "nginx"}});
    check(vec![class("a", old, "true")], own, "nginx");
    let annotated = json!({"metadata": {"name": "web", "annotations": {"kubernetes.io/ingress.class": "x"}}, "spec": {}});
    check(vec![class("a", old, "true")], annotated, "");
}
