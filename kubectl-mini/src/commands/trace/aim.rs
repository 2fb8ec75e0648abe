//! The address of what is connected to: from names by the pod's own resolver, from Services, pods, nodes and Ingresses
//! by the API.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use apimachinery::{
    api::{
        core::{Node, Pod, Service},
        networking::Ingress,
    },
    resource::NODES,
};
use client::ListOptions;
use cni::probe::{NameStatus, ProbeSpec};

use super::{
    origin::Source,
    target::{Place, Port, To},
    told::{NameTold, Step},
};
use crate::{context::Context, errors::CommandError, inspection};

/// The ingress controller's Service.
pub(super) const CONTROLLER: (&str, &str) = ("ingress", "ingress-kube-mini");
/// For the host's own resolver.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a request goes.
#[derive(Default)]
pub(super) struct Aim {
    /// How its address was found.
    pub(super) steps: Vec<Step>,
    /// The address; None: there is none, and the last step says why.
    pub(super) address: Option<SocketAddr>,
    /// The host that an HTTP client would name.
    pub(super) host: String,
    /// The path.
    pub(super) path: String,
    /// What else should be known.
    pub(super) notes: Vec<String>,
}

impl Aim {
    fn at(ip: IpAddr, port: u16) -> Self {
        Self { address: Some(SocketAddr::new(ip, port)), ..Self::default() }
    }

    fn stop(why: String) -> Self {
        Self { steps: vec![Step::Stop { stop: why }], ..Self::default() }
    }

    fn note(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }
}

/// Who asks, and how.
pub(super) struct Finder<'a> {
    pub(super) context: &'a Context,
    pub(super) source: &'a Source,
}

