//! A controller as anybody would write it with the `kube` crate, for any cluster: nothing in here knows of kube-mini.
//!
//! A `Website` becomes a ConfigMap with its page and a Deployment of servers that mount it. Both are owned by their
//! Website, so that they go with it, and what happens to them brings the controller back. Outside of what owner
//! references reach, every Website has an entry in one directory of the cluster, the ConfigMap `directory`: a finalizer
//! takes it out before its Website may go. All is written by server-side apply, so a pass that changes nothing writes
//! nothing. A Website whose theme is missing is an error, tried again after growing pauses.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ConfigMap},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResource, CustomResourceExt, KubeSchema, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        Controller,
        controller::Action,
        events::{Event, EventType, Recorder, Reporter},
        finalizer,
        reflector::ObjectRef,
        wait, watcher,
    },
};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The controller's name: of its field ownership, its events and its finalizer.
pub(crate) const NAME: &str = "website-controller";
/// What holds a Website until its entry in the directory is gone.
pub(crate) const FINALIZER: &str = "shop.example/directory";
/// The namespace and the name of the directory.
pub(crate) const DIRECTORY: (&str, &str) = ("default", "directory");

/// What a Website is to be.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, Serialize)]
#[kube(
    group = "shop.example",
    version = "v1",
    kind = "Website",
    namespaced,
    shortname = "ws",
    status = "WebsiteStatus",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas"),
    printcolumn(name = "Title", type_ = "string", json_path = ".spec.title"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.replicas"),
    selectable = ".spec.title"
)]
pub(crate) struct WebsiteSpec {
    /// The heading of its page.
    #[schemars(length(min = 1))]
    pub(crate) title: String,
    /// How many servers it has.
    #[serde(default = "one")]
    #[x_kube(validation = ("self <= 5", "a small shop has at most five servers"))]
    pub(crate) replicas: i32,
    /// The ConfigMap that has its `color`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) theme: Option<String>,
}

/// What a Website is.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WebsiteStatus {
    /// The generation that the rest is about.
    pub(crate) observed_generation: Option<i64>,
    /// How many of its servers are ready.
    pub(crate) replicas: Option<i32>,
    /// Whether it is published.
    #[serde(default)]
    pub(crate) ready: bool,
}

fn one() -> i32 {
    1
}

/// Why a pass over a Website failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The theme is not there (yet).
    #[error("theme {0} is missing")]
    NoTheme(String),
    /// The API refused.
    #[error("the API refused: {0}")]
    Api(#[from] kube::Error),
    /// A pass over the finalizer failed.
    #[error(transparent)]
    Finalizer(#[from] Box<finalizer::Error<Self>>),
}

/// What the passes share.
struct Context {
    client: Client,
    recorder: Recorder,
    /// How often a Website has failed since its last success.
    failures: Mutex<HashMap<ObjectRef<Website>, u32>>,
}

/// Defines the kind, and waits until it is served.
///
/// # Errors
/// The API refuses, or does not serve it in time.
pub(crate) async fn define(client: &Client) -> anyhow::Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = Website::crd();
    let name = definition.name_any();
    let params = PatchParams::apply(NAME).force();
    definitions.patch(&name, &params, &Patch::Apply(&definition)).await?;
    wait::await_condition(definitions, &name, wait::conditions::is_crd_established()).await?;
    Ok(())
}

