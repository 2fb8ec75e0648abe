//! The ports behind Services: what containers name, and where they really listen.

use std::collections::HashMap;

use apimachinery::{
    api::core::{Pod, Service, ServicePort},
    int_or_string::IntOrString,
    object::ObjectKey,
};
use cni::{report::Listening, rules::Protocol};

use super::{
    super::{
        finding::{Finding, Subject},
        snapshot::{Snapshot, is_going, is_ready},
    },
    services::subject,
};

fn protocol_of(text: Option<&str>) -> Option<Protocol> {
    match text {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some(_) => None,
    }
}

/// Where pods listen, as far as their nodes say.
struct Listeners<'a> {
    snapshot: &'a Snapshot,
    /// By namespace and name.
    pods: HashMap<(&'a str, &'a str), &'a [Listening]>,
}

impl<'a> Listeners<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let reports = snapshot.reports.values().filter_map(|report| report.as_ref().ok());
        let pods = reports.flat_map(|report| &report.pods);
        let pods = pods.map(|p| ((p.namespace.as_str(), p.name.as_str()), p.listening.as_slice()));
        Self { snapshot, pods: pods.collect() }
    }

    fn get(&self, key: &ObjectKey, pod: &Pod) -> Option<&'a [Listening]> {
        if pod.spec.host_network == Some(true) {
            let report = self.snapshot.report(pod.spec.node_name.as_deref()?)?;
            return Some(&report.listening);
        }
        self.pods.get(&(key.namespace.as_str(), key.name.as_str())).copied()
    }
}

/// What a target port is in a pod.
enum Target {
    Number(u16),
    /// No container has this name.
    Unknown(String),
    /// A container has the name for another protocol.
    OtherProtocol(String),
}

fn target_of(port: &ServicePort, pod: &Pod) -> Option<Target> {
    let number = |port: i32| u16::try_from(port).ok();
    let name = match &port.target_port {
        None => return number(port.port).map(Target::Number),
        Some(IntOrString::Int(0)) => return number(port.port).map(Target::Number),
        Some(IntOrString::Int(target)) => return number(*target).map(Target::Number),
        Some(IntOrString::String(name)) => name,
    };
    let sidecars = pod.spec.init_containers.iter();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = pod.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
    let named: Vec<_> = ports.filter(|p| p.name.as_ref() == Some(name)).collect();
    let wanted = protocol_of(port.protocol.as_deref());
    let fits = named.iter().find(|p| protocol_of(p.protocol.as_deref()) == wanted);
    match fits {
        Some(found) => number(found.container_port).map(Target::Number),
        None if named.is_empty() => Some(Target::Unknown(name.clone())),
        None => Some(Target::OtherProtocol(name.clone())),
    }
}

/// What is wrong with one port of a Service, in its first pod that shows it.
struct Wrong<'a> {
    service: &'a ObjectKey,
    position: usize,
    port: &'a ServicePort,
    pod: &'a ObjectKey,
    target: Target,
    listens: Vec<Listening>,
}

fn wrong(snapshot: &Snapshot) -> Vec<Wrong<'_>> {
    let listeners = Listeners::of(snapshot);
    let mut all = Vec::new();
    for (key, service) in &snapshot.services {
        let headless = service.spec.cluster_ip.as_deref() == Some("None");
        for (position, port) in service.spec.ports.iter().enumerate() {
            if !headless {
                all.extend(wrong_port(&listeners, key, service, (position, port)));
            }
        }
    }
    all
}

fn wrong_port<'a>(
    listeners: &Listeners<'a>,
    key: &'a ObjectKey,
    service: &'a Service,
    (position, port): (usize, &'a ServicePort),
) -> Option<Wrong<'a>> {
    let protocol = protocol_of(port.protocol.as_deref())?;
    let pods = listeners.snapshot.selected(key, service);
    pods.into_iter().filter(|(_, pod)| !is_going(pod)).find_map(|(name, pod)| {
        let target = target_of(port, pod)?;
        let told = listeners.get(name, pod);
        if let Target::Number(number) = target {
            let hears = |l: &Listening| {
                l.protocol == protocol
                    && l.address.port() == number
                    && !l.address.ip().is_loopback()
            };
            // Of a pod that is not ready, or whose node is silent, it is not known whether it would.
            if !is_ready(pod) || told?.iter().any(hears) {
                return None;
            }
        }
        let listens = told.unwrap_or_default().iter();
        let listens = listens.filter(|l| !l.address.ip().is_loopback()).copied().collect();
        Some(Wrong { service: key, position, port, pod: name, target, listens })
    })
}

impl Wrong<'_> {
    /// Whether the port is right and only the protocol is not.
    fn is_protocol(&self) -> bool {
        match &self.target {
            Target::OtherProtocol(_) => true,
            Target::Unknown(_) => false,
            Target::Number(number) => self.listens.iter().any(|l| l.address.port() == *number),
        }
    }

    fn subject(&self) -> Subject {
        subject(self.service)
    }

    fn protocol(&self) -> &str {
        self.port.protocol.as_deref().unwrap_or("TCP")
    }

    fn patch(&self, field: &str, value: &str) -> String {
        format!(
            "kubectl-mini patch service {} -n {} --type=json -p '[{{\"op\":\"add\",\"path\":\"/spec/ports/{}/{field}\",\"value\":{value}}}]'",
            self.service.name, self.service.namespace, self.position
        )
    }

    fn evidence(&self) -> String {
        let all: Vec<String> = self
            .listens
            .iter()
            .map(|l| match l.protocol {
                Protocol::Tcp => format!("{}/TCP", l.address.port()),
                Protocol::Udp => format!("{}/UDP", l.address.port()),
            })
            .collect();
        let all = if all.is_empty() { "no port".to_owned() } else { all.join(", ") };
        format!("pod {} listens at {all}", self.pod)
    }
}

pub(super) fn target(snapshot: &Snapshot) -> Vec<Finding> {
    let found = wrong(snapshot).into_iter().filter(|wrong| !wrong.is_protocol());
    found
        .map(|wrong| {
            let port = wrong.port.port;
            let cause = match &wrong.target {
                Target::Number(number) => {
                    format!("port {port} leads to {number}, where its pods do not listen")
                }
                Target::Unknown(name) | Target::OtherProtocol(name) => {
                    format!("port {port} leads to the port named {name:?}, which no container has")
                }
            };
            let protocol = protocol_of(wrong.port.protocol.as_deref());
            let there = wrong.listens.iter().find(|l| Some(l.protocol) == protocol);
            let fix = match there {
                Some(l) => wrong.patch("targetPort", &l.address.port().to_string()),
                None => format!("kubectl-mini logs {} -n {}", wrong.pod.name, wrong.pod.namespace),
            };
            Finding::new("target-port", wrong.subject(), cause, fix).because(wrong.evidence())
        })
        .collect()
}

pub(super) fn protocol(snapshot: &Snapshot) -> Vec<Finding> {
    let found = wrong(snapshot).into_iter().filter(Wrong::is_protocol);
    found
        .map(|wrong| {
            let other = if wrong.protocol() == "TCP" { "UDP" } else { "TCP" };
            let cause = format!(
                "port {} is {}, but what its pods have there is {other}",
                wrong.port.port,
                wrong.protocol()
            );
            let fix = wrong.patch("protocol", &format!("\"{other}\""));
            Finding::new("protocol", wrong.subject(), cause, fix).because(wrong.evidence())
        })
        .collect()
}