impl Finder<'_> {
    /// Finds the address.
    ///
    /// # Errors
    /// There is no such object, or the API cannot be asked.
    pub(super) async fn find(&self, to: &To) -> Result<Aim, CommandError> {
        let namespace = &self.source.namespace;
        let mut aim = match &to.place {
            Place::Ip(ip) => Aim::at(*ip, usual_port(to)),
            Place::Pod(name) => self.pod(namespace, name, to).await?,
            Place::Node(name) => self.node(name, to).await?,
            Place::Service(name, other) => {
                self.service(other.as_ref().unwrap_or(namespace), name, to).await?
            }
            Place::Ingress(name) => self.ingress(namespace, name, to).await?,
            Place::Name(name) => match &self.source.node {
                Some(_) => self.name(name, to).await?,
                None => self.name_on_host(name, to).await?,
            },
        };
        if aim.host.is_empty() {
            let place = to.text.split_once("://").map_or(to.text.as_str(), |(_, rest)| rest);
            place.split(['/', '?']).next().unwrap_or_default().clone_into(&mut aim.host);
        }
        if let (Some(url), true) = (&to.url, aim.path.is_empty()) {
            aim.path.clone_from(&url.path);
        }
        Ok(aim)
    }

    async fn pod(&self, namespace: &str, name: &str, to: &To) -> Result<Aim, CommandError> {
        let pod = self.context.request(self.context.client()?.get::<Pod>(namespace, name)).await?;
        if self.source.node.is_none() {
            return Ok(Aim::stop(format!(
                "The address of pod {namespace}/{name} is the cluster's: a program of the host reaches pods by node ports, load balancers and Ingresses only."
            )));
        }
        let Some(ip) = pod.status.pod_ip.as_deref().and_then(|ip| ip.parse().ok()) else {
            return Ok(Aim::stop(format!("Pod {namespace}/{name} has no address yet.")));
        };
        let ports: Vec<_> = pod.spec.containers.iter().flat_map(|c| &c.ports).collect();
        let number = |port: i32| u16::try_from(port).ok();
        let port = match (&to.port, &to.url) {
            (Some(Port::Number(port)), _) => Some(*port),
            (Some(Port::Named(wanted)), _) => ports
                .iter()
                .find(|port| port.name.as_ref() == Some(wanted))
                .and_then(|port| number(port.container_port)),
            (None, Some(_)) => Some(usual_port(to)),
            (None, None) => ports.first().and_then(|port| number(port.container_port)),
        };
        match port {
            Some(port) => Ok(Aim::at(ip, port)),
            None => Err(CommandError::message(format!(
                "which port of pod {name:?} is meant is not clear: its containers declare none of that name, or none at all"
            ))),
        }
    }

    async fn node(&self, name: &str, to: &To) -> Result<Aim, CommandError> {
        let node = self.context.request(self.context.client()?.get::<Node>("", name)).await?;
        let kind = if self.source.node.is_some() { "InternalIP" } else { "ExternalIP" };
        match address_of(&node, kind) {
            Some(ip) => Ok(Aim::at(ip, usual_port(to))),
            None => Ok(Aim::stop(format!("Node {name} has no {kind}."))),
        }
    }

    async fn service(&self, namespace: &str, name: &str, to: &To) -> Result<Aim, CommandError> {
        let client = self.context.client()?;
        let service = self.context.request(client.get::<Service>(namespace, name)).await?;
        let key = format!("{namespace}/{name}");
        if let Some(target) = external_name(&service) {
            return Ok(Aim::stop(format!(
                "Service {key} is only another name for {target} (ExternalName): trace that."
            )));
        }
        let (port, note) = match service_port(&service, to) {
            Ok(found) => found,
            Err(why) => return Ok(Aim::stop(why)),
        };
        let aim = if self.source.node.is_none() {
            self.service_on_host(&service, &key, port).await?
        } else {
            match service.spec.cluster_ip.as_deref().map(str::parse::<IpAddr>) {
                Some(Ok(ip)) => Aim::at(ip, port),
                _ => {
                    let full = format!("{name}.{namespace}.svc");
                    let aim = self.name(&full, to).await?;
                    aim.note(format!("Service {key} is headless: its name leads to pods directly."))
                }
            }
        };
        Ok(match note {
            Some(note) => aim.note(note),
            None => aim,
        })
    }

    /// Where a program of the host reaches a Service.
    async fn service_on_host(
        &self,
        service: &Service,
        key: &str,
        port: u16,
    ) -> Result<Aim, CommandError> {
        let balancer = service.status.load_balancer.iter().flat_map(|status| &status.ingress);
        let balancer = balancer.filter_map(|ingress| ingress.ip.as_deref()?.parse().ok()).next();
        if let Some(ip) = balancer {
            return Ok(Aim::at(ip, port));
        }
        let of_port = service.spec.ports.iter().find(|p| u16::try_from(p.port) == Ok(port));
        let node_port = of_port.and_then(|port| u16::try_from(port.node_port?).ok());
        let Some(node_port) = node_port else {
            return Ok(Aim::stop(format!(
                "Service {key} has the type {}: nothing of it is open on the host.",
                service.spec.type_.as_deref().unwrap_or("ClusterIP")
            )));
        };
        let all = ListOptions::default();
        let nodes = self.context.client()?.list::<Node>("", &all);
        let nodes = self.context.request(nodes).await?.items;
        match nodes.iter().find_map(|node| address_of(node, "ExternalIP")) {
            Some(ip) => Ok(Aim::at(ip, node_port)),
            None => Ok(Aim::stop("No node has an ExternalIP.".to_owned())),
        }
    }

    async fn ingress(&self, namespace: &str, name: &str, to: &To) -> Result<Aim, CommandError> {
        let client = self.context.client()?;
        let ingress = self.context.request(client.get::<Ingress>(namespace, name)).await?;
        let rule = ingress.spec.rules.first();
        let host = rule.and_then(|rule| rule.host.clone()).unwrap_or_default();
        let paths = rule.and_then(|rule| rule.http.as_ref()).map(|http| &http.paths);
        let path = paths.and_then(|paths| paths.first()?.path.clone());
        let tls = ingress.spec.tls.iter().any(|tls| tls.hosts.contains(&host));
        let aim = self.controller(&ingress, tls || to.url.as_ref().is_some_and(|u| u.tls)).await?;
        let host = match (host.as_str(), aim.address) {
            // A rule for every host: whatever the client calls it.
            ("", Some(address)) => address.to_string(),
            _ => host.replacen('*', "any", 1),
        };
        Ok(Aim { host, path: path.unwrap_or_else(|| "/".to_owned()), ..aim })
    }

    /// Where the controller that serves an Ingress answers.
    async fn controller(&self, ingress: &Ingress, tls: bool) -> Result<Aim, CommandError> {
        let status = ingress.status.load_balancer.iter().flat_map(|status| &status.ingress);
        let ip = status.filter_map(|ingress| ingress.ip.as_deref()?.parse().ok()).next();
        let Some(ip) = ip else {
            return Ok(Aim::stop(format!(
                "No controller serves Ingress {}/{}: it has no address.",
                ingress.metadata.namespace.as_deref().unwrap_or_default(),
                ingress.metadata.name.as_deref().unwrap_or_default()
            )));
        };
        let (namespace, name) = CONTROLLER;
        let client = self.context.client()?;
        let service = self.context.request(client.get::<Service>(namespace, name)).await?;
        let wanted = if tls { "https" } else { "http" };
        let port = service.spec.ports.iter().find(|port| port.name.as_deref() == Some(wanted));
        match port.and_then(|port| u16::try_from(port.port).ok()) {
            Some(port) => Ok(Aim::at(ip, port)),
            None => Ok(Aim::stop(format!("Service {namespace}/{name} has no port {wanted}."))),
        }
    }

    /// A name, as the pod (or the node) resolves it.
    async fn name(&self, name: &str, to: &To) -> Result<Aim, CommandError> {
        let Some((node, pod)) = &self.source.node else { return Ok(Aim::default()) };
        let spec =
            ProbeSpec { pod: pod.clone(), name: Some(name.to_owned()), ..ProbeSpec::default() };
        let status = inspection::probe(self.context, node, &spec).await?.name.unwrap_or_default();
        let found = status.addresses().first().copied();
        let service = match cluster_service(&status) {
            Some((namespace, name)) => self.known_service(&namespace, &name).await?,
            None => None,
        };
        let step = Step::Name { name: NameTold { asked: name.to_owned(), status } };
        let mut aim = Aim { steps: vec![step], ..Aim::default() };
        let Some(ip) = found else { return Ok(aim) };
        let mut port = usual_port(to);
        if let Some(service) = service {
            if let Some(target) = external_name(&service) {
                aim.notes.push(format!("The Service is only another name for {target}."));
            }
            match service_port(&service, to) {
                Ok((number, note)) => {
                    port = number;
                    aim.notes.extend(note);
                }
                Err(why) => {
                    return Ok(Aim {
                        steps: [aim.steps, vec![Step::Stop { stop: why }]].concat(),
                        ..aim
                    });
                }
            }
            // A headless Service's name leads to the pods' own ports.
            if service.spec.cluster_ip.as_deref() == Some("None") {
                port = target_port(&service, port).unwrap_or(port);
            }
        }
        aim.address = Some(SocketAddr::new(ip, port));
        Ok(aim)
    }

    async fn known_service(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Service>, CommandError> {
        match self.context.request(self.context.client()?.get::<Service>(namespace, name)).await {
            Ok(service) => Ok(Some(service)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A name, as a program of the host would have it: of a node, of an Ingress, or the host's own resolver's.
    async fn name_on_host(&self, name: &str, to: &To) -> Result<Aim, CommandError> {
        if name == "localhost" {
            return Ok(Aim::at(Ipv4Addr::LOCALHOST.into(), usual_port(to)));
        }
        let client = self.context.client()?;
        let node = self.context.request(client.get_object(&NODES, "", name)).await;
        if node.is_ok() {
            return self.node(name, to).await;
        }
        let all = ListOptions::default();
        let ingresses = client.list::<Ingress>("", &all);
        let ingresses = self.context.request(ingresses).await?.items;
        if let Some(ingress) = ingresses.iter().find(|ingress| names_host(ingress, name)) {
            let aim = self.controller(ingress, to.url.as_ref().is_some_and(|url| url.tls)).await?;
            let key = ingress.metadata.name.clone().unwrap_or_default();
            let aim = aim.note(format!(
                "{name} is a host of Ingress {key}; the host's own name service is not asked."
            ));
            return Ok(Aim { host: name.to_owned(), ..aim });
        }
        let lookup = tokio::net::lookup_host((name, usual_port(to)));
        let found = self.context.clock.timeout(PATIENCE, lookup).await;
        let address = found.ok().and_then(Result::ok).and_then(|mut found| found.next());
        Ok(match address {
            Some(address) => Aim { address: Some(address), ..Aim::default() },
            None => Aim::stop(format!("The host does not know the name {name}.")),
        })
    }
}

/// The port that is meant where nothing else says so.
fn usual_port(to: &To) -> u16 {
    match (&to.port, &to.url) {
        (Some(Port::Number(port)), _) => *port,
        (_, Some(url)) if url.tls => 443,
        _ => 80,
    }
}

fn address_of(node: &Node, kind: &str) -> Option<IpAddr> {
    let all = node.status.addresses.iter();
    all.filter(|address| address.type_ == kind).find_map(|address| address.address.parse().ok())
}

fn external_name(service: &Service) -> Option<&str> {
    let is = service.spec.type_.as_deref() == Some("ExternalName");
    service.spec.external_name.as_deref().filter(|_| is)
}

/// The port of a Service that is meant, and a note where that was not said.
fn service_port(service: &Service, to: &To) -> Result<(u16, Option<String>), String> {
    let ports = &service.spec.ports;
    let number = |port: i32| u16::try_from(port).unwrap_or_default();
    let name = service.metadata.name.as_deref().unwrap_or_default();
    match (&to.port, &to.url) {
        (Some(Port::Number(port)), _) => Ok((*port, None)),
        (Some(Port::Named(wanted)), _) => {
            let found = ports.iter().find(|port| port.name.as_ref() == Some(wanted));
            let found = found.ok_or_else(|| format!("Service {name} has no port {wanted}."))?;
            Ok((number(found.port), None))
        }
        (None, Some(_)) => Ok((usual_port(to), None)),
        (None, None) => match ports.as_slice() {
            [] => Ok((usual_port(to), None)),
            [only] => Ok((number(only.port), None)),
            [first, ..] => {
                let note = format!("Service {name} has several ports; {} is traced.", first.port);
                Ok((number(first.port), Some(note)))
            }
        },
    }
}

/// The number behind a Service's port, where it is one.
fn target_port(service: &Service, port: u16) -> Option<u16> {
    let found = service.spec.ports.iter().find(|p| u16::try_from(p.port) == Ok(port))?;
    match found.target_port.as_ref()? {
        apimachinery::int_or_string::IntOrString::Int(number) => u16::try_from(*number).ok(),
        apimachinery::int_or_string::IntOrString::String(_) => None,
    }
}

/// The Service that a name was found to be: `web.default.svc.…`.
fn cluster_service(status: &NameStatus) -> Option<(String, String)> {
    let decided = status.steps.last().filter(|step| step.error.is_none())?;
    let labels: Vec<&str> = decided.name.split('.').collect();
    match labels.as_slice() {
        [service, namespace, "svc", ..] => Some(((*namespace).to_owned(), (*service).to_owned())),
        _ => None,
    }
}

fn names_host(ingress: &Ingress, name: &str) -> bool {
    let hosts = ingress.spec.rules.iter().filter_map(|rule| rule.host.as_deref());
    hosts.into_iter().any(|host| match host.strip_prefix('*') {
        Some(suffix) => name.find('.').is_some_and(|dot| dot > 0 && &name[dot..] == suffix),
        None => host == name,
    })
}
