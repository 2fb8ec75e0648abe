//! All controllers with a real API server in memory, on a virtual clock.

use std::{sync::Arc, time::Duration};

use apimachinery::{
    api::{
        apps::{Deployment, ReplicaSet},
        core::{ConfigMap, Namespace, Pod, ServiceAccount},
    },
    object::Object,
    status::Status,
};
use apiserver::kubelet::KubeletDialer;
use client::{Client, DeleteOptions, ListOptions, Patch, Propagation};
use component_base::{
    clock::{Clock, TestClock},
    shutdown::Shutdown,
    transport::{Endpoint, Listener},
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::{Config, Server};

struct NoKubelet;

impl KubeletDialer for NoKubelet {
    fn dial(&self, _: &Object) -> Result<Channel, Status> {
        Err(Status::service_unavailable("no kubelet is dialled in these tests"))
    }
}

struct World {
    clock: Clock,
    time: TestClock,
    client: Client,
    shutdown: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl World {
    async fn new() -> Self {
        let (clock, time) = Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
        let (listener, connector) = Listener::in_process();
        let shutdown = Shutdown::new();
        let config = apiserver::Config {
            listeners: vec![listener],
            ..apiserver::Config::new(clock.clone(), Arc::new(NoKubelet))
        };
        let server = apiserver::Server::bind(config).await.unwrap();
        let ending = shutdown.clone();
        shutdown.spawn("apiserver", async move { server.run(ending).await.unwrap() });
        let user = |name: &str, groups: &[&str]| {
            Client::new(&Endpoint::InProcess(connector.with_identity(name, groups))).unwrap()
        };
        let controllers = Server::new(Config {
            client: user("system:kube-controller-manager", &[]),
            clock: clock.clone(),
            cluster_cidr: "10.244.0.0/16".into(),
        });
        shutdown.spawn("controllers", controllers.run(shutdown.clone()));
        let world = Self { client: user("admin", &["system:masters"]), clock, time, shutdown };
        world
            .eventually("the ServiceAccount", async || {
                let account = world.client.get::<ServiceAccount>("default", "default").await;
                account.map(drop).map_err(|s| s.message)
            })
            .await;
        world
    }

    async fn eventually(&self, what: &str, condition: impl AsyncFn() -> Result<(), String>) {
        let waiting = async {
            for _ in 0..600 {
                match condition().await {
                    Ok(()) => return Ok(()),
                    Err(_) => self.clock.sleep(Duration::from_millis(100)).await,
                }
            }
            condition().await
        };
        if let Err(why) = self.time.run(waiting).await {
            panic!("{what}: {why}");
        }
    }

    async fn create<T: apimachinery::api::Resource>(&self, value: Value) -> T {
        let object: T = serde_json::from_value(value).unwrap();
        self.time.run(self.client.create(&object)).await.unwrap()
    }

    /// Waits until so many Deployments, ReplicaSets and pods are there in `default`, those on their way out included.
    async fn counts(&self, expected: [usize; 3]) {
        let all = ListOptions::default();
        self.eventually("counts", async || {
            let text = |status: Status| status.message;
            let seen = [
                self.client.list::<Deployment>("default", &all).await.map_err(text)?.items.len(),
                self.client.list::<ReplicaSet>("default", &all).await.map_err(text)?.items.len(),
                self.client.list::<Pod>("default", &all).await.map_err(text)?.items.len(),
            ];
            if seen == expected { Ok(()) } else { Err(format!("{seen:?}, not {expected:?}")) }
        })
        .await;
    }

    async fn pods(&self) -> Vec<Pod> {
        let all = ListOptions::default();
        self.time.run(self.client.list::<Pod>("default", &all)).await.unwrap().items
    }

    async fn delete_deployment(&self, propagation: Propagation) {
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        let deleting = self.client.delete::<Deployment>("default", "web", &options);
        self.time.run(deleting).await.unwrap();
    }
}

fn deployment(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}},
                              "spec": {"containers": [{"name": "c", "image": "nginx"}]}}},
    })
}

#[tokio::test]
async fn a_deleted_deployment_takes_its_pods_along() {
    for propagation in [Propagation::Background, Propagation::Foreground] {
        let world = World::new().await;
        world.create::<Deployment>(deployment(3)).await;
        world.counts([1, 1, 3]).await;
        world.delete_deployment(propagation).await;
        world.counts([0, 0, 0]).await;
    }
}

