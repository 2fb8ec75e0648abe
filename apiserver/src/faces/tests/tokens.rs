//! Tokens: asked for, used, and dead with what they were bound to.

use std::sync::Arc;

use axum::body::Body;
use component_base::transport::{ConnectionInfo, PeerIdentity};
use http::Request;
use tower::ServiceExt;

use super::*;

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const PODS: &str = "/api/v1/namespaces/default/pods";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const WHOAMI: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// A server with the account `bot` and a pod of it on `node-1`; and the pod's uid.
async fn running() -> (Running, String) {
    let running = Running::start().await;
    let post = async |path: &str, body: Value| {
        let (code, answer) = running.json("POST", path, &[], &body.to_string()).await;
        assert_eq!(code, 201, "{answer}");
        answer
    };
    for name in ["default", "bot"] {
        post(ACCOUNTS, json!({"metadata": {"name": name}})).await;
    }
    post("/api/v1/nodes", json!({"metadata": {"name": "node-1"}})).await;
    let spec = json!({"serviceAccountName": "bot", "nodeName": "node-1",
        "volumes": [{"name": "t", "projected": {"sources": [
            {"serviceAccountToken": {"path": "bank", "audience": "bank"}}]}}],
        "containers": [{"name": "c", "image": "nginx"}]});
    let pod = post(PODS, json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
    (running, uid)
}

fn bound(uid: &str, seconds: i64) -> Value {
    json!({"spec": {"expirationSeconds": seconds,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": uid}}})
}

impl Running {
    /// Asks for a token of `bot`.
    async fn token(&self, user: &[(&str, &str)], body: &Value) -> (u16, Value) {
        self.json("POST", &format!("{ACCOUNTS}/bot/token"), user, &body.to_string()).await
    }

    /// Who a token's holder is, as the server says.
    async fn whoami(&self, token: &str) -> (u16, Value) {
        let mut request = Request::builder().method("POST").uri(WHOAMI);
        request = request.header("authorization", format!("Bearer {token}"));
        let request = request
            .extension(ConnectionInfo {
                identity: Arc::new(PeerIdentity::Anonymous),
                peer_addr: None,
                local_addr: None,
            })
            .body(Body::from("{}"))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&body).unwrap())
    }
}

#[tokio::test]
async fn a_token_stands_for_its_account_while_its_pod_lives() {
    let (running, uid) = running().await;
    let (code, answer) = running.token(&[], &bound(&uid, 3607)).await;
    assert_eq!((code, answer["kind"].as_str()), (201, Some("TokenRequest")), "{answer}");
    let token = answer["status"]["token"].as_str().unwrap();

    let (code, review) = running.whoami(token).await;
    assert_eq!(code, 201, "{review}");
    let user = &review["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:default:bot");
    let groups =
        ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"];
    assert_eq!(user["groups"], json!(groups));
    assert_eq!(user["extra"]["authentication.kubernetes.io/pod-name"], json!(["web"]));
    assert_eq!(user["extra"]["authentication.kubernetes.io/node-name"], json!(["node-1"]));

    let review = async |body: Value| {
        let body = json!({"spec": body}).to_string();
        running.json("POST", REVIEWS, &[], &body).await.1["status"].clone()
    };
    let good = review(json!({"token": token})).await;
    assert_eq!(good["authenticated"], true, "{good}");
    let elsewhere = review(json!({"token": token, "audiences": ["vault"]})).await;
    assert_eq!(elsewhere["authenticated"], Value::Null);
    let why = elsewhere["error"].as_str().unwrap();
    assert!(why.contains("is invalid for the target audiences"), "{why}");

    let path = format!("{PODS}/web?gracePeriodSeconds=0");
    assert_eq!(running.json("DELETE", &path, &[], "").await.0, 200);
    assert_eq!(running.whoami(token).await.0, 401);
    assert_eq!(running.whoami("a.b.c").await.0, 401);
    running.shutdown.cancel();
}

#[tokio::test]
async fn tokens_are_asked_for_with_reason() {
    let (running, uid) = running().await;
    let check = async |user: &[(&str, &str)], body: Value, expected: (u16, &str)| {
        let (code, answer) = running.token(user, &body).await;
        assert_eq!((code, answer["message"].as_str().unwrap_or_default()), expected);
    };
    let short = "TokenRequest.authentication.k8s.io \"bot\" is invalid: spec.expirationSeconds: Invalid value: 60: may not \
                 specify a duration less than 10 minutes";
    check(&[], bound(&uid, 60), (422, short)).await;
    let other = "Operation cannot be fulfilled on pods \"web\": the UID in the bound object reference (other) does not match \
                 the UID in record. The object might have been deleted and then recreated";
    check(&[], bound("other", 3600), (409, other)).await;

    let node =
        |name: &'static str| [("impersonate-user", name), ("impersonate-group", "system:nodes")];
    let own = node("system:node:node-1");
    assert_eq!(running.token(&own, &bound(&uid, 3607)).await.0, 201);
    let unbound = "serviceaccounts \"bot\" is forbidden: node requested token not bound to a pod";
    check(&own, json!({"spec": {}}), (403, unbound)).await;
    let nameless = "serviceaccounts \"bot\" is forbidden: node requested token with a pod binding without a uid";
    check(&own, bound("", 3600), (403, nameless)).await;
    let asks = |audiences: &[&str]| {
        let mut body = bound(&uid, 3607);
        body["spec"]["audiences"] = json!(audiences);
        body
    };
    let vault = "serviceaccounts \"bot\" is forbidden: audience \"vault\" not found in pod spec volume, system:node:node-1 is \
                 not authorized to request tokens for this audience";
    check(&own, asks(&["vault"]), (403, vault)).await;
    let several = "serviceaccounts \"bot\" is forbidden: node may only request 0 or 1 audiences";
    check(&own, asks(&["vault", "other"]), (403, several)).await;
    assert_eq!(running.token(&own, &asks(&["bank"])).await.0, 201);
    let stranger = running.token(&node("system:node:node-2"), &bound(&uid, 3607)).await;
    assert_eq!(stranger.0, 403, "{}", stranger.1);
    running.shutdown.cancel();
}

#[tokio::test]
async fn everybody_can_check_tokens_with_the_published_key() {
    let (running, _) = running().await;
    let (code, document) = running.json("GET", "/.well-known/openid-configuration", &[], "").await;
    assert_eq!(
        (code, document["issuer"].as_str()),
        (200, Some("https://kubernetes.default.svc.cluster.local"))
    );
    let keys = running.json("GET", "/openid/v1/jwks", &[], "").await.1;
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    running.shutdown.cancel();
}