/// Runs the controller until `shutdown`; passes that have begun are finished.
pub(crate) async fn run(
    client: Client,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let all = watcher::Config::default;
    let reporter = Reporter { controller: NAME.to_owned(), instance: None };
    let context = Context {
        recorder: Recorder::new(client.clone(), reporter),
        client: client.clone(),
        failures: Mutex::default(),
    };
    Controller::new(Api::<Website>::all(client.clone()), all())
        .owns(Api::<ConfigMap>::all(client.clone()), all())
        .owns(Api::<Deployment>::all(client), all())
        .graceful_shutdown_on(shutdown)
        .run(reconcile, retry, Arc::new(context))
        // What failed has been told where it failed.
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn reconcile(site: Arc<Website>, context: Arc<Context>) -> Result<Action, Error> {
    let api: Api<Website> = Api::namespaced(context.client.clone(), &namespace(&site));
    let pass = finalizer::finalizer(&api, FINALIZER, site.clone(), async |event| match event {
        finalizer::Event::Apply(site) => context.publish(&api, &site).await,
        finalizer::Event::Cleanup(site) => context.unpublish(&site).await,
    });
    let done = pass.await.map_err(Box::new)?;
    context.failures.lock().remove(&ObjectRef::from_obj(&*site));
    Ok(done)
}

/// When a Website is tried again that has failed: after 50 ms, 100 ms, … up to some seconds.
#[expect(clippy::needless_pass_by_value, reason = "the crate calls it so")]
fn retry(site: Arc<Website>, _: &Error, context: Arc<Context>) -> Action {
    let mut failures = context.failures.lock();
    let count = failures.entry(ObjectRef::from_obj(&*site)).or_default();
    let pause = Duration::from_millis(50) * 2_u32.pow((*count).min(7));
    *count = count.saturating_add(1);
    Action::requeue(pause)
}

impl Context {
    async fn publish(&self, api: &Api<Website>, site: &Website) -> Result<Action, Error> {
        let (name, namespace) = (site.name_any(), namespace(site));
        let color = match self.color(site).await {
            Err(error @ Error::NoTheme(_)) => {
                self.tell(site, EventType::Warning, "NoTheme", &error.to_string()).await?;
                return Err(error);
            }
            color => color?,
        };
        let params = PatchParams::apply(NAME).force();
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
        maps.patch(&name, &params, &Patch::Apply(page(site, &color))).await?;
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &namespace);
        let servers = deployments.patch(&name, &params, &Patch::Apply(servers(site))).await?;
        self.list_in_directory(site, Some(&site.spec.title)).await?;

        let ready = servers.status.and_then(|status| status.ready_replicas).unwrap_or(0);
        let published = ready == site.spec.replicas;
        let was = site.status.as_ref().is_some_and(|status| status.ready);
        let status = WebsiteStatus {
            observed_generation: site.metadata.generation,
            replicas: Some(ready),
            ready: published,
        };
        let status = json!({
            "apiVersion": Website::api_version(&()), "kind": Website::kind(&()), "status": status,
        });
        api.patch_status(&name, &params, &Patch::Apply(status)).await?;
        if published && !was {
            self.tell(site, EventType::Normal, "Published", "all servers are ready").await?;
        }
        Ok(Action::requeue(Duration::from_secs(3600)))
    }

    async fn unpublish(&self, site: &Website) -> Result<Action, Error> {
        self.list_in_directory(site, None).await?;
        self.tell(site, EventType::Normal, "Unpublished", "its entry is gone").await?;
        Ok(Action::await_change())
    }

    async fn color(&self, site: &Website) -> Result<String, Error> {
        let Some(theme) = &site.spec.theme else { return Ok("black".to_owned()) };
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace(site));
        let found = maps.get_opt(theme).await?.and_then(|map| map.data?.remove("color"));
        found.ok_or_else(|| Error::NoTheme(theme.clone()))
    }

    /// Every Website owns the key of its entry, under a manager's name of its own: applying nothing takes it out.
    async fn list_in_directory(&self, site: &Website, title: Option<&str>) -> Result<(), Error> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), DIRECTORY.0);
        let key = format!("{}.{}", namespace(site), site.name_any());
        let entry = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": DIRECTORY.1},
            "data": title.map(|title| json!({ &key: title })).unwrap_or(json!({})),
        });
        let params = PatchParams::apply(&format!("{NAME}.{key}"));
        maps.patch(DIRECTORY.1, &params, &Patch::Apply(entry)).await?;
        Ok(())
    }

    async fn tell(
        &self,
        site: &Website,
        type_: EventType,
        reason: &str,
        note: &str,
    ) -> Result<(), Error> {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.to_owned()),
            action: "Reconciling".to_owned(),
            secondary: None,
        };
        Ok(self.recorder.publish(&event, &site.object_ref(&())).await?)
    }
}

fn namespace(site: &Website) -> String {
    site.namespace().unwrap_or_else(|| "default".to_owned())
}

fn page(site: &Website, color: &str) -> serde_json::Value {
    let title = &site.spec.title;
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": site.name_any(), "ownerReferences": [site.controller_owner_ref(&())]},
        "data": {"index.html": format!("<h1 style='color: {color}'>{title}</h1>\n")},
    })
}

fn servers(site: &Website) -> serde_json::Value {
    let name = site.name_any();
    let labels = json!({"website": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "ownerReferences": [site.controller_owner_ref(&())]},
        "spec": {
            "replicas": site.spec.replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [{
                        "name": "server", "image": "nginx", "ports": [{"containerPort": 80}],
                        "volumeMounts": [{"name": "page", "mountPath": "/usr/share/nginx/html"}],
                    }],
                    "volumes": [{"name": "page", "configMap": {"name": name}}],
                },
            },
        },
    })
}
