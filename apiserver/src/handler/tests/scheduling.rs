use component_base::{
    shutdown::Shutdown,
    transport::{Listener, serve},
};
use proto::v1::{
    ExplainRequest, ExplainResponse,
    scheduling_server::{Scheduling, SchedulingServer},
};

use super::*;

/// A scheduler that knows the pod `web`.
struct FakeScheduler;

#[async_trait::async_trait]
impl Scheduling for FakeScheduler {
    async fn explain(
        &self,
        request: tonic::Request<ExplainRequest>,
    ) -> Result<tonic::Response<ExplainResponse>, tonic::Status> {
        let ExplainRequest { namespace, name } = request.into_inner();
        if name != "web" {
            return Err(tonic::Status::not_found("never heard of it"));
        }
        let explanation = json!({
            "apiVersion": "kube-mini.dev/v1", "kind": "SchedulingExplanation",
            "metadata": {"name": name, "namespace": namespace}, "status": {"state": "Pending"},
        });
        let explanation = explanation.to_string().into();
        Ok(tonic::Response::new(ExplainResponse { explanation }))
    }
}

#[tokio::test]
async fn the_leading_scheduler_explains_a_pod() {
    let chain = Chain::start().await;
    for name in ["web", "new"] {
        chain.create(&resource::PODS, pod(name)).await.unwrap();
    }
    let missing = chain.get(&resource::PODS, "nobody/scheduling").await.unwrap_err();
    assert_eq!(missing.message, "pods \"nobody\" not found");
    let nobody = chain.get(&resource::PODS, "web/scheduling").await.unwrap_err();
    assert_eq!(
        (nobody.code, nobody.message.as_str()),
        (503, "the scheduler cannot be asked: no scheduler leads")
    );

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let lease = json!({
        "metadata": {"name": "kube-scheduler", "annotations": {
            "kube-mini.dev/scheduler-endpoint": format!("unix://{}", socket.display())}},
        "spec": {"holderIdentity": "one"},
    });
    let mut context = chain.context(Verb::Create, &resource::LEASES, "");
    context.namespace = "kube-system".into();
    chain.object(context, Request::Create(lease.to_string().into())).await.unwrap();
    let away = chain.get(&resource::PODS, "web/scheduling").await.unwrap_err();
    assert!(
        away.code == 503 && away.message.starts_with("the scheduler cannot be asked: "),
        "{away}"
    );

    let shutdown = Shutdown::new();
    let routes = tonic::service::Routes::new(SchedulingServer::new(FakeScheduler));
    let listener = Listener::bind_unix(&socket).unwrap();
    let serving = serve(listener, routes.into_axum_router(), shutdown.token().clone());
    shutdown.spawn("fake scheduler", serving);
    let explanation = chain.get(&resource::PODS, "web/scheduling").await.unwrap();
    assert_eq!(explanation.kind(), "SchedulingExplanation");
    assert_eq!(explanation.key().to_string(), "default/web");
    let unseen = chain.get(&resource::PODS, "new/scheduling").await.unwrap_err();
    assert_eq!(unseen.message, "pods \"new\" not found");
    shutdown.cancel();
}

#[tokio::test]
async fn explanations_are_for_those_who_may_read_them() {
    let chain = Chain::start().await;
    chain.create(&resource::PODS, pod("web")).await.unwrap();
    let ann = chain.with_user("ann", &["system:authenticated"]);
    assert_eq!(
        ann.get(&resource::PODS, "web/scheduling").await.unwrap_err().message,
        "pods \"web\" is forbidden: User \"ann\" cannot get resource \"pods/scheduling\" in API group \"\" in the namespace \"default\""
    );
}
