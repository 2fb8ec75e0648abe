//! What several tests need.

use std::time::Duration;

use component_base::clock::Clock;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client, Config,
    api::{ObjectMeta, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::{Condition, await_condition, conditions},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tests::TestCluster;

/// A cluster of an API server and controllers.
pub(crate) async fn control_plane() -> TestCluster {
    TestCluster::builder().nodes(0).do_not_wait().start().await.unwrap()
}

/// The configuration that the kubeconfig gives.
pub(crate) async fn config(cluster: &TestCluster) -> Config {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

/// The crate's client, as the administrator.
pub(crate) async fn client(cluster: &TestCluster) -> Client {
    Client::try_from(config(cluster).await).unwrap()
}

pub(crate) fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some([("key".to_owned(), value.to_owned())].into()),
        ..ConfigMap::default()
    }
}

/// What comes, or a panic that names what does not come in half a minute.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = Clock::real().timeout(Duration::from_secs(30), future).await;
    outcome.unwrap_or_else(|_| panic!("does not come: {what}"))
}

/// Waits until an object is as it should be.
pub(crate) async fn wait<K>(api: &Api<K>, name: &str, condition: impl Condition<K>) -> Option<K>
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    soon(name, await_condition(api.clone(), name, condition)).await.unwrap()
}

/// The API's answer, where it refused.
pub(crate) fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> Box<kube::core::Status> {
    match result {
        Err(kube::Error::Api(status)) => status,
        other => panic!("not refused: {other:?}"),
    }
}

/// Creates a pod that runs these containers, and waits until it does.
pub(crate) async fn running(client: &Client, name: &str, container: serde_json::Value) -> Api<Pod> {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }));
    pods.create(&PostParams::default(), &pod.unwrap()).await.unwrap();
    wait(&pods, name, conditions::is_pod_running()).await;
    pods
}
