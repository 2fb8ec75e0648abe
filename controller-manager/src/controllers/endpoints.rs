//! The Endpoints controller: the older form of EndpointSlices, one object per Service, which many clients still read.
//!
//! Addresses are grouped by the ports that they resolve to, ready ones apart from others; more than a thousand are cut
//! off, with an annotation that says so. When a Service goes, its Endpoints go, whoever made them. Follows `pkg/controller/endpoint` of Kubernetes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apimachinery::{
    api::{
        core::{
            EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
        },
        meta::ObjectMeta,
    },
    object::ObjectKey,
    status::Status,
};
use client::{
    Client, DeleteOptions, EventRecorder, Store, controller::Action, events::EventType,
    store::Delta,
};

use parking_lot::Mutex;

use super::{
    endpoint_slice::{
        act::{on_pod, selects},
        plan::target_port,
    },
    trigger_time::{TriggerTimes, annotate},
};
use crate::context::{Setup, is_overtaken, key_of};

const WORKERS: usize = 5;
/// The most addresses of one object.
const CAPACITY: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// Endpoints by which leaders were once elected have no Service.
pub(super) const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const HEADLESS: &str = "service.kubernetes.io/headless";

#[derive(Clone)]
struct Reconciler {
    client: Client,
    services: Store<Service>,
    pods: Store<Pod>,
    endpoints: Store<Endpoints>,
    recorder: EventRecorder,
    trigger_times: TriggerTimes,
    writes: Writes,
}

