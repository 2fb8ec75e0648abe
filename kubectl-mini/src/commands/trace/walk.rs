//! Following a request: fetching the nodes' reports that the trace needs, the try beside it, and what an ingress
//! controller does.

mod live;

use apimachinery::api::core::{Node, Pod};
use client::ListOptions;
use cni::{
    probe::{ConnectSpec, HttpGet, PodName, ProbeSpec},
    rules::Protocol,
    trace::{Choice, Hop, Missing, Origin, Outcome, Question, Trace, World},
};
use futures::future::join_all;
use serde::Deserialize;

use super::{
    aim::{Aim, CONTROLLER, Finder},
    origin::{self, Source},
    target::{Caller, To},
    told::{IngressTold, Live, Step, Told, agrees},
};
use crate::{context::Context, errors::CommandError, inspection};

/// The port at which the ingress controller explains itself.
const EXPLAIN_PORT: u16 = 10254;

/// One trace.
pub(super) struct Walk<'a> {
    context: &'a Context,
    protocol: Protocol,
    live: bool,
    world: World,
    notes: Vec<String>,
}

/// What the ingress controller says.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Explained {
    status: u16,
    ingress: Option<String>,
    backend: Option<Backend>,
    endpoints: Vec<std::net::SocketAddr>,
}

#[derive(Deserialize)]
struct Backend {
    service: String,
    port: String,
}

impl<'a> Walk<'a> {
    pub(super) fn new(context: &'a Context, protocol: Protocol, live: bool) -> Self {
        Self { context, protocol, live, world: World::default(), notes: Vec::new() }
    }

    /// Follows a request.
    ///
    /// # Errors
    /// Who connects, or what is connected to, is not there; the API cannot be asked.
    pub(super) async fn follow(mut self, from: &Caller, to: &To) -> Result<Told, CommandError> {
        let source = origin::find(self.context, from).await?;
        let aim = Finder { context: self.context, source: &source }.find(to).await?;
        let mut told = Told {
            from: source.party.clone(),
            to: to.text.clone(),
            address: aim.address,
            protocol: self.protocol,
            steps: aim.steps.clone(),
            outcome: None,
            summary: String::new(),
            notes: aim.notes.clone(),
            live: None,
        };
        if let Some(address) = aim.address {
            let tried = if self.live { Some(self.attempt(&source, to, &aim).await?) } else { None };
            if source.origin == Origin::Host {
                self.learn_all().await?;
            }
            let question = Question {
                origin: source.origin.clone(),
                to: address,
                protocol: self.protocol,
                drawn: tried.as_ref().and_then(|tried| tried.endpoint),
            };
            let trace = self.trace(&question).await?;
            told.outcome = Some(trace.outcome);
            let at_controller = leads_to_controller(&trace);
            told.steps.extend(trace.hops.into_iter().map(Step::of));
            if let (Some(controller), true) = (at_controller, !aim.path.is_empty()) {
                let tls = to.url.as_ref().is_some_and(|url| url.tls);
                self.through(controller, &aim, tls, &mut told).await?;
            }
            told.live = tried.map(|status| {
                let expected = told.steps.iter().find_map(|step| match step {
                    Step::Ingress { ingress } if ingress.status != 200 => Some(ingress.status),
                    _ => None,
                });
                let answer = status.http.as_ref().filter(|answer| answer.error.is_none());
                let same = expected.zip(answer).is_none_or(|(want, got)| want == got.status);
                Live { agrees: same && agrees(told.outcome, &status, self.protocol), status }
            });
        }
        if aim.address.is_none() {
            self.ask_why(&source, &aim, &mut told).await?;
        }
        told.notes.append(&mut self.notes);
        self.name_ports(&mut told).await?;
        told.conclude();
        Ok(told)
    }

