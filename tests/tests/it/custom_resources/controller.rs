//! A controller of one's own, as one would write it for any cluster: a `Website` becomes a ConfigMap with its page.
//!
//! It shows the whole of the pattern: a definition with a status, an informer and a work queue, a finalizer for what has to
//! be done before a deletion, an owner reference by which the ConfigMap goes with its Website, conditions, events.

use apimachinery::{
    api::core::ObjectReference,
    object::{Object, ObjectKey},
    resource::{self, ResourceInfo},
    status::Status,
};
use client::{
    Action, Client, DeleteOptions, DynamicObject, EventRecorder, EventType, Informer, ListWatch,
    Patch, WorkQueue, controller,
};
use component_base::shutdown::Shutdown;
use serde_json::{Value, json};
use tests::TestCluster;

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: websites.shop.example}
spec:
  group: shop.example
  scope: Namespaced
  names: {plural: websites, kind: Website, shortNames: [ws]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [title]
            properties: {title: {type: string, minLength: 1}}
          status:
            type: object
            properties:
              observedGeneration: {type: integer}
              conditions:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [type]
                items:
                  type: object
                  required: [type, status]
                  properties:
                    type: {type: string}
                    status: {type: string}
                    reason: {type: string}
"#;
const FINALIZER: &str = "shop.example/unpublish";

#[derive(Clone)]
struct Publisher {
    client: Client,
    info: &'static ResourceInfo,
    recorder: EventRecorder,
}

impl Publisher {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let site = match self.client.get_object(self.info, &key.namespace, &key.name).await {
            Err(status) if status.is_not_found() => return Ok(Action::Done),
            found => found?,
        };
        if site.deletion_timestamp().is_some() {
            return self.unpublish(&site).await;
        }
        if !site.finalizers().any(|finalizer| finalizer == FINALIZER) {
            let patch = json!({"metadata": {"finalizers": [FINALIZER]}});
            self.client.patch_object(self.info, key, &Patch::Merge(patch), "").await?;
        }
        let page = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": key.name, "namespace": key.namespace, "ownerReferences": [{
                "apiVersion": site.api_version(), "kind": site.kind(), "name": site.name(),
                "uid": site.uid(), "controller": true, "blockOwnerDeletion": true}]},
            "data": {"index.html": format!("<h1>{}</h1>", site.get_str(&["spec", "title"]))},
        });
        self.publish(key, &page).await?;
        let status = json!({"status": {"observedGeneration": site.generation(),
            "conditions": [{"type": "Ready", "status": "True", "reason": "Published"}]}});
        self.client.patch_object(self.info, key, &Patch::Merge(status), "status").await?;
        Ok(Action::Done)
    }

    async fn publish(&self, key: &ObjectKey, page: &Value) -> Result<(), Status> {
        let maps = &resource::CONFIG_MAPS;
        let object = Object::from_value(page.clone())?;
        match self.client.create_object(maps, &object).await {
            Err(status) if status.is_already_exists() => {
                self.client.patch_object(maps, key, &Patch::Merge(page.clone()), "").await?;
            }
            created => {
                self.tell(&created?, key, "Published");
            }
        }
        Ok(())
    }

    /// What has to be done before a Website may go.
    async fn unpublish(&self, site: &Object) -> Result<Action, Status> {
        self.tell(site, &site.key(), "Unpublished");
        let kept: Vec<&str> = site.finalizers().filter(|f| *f != FINALIZER).collect();
        let patch =
            json!({"metadata": {"finalizers": kept, "resourceVersion": site.resource_version()}});
        self.client.patch_object(self.info, &site.key(), &Patch::Merge(patch), "").await?;
        Ok(Action::Done)
    }

    fn tell(&self, object: &Object, key: &ObjectKey, reason: &str) {
        let about = ObjectReference {
            api_version: Some(self.info.api_version()),
            kind: Some(self.info.kind.to_owned()),
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            uid: Some(object.uid().to_owned()),
            ..ObjectReference::default()
        };
        self.recorder.record_about(about, EventType::Normal, reason, format!("{reason} {key}"));
    }
}

/// Starts the controller.
async fn start(cluster: &TestCluster, shutdown: &Shutdown) -> &'static ResourceInfo {
    let (client, clock) = (cluster.client(), cluster.clock());
    let served = client.discover().await.unwrap();
    let info = served.into_iter().find(|info| info.kind == "Website").unwrap();
    let queue = WorkQueue::<ObjectKey>::new(clock);
    let recorder = EventRecorder::start(client, clock, "publisher", None, shutdown);
    let publisher = Publisher { client: client.clone(), info, recorder };
    let mut informer = Informer::<DynamicObject>::new(client, clock, ListWatch::all(info));
    let keys = queue.clone();
    informer.on_change(move |delta| keys.add(delta.object().0.key()));
    informer.start(shutdown);
    controller::run(shutdown, "publisher", &queue, 2, move |key| {
        let publisher = publisher.clone();
        async move { publisher.reconcile(&key).await }
    });
    info
}

#[tokio::test]
async fn a_controller_of_ones_own_runs_as_anywhere() {
    let cluster = TestCluster::builder().nodes(0).do_not_wait().start().await.unwrap();
    let client = cluster.client();
    cluster.apply(DEFINITION).await.unwrap();
    let shutdown = Shutdown::new();
    let info = start(&cluster, &shutdown).await;
    let site = |title: &str| {
        format!(
            "{{apiVersion: shop.example/v1, kind: Website, metadata: {{name: home}}, spec: {{title: {title}}}}}"
        )
    };
    for title in ["Hello", "Goodbye"] {
        cluster.apply(&site(title)).await.unwrap();
        let published = || async {
            let map = client.get_object(&resource::CONFIG_MAPS, "default", "home").await;
            let page = map.map_err(|status| status.message)?;
            let website =
                client.get_object(info, "default", "home").await.map_err(|s| s.message)?;
            let observed = website.get_i64(&["status", "observedGeneration"]);
            let done = page.get_str(&["data", "index.html"]) == format!("<h1>{title}</h1>")
                && observed == Some(website.generation());
            if done { Ok(()) } else { Err(format!("{page:?} {website:?}")) }
        };
        cluster.eventually("the page is published", published).await;
    }
    let options = client::ListOptions::default();
    let events = client.list_objects(&resource::EVENTS, "default", &options).await.unwrap().items;
    assert!(events.iter().any(|event| event.get_str(&["reason"]) == "Published"), "{events:?}");
    let key = ObjectKey::new("default", "home");
    client.delete_object(info, &key, &DeleteOptions::default()).await.unwrap();
    let gone = || async {
        let map = client.get_object(&resource::CONFIG_MAPS, "default", "home").await;
        match map {
            Err(status) if status.is_not_found() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    cluster.eventually("the page goes with its site", gone).await;
    shutdown.cancel();
    cluster.shutdown().await.unwrap();
}
