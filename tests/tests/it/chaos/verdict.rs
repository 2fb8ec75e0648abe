//! What must be there in the end, and what must not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    path::Path,
};

use apimachinery::api::{
    Resource,
    apps::{Deployment, ReplicaSet},
    core::{Endpoints, Node, Pod, Service},
    discovery::EndpointSlice,
    meta::{ObjectMeta, OwnerReference},
};
use client::ListOptions;
use tests::{Component, TestCluster, http};

use super::{
    NODES,
    load::{Wanted, Wishes},
};
use crate::support::field;

/// The default namespace, but for the Service of the API itself.
struct State {
    deployments: Vec<Deployment>,
    replica_sets: Vec<ReplicaSet>,
    pods: Vec<Pod>,
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
    endpoints: Vec<Endpoints>,
}

async fn all<T: Resource>(cluster: &TestCluster) -> anyhow::Result<Vec<T>> {
    let mut items = cluster.client().list::<T>("default", &ListOptions::default()).await?.items;
    items.retain(|item| service_of(item.metadata()) != "kubernetes");
    Ok(items)
}

/// The Service that an EndpointSlice belongs to; of everything else the name.
fn service_of(meta: &ObjectMeta) -> &str {
    meta.labels.get("kubernetes.io/service-name").map_or_else(|| name(meta), String::as_str)
}

fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

fn owner(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().find(|owner| owner.controller == Some(true))
}

fn owned_by<'a, T: Resource>(items: &'a [T], uid: &'a str) -> impl Iterator<Item = &'a T> {
    items.iter().filter(move |item| owner(item.metadata()).is_some_and(|owner| owner.uid == uid))
}

fn names<T: Resource>(items: &[T]) -> BTreeSet<&str> {
    items.iter().map(|item| service_of(item.metadata())).collect()
}

/// Err: everything that is not yet as it must be.
pub(super) async fn state(cluster: &TestCluster, wanted: &Wishes) -> anyhow::Result<()> {
    let state = State {
        deployments: all(cluster).await?,
        replica_sets: all(cluster).await?,
        pods: all(cluster).await?,
        services: all(cluster).await?,
        slices: all(cluster).await?,
        endpoints: all(cluster).await?,
    };
    let mut faults = Vec::new();
    for node in cluster.client().list::<Node>("", &ListOptions::default()).await?.items {
        let ready = node.status.conditions.iter().find(|c| c.type_ == "Ready");
        if ready.is_none_or(|c| c.status != "True") || !node.spec.taints.is_empty() {
            faults.push(format!("{}: {ready:?} {:?}", name(&node.metadata), node.spec.taints));
        }
    }
    let present: BTreeMap<&str, &Wanted> =
        wanted.iter().filter_map(|(name, wish)| Some((name.as_str(), wish.as_ref()?))).collect();
    let expected: BTreeSet<&str> = present.keys().copied().collect();
    for (kind, found) in [
        ("Deployments", names(&state.deployments)),
        ("Services", names(&state.services)),
        ("EndpointSlices", names(&state.slices)),
        ("Endpoints", names(&state.endpoints)),
    ] {
        if found != expected {
            faults.push(format!("{kind}: {found:?}, not {expected:?}"));
        }
    }
    no_orphans(&state, &mut faults);
    for (name, wanted) in &present {
        deployment(&state, name, wanted, &mut faults);
    }
    anyhow::ensure!(faults.is_empty(), "{}", faults.join("\n"));
    traffic(cluster, &state).await
}

