//! Scale, status, tokens, and nodes that take no more pods.

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec, TokenReview},
        core::v1::{Node, ServiceAccount},
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    config::AuthInfo,
    runtime::wait::conditions,
};
use serde_json::json;
use tests::{Component, TestCluster};

use super::support::{client, config, control_plane, refusal, wait};

#[tokio::test]
async fn scales_and_statuses_are_written_alone() {
    let cluster = control_plane().await;
    let deployments: Api<Deployment> = Api::default_namespaced(client(&cluster).await);
    let deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        },
    }));
    let made = deployments.create(&PostParams::default(), &deployment.unwrap()).await.unwrap();
    wait(&deployments, "web", conditions::is_deployment_completed()).await;
    // Nobody else writes from here on.
    cluster.stop(Component::ControllerManager).await.unwrap();
    let mut scale = deployments.get_scale("web").await.unwrap();
    assert_eq!(scale.status.as_ref().unwrap().selector.as_deref(), Some("app=web"));
    scale.spec.as_mut().unwrap().replicas = Some(2);
    let scaled = deployments.replace_scale("web", &PostParams::default(), &scale).await.unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(2));
    let refused = refusal(deployments.replace_scale("web", &PostParams::default(), &scale).await);
    assert!(refused.is_conflict(), "{refused:?}");
    let params = PatchParams::apply("tester").force();
    let apply = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"},
        "spec": {"replicas": 3},
    });
    let scaled = deployments.patch_scale("web", &params, &Patch::Apply(apply)).await.unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(3));

    // What is not of the status stays.
    let status = Patch::Merge(json!({
        "metadata": {"labels": {"never": "seen"}},
        "spec": {"replicas": 9},
        "status": {"conditions": [{"type": "Tested", "status": "True"}]},
    }));
    let patched = deployments.patch_status("web", &PatchParams::default(), &status).await.unwrap();
    assert_eq!(patched.spec.unwrap().replicas, Some(3));
    assert_eq!(patched.metadata.labels, made.metadata.labels);
    let tested = |deployment: &Deployment| {
        let conditions = deployment.status.as_ref().and_then(|status| status.conditions.clone());
        conditions.unwrap_or_default().iter().any(|condition| condition.type_ == "Tested")
    };
    let mut read = deployments.get_status("web").await.unwrap();
    assert!(tested(&read));
    read.metadata.resource_version = None;
    read.status = None;
    let replaced = deployments.replace_status("web", &PostParams::default(), &read).await.unwrap();
    assert!(!tested(&replaced));
}

#[tokio::test]
async fn a_token_makes_a_client_its_account() {
    let cluster = control_plane().await;
    let admin = client(&cluster).await;
    let accounts: Api<ServiceAccount> = Api::default_namespaced(admin.clone());
    wait(&accounts, "default", conditions::is_created()).await;
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(600),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let params = PostParams::default();
    let answer = accounts.create_token_request("default", &params, &request).await.unwrap();
    let status = answer.status.unwrap();
    let left = status.expiration_timestamp.unwrap().0.duration_since(Timestamp::now()).as_secs();
    assert!((500..=600).contains(&left), "{left}");

    let token = status.token.unwrap();
    let mut config = config(&cluster).await;
    config.auth_info = AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() };
    let account = Client::try_from(config).unwrap();
    let reviews: Api<SelfSubjectReview> = Api::all(account);
    let told = reviews.create(&params, &SelfSubjectReview::default()).await.unwrap();
    let user = told.status.unwrap().user_info.unwrap();
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:default:default"));

    let mut review = TokenReview::default();
    review.spec.token = token;
    let reviews: Api<TokenReview> = Api::all(admin);
    let told = reviews.create(&params, &review).await.unwrap().status.unwrap();
    assert_eq!(told.authenticated, Some(true));
    assert_eq!(told.user.unwrap().username, user.username);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_cordoned() {
    let cluster = TestCluster::builder().start().await.unwrap();
    let nodes: Api<Node> = Api::all(client(&cluster).await);
    for (node, cordoned) in [
        (nodes.cordon("node-1").await.unwrap(), Some(true)),
        (nodes.uncordon("node-1").await.unwrap(), None),
    ] {
        assert_eq!(node.spec.unwrap().unschedulable, cordoned);
    }
}
