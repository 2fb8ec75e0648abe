//! The slices of one Service, as a pure function.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use apimachinery::{
    api::{
        core::{Container, Node, ObjectReference, Pod, Service, ServicePort},
        discovery::{
            Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode,
            ForZone,
        },
        meta::{ObjectMeta, OwnerReference},
    },
    int_or_string::IntOrString,
};

use crate::controllers::trigger_time::annotate;

/// The most endpoints of one slice.
pub const MAX_ENDPOINTS: usize = 100;
/// The label with the Service's name.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label with the controller that keeps a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// This controller's own value of it.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// What a sync looks at.
pub struct Snapshot<'a> {
    /// The Service.
    pub service: &'a Service,
    /// The pods that its selector selects.
    pub pods: Vec<Arc<Pod>>,
    /// The Service's slices that this controller keeps.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// The nodes, for zones.
    pub node: &'a dyn Fn(&str) -> Option<Arc<Node>>,
    /// When the change happened that led here.
    pub trigger_time: Option<String>,
}

/// The writes that bring the slices up to date.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// New slices.
    pub create: Vec<EndpointSlice>,
    /// Changed slices.
    pub update: Vec<EndpointSlice>,
    /// Names of slices that are not needed any more.
    pub delete: Vec<String>,
}

/// Decides the writes.
#[must_use]
pub fn plan(snapshot: &Snapshot<'_>) -> Plan {
    let service = snapshot.service;
    let mut plan = Plan::default();
    // Slices of another family cannot be changed; those of a namesake that is gone are not to be touched otherwise.
    let (keep, others): (Vec<_>, Vec<_>) = snapshot
        .slices
        .iter()
        .partition(|slice| slice.address_type == "IPv4" && is_owned(slice, service));
    plan.delete.extend(others.iter().filter_map(|s| s.metadata.name.clone()));

    // Desired endpoints by the ports that they resolve to, and by pod.
    let mut desired: BTreeMap<String, (Vec<EndpointPort>, BTreeMap<String, Endpoint>)> =
        BTreeMap::new();
    for pod in snapshot.pods.iter().filter(|pod| should_be_endpoint(pod, service)) {
        let ports = endpoint_ports(service, pod);
        let group = desired.entry(key(&ports)).or_insert_with(|| (ports, BTreeMap::new()));
        let endpoint = endpoint(pod, service, snapshot.node);
        group.1.insert(pod.metadata.uid.clone().unwrap_or_default(), endpoint);
    }
    let mut existing: BTreeMap<String, Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in keep {
        existing.entry(key(&slice.ports)).or_default().push(slice);
    }
    if desired.is_empty() && existing.values().all(Vec::is_empty) {
        // A placeholder, so that everybody sees that the Service was looked at.
        plan.create.push(new_slice(snapshot, Vec::new(), Vec::new()));
        return plan;
    }
    if desired.is_empty() {
        // One slice stays as the placeholder.
        let mut slices = existing.into_values().flatten();
        if let Some(first) = slices.next() {
            let mut slice = (**first).clone();
            slice.ports = Vec::new();
            slice.endpoints = Vec::new();
            finish_update(&mut plan, snapshot, first, slice);
        }
        plan.delete.extend(slices.filter_map(|s| s.metadata.name.clone()));
        return plan;
    }
    let placeholders: Vec<&Arc<EndpointSlice>> = existing
        .iter()
        .filter(|(ports, _)| !desired.contains_key(*ports))
        .flat_map(|(_, slices)| slices.iter().copied())
        .collect();
    let mut reusable = placeholders.into_iter();
    for (ports_key, (ports, endpoints)) in desired {
        let slices = existing.remove(&ports_key).unwrap_or_default();
        fit(&mut plan, snapshot, &slices, &mut reusable, &ports, endpoints);
    }
    plan.delete.extend(reusable.filter_map(|s| s.metadata.name.clone()));
    plan
}

