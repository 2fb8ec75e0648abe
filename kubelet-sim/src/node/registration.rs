//! The Node object: made at the first start, its status kept true.

use std::{collections::BTreeMap, time::Duration};

use apimachinery::{
    api::{
        core::{Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo},
        meta::ObjectMeta,
    },
    resource,
    status::Status,
    time::Time,
};
use client::{
    Backoff, Client, Patch, WatchEvent, WatchOptions,
    reflector::{Change, ListWatch, Reflector},
};
use component_base::clock::Clock;
use futures::StreamExt;
use serde_json::{Value, json};

use super::NodeSettings;

/// How often an unchanged status is reported: `nodeStatusReportFrequency`.
const REPORT: Duration = Duration::from_secs(300);
/// The version that the kubelet shows.
pub(super) const KUBELET_VERSION: &str = "v1.36.0";
/// The annotation by which the API server finds this kubelet.
pub(super) const ENDPOINT_ANNOTATION: &str = "kube-mini.dev/kubelet-endpoint";

/// Registers the node, trying until the API server takes it; a node that exists is brought up to date.
pub(crate) async fn register(
    client: &Client,
    clock: &Clock,
    settings: &NodeSettings,
    boot_id: &str,
) -> Node {
    let mut pause = Backoff::new(Duration::from_millis(10), Duration::from_secs(2));
    loop {
        match try_register(client, clock, settings, boot_id).await {
            Ok(node) => return node,
            Err(status) => {
                tracing::debug!(node = %settings.name, %status, "cannot register yet");
                clock.sleep(pause.next(clock)).await;
            }
        }
    }
}

async fn try_register(
    client: &Client,
    clock: &Clock,
    settings: &NodeSettings,
    boot_id: &str,
) -> Result<Node, Status> {
    let node = Node {
        metadata: ObjectMeta {
            name: Some(settings.name.clone()),
            labels: labels(settings),
            annotations: [(ENDPOINT_ANNOTATION.to_owned(), settings.kubelet_endpoint.clone())]
                .into(),
            ..ObjectMeta::default()
        },
        status: status(settings, boot_id, clock),
        ..Node::default()
    };
    match client.create(&node).await {
        Err(status) if status.is_already_exists() => {}
        created => return created,
    }
    let patch = json!({"metadata": {"labels": node.metadata.labels, "annotations": node.metadata.annotations}});
    client.patch::<Node>("", &settings.name, &Patch::Merge(patch), "").await?;
    report(client, clock, settings, boot_id).await
}

fn labels(settings: &NodeSettings) -> BTreeMap<String, String> {
    let mut labels = settings.labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", settings.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch()),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn status(settings: &NodeSettings, boot_id: &str, clock: &Clock) -> NodeStatus {
    let address = |type_: &str, address: &str| NodeAddress {
        type_: type_.to_owned(),
        address: address.to_owned(),
    };
    NodeStatus {
        addresses: [
            Some(address("InternalIP", &settings.internal_ip)),
            settings.external_ip.as_deref().map(|ip| address("ExternalIP", ip)),
            Some(address("Hostname", &settings.name)),
        ]
        .into_iter()
        .flatten()
        .collect(),
        capacity: settings.capacity.clone(),
        allocatable: settings.capacity.clone(),
        conditions: conditions(clock),
        daemon_endpoints: Some(NodeDaemonEndpoints::default()),
        node_info: Some(NodeSystemInfo {
            architecture: arch().to_owned(),
            boot_id: boot_id.to_owned(),
            container_runtime_version: "kube-mini://1.36.0".to_owned(),
            kernel_version: "simulated".to_owned(),
            kube_proxy_version: String::new(),
            kubelet_version: KUBELET_VERSION.to_owned(),
            machine_id: settings.name.clone(),
            operating_system: "linux".to_owned(),
            os_image: "kube-mini".to_owned(),
            swap: None,
            system_uuid: settings.name.clone(),
        }),
        ..NodeStatus::default()
    }
}

fn conditions(clock: &Clock) -> Vec<NodeCondition> {
    let now = Some(Time(clock.now()).truncated());
    [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    .into_iter()
    .map(|(type_, status, reason, message)| NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: now,
        last_transition_time: now,
    })
    .collect()
}

/// Reports the status, keeping the transition times of conditions that stay as they are.
async fn report(
    client: &Client,
    clock: &Clock,
    settings: &NodeSettings,
    boot_id: &str,
) -> Result<Node, Status> {
    let current: Node = client.get("", &settings.name).await?;
    let mut wanted = status(settings, boot_id, clock);
    for condition in &mut wanted.conditions {
        let former = current
            .status
            .conditions
            .iter()
            .find(|c| c.type_ == condition.type_ && c.status == condition.status);
        if let Some(former) = former {
            condition.last_transition_time.clone_from(&former.last_transition_time);
        }
    }
    let wanted: Value = serde_json::to_value(&wanted)
        .map_err(|e| Status::internal(format!("cannot encode a node's status: {e}")))?;
    let patch = Patch::Strategic(json!({"status": wanted}));
    client.patch("", &settings.name, &patch, "status").await
}

/// Keeps the status fresh for ever: every five minutes, and at once when somebody says that the node is not Ready.
pub(crate) async fn keep_status(
    client: Client,
    clock: Clock,
    settings: NodeSettings,
    boot_id: String,
) {
    let source = ListWatch {
        field_selector: format!("metadata.name={}", settings.name),
        ..ListWatch::all(&resource::NODES)
    };
    let mut own: Reflector<Node> = Reflector::new(client.clone(), clock.clone(), source);
    let mut pause = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
    let mut next = clock.monotonic() + REPORT;
    loop {
        let due = tokio::select! {
            () = clock.sleep_until(next) => true,
            change = own.next() => doubted(&change),
        };
        if !due {
            continue;
        }
        let wait = match report(&client, &clock, &settings, &boot_id).await {
            Ok(_) => {
                pause.reset();
                REPORT
            }
            Err(status) => {
                tracing::debug!(node = %settings.name, %status, "cannot report the node's status");
                pause.next(&clock)
            }
        };
        next = clock.monotonic() + wait;
    }
}

/// Whether the API server has the node as anything but Ready.
fn doubted(change: &Change<Node>) -> bool {
    let node = match change {
        Change::Replaced { objects, .. } => objects.first(),
        Change::Applied(node) => Some(node),
        Change::Deleted(_) | Change::Reached(_) => None,
    };
    node.is_some_and(|node| {
        !node.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
    })
}

/// Waits until the node has a range of pod addresses.
pub(crate) async fn await_pod_cidr(client: &Client, clock: &Clock, node: Node) -> String {
    let name = node.metadata.name.clone().unwrap_or_default();
    if let Some(cidr) = assigned(&node) {
        return cidr;
    }
    let options =
        WatchOptions { field_selector: format!("metadata.name={name}"), ..WatchOptions::default() };
    let mut pause = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
    loop {
        if let Ok(mut stream) = client.watch::<Node>("", &options).await {
            while let Some(Ok(event)) = stream.next().await {
                if let WatchEvent::Added(node) | WatchEvent::Modified(node) = event
                    && let Some(cidr) = assigned(&node)
                {
                    return cidr;
                }
            }
        }
        clock.sleep(pause.next(clock)).await;
    }
}

fn assigned(node: &Node) -> Option<String> {
    node.spec.pod_cidr.clone().filter(|cidr| !cidr.is_empty())
}
