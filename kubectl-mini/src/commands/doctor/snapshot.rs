//! What the checks look at: the API's objects and the nodes' reports, of about one moment.

use std::collections::BTreeMap;

use apimachinery::{
    api::{
        Resource,
        apps::Deployment,
        core::{Event, Namespace, Node, Pod, Service},
        discovery::EndpointSlice,
        meta::ObjectMeta,
        networking::{Ingress, IngressClass},
    },
    object::ObjectKey,
    resource::{PODS, SECRETS, SUBJECT_ACCESS_REVIEWS},
};
use client::{ListOptions, Stored};
use cni::report::NodeReport;
use futures::{StreamExt, future::join_all};
use serde::Deserialize;
use serde_json::{Value, json};

use super::checks::access::{self, Need};
use crate::{context::Context, errors::CommandError, inspection};

/// Nodes that are asked at one time.
const PARALLEL: usize = 32;
/// Pending pods about which the scheduler is asked.
const MAX_EXPLAINED: usize = 20;

/// All that is known.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// All Services.
    pub services: BTreeMap<ObjectKey, Service>,
    /// All pods.
    pub pods: BTreeMap<ObjectKey, Pod>,
    /// The EndpointSlices of each Service.
    pub slices: BTreeMap<ObjectKey, Vec<EndpointSlice>>,
    /// All nodes.
    pub nodes: BTreeMap<String, Node>,
    /// All Deployments.
    pub deployments: BTreeMap<ObjectKey, Deployment>,
    /// All Ingresses.
    pub ingresses: BTreeMap<ObjectKey, Ingress>,
    /// All IngressClasses.
    pub classes: BTreeMap<String, IngressClass>,
    /// The types of all Secrets.
    pub secrets: BTreeMap<ObjectKey, String>,
    /// All namespaces.
    pub namespaces: BTreeMap<String, Namespace>,
    /// All warnings, the latest last.
    pub warnings: Vec<Event>,
    /// What the nodes say, or why they say nothing.
    pub reports: BTreeMap<String, Result<NodeReport, String>>,
    /// What the scheduler says of pods that wait for a node, or why it says nothing.
    pub explanations: BTreeMap<ObjectKey, Result<Value, String>>,
    /// What accounts may not do and need.
    pub denied: Vec<Need>,
}

/// A Secret without what is secret.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SecretHead {
    metadata: ObjectMeta,
    #[serde(rename = "type")]
    type_: String,
}

impl Stored for SecretHead {
    fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    fn key(&self) -> ObjectKey {
        key_of(&self.metadata)
    }

    fn resource_version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
}

/// Namespace and name.
#[must_use]
pub fn key_of(metadata: &ObjectMeta) -> ObjectKey {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    ObjectKey::new(text(&metadata.namespace), text(&metadata.name))
}

impl Snapshot {
    /// Looks at everything.
    ///
    /// # Errors
    /// The API cannot be asked, or does not let this user look.
    pub async fn take(context: &Context) -> Result<Self, CommandError> {
        let (
            services,
            pods,
            slices,
            nodes,
            deployments,
            ingresses,
            classes,
            namespaces,
            events,
            secrets,
        ) = tokio::try_join!(
            all::<Service>(context, ""),
            all::<Pod>(context, ""),
            all::<EndpointSlice>(context, ""),
            all::<Node>(context, ""),
            all::<Deployment>(context, ""),
            all::<Ingress>(context, ""),
            all::<IngressClass>(context, ""),
            all::<Namespace>(context, ""),
            all::<Event>(context, "type=Warning"),
            secrets(context),
        )?;
        let mut snapshot = Self {
            services: by_key(services, |o| key_of(&o.metadata)),
            pods: by_key(pods, |o| key_of(&o.metadata)),
            nodes: by_key(nodes, |o| key_of(&o.metadata).name),
            deployments: by_key(deployments, |o| key_of(&o.metadata)),
            ingresses: by_key(ingresses, |o| key_of(&o.metadata)),
            classes: by_key(classes, |o| key_of(&o.metadata).name),
            namespaces: by_key(namespaces, |o| key_of(&o.metadata).name),
            warnings: events,
            secrets,
            ..Self::default()
        };
        snapshot.warnings.sort_by_key(|event| event.last_timestamp.map(|time| time.0));
        for slice in slices {
            let Some(service) = slice.metadata.labels.get("kubernetes.io/service-name") else {
                continue;
            };
            let namespace = slice.metadata.namespace.clone().unwrap_or_default();
            let service = ObjectKey::new(namespace, service);
            snapshot.slices.entry(service).or_default().push(slice);
        }
        let (reports, explanations, denied) = tokio::join!(
            reports(context, snapshot.nodes.keys()),
            explanations(context, &snapshot.pods),
            denied(context, &snapshot.pods),
        );
        (snapshot.reports, snapshot.explanations, snapshot.denied) =
            (reports?, explanations, denied?);
        Ok(snapshot)
    }