/// Fits the endpoints of one set of ports into its slices: first those that are there already, then new ones into the
/// slices that change anyway, the fullest first; then, if one other slice has room for all the rest, into that; then into
/// new slices: `reconcileByPortMapping`. So every slice is written at most once, and as few as possible.
fn fit<'s>(
    plan: &mut Plan,
    snapshot: &Snapshot<'_>,
    slices: &[&'s Arc<EndpointSlice>],
    reusable: &mut impl Iterator<Item = &'s Arc<EndpointSlice>>,
    ports: &[EndpointPort],
    mut desired: BTreeMap<String, Endpoint>,
) {
    let mut drafts: Vec<(&Arc<EndpointSlice>, EndpointSlice, bool)> = Vec::new();
    for slice in slices {
        let mut draft = (***slice).clone();
        draft.endpoints.clear();
        for endpoint in &slice.endpoints {
            let uid = endpoint.target_ref.as_ref().and_then(|r| r.uid.clone()).unwrap_or_default();
            if let Some(wanted) = desired.remove(&uid) {
                draft.endpoints.push(wanted);
            }
        }
        let changed = draft.endpoints != slice.endpoints;
        drafts.push((*slice, draft, changed));
    }
    let mut rest: Vec<Endpoint> = desired.into_values().collect();
    drafts.sort_by_key(|(_, draft, _)| std::cmp::Reverse(draft.endpoints.len()));
    for (_, draft, _) in drafts.iter_mut().filter(|(_, _, changed)| *changed) {
        let room = MAX_ENDPOINTS.saturating_sub(draft.endpoints.len()).min(rest.len());
        draft.endpoints.extend(rest.drain(..room));
    }
    let last = rest.len() % MAX_ENDPOINTS;
    let fits = |draft: &EndpointSlice| draft.endpoints.len() + last <= MAX_ENDPOINTS;
    if last > 0
        && let Some((_, draft, changed)) =
            drafts.iter_mut().find(|(_, draft, changed)| !*changed && fits(draft))
    {
        draft.endpoints.extend(rest.drain(rest.len() - last..));
        *changed = true;
    }
    for (slice, draft, changed) in drafts {
        if draft.endpoints.is_empty() {
            plan.delete.extend(slice.metadata.name.clone());
        } else if changed || metadata_differs(snapshot, slice) {
            finish_update(plan, snapshot, slice, draft);
        }
    }
    while !rest.is_empty() {
        let batch: Vec<Endpoint> = rest.drain(..rest.len().min(MAX_ENDPOINTS)).collect();
        match reusable.next() {
            Some(slice) => {
                let mut draft = (**slice).clone();
                draft.ports = ports.to_vec();
                draft.endpoints = batch;
                finish_update(plan, snapshot, slice, draft);
            }
            None => plan.create.push(new_slice(snapshot, ports.to_vec(), batch)),
        }
    }
}

fn finish_update(
    plan: &mut Plan,
    snapshot: &Snapshot<'_>,
    slice: &EndpointSlice,
    mut draft: EndpointSlice,
) {
    draft.metadata.labels = labels(snapshot.service);
    if draft == *slice {
        return;
    }
    annotate(&mut draft.metadata.annotations, snapshot.trigger_time.as_ref());
    plan.update.push(draft);
}

fn metadata_differs(snapshot: &Snapshot<'_>, slice: &EndpointSlice) -> bool {
    labels(snapshot.service) != slice.metadata.labels
}

/// The Service's labels, less those that would make a slice pass for a headless Service's, plus the controller's own.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    for own in [HEADLESS, SERVICE_NAME, MANAGED_BY] {
        labels.remove(own);
    }
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(SERVICE_NAME.into(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels
}

/// Whether the slice belongs to this very Service, not to a namesake.
fn is_owned(slice: &EndpointSlice, service: &Service) -> bool {
    slice
        .metadata
        .owner_references
        .iter()
        .any(|owner| owner.kind == "Service" && Some(&owner.uid) == service.metadata.uid.as_ref())
}

fn is_headless(service: &Service) -> bool {
    matches!(service.spec.cluster_ip.as_deref(), None | Some("None" | ""))
}

fn new_slice(
    snapshot: &Snapshot<'_>,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let service = snapshot.service;
    let name = service.metadata.name.clone().unwrap_or_default();
    let mut metadata = ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: service.metadata.namespace.clone(),
        labels: labels(service),
        owner_references: vec![OwnerReference {
            api_version: "v1".into(),
            kind: "Service".into(),
            name,
            uid: service.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }],
        ..ObjectMeta::default()
    };
    annotate(&mut metadata.annotations, snapshot.trigger_time.as_ref());
    EndpointSlice { metadata, address_type: "IPv4".into(), endpoints, ports }
}

