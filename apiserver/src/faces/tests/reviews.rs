//! Reviews: the authorizers' answers as documents.

use super::*;

const ROLE: &str = r#"{"metadata": {"name": "reader"}, "rules": [
    {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]}"#;
const BINDING: &str = r#"{"metadata": {"name": "jane-reads"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
    "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"}]}"#;

const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";

/// A server on which jane may read the pods of `default`.
async fn running() -> Running {
    let running = Running::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    for (resource, body) in [("roles", ROLE), ("rolebindings", BINDING)] {
        let (code, answer) = running.json("POST", &format!("{rbac}/{resource}"), &[], body).await;
        assert_eq!(code, 201, "{answer}");
    }
    running
}

const JANE: &[(&str, &str)] =
    &[("impersonate-user", "jane"), ("impersonate-group", "system:authenticated")];

#[tokio::test]
async fn the_user_is_told_who_they_are() {
    let running = running().await;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (code, review) = running.json("POST", path, JANE, "{}").await;
    let expected = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {}, "status": {"userInfo": {
            "username": "jane", "groups": ["system:authenticated"]}}});
    assert_eq!((code, &review["status"]), (201, &expected["status"]));
    assert_eq!(review["kind"], expected["kind"]);
    running.shutdown.cancel();
}

#[tokio::test]
async fn access_is_what_the_authorizers_say() {
    let running = running().await;
    let ask = async |user: &[(&str, &str)], resource: &str, body: Value| {
        let path = format!("{AUTHORIZATION}/{resource}");
        let (code, review) = running.json("POST", &path, user, &body.to_string()).await;
        assert_eq!(code, 201, "{review}");
        review["status"].clone()
    };
    let pods = |verb: &str, namespace: &str| json!({"resourceAttributes": {"verb": verb, "resource": "pods", "namespace": namespace}});
    let spec = |spec: Value| json!({"spec": spec});
    let because =
        "RBAC: allowed by RoleBinding \"jane-reads/default\" of Role \"reader\" to User \"jane\"";
    let yes = json!({"allowed": true, "reason": because});
    let no = json!({"allowed": false});

    let own = "selfsubjectaccessreviews";
    assert_eq!(ask(JANE, own, spec(pods("get", "default"))).await, yes);
    assert_eq!(ask(JANE, own, spec(pods("delete", "default"))).await, no);
    assert_eq!(ask(JANE, own, spec(pods("get", "kube-system"))).await, no);
    let path = spec(json!({"nonResourceAttributes": {"verb": "get", "path": "/version"}}));
    let version = ask(JANE, own, path).await;
    assert_eq!(version["allowed"], true);
    assert_eq!(ask(&[], own, spec(pods("get", "default"))).await, json!({"allowed": true}));

    let mut other = pods("get", "default");
    other["user"] = "jane".into();
    assert_eq!(ask(&[], "subjectaccessreviews", spec(other.clone())).await, yes);
    let local = "namespaces/default/localsubjectaccessreviews";
    assert_eq!(ask(&[], local, spec(other)).await, yes);
    let mut nobody = pods("get", "default");
    nobody["groups"] = json!(["strangers"]);
    assert_eq!(ask(&[], "subjectaccessreviews", spec(nobody)).await, no);

    let rules = ask(JANE, "selfsubjectrulesreviews", spec(json!({"namespace": "default"}))).await;
    let held = rules["resourceRules"].as_array().unwrap();
    let reading = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]});
    assert!(held.contains(&reading), "{rules}");
    assert_eq!(rules["incomplete"], false);
    running.shutdown.cancel();
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let running = running().await;
    let check =
        async |user: &[(&str, &str)], resource: &str, body: Value, expected: (u16, &str)| {
            let path = format!("{AUTHORIZATION}/{resource}");
            let (code, answer) = running.json("POST", &path, user, &body.to_string()).await;
            assert_eq!((code, answer["message"].as_str().unwrap_or_default()), expected);
        };
    let neither = "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes: Invalid value: \
                   null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
    check(&[], "selfsubjectaccessreviews", json!({"spec": {}}), (422, neither)).await;
    let nobody = "SubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": at least one of \
                  user or group must be specified";
    let asked = json!({"spec": {"resourceAttributes": {"verb": "get"}}});
    check(&[], "subjectaccessreviews", asked.clone(), (422, nobody)).await;
    let forbidden = "subjectaccessreviews.authorization.k8s.io is forbidden: User \"jane\" cannot create resource \
                     \"subjectaccessreviews\" in API group \"authorization.k8s.io\" at the cluster scope";
    check(JANE, "subjectaccessreviews", asked, (403, forbidden)).await;
    let rules = json!({"spec": {}});
    check(&[], "selfsubjectrulesreviews", rules, (400, "no namespace on request")).await;
    running.shutdown.cancel();
}
