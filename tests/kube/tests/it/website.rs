//! The controller of `examples/website`, from its definition to the end of its last object.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
    events::v1::Event,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::wait::{Condition as _, conditions, delete::delete_and_finalize},
};
use serde_json::json;
use tests::TestCluster;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};

use super::{
    controller::{self, Website, WebsiteSpec},
    support::{client, config_map, refusal, soon, wait},
};

/// Runs the controller beside `body`, and ends it in order after that.
async fn with_controller(client: &Client, body: impl Future<Output = ()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let body = async {
        body.await;
        drop(stop);
    };
    tokio::join!(controller::run(client.clone(), async { _ = stopped.await }), body);
}

fn published(site: Option<&Website>, replicas: i32) -> bool {
    site.and_then(|site| {
        let status = site.status.as_ref()?;
        let current = status.observed_generation == site.metadata.generation;
        Some(current && status.ready && status.replicas == Some(replicas))
    })
    .unwrap_or(false)
}

/// What a Website's servers answer, by port-forward to one of them.
async fn page(client: &Client) -> String {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let found = pods.list(&ListParams::default().labels("website=shop")).await.unwrap();
    let ready = found.iter().find(|pod| conditions::is_pod_running().matches_object(Some(pod)));
    let mut forward = pods.portforward(&ready.unwrap().name_any(), &[80]).await.unwrap();
    let mut stream = forward.take_stream(80).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The events about the Website with this reason.
async fn events(client: &Client, reason: &str) -> Vec<Event> {
    let events: Api<Event> = Api::default_namespaced(client.clone());
    let selector = format!("reason={reason},regarding.name=shop");
    events.list(&ListParams::default().fields(&selector)).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_of_the_kube_crate_runs_as_anywhere() {
    let cluster = TestCluster::builder().start().await.unwrap();
    let client = client(&cluster).await;
    controller::define(&client).await.unwrap();
    let body = Box::pin(async {
        let sites: Api<Website> = Api::default_namespaced(client.clone());
        a_missing_theme_is_tried_again(&cluster, &client, &sites).await;
        what_it_owns_is_kept(&client, &sites).await;
        its_scale_is_followed(&sites).await;
        nothing_is_left(&client, sites).await;
    });
    Box::pin(with_controller(&client, body)).await;
}

async fn a_missing_theme_is_tried_again(
    cluster: &TestCluster,
    client: &Client,
    sites: &Api<Website>,
) {
    let theme = Some("dark".to_owned());
    let spec = WebsiteSpec { title: "Hello".to_owned(), replicas: 1, theme };
    let site = sites.create(&PostParams::default(), &Website::new("shop", spec)).await.unwrap();
    assert_eq!(site.metadata.generation, Some(1));
    cluster
        .eventually("the failure has been told more than once", async || {
            let told = events(client, "NoTheme").await;
            let count = told.first().and_then(|event| event.series.as_ref()).map(|s| s.count);
            if told.len() == 1 && count >= Some(3) { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let mut dark = config_map("dark", "");
    dark.data = Some([("color".to_owned(), "navy".to_owned())].into());
    maps.create(&PostParams::default(), &dark).await.unwrap();
    wait(sites, "shop", |s: Option<&Website>| published(s, 1)).await;
    let answer = page(client).await;
    assert!(answer.ends_with("<h1 style='color: navy'>Hello</h1>\n"), "{answer}");
    let directory = maps.get(controller::DIRECTORY.1).await.unwrap();
    assert_eq!(directory.data.unwrap()["default.shop"], "Hello");
    let site = sites.get("shop").await.unwrap();
    assert_eq!(site.finalizers(), [controller::FINALIZER]);
    let owners = |manager: &str, subresource: Option<&str>| {
        site.managed_fields().iter().any(|entry| {
            entry.manager.as_deref() == Some(manager)
                && entry.operation.as_deref() == Some("Apply")
                && entry.subresource.as_deref() == subresource
        })
    };
    assert!(owners(controller::NAME, Some("status")), "{:?}", site.managed_fields());
}

async fn what_it_owns_is_kept(client: &Client, sites: &Api<Website>) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let before = maps.get("shop").await.unwrap();
    soon("a deletion", delete_and_finalize(maps.clone(), "shop", &DeleteParams::default()))
        .await
        .unwrap();
    let again = wait(&maps, "shop", conditions::is_created()).await;
    assert_ne!(again.unwrap().uid(), before.uid());
    let patch = Patch::Merge(json!({"data": {"index.html": "defaced"}}));
    maps.patch("shop", &PatchParams::default(), &patch).await.unwrap();
    let mended = |map: Option<&ConfigMap>| {
        map.and_then(|map| map.data.as_ref()).is_some_and(|data| data["index.html"] != "defaced")
    };
    wait(&maps, "shop", mended).await;
    // Nothing changes any more when nothing has to: the passes that these changes cause write nothing.
    wait(sites, "shop", |s: Option<&Website>| published(s, 1)).await;
}

async fn its_scale_is_followed(sites: &Api<Website>) {
    let too_many = json!({"spec": {"replicas": 6}});
    let params = PatchParams::default();
    let refused = refusal(sites.patch("shop", &params, &Patch::Merge(&too_many)).await);
    assert_eq!((refused.code, refused.reason.as_str()), (422, "Invalid"));
    assert!(refused.message.contains("a small shop has at most five servers"), "{refused:?}");
    let three = Patch::Merge(json!({"spec": {"replicas": 3}}));
    let scale = sites.patch_scale("shop", &params, &three).await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(3));
    wait(sites, "shop", |s: Option<&Website>| published(s, 3)).await;
    assert_eq!(sites.get_scale("shop").await.unwrap().status.unwrap().replicas, 3);
    for (title, found) in [("Hello", 1), ("Goodbye", 0)] {
        let selected = ListParams::default().fields(&format!("spec.title={title}"));
        assert_eq!(sites.list(&selected).await.unwrap().items.len(), found);
    }
}

async fn nothing_is_left(client: &Client, sites: Api<Website>) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let map = maps.get("shop").await.unwrap().uid().unwrap();
    let deployment = deployments.get("shop").await.unwrap().uid().unwrap();
    soon("a deletion", delete_and_finalize(sites, "shop", &DeleteParams::default())).await.unwrap();
    assert_eq!(maps.get(controller::DIRECTORY.1).await.unwrap().data, None);
    for reason in ["Published", "Unpublished"] {
        let told = events(client, reason).await;
        assert!(!told.is_empty(), "{reason}");
        assert_eq!(told[0].reporting_controller.as_deref(), Some(controller::NAME));
    }
    wait(&maps, "shop", conditions::is_deleted(&map)).await;
    wait(&deployments, "shop", conditions::is_deleted(&deployment)).await;
}
