//! The Node object: made at the first start, its status kept true.
//!
//! A kubelet looks at its status every 10 s and tells it when it differs, or after five minutes; the Lease is the
//! heartbeat. Here nothing is looked at without a reason: the object is watched, and what differs is told after as
//! long as a kubelet would take, or at once where it is about being Ready or was asked for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apimachinery::{
    api::{
        core::{Node, NodeStatus, ObjectReference},
        meta::ObjectMeta,
    },
    resource,
    status::Status,
};
use client::{
    Backoff, Client, EventRecorder, Patch, WatchEvent, WatchOptions,
    events::EventType,
    reflector::{Change, ListWatch, Reflector},
};
use component_base::clock::Clock;
use futures::StreamExt;
use serde_json::{Value, json};

use super::{NodeSettings, own::OwnNode, status};
use crate::{images::NodeImages, simulation};

/// How often an unchanged status is reported: `nodeStatusReportFrequency`.
const REPORT: Duration = Duration::from_secs(300);
/// How soon a changed one is: `nodeStatusUpdateFrequency`.
const UPDATE: Duration = Duration::from_secs(10);
/// The annotation by which the API server finds this kubelet.
pub(super) const ENDPOINT_ANNOTATION: &str = "kube-mini.dev/kubelet-endpoint";

/// What brings a node's state to the API server.
pub(crate) struct Reporter {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) settings: NodeSettings,
    pub(crate) boot_id: String,
    pub(crate) images: Arc<NodeImages>,
    pub(crate) own: OwnNode,
    pub(crate) recorder: EventRecorder,
}

/// The Node as the kubelet makes it, without a status.
pub(crate) fn object(settings: &NodeSettings) -> Node {
    let mut node = Node {
        metadata: ObjectMeta { name: Some(settings.name.clone()), ..ObjectMeta::default() },
        ..Node::default()
    };
    node.metadata.labels = labels(settings);
    node.metadata.annotations =
        [(ENDPOINT_ANNOTATION.to_owned(), settings.kubelet_endpoint.clone())].into();
    node
}