fn key(ports: &[EndpointPort]) -> String {
    let parts: BTreeSet<String> =
        ports.iter().map(|p| serde_json::to_string(p).unwrap_or_default()).collect();
    parts.into_iter().collect::<Vec<_>>().join(",")
}

/// Whether a pod has a place behind the Service: `ShouldPodBeInEndpoints`.
fn should_be_endpoint(pod: &Pod, service: &Service) -> bool {
    if matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return false;
    }
    // Terminating pods stay, marked as such, so that a proxy can fall back on them.
    pod.status.pod_ip.as_deref().is_some_and(|ip| !ip.is_empty())
        && service.spec.type_.as_deref() != Some("ExternalName")
}

fn ready(pod: &Pod) -> bool {
    pod.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn endpoint(pod: &Pod, service: &Service, node: &dyn Fn(&str) -> Option<Arc<Node>>) -> Endpoint {
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = ready(pod);
    let published = service.spec.publish_not_ready_addresses == Some(true);
    let zone = pod
        .spec
        .node_name
        .as_deref()
        .and_then(node)
        .and_then(|n| n.metadata.labels.get("topology.kubernetes.io/zone").cloned());
    let hostname = pod
        .spec
        .hostname
        .clone()
        .filter(|_| pod.spec.subdomain == service.metadata.name && pod.spec.hostname.is_some());
    Endpoint {
        addresses: pod.status.pod_ip.iter().cloned().collect(),
        conditions: Some(EndpointConditions {
            ready: Some(published || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname,
        hints: hints(service, pod.spec.node_name.as_deref(), zone.as_deref()),
        node_name: pod.spec.node_name.clone(),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        zone,
        ..Endpoint::default()
    }
}

/// Who should prefer an endpoint on this node and in this zone, by the Service's `trafficDistribution`. A zone that is
/// not known leaves the hint out, and proxies heed hints only where all endpoints have them.
fn hints(service: &Service, node: Option<&str>, zone: Option<&str>) -> Option<EndpointHints> {
    let same_node = match service.spec.traffic_distribution.as_deref()? {
        "PreferSameNode" => true,
        "PreferClose" | "PreferSameZone" => false,
        _ => return None,
    };
    let name = |name: &str| name.to_owned();
    let hints = EndpointHints {
        for_nodes: node
            .filter(|_| same_node)
            .map(|n| ForNode { name: name(n) })
            .into_iter()
            .collect(),
        for_zones: zone.map(|z| ForZone { name: name(z) }).into_iter().collect(),
    };
    (hints != EndpointHints::default()).then_some(hints)
}

/// The Service's ports as this pod resolves them; a named port that it lacks is left out: `getEndpointPorts`.
fn endpoint_ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    if service.spec.ports.is_empty() {
        return Vec::new();
    }
    service
        .spec
        .ports
        .iter()
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(target_port(port, pod)?),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

/// The container port that a Service's port leads to: `FindPort`.
#[must_use]
pub fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(if *number == 0 { port.port } else { *number }),
        Some(IntOrString::String(name)) => {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let sidecar = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
            let containers =
                pod.spec.containers.iter().chain(pod.spec.init_containers.iter().filter(sidecar));
            containers
                .flat_map(|c| &c.ports)
                .find(|p| {
                    p.name.as_deref() == Some(name)
                        && p.protocol.as_deref().unwrap_or("TCP") == protocol
                })
                .map(|p| p.container_port)
        }
    }
}

#[cfg(test)]
mod tests;