    /// The pods of a namespace.
    pub fn pods_in<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Pod)> {
        let from = ObjectKey::new(namespace, "");
        self.pods.range(from..).take_while(move |(key, _)| key.namespace == namespace)
    }

    /// The pods that a Service selects, those that have ended left out.
    #[must_use]
    pub fn selected<'a>(
        &'a self,
        key: &'a ObjectKey,
        service: &'a Service,
    ) -> Vec<(&'a ObjectKey, &'a Pod)> {
        let selector = &service.spec.selector;
        let has = |pod: &Pod| {
            selector.iter().all(|(name, value)| pod.metadata.labels.get(name) == Some(value))
        };
        let pods = self.pods_in(&key.namespace);
        pods.filter(|(_, pod)| !selector.is_empty() && has(pod) && !has_ended(pod)).collect()
    }

    /// What a node says, as far as it does.
    #[must_use]
    pub fn report(&self, node: &str) -> Option<&NodeReport> {
        self.reports.get(node)?.as_ref().ok()
    }

    /// The latest warning of a reason about an object; the empty reason is any.
    #[must_use]
    pub fn warning(&self, kind: &str, key: &ObjectKey, reasons: &[&str]) -> Option<&Event> {
        self.warnings.iter().rev().find(|event| {
            let about = &event.involved_object;
            let reason = event.reason.as_deref().unwrap_or_default();
            about.kind.as_deref() == Some(kind)
                && about.name.as_deref() == Some(&key.name)
                && about.namespace.as_deref().unwrap_or_default() == key.namespace
                && (reasons.is_empty() || reasons.contains(&reason))
        })
    }

    /// How much there is, in words.
    #[must_use]
    pub fn size(&self) -> String {
        format!(
            "{} Services, {} pods, {} Ingresses and {} nodes are as they should be",
            self.services.len(),
            self.pods.len(),
            self.ingresses.len(),
            self.nodes.len()
        )
    }
}

/// Whether a pod has ended for good.
#[must_use]
pub fn has_ended(pod: &Pod) -> bool {
    matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// Whether a pod is being deleted.
#[must_use]
pub fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether a pod is Ready.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    pod.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

async fn all<T: Resource>(context: &Context, fields: &str) -> Result<Vec<T>, CommandError> {
    let options = ListOptions { field_selector: fields.to_owned(), ..ListOptions::default() };
    Ok(context.request(context.client()?.list::<T>("", &options)).await?.items)
}

async fn secrets(context: &Context) -> Result<BTreeMap<ObjectKey, String>, CommandError> {
    let options = ListOptions::default();
    let secrets = context.client()?.resource(&SECRETS);
    let list = context.request(secrets.list::<SecretHead>(&options)).await?;
    Ok(list.items.into_iter().map(|secret| (secret.key(), secret.type_)).collect())
}

fn by_key<K: Ord, T>(objects: Vec<T>, key: impl Fn(&T) -> K) -> BTreeMap<K, T> {
    objects.into_iter().map(|object| (key(&object), object)).collect()
}

async fn reports(
    context: &Context,
    nodes: impl Iterator<Item = &String>,
) -> Result<BTreeMap<String, Result<NodeReport, String>>, CommandError> {
    let asking = nodes.map(async |node| (node.clone(), inspection::report(context, node).await));
    let answers: Vec<_> = futures::stream::iter(asking).buffer_unordered(PARALLEL).collect().await;
    let mut reports = BTreeMap::new();
    for (node, answer) in answers {
        let report = match answer {
            Ok(report) => Ok(report),
            Err(error) if error.status().is_some_and(|status| status.code == 403) => {
                return Err(error);
            }
            Err(error) => Err(error.to_string()),
        };
        reports.insert(node, report);
    }
    Ok(reports)
}

/// Asks the scheduler about pods that wait for a node.
async fn explanations(
    context: &Context,
    pods: &BTreeMap<ObjectKey, Pod>,
) -> BTreeMap<ObjectKey, Result<Value, String>> {
    let pending = pods.iter().filter(|(_, pod)| {
        let unplaced = pod.spec.node_name.as_deref().unwrap_or_default().is_empty();
        unplaced && !has_ended(pod) && !is_going(pod)
    });
    let asking = pending.take(MAX_EXPLAINED).map(async |(key, _)| {
        let asked = async {
            let api = context.client()?.resource(&PODS).namespace(&key.namespace);
            let reply = context.request(api.subresource("scheduling").get(&key.name)).await?;
            Ok::<_, CommandError>(reply.view::<Value>()?)
        };
        (key.clone(), asked.await.map_err(|error| error.to_string()))
    });
    join_all(asking).await.into_iter().collect()
}

/// Asks whether known controllers may do what they need to.
async fn denied(
    context: &Context,
    pods: &BTreeMap<ObjectKey, Pod>,
) -> Result<Vec<Need>, CommandError> {
    let needs = access::needs(pods);
    let asking = needs.into_iter().map(async |need| {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{}:{}", need.namespace, need.account),
                "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{}", need.namespace), "system:authenticated"],
                "resourceAttributes": {"verb": need.verb, "group": need.group, "resource": need.resource},
            },
        });
        let api = context.client()?.resource(&SUBJECT_ACCESS_REVIEWS);
        let reply = context.request(api.create("", review.to_string().into())).await?;
        let allowed = reply.view::<Value>()?["status"]["allowed"] == true;
        Ok::<_, CommandError>((!allowed).then_some(need))
    });
    let answers = join_all(asking).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(answers.into_iter().flatten().collect())
}