    /// Where a name has no address, follows the question to the name server, unless that arrives.
    async fn ask_why(
        &mut self,
        source: &Source,
        aim: &Aim,
        told: &mut Told,
    ) -> Result<(), CommandError> {
        let Some(Step::Name { name }) = aim.steps.last() else { return Ok(()) };
        let words = name.status.resolv_conf.lines().filter_map(|l| l.strip_prefix("nameserver "));
        let Some(server) = words.filter_map(|word| word.trim().parse().ok()).next() else {
            return Ok(());
        };
        let to = std::net::SocketAddr::new(server, 53);
        let origin = source.origin.clone();
        let question = Question { origin, to, protocol: Protocol::Udp, drawn: None };
        let trace = self.trace(&question).await?;
        if trace.outcome != Outcome::Delivered {
            told.notes.push(format!(
                "The name {} was not resolved: the question to {to} does not arrive.",
                name.asked
            ));
            told.outcome = Some(trace.outcome);
            told.steps.extend(trace.hops.into_iter().map(Step::of));
        }
        Ok(())
    }

    /// Follows a connection, fetching what is missing.
    async fn trace(&mut self, question: &Question) -> Result<Trace, CommandError> {
        loop {
            match self.world.trace(question) {
                Ok(trace) => return Ok(trace),
                Err(Missing(nodes)) => self.learn(nodes.into_iter().collect()).await?,
            }
        }
    }