fn no_orphans(state: &State, faults: &mut Vec<String>) {
    let uids = |metas: Vec<&ObjectMeta>| -> BTreeSet<String> {
        metas.into_iter().filter_map(|meta| meta.uid.clone()).collect()
    };
    let deployments = uids(state.deployments.iter().map(|d| &d.metadata).collect());
    let sets = uids(state.replica_sets.iter().map(|set| &set.metadata).collect());
    let mut check = |meta: &ObjectMeta, owners: &BTreeSet<String>| {
        if !owner(meta).is_some_and(|owner| owners.contains(&owner.uid)) {
            faults.push(format!("{} is an orphan: {:?}", name(meta), meta.owner_references));
        }
    };
    for set in &state.replica_sets {
        check(&set.metadata, &deployments);
    }
    for pod in &state.pods {
        check(&pod.metadata, &sets);
    }
}

fn deployment(state: &State, wanted_name: &str, wanted: &Wanted, faults: &mut Vec<String>) {
    let found = state.deployments.iter().find(|d| name(&d.metadata) == wanted_name);
    let Some(found) = found else { return };
    let replicas = i32::try_from(wanted.replicas).unwrap();
    let status = &found.status;
    let counts = [status.replicas, status.updated_replicas, status.ready_replicas];
    if counts.iter().any(|count| count.unwrap_or(0) != replicas)
        || status.observed_generation != found.metadata.generation
    {
        faults.push(format!("{wanted_name}: {replicas} replicas wanted: {status:?}"));
    }
    let sets: Vec<_> =
        owned_by(&state.replica_sets, found.metadata.uid.as_deref().unwrap()).collect();
    let revision = wanted.revision.to_string();
    // The present one, and as many as its history may have.
    if sets.len() > 3 {
        faults.push(format!("{wanted_name}: {} ReplicaSets", sets.len()));
    }
    let mut addresses = BTreeSet::new();
    let mut count = 0;
    for set in sets {
        for pod in owned_by(&state.pods, set.metadata.uid.as_deref().unwrap()) {
            count += 1;
            addresses.insert(pod.status.pod_ip.clone().unwrap_or_default());
            let ready =
                pod.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
            let right = pod.metadata.annotations.get("revision") == Some(&revision);
            if !ready || !right || pod.metadata.deletion_timestamp.is_some() {
                faults.push(format!(
                    "{} on {:?}: ready {ready}, revision {:?} of {revision}, deleted {:?}",
                    name(&pod.metadata),
                    pod.spec.node_name,
                    pod.metadata.annotations.get("revision"),
                    pod.metadata.deletion_timestamp,
                ));
            }
        }
    }
    if count != wanted.replicas || addresses.len() as u64 != count {
        faults.push(format!("{wanted_name}: {count} pods at {addresses:?}"));
    }
    let slices = state.slices.iter().filter(|slice| service_of(&slice.metadata) == wanted_name);
    let endpoints: Vec<_> = slices.flat_map(|slice| &slice.endpoints).collect();
    let told: BTreeSet<String> = endpoints.iter().flat_map(|e| e.addresses.clone()).collect();
    if told != addresses || endpoints.len() != addresses.len() {
        faults.push(format!("{wanted_name}: endpoints {told:?}, pods at {addresses:?}"));
    }
    let object = state.endpoints.iter().find(|e| name(&e.metadata) == wanted_name);
    let told: BTreeSet<String> = object
        .iter()
        .flat_map(|object| &object.subsets)
        .flat_map(|subset| subset.addresses.iter().map(|address| address.ip.clone()))
        .collect();
    if told != addresses {
        faults.push(format!("{wanted_name}: Endpoints {told:?}, pods at {addresses:?}"));
    }
}

/// Each Service answers at each node, by a pod of its own.
async fn traffic(cluster: &TestCluster, state: &State) -> anyhow::Result<()> {
    for service in &state.services {
        let service = name(&service.metadata);
        let has_pods = state.pods.iter().any(|pod| pod.metadata.labels["app"] == service);
        let port = cluster.node_port(service).await?;
        for node in (1..=NODES).filter(|_| has_pods) {
            let answer =
                http::get(&format!("http://{}:{port}", cluster.node_address(node))).await?;
            let host = field(&answer.body, "Hostname");
            anyhow::ensure!(
                state.pods.iter().any(|pod| name(&pod.metadata) == host),
                "{service} at node {node} is answered by {host}"
            );
        }
    }
    Ok(())
}