#[tokio::test]
async fn a_foreground_deletion_waits_for_the_last_dependent() {
    let world = World::new().await;
    world.create::<Deployment>(deployment(2)).await;
    world.counts([1, 1, 2]).await;
    let name = world.pods().await[0].metadata.name.clone().unwrap();
    let hold = |finalizers: Value| Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    let held = hold(json!(["example.com/hold"]));
    world.time.run(world.client.patch::<Pod>("default", &name, &held, "")).await.unwrap();
    world.delete_deployment(Propagation::Foreground).await;
    world.counts([1, 1, 1]).await;
    world.time.advance(Duration::from_secs(30)).await;
    world.counts([1, 1, 1]).await;
    let freed = hold(Value::Null);
    world.time.run(world.client.patch::<Pod>("default", &name, &freed, "")).await.unwrap();
    world.counts([0, 0, 0]).await;
}

#[tokio::test]
async fn orphans_stay_and_are_adopted_again() {
    let world = World::new().await;
    world.create::<Deployment>(deployment(2)).await;
    world.counts([1, 1, 2]).await;
    let uids = async || {
        let pods = world.pods().await;
        let mut uids: Vec<_> = pods.into_iter().map(|pod| pod.metadata.uid).collect();
        uids.sort();
        uids
    };
    let before = uids().await;
    world.delete_deployment(Propagation::Orphan).await;
    world.counts([0, 1, 2]).await;
    world.time.advance(Duration::from_secs(30)).await;
    world.counts([0, 1, 2]).await;
    world.create::<Deployment>(deployment(3)).await;
    world.counts([1, 1, 3]).await;
    let after = uids().await;
    assert!(before.iter().all(|uid| after.contains(uid)), "{before:?} {after:?}");
}

#[tokio::test]
async fn what_names_an_owner_that_never_was_is_collected_and_what_has_another_is_not() {
    let world = World::new().await;
    let owner = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid});
    let map = |name: &str, owners: Value| json!({"metadata": {"name": name, "namespace": "default", "ownerReferences": owners}});
    let living: ConfigMap = world.create(map("living", json!([]))).await;
    let uid = living.metadata.uid.unwrap();
    world.create::<ConfigMap>(map("lost", json!([owner("never", "0")]))).await;
    world.create::<ConfigMap>(map("namesake", json!([owner("living", "0")]))).await;
    world
        .create::<ConfigMap>(map("both", json!([owner("never", "1"), owner("living", &uid)])))
        .await;
    world
        .eventually("the collection", async || {
            let list = world.client.list::<ConfigMap>("default", &ListOptions::default()).await;
            let list = list.map_err(|s| s.message)?.items;
            let seen: Vec<(String, usize)> = list
                .into_iter()
                .map(|m| (m.metadata.name.unwrap_or_default(), m.metadata.owner_references.len()))
                .filter(|(name, _)| name != "kube-root-ca.crt")
                .collect();
            let expected = [("both".to_owned(), 1), ("living".to_owned(), 0)];
            if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
}

#[tokio::test]
async fn a_deleted_namespace_is_emptied_of_its_pods_first() {
    let world = World::new().await;
    world.create::<Namespace>(json!({"metadata": {"name": "n"}})).await;
    world
        .eventually("the ServiceAccount", async || {
            let account = world.client.get::<ServiceAccount>("n", "default").await;
            account.map(drop).map_err(|s| s.message)
        })
        .await;
    let mut pod = json!({"metadata": {"name": "p", "namespace": "n", "finalizers": ["example.com/hold"]},
                         "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
    world.create::<Pod>(pod.take()).await;
    world.create::<ConfigMap>(json!({"metadata": {"name": "m", "namespace": "n"}})).await;
    let options = DeleteOptions::default();
    let deleting = world.client.delete::<Namespace>("", "n", &options);
    world.time.run(deleting).await.unwrap();
    world
        .eventually("the conditions", async || {
            let namespace = world.client.get::<Namespace>("", "n").await.map_err(|s| s.message)?;
            let conditions = &namespace.status.conditions;
            let message = |type_: &str| {
                let found = conditions.iter().find(|c| c.type_ == type_);
                found.and_then(|c| c.message.clone()).unwrap_or_default()
            };
            let seen =
                (message("NamespaceContentRemaining"), message("NamespaceFinalizersRemaining"));
            let expected = (
                "Some resources are remaining: pods. has 1 resource instances".to_owned(),
                "Some content in the namespace has finalizers remaining: example.com/hold in 1 \
                 resource instances"
                    .to_owned(),
            );
            if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    let map = world.time.run(world.client.get::<ConfigMap>("n", "m")).await;
    assert!(map.is_ok(), "the rest waits for the last pod");
    let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world.time.run(world.client.patch::<Pod>("n", "p", &freed, "")).await.unwrap();
    world
        .eventually("the end", async || match world.client.get::<Namespace>("", "n").await {
            Err(status) if status.is_not_found() => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
}