    async fn learn(&mut self, nodes: Vec<String>) -> Result<(), CommandError> {
        let context = self.context;
        let asking = nodes.iter().map(|node| inspection::report(context, node));
        let answers = join_all(asking).await;
        for (node, answer) in nodes.iter().zip(answers) {
            match answer {
                Ok(report) => self.world.insert(report),
                Err(error) if is_silence(&error) => {
                    self.notes.push(format!("{node} cannot be asked: {error}."));
                    self.world.insert_silent(node);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// All nodes: any of them may have an address of the host open.
    async fn learn_all(&mut self) -> Result<(), CommandError> {
        let all = ListOptions::default();
        let nodes = self.context.client()?.list::<Node>("", &all);
        let nodes = self.context.request(nodes).await?.items;
        self.learn(nodes.into_iter().filter_map(|node| node.metadata.name).collect()).await
    }

    /// Makes the connection.
    async fn attempt(
        &self,
        source: &Source,
        to: &To,
        aim: &Aim,
    ) -> Result<cni::probe::ConnectStatus, CommandError> {
        let Some(address) = aim.address else {
            return Err(CommandError::message("there is no address to connect to"));
        };
        let get = to.url.as_ref().filter(|url| !url.tls && self.protocol == Protocol::Tcp);
        let http_get = get.map(|_| HttpGet { host: aim.host.clone(), path: aim.path.clone() });
        let wanted = ConnectSpec { address, protocol: self.protocol, http_get };
        let Some((node, pod)) = &source.node else {
            return Ok(live::from_host(&self.context.clock, &wanted).await);
        };
        let spec = ProbeSpec { pod: pod.clone(), connect: Some(wanted), ..ProbeSpec::default() };
        let status = inspection::probe(self.context, node, &spec).await?.connect;
        status.ok_or_else(|| CommandError::message(format!("{node} has not tried")))
    }

    /// Goes on behind an ingress controller.
    async fn through(
        &mut self,
        controller: Controller,
        aim: &Aim,
        tls: bool,
        told: &mut Told,
    ) -> Result<(), CommandError> {
        let Controller { node, ip, pod } = controller;
        let explained = self.explained(&node, ip, aim, tls).await?;
        let origin = Origin::Pod { node, ip };
        let mut fates = Vec::new();
        for endpoint in &explained.endpoints {
            let (origin, protocol) = (origin.clone(), Protocol::Tcp);
            let question = Question { origin, to: *endpoint, protocol, drawn: None };
            fates.push(self.trace(&question).await?);
        }
        let delivered = |fate: &Trace| fate.outcome == Outcome::Delivered;
        let chosen = fates.iter().position(delivered).unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "far fewer endpoints")]
        let odds = 1.0 / explained.endpoints.len().max(1) as f64;
        let endpoints = explained.endpoints.iter().zip(&fates).enumerate();
        let endpoints = endpoints.map(|(position, (endpoint, fate))| Choice {
            address: *endpoint,
            node: node_of(fate),
            odds,
            chosen: position == chosen,
            outcome: Some(fate.outcome),
            excluded: None,
        });
        let ingress = IngressTold {
            pod: format!("{}/{}", pod.namespace, pod.name),
            host: aim.host.clone(),
            path: aim.path.clone(),
            status: explained.status,
            ingress: explained.ingress,
            backend: explained
                .backend
                .map(|backend| format!("{}:{}", backend.service, backend.port)),
            endpoints: endpoints.collect(),
        };
        told.steps.push(Step::Ingress { ingress });
        if let Some(fate) = fates.into_iter().nth(chosen) {
            told.outcome = Some(fate.outcome);
            told.steps.extend(fate.hops.into_iter().map(Step::of));
        }
        Ok(())
    }

    /// Asks the controller what it would do, from its own node: no policy is in the way.
    async fn explained(
        &self,
        node: &str,
        ip: std::net::IpAddr,
        aim: &Aim,
        tls: bool,
    ) -> Result<Explained, CommandError> {
        let path =
            format!("/explain?host={}&path={}&tls={tls}", escaped(&aim.host), escaped(&aim.path));
        let connect = ConnectSpec {
            address: std::net::SocketAddr::new(ip, EXPLAIN_PORT),
            protocol: Protocol::Tcp,
            http_get: Some(HttpGet { host: ip.to_string(), path }),
        };
        let spec = ProbeSpec { connect: Some(connect), ..ProbeSpec::default() };
        let status = inspection::probe(self.context, node, &spec).await?.connect;
        let answer = status.and_then(|status| status.http);
        let read = |text: &str| {
            // What an Ingress asks for is its path, without a query.
            serde_json::from_str::<Explained>(text).ok()
        };
        Ok(answer.and_then(|answer| read(&answer.body)).unwrap_or_default())
    }

    /// Finds the containers behind the ports.
    async fn name_ports(&self, told: &mut Told) -> Result<(), CommandError> {
        for step in &mut told.steps {
            let Step::Network {
                hop: Hop::Port { pod: Some((namespace, name)), address, .. },
                container,
                port_name,
            } = step
            else {
                continue;
            };
            let got =
                self.context.request(self.context.client()?.get::<Pod>(namespace, name)).await;
            let pod = match got {
                Ok(pod) => pod,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
            let number = i32::from(address.port());
            let mut ports =
                containers.flat_map(|c| c.ports.iter().map(move |port| (&c.name, port)));
            if let Some((of, port)) = ports.find(|(_, port)| port.container_port == number) {
                *container = Some(of.clone());
                port_name.clone_from(&port.name);
            }
        }
        Ok(())
    }
}

/// The ingress controller's pod.
struct Controller {
    node: String,
    ip: std::net::IpAddr,
    pod: PodName,
}

/// Whether a connection ends at the ingress controller, by its own Service.
fn leads_to_controller(trace: &Trace) -> Option<Controller> {
    let (namespace, name) = CONTROLLER;
    let by_service = trace.hops.iter().any(|hop| match hop {
        Hop::Service { service, .. } => service.namespace == namespace && service.name == name,
        _ => false,
    });
    match trace.hops.last() {
        Some(Hop::Port {
            node, pod: Some((namespace, name)), address, listening: true, ..
        }) if by_service => {
            let pod = PodName { namespace: namespace.clone(), name: name.clone() };
            Some(Controller { node: node.clone(), ip: address.ip(), pod })
        }
        _ => None,
    }
}

fn node_of(trace: &Trace) -> Option<String> {
    trace.hops.iter().rev().find_map(|hop| match hop {
        Hop::Port { node, .. } => Some(node.clone()),
        _ => None,
    })
}

/// Whether an error means that a node does not answer, rather than that one may not ask.
fn is_silence(error: &CommandError) -> bool {
    error.status().is_some_and(|status| matches!(status.code, 404 | 500 | 503 | 504))
}

/// A text in a query.
fn escaped(text: &str) -> String {
    // An Ingress looks at the path alone.
    let text = text.split('?').next().unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