fn labels(settings: &NodeSettings) -> BTreeMap<String, String> {
    let mut labels = settings.labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", settings.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", status::arch()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", status::arch()),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// What an event is about that a kubelet tells of its node: the uid is the name, as kubelets have it.
pub(super) fn reference(name: &str) -> ObjectReference {
    ObjectReference {
        kind: Some("Node".into()),
        name: Some(name.to_owned()),
        uid: Some(name.to_owned()),
        ..ObjectReference::default()
    }
}

impl Reporter {
    /// Registers the node, trying until the API server takes it; a node that exists is brought up to date.
    pub(crate) async fn register(&self) -> Node {
        self.event(EventType::Normal, "Starting", "Starting kubelet.");
        let mut pause = Backoff::new(Duration::from_millis(10), Duration::from_secs(2));
        loop {
            match self.try_register().await {
                Ok(node) => {
                    self.seen(node.clone());
                    return node;
                }
                Err(status) => {
                    tracing::debug!(node = %self.settings.name, %status, "cannot register yet");
                    self.clock.sleep(pause.next(&self.clock)).await;
                }
            }
        }
    }

    async fn try_register(&self) -> Result<Node, Status> {
        let mut node = object(&self.settings);
        node.status = self.wanted(&NodeStatus::default());
        match self.client.create(&node).await {
            Err(status) if status.is_already_exists() => {}
            created => {
                let created = created?;
                self.tell_turns(&NodeStatus::default(), &node.status);
                return Ok(created);
            }
        }
        let patch = json!({"metadata": {"labels": node.metadata.labels, "annotations": node.metadata.annotations}});
        let found: Node =
            self.client.patch("", &self.settings.name, &Patch::Merge(patch), "").await?;
        let former = found.status.node_info.as_ref().map_or("", |info| &info.boot_id);
        if !former.is_empty() && former != self.boot_id {
            let text =
                format!("Node {} has been rebooted, boot id: {}", self.settings.name, self.boot_id);
            self.event(EventType::Warning, "Rebooted", &text);
        }
        self.own.seen(found);
        if self.own.simulation().silent {
            return Ok((*self.own.node()).clone());
        }
        self.report().await
    }

    /// The status that the node should have now.
    fn wanted(&self, current: &NodeStatus) -> NodeStatus {
        status::wanted(status::View {
            settings: &self.settings,
            boot_id: &self.boot_id,
            images: self.images.list(),
            simulation: &self.own.simulation(),
            shutting_down: self.own.shutting_down(),
            current,
            now: self.clock.now(),
        })
    }

    /// Reports the status.
    ///
    /// # Errors
    /// Those of the patch.
    pub(crate) async fn report(&self) -> Result<Node, Status> {
        let current = self.own.node();
        let wanted = self.wanted(&current.status);
        let text: Value = serde_json::to_value(&wanted)
            .map_err(|e| Status::internal(format!("cannot encode a node's status: {e}")))?;
        let patch = Patch::Strategic(json!({"status": text}));
        let node: Node = self.client.patch("", &self.settings.name, &patch, "status").await?;
        self.tell_turns(&current.status, &wanted);
        Ok(node)
    }

    fn event(&self, kind: EventType, reason: &str, message: &str) {
        self.recorder.record_about(reference(&self.settings.name), kind, reason, message);
    }

    fn is_now(&self, reason: &str) {
        let text = format!("Node {} status is now: {reason}", self.settings.name);
        self.event(EventType::Normal, reason, &text);
    }

    fn tell_turns(&self, former: &NodeStatus, wanted: &NodeStatus) {
        for reason in status::events(&former.conditions, &wanted.conditions) {
            self.is_now(reason);
        }
    }

    /// Takes in the object, and tells what is new of what others have set.
    fn seen(&self, node: Node) {
        let problems = self.own.simulation().problems.clone();
        let unschedulable = |node: &Node| node.spec.unschedulable == Some(true);
        let is = unschedulable(&node);
        let was = unschedulable(&self.own.seen(node));
        if was != is {
            self.is_now(if is { "NodeNotSchedulable" } else { "NodeSchedulable" });
        }
        for problem in &self.own.simulation().problems {
            if !problems.contains(problem) {
                self.event(EventType::Warning, simulation::INVALID, problem);
            }
        }
    }

    /// Keeps the status true for ever.
    pub(crate) async fn keep_status(&self) {
        let source = ListWatch {
            field_selector: format!("metadata.name={}", self.settings.name),
            ..ListWatch::all(&resource::NODES)
        };
        let mut watched: Reflector<Node> =
            Reflector::new(self.client.clone(), self.clock.clone(), source);
        let mut images = self.images.watch();
        let mut pause = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let mut regular = self.clock.monotonic() + REPORT;
        // When a difference is told.
        let mut soon: Option<Duration> = None;
        loop {
            let next = soon.map_or(regular, |soon| soon.min(regular));
            tokio::select! {
                () = self.clock.sleep_until(next) => {}
                change = watched.next() => {
                    let before = self.own.simulation();
                    if let Some(node) = newest(change) {
                        self.seen(node);
                    }
                    let asked = before != self.own.simulation();
                    soon = self.when_to_tell(soon, asked);
                }
                Ok(()) = images.changed() => soon = self.when_to_tell(soon, false),
            }
            let now = self.clock.monotonic();
            if soon.map_or(regular, |soon| soon.min(regular)) > now {
                continue;
            }
            soon = None;
            regular = now + REPORT;
            if self.own.simulation().silent {
                continue;
            }
            match Box::pin(self.report()).await {
                Ok(node) => {
                    pause.reset();
                    self.seen(node);
                }
                Err(status) => {
                    tracing::debug!(node = %self.settings.name, %status, "cannot report the node's status");
                    regular = now + pause.next(&self.clock);
                }
            }
        }
    }

    /// When the status is to be told: at once if somebody doubts that the node is Ready, or `asked` for the change.
    fn when_to_tell(&self, soon: Option<Duration>, asked: bool) -> Option<Duration> {
        let current = &self.own.node().status;
        let wanted = self.wanted(current);
        if !status::differs(current, &wanted) {
            return None;
        }
        let ready = |status: &NodeStatus| {
            let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
            ready.map(|c| c.status.clone())
        };
        let now = self.clock.monotonic();
        if asked || ready(current) != ready(&wanted) {
            return Some(now);
        }
        Some(soon.unwrap_or(now + UPDATE))
    }

    /// Waits until the node has a range of pod addresses.
    pub(crate) async fn await_pod_cidr(&self, node: &Node) -> String {
        let assigned = |node: &Node| node.spec.pod_cidr.clone().filter(|cidr| !cidr.is_empty());
        if let Some(cidr) = assigned(node) {
            return cidr;
        }
        let options = WatchOptions {
            field_selector: format!("metadata.name={}", self.settings.name),
            ..WatchOptions::default()
        };
        let mut pause = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
        loop {
            if let Ok(mut stream) = self.client.watch::<Node>("", &options).await {
                while let Some(Ok(event)) = stream.next().await {
                    if let WatchEvent::Added(node) | WatchEvent::Modified(node) = event
                        && let Some(cidr) = assigned(&node)
                    {
                        return cidr;
                    }
                }
            }
            self.clock.sleep(pause.next(&self.clock)).await;
        }
    }
}

/// The object after a change, if there is one.
fn newest(change: Change<Node>) -> Option<Node> {
    match change {
        Change::Replaced { objects, .. } => objects.into_iter().next(),
        Change::Applied(node) => Some(node),
        Change::Deleted(_) | Change::Reached(_) => None,
    }
}