/// No component panicked, or says that a human must look.
pub(super) fn logs(cluster: &TestCluster) {
    for component in Component::all(NODES) {
        let log = cluster.folder().join(format!("state/logs/{component}.log"));
        let text = fs::read_to_string(log).unwrap();
        let bad: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("panicked at") || line.contains(" ERROR "))
            .collect();
        assert!(bad.is_empty(), "{component}:\n{}", bad.join("\n"));
    }
}

/// What the processes of a cluster hold.
#[derive(Debug)]
pub(super) struct Resources {
    files: BTreeMap<Component, usize>,
}

pub(super) fn resources(cluster: &TestCluster) -> Resources {
    let count = |component| {
        let pid = cluster.pid(component).unwrap();
        (component, fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
    };
    Resources { files: Component::all(NODES).map(count).collect() }
}

/// The folders' entries.
fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Who listens on the cluster's addresses of the host.
fn listeners(cluster: &TestCluster) -> BTreeSet<(Ipv4Addr, u16)> {
    let network = &cluster.node_address(1).octets()[..3];
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let listening = table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        let state = words.nth(1)?;
        let address = u32::from_str_radix(address, 16).ok()?.to_le_bytes();
        let port = u16::from_str_radix(port, 16).ok()?;
        (state == "0A" && address[..3] == *network).then(|| (Ipv4Addr::from(address), port))
    });
    listening.collect()
}

/// Host ports of Services that are there; folders of pods that are there; as many open files as pods explain.
pub(super) async fn nothing_leaked(cluster: &TestCluster, fresh: &Resources) {
    let pods = all::<Pod>(cluster).await.unwrap();
    let mut services = all::<Service>(cluster).await.unwrap();
    // Without a pod behind it nobody listens, so that connections are refused.
    services.retain(|service| {
        pods.iter().any(|pod| pod.metadata.labels["app"] == name(&service.metadata))
    });
    let ports = services.iter().flat_map(|service| &service.spec.ports);
    let ports: BTreeSet<u16> =
        ports.filter_map(|port| u16::try_from(port.node_port?).ok()).collect();
    let wanted: BTreeSet<_> = (1..=NODES)
        .flat_map(|node| ports.iter().map(move |port| (cluster.node_address(node), *port)))
        .collect();
    cluster
        .eventually("host ports", async || match listeners(cluster) {
            found if found == wanted => Ok(()),
            found => Err(format!("{found:?}, not {wanted:?}")),
        })
        .await;

    for node in 1..=NODES {
        let here = |pod: &&Pod| pod.spec.node_name == Some(format!("node-{node}"));
        let uids: BTreeSet<String> =
            pods.iter().filter(here).filter_map(|pod| pod.metadata.uid.clone()).collect();
        let state = cluster.folder().join(format!("state/nodes/node-{node}"));
        cluster
            .eventually("the nodes' folders", async || {
                let found: BTreeSet<String> = entries(&state.join("pods")).into_iter().collect();
                let logs = entries(&state.join("logs"));
                let strange: Vec<_> =
                    logs.iter().filter(|log| !uids.iter().any(|uid| log.contains(uid))).collect();
                if found.is_subset(&uids) && strange.is_empty() {
                    Ok(())
                } else {
                    Err(format!("pods {found:?}, logs {logs:?}, but {uids:?} at node {node}"))
                }
            })
            .await;
    }
    let sockets = entries(&cluster.folder().join("run")).len();
    assert!(sockets < 30, "{sockets} entries in the run folder");

    let per_pod = 8;
    let now = resources(cluster);
    for (component, files) in now.files {
        let before = fresh.files[&component];
        let limit = before + 40 + per_pod * pods.len();
        assert!(files <= limit, "{component} has {files} files open, {before} when it was fresh");
    }
}
