//! Runs a controller written with the `kube` crate against a cluster of its own, and shows what it does:
//! `cargo run -p kube-tests --example website`. `controller.rs` is what one would write for any cluster.

mod controller;

use std::io::Write;

use controller::{Website, WebsiteSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::{await_condition, delete::delete_and_finalize},
};
use tests::TestCluster;
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cluster = TestCluster::builder().start().await?;
    let config = Kubeconfig::read_from(cluster.kubeconfig())?;
    let options = KubeConfigOptions::default();
    let client = Client::try_from(Config::from_custom_kubeconfig(config, &options).await?)?;
    controller::define(&client).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let running = controller::run(client.clone(), async { _ = stopped.await });
    let shown = async {
        let shown = show(client).await;
        drop(stop);
        shown
    };
    let (shown, ()) = tokio::join!(shown, running);
    shown?;
    cluster.shutdown().await
}

async fn show(client: Client) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let sites: Api<Website> = Api::default_namespaced(client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let spec = WebsiteSpec { title: "Hello".to_owned(), replicas: 2, theme: None };
    let site = sites.create(&PostParams::default(), &Website::new("shop", spec)).await?;
    writeln!(out, "created website {}", site.name_any())?;

    let is_ready = |site: Option<&Website>| {
        site.and_then(|site| site.status.as_ref()).is_some_and(|status| status.ready)
    };
    await_condition(sites.clone(), "shop", is_ready).await?;
    let page = maps.get("shop").await?.data.unwrap_or_default();
    writeln!(out, "ready, its page is {:?}", page["index.html"])?;

    delete_and_finalize(sites, "shop", &DeleteParams::default()).await?;
    let left = maps.get(controller::DIRECTORY.1).await?.data.unwrap_or_default();
    writeln!(out, "deleted, the directory has {} entries", left.len())?;
    Ok(())
}