/// What the store does not tell of our own writes: nobody wakes a Service when its Endpoints change, so that a decision on an
/// old copy would stand.
#[derive(Clone, Debug, Default)]
struct Writes(Arc<Mutex<BTreeMap<ObjectKey, Write>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Write {
    /// The version that a write of ours has replaced, and how often it may still be met.
    Replaced(String, u32),
    /// A write whose outcome is not known: its answer was lost, or somebody else came first.
    InDoubt,
}

impl Writes {
    fn note(&self, key: &ObjectKey, write: Write) {
        self.0.lock().insert(key.clone(), write);
    }

    fn forget(&self, key: &ObjectKey) {
        self.0.lock().remove(key);
    }

    /// Whether a copy is older than what we have written. A copy that stays so is believed in the end: what was written may
    /// be gone again without a trace.
    fn is_stale(&self, key: &ObjectKey, existing: Option<&Endpoints>) -> bool {
        let version = existing.and_then(|e| e.metadata.resource_version.as_deref());
        let mut writes = self.0.lock();
        match writes.get_mut(key) {
            Some(Write::Replaced(replaced, left))
                if *left > 0 && replaced == version.unwrap_or_default() =>
            {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    fn in_doubt(&self, key: &ObjectKey) -> bool {
        self.0.lock().get(key) == Some(&Write::InDoubt)
    }
}

/// For how long a copy that is too old is given to become current.
const CATCH_UP: Duration = Duration::from_millis(20);
/// How often that is done: five seconds in all.
const PATIENCE: u32 = 250;

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = setup.queue::<ObjectKey>();
    let reconciler = Reconciler {
        client: setup.client.with_field_manager("kube-controller-manager"),
        services: setup.informers.store(),
        pods: setup.informers.store(),
        endpoints: setup.informers.store(),
        recorder: setup.recorder("endpoint-controller"),
        trigger_times: TriggerTimes::default(),
        writes: Writes::default(),
    };
    setup.enqueue_changes::<Service>(&queue);
    // Changes by others are let be until the Service or its pods change. What a Service left behind while no controller
    // ran is found at the start.
    let (keys, all) = (queue.clone(), reconciler.endpoints.clone());
    setup.informers.on_change::<Endpoints, _>(move |delta| {
        let endpoints = delta.object();
        let elects = endpoints.metadata.annotations.contains_key(LEADER);
        if matches!(delta, Delta::Deleted(_)) || (!all.has_synced() && !elects) {
            keys.add(key_of(&endpoints.metadata));
        }
    });
    let (keys, services) = (queue.clone(), reconciler.services.clone());
    setup
        .informers
        .on_change::<Pod, _>(move |delta| on_pod(delta, &services, &|key| keys.add(key)));
    let stores = reconciler.clone();
    let synced = async move {
        stores.services.synced().await;
        stores.pods.synced().await;
        stores.endpoints.synced().await;
    };
    setup.run("endpoints", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
}

impl Reconciler {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let existing = self.endpoints.get(key);
        let Some(service) = self.services.get(key) else {
            self.trigger_times.forget(key);
            self.writes.forget(key);
            if let Some(existing) = existing {
                self.delete(&existing).await?;
            }
            return Ok(Action::Done);
        };
        if service.spec.selector.is_empty() || service.spec.type_.as_deref() == Some("ExternalName")
        {
            return Ok(Action::Done);
        }
        if self.writes.is_stale(key, existing.as_deref()) {
            return Ok(Action::RequeueAfter(CATCH_UP));
        }
        let pods: Vec<Arc<Pod>> = self
            .pods
            .list_namespace(&key.namespace)
            .into_iter()
            .filter(|pod| selects(&service, pod))
            .collect();
        let time = self.trigger_times.changed(key, &service, &pods);
        let wanted = endpoints_of(&service, &pods);
        let version =
            existing.as_ref().and_then(|e| e.metadata.resource_version.clone()).unwrap_or_default();
        let in_doubt = self.writes.in_doubt(key);
        let written = match existing {
            None => {
                let mut wanted = wanted;
                annotate(&mut wanted.metadata.annotations, time.as_ref());
                self.client.create(&wanted).await
            }
            // After a write in doubt the copy proves nothing: writing the same again either changes nothing or finds out.
            Some(existing) if !in_doubt && same(&existing, &wanted) => return Ok(Action::Done),
            Some(existing) => {
                let mut changed = (*existing).clone();
                changed.subsets = wanted.subsets;
                changed.metadata.labels = wanted.metadata.labels;
                changed.metadata.annotations.remove(OVER_CAPACITY);
                changed.metadata.annotations.extend(wanted.metadata.annotations);
                annotate(&mut changed.metadata.annotations, time.as_ref());
                self.client.update(&changed).await
            }
        };
        match written {
            // Somebody else's, or our own whose answer was lost; the store will show it.
            Err(status) if status.is_already_exists() => {
                self.writes.note(key, Write::InDoubt);
                Err(status)
            }
            Err(status) if is_overtaken(&status) => Ok(Action::Done),
            Err(status) => {
                self.writes.note(key, Write::InDoubt);
                let (reason, doing) = match self.endpoints.get(key) {
                    None => ("FailedToCreateEndpoint", "create"),
                    Some(_) => ("FailedToUpdateEndpoint", "update"),
                };
                let text = format!(
                    "Failed to {doing} endpoint {}/{}: {}",
                    key.namespace, key.name, status.message
                );
                self.recorder.record(&*service, EventType::Warning, reason, text);
                Err(status)
            }
            // An update that changes nothing leaves the version as it was.
            Ok(after) if after.metadata.resource_version.as_ref() == Some(&version) => {
                self.writes.forget(key);
                Ok(Action::Done)
            }
            Ok(_) => {
                self.writes.note(key, Write::Replaced(version, PATIENCE));
                Ok(Action::Done)
            }
        }
    }

    async fn delete(&self, endpoints: &Endpoints) -> Result<(), Status> {
        let key = key_of(&endpoints.metadata);
        let options = DeleteOptions::uid(endpoints.metadata.uid.clone().unwrap_or_default());
        match self.client.delete::<Endpoints>(&key.namespace, &key.name, &options).await {
            Err(status) if !status.is_not_found() && !status.is_conflict() => Err(status),
            _ => Ok(()),
        }
    }
}

fn same(existing: &Endpoints, wanted: &Endpoints) -> bool {
    let annotation = |e: &Endpoints| e.metadata.annotations.get(OVER_CAPACITY).cloned();
    existing.subsets == wanted.subsets
        && existing.metadata.labels == wanted.metadata.labels
        && annotation(existing) == annotation(wanted)
}

/// The object that a Service and its pods give; a pure function.
#[must_use]
pub fn endpoints_of(service: &Service, pods: &[Arc<Pod>]) -> Endpoints {
    let mut groups: BTreeMap<String, EndpointSubset> = BTreeMap::new();
    let mut pods: Vec<&Arc<Pod>> = pods.iter().filter(|pod| counts(pod, service)).collect();
    pods.sort_by(|a, b| a.status.pod_ip.cmp(&b.status.pod_ip));
    let headless = service.spec.cluster_ip.as_deref() == Some("None");
    for pod in pods {
        let ports = ports_of(service, pod);
        // Only a headless Service may have addresses without a port.
        if ports.is_empty() && !(headless && service.spec.ports.is_empty()) {
            continue;
        }
        let key = serde_json::to_string(&ports).unwrap_or_default();
        let subset = groups
            .entry(key)
            .or_insert_with(|| EndpointSubset { ports, ..EndpointSubset::default() });
        let ready = service.spec.publish_not_ready_addresses == Some(true)
            || pod.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        let list = if ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.push(address(pod, service));
    }
    let mut subsets: Vec<EndpointSubset> = groups.into_values().collect();
    let over = truncate(&mut subsets);
    let mut labels = service.metadata.labels.clone();
    labels.insert(MANAGED_BY.into(), "endpoint-controller".into());
    if headless {
        labels.insert(HEADLESS.into(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    let mut metadata = ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        labels,
        ..ObjectMeta::default()
    };
    if over {
        metadata.annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    }
    Endpoints { metadata, subsets }
}

/// Cuts subsets down to a thousand addresses, ready ones first, each subset in proportion; true: there were more.
fn truncate(subsets: &mut [EndpointSubset]) -> bool {
    let ready: usize = subsets.iter().map(|s| s.addresses.len()).sum();
    let others: usize = subsets.iter().map(|s| s.not_ready_addresses.len()).sum();
    if ready + others <= CAPACITY {
        return false;
    }
    let cut_ready = ready > CAPACITY;
    let (room, total) = if cut_ready { (CAPACITY, ready) } else { (CAPACITY - ready, others) };
    let mut left = room;
    for subset in subsets {
        if cut_ready {
            subset.not_ready_addresses.clear();
        }
        let list = if cut_ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        let share = (list.len() * room).div_ceil(total).min(left);
        list.truncate(share);
        left -= share;
    }
    true
}

/// Terminating pods have no place in Endpoints, which cannot say that they terminate.
fn counts(pod: &Pod, service: &Service) -> bool {
    let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let terminating = pod.metadata.deletion_timestamp.is_some()
        && service.spec.publish_not_ready_addresses != Some(true);
    !ended && !terminating && pod.status.pod_ip.as_deref().is_some_and(|ip| !ip.is_empty())
}

fn ports_of(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    service
        .spec
        .ports
        .iter()
        .filter_map(|port| {
            Some(EndpointPort {
                name: port.name.clone().filter(|n| !n.is_empty()),
                port: target_port(port, pod)?,
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

fn address(pod: &Pod, service: &Service) -> EndpointAddress {
    EndpointAddress {
        ip: pod.status.pod_ip.clone().unwrap_or_default(),
        hostname: pod.spec.hostname.clone().filter(|_| pod.spec.subdomain == service.metadata.name),
        node_name: pod.spec.node_name.clone(),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, ip: &str, ready: bool, extra: &Value) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {"name": name, "uid": name},
            "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"podIP": ip, "conditions": [{"type": "Ready",
                       "status": if ready { "True" } else { "False" }}]},
        });
        for (key, value) in extra.as_object().into_iter().flatten() {
            pod["metadata"][key] = value.clone();
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn ready_addresses_stand_apart_and_terminating_ones_are_left_out() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "n"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
        }))
        .unwrap();
        let made = endpoints_of(
            &service,
            &[
                pod("b", "10.0.0.2", true, &json!({})),
                pod("a", "10.0.0.1", true, &json!({})),
                pod("c", "10.0.0.3", false, &json!({})),
                pod("d", "10.0.0.4", true, &json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})),
                pod("e", "", true, &json!({})),
            ],
        );
        assert_eq!(made.subsets.len(), 1);
        let subset = &made.subsets[0];
        let ips = |list: &[EndpointAddress]| -> Vec<String> {
            list.iter().map(|a| a.ip.clone()).collect()
        };
        assert_eq!(ips(&subset.addresses), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(ips(&subset.not_ready_addresses), ["10.0.0.3"]);
        assert_eq!(subset.ports[0].port, 8080);
    }

    #[test]
    fn an_old_copy_decides_nothing() {
        let at = |version: &str| {
            let mut copy = Endpoints::default();
            copy.metadata.resource_version = Some(version.to_owned());
            copy
        };
        let (key, writes) = (ObjectKey::new("n", "web"), Writes::default());
        assert!(!writes.is_stale(&key, Some(&at("7"))), "nothing was written");
        writes.note(&key, Write::Replaced("7".to_owned(), 2));
        assert!(!writes.is_stale(&key, Some(&at("8"))), "the store has caught up");
        assert!(writes.is_stale(&key, Some(&at("7"))) && writes.is_stale(&key, Some(&at("7"))));
        assert!(!writes.is_stale(&key, Some(&at("7"))), "it is believed in the end");
        writes.note(&key, Write::Replaced(String::new(), 1));
        assert!(writes.is_stale(&key, None), "made, and not seen yet");
        writes.note(&key, Write::InDoubt);
        assert!(writes.in_doubt(&key) && !writes.is_stale(&key, None));
        writes.forget(&key);
        assert!(!writes.in_doubt(&key));
    }

    #[test]
    fn more_than_a_thousand_addresses_are_cut_off() {
        let mut service = Service::default();
        service.spec.ports = vec![serde_json::from_value(json!({"port": 80})).unwrap()];
        let pods: Vec<_> = (0..1001)
            .map(|n| {
                pod(&n.to_string(), &format!("10.0.{}.{}", n / 250, n % 250 + 1), true, &json!({}))
            })
            .collect();
        let made = endpoints_of(&service, &pods);
        assert_eq!(made.subsets[0].addresses.len(), 1000);
        assert_eq!(made.metadata.annotations[OVER_CAPACITY], "truncated");
    }
}
