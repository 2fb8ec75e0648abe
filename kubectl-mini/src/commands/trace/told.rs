//! A request's way as it is told: the steps of the network, with what the API knows of them besides.

use std::net::{IpAddr, SocketAddr};

use cni::{
    probe::{ConnectStatus, HttpAnswer, NameStatus},
    rules::Protocol,
    trace::{Choice, Hop, Leads, Outcome},
};
use serde::Serialize;

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Party {
    /// A pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its node.
        node: String,
        /// Its address.
        ip: IpAddr,
    },
    /// A node.
    Node {
        /// Its name.
        name: String,
    },
    /// A program of the host.
    Host,
}

/// A name that was resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameTold {
    /// As it was asked for.
    pub asked: String,
    /// What came of it.
    #[serde(flatten)]
    pub status: NameStatus,
}

/// What an ingress controller does with a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressTold {
    /// The controller's pod.
    pub pod: String,
    /// The host and the path that it looks at.
    pub host: String,
    /// The path.
    pub path: String,
    /// The status that the client gets of the controller; 200: what an endpoint answers.
    pub status: u16,
    /// The Ingress whose rule it is.
    pub ingress: Option<String>,
    /// `namespace/name:port`.
    pub backend: Option<String>,
    /// Who serves it.
    pub endpoints: Vec<Choice>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Step {
    /// A name.
    Name {
        /// It.
        name: NameTold,
    },
    /// A step through the network.
    Network {
        /// It.
        #[serde(flatten)]
        hop: Hop,
        /// The container whose port it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        container: Option<String>,
        /// The port's name.
        #[serde(rename = "portName", skip_serializing_if = "Option::is_none")]
        port_name: Option<String>,
    },
    /// An ingress controller.
    Ingress {
        /// It.
        ingress: IngressTold,
    },
    /// The API has no such way.
    Stop {
        /// Why.
        stop: String,
    },
}

impl Step {
    /// A step through the network, with nothing to add.
    #[must_use]
    pub fn of(hop: Hop) -> Self {
        Self::Network { hop, container: None, port_name: None }
    }
}

/// What a real try came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// Its result.
    #[serde(flatten)]
    pub status: ConnectStatus,
    /// Whether it went as the trace says.
    pub agrees: bool,
}

/// The whole way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Who connects.
    pub from: Party,
    /// To what, as it was typed.
    pub to: String,
    /// The address, where there is one.
    pub address: Option<SocketAddr>,
    /// The protocol.
    pub protocol: Protocol,
    /// The steps.
    pub steps: Vec<Step>,
    /// The end; None: there is no way to begin with.
    pub outcome: Option<Outcome>,
    /// The end in a sentence.
    pub summary: String,
    /// What else should be known.
    pub notes: Vec<String>,
    /// A real try.
    pub live: Option<Live>,
}

impl Party {
    /// In a word.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Pod { namespace, name, .. } => format!("pod {namespace}/{name}"),
            Self::Node { name } => format!("node {name}"),
            Self::Host => "the host".to_owned(),
        }
    }
}

impl Told {
    /// Whether the request gets there.
    #[must_use]
    pub fn arrives(&self) -> bool {
        let status = self.steps.iter().rev().find_map(|step| match step {
            Step::Ingress { ingress } => Some(ingress.status),
            _ => None,
        });
        matches!(self.outcome, Some(Outcome::Delivered | Outcome::Left))
            && status.is_none_or(|status| status < 400)
    }

    /// Makes the summary and the notes of the steps.
    pub fn conclude(&mut self) {
        self.summary = self.sentence();
        let hops = self.steps.iter();
        let services = hops.filter_map(|step| match step {
            Step::Network { hop: Hop::Service { endpoints, .. }, .. } => Some(endpoints),
            Step::Ingress { ingress } => Some(&ingress.endpoints),
            _ => None,
        });
        self.notes.extend(services.flat_map(|endpoints| {
            endpoints.iter().filter(|choice| !choice.chosen).filter_map(fate_note)
        }));
    }

    fn sentence(&self) -> String {
        let last = self.steps.last();
        match (last, self.outcome) {
            (Some(Step::Stop { stop }), _) => stop.clone(),
            (Some(Step::Ingress { ingress }), _) if ingress.status != 200 => {
                ingress_sentence(ingress)
            }
            (Some(Step::Name { name }), None) => {
                format!("The name {} has no address: {}.", name.asked, name_error(&name.status))
            }
            (Some(Step::Network { hop, .. }), outcome) => hop_sentence(hop, outcome),
            _ => "There is nothing to follow.".to_owned(),
        }
    }
}

fn name_error(status: &NameStatus) -> &str {
    let last = status.steps.iter().rev().find_map(|step| step.error.as_deref());
    last.unwrap_or("there is no such name")
}

fn ingress_sentence(ingress: &IngressTold) -> String {
    let IngressTold { host, path, status, .. } = ingress;
    match status {
        308 => format!("The client is sent on to https://{host}{path}: the host has TLS (308)."),
        404 => format!("No Ingress has a rule for {host}{path}: 404."),
        503 => match &ingress.backend {
            Some(backend) => format!("The backend {backend} has no endpoint: 503."),
            None => "The backend is no Service: 503.".to_owned(),
        },
        other => format!("The ingress controller cannot be asked ({other})."),
    }
}

/// What the last step means.
fn hop_sentence(hop: &Hop, outcome: Option<Outcome>) -> String {
    match hop {
        Hop::Port { listening: true, pod, node, address, .. } => match pod {
            Some((namespace, name)) => {
                format!("Delivered: pod {namespace}/{name} on {node} listens at {address}.")
            }
            None => format!("Delivered: {node} itself listens at {address}."),
        },
        Hop::Port { nobody: true, address, node, .. } => {
            format!("No route to host: no pod of {node} has {}.", address.ip())
        }
        Hop::Port { pod, address, node, .. } => {
            let who = pod.as_ref().map_or_else(
                || node.clone(),
                |(namespace, name)| format!("pod {namespace}/{name}"),
            );
            format!("Connection refused: {who} does not listen at port {}.", address.port())
        }
        Hop::Policy { judgement: cni::trace::Judgement::Denied { policies }, side, .. } => format!(
            "Dropped, so that the caller times out: no {side:?} rule of {} allows it.",
            policies.join(", ")
        ),
        Hop::Service { service, endpoints, .. } => match outcome {
            Some(Outcome::TimedOut) => format!(
                "Dropped, so that the caller times out: no endpoint of {service} is where its policy looks."
            ),
            _ if endpoints.is_empty() => {
                format!("Connection refused: Service {service} has no endpoint.")
            }
            _ => format!("Connection refused: no endpoint of {service} is ready."),
        },
        Hop::ClosedPort { address, .. } => format!(
            "Connection refused: {} is a Service's address, but none has port {}.",
            address.ip(),
            address.port()
        ),
        Hop::Forbidden { address, client, .. } => format!(
            "Dropped: {client} is in none of the source ranges of the load balancer at {address}."
        ),
        Hop::NotOpen { address } => {
            format!("Connection refused: nothing of the cluster is open at {address} on the host.")
        }
        Hop::Entry { service, .. } => {
            format!("Connection refused: no endpoint can serve {service}; the port is only kept.")
        }
        Hop::Route { way: Leads::Backend, address, .. } => {
            format!(
                "It leaves the cluster's network: a server of the host stands behind {address}."
            )
        }
        Hop::Route { way: Leads::ClosedBackend, address, .. } => {
            format!("Connection refused: nothing stands behind {address}.")
        }
        Hop::Route { way: Leads::Outside, address, .. } => {
            format!("It leaves the cluster: {address} is outside.")
        }
        Hop::Route { address, .. } => format!("No route to host: nobody has {}.", address.ip()),
        Hop::Silent { node } => format!("Unknown: {node} cannot be asked."),
        Hop::Loop { node } => format!("No route to host: it goes in circles, at last by {node}."),
        Hop::Policy { .. } => "It goes on.".to_owned(),
    }
}

/// What is to be said of an endpoint that is not followed, but may be drawn.
fn fate_note(choice: &Choice) -> Option<String> {
    if choice.odds == 0.0 {
        return None;
    }
    let what = match choice.outcome? {
        Outcome::Delivered | Outcome::Left => return None,
        Outcome::Refused => "refuses: TCP tries the next one",
        Outcome::NoRoute => "has left: TCP tries the next one",
        Outcome::TimedOut => "drops what it gets: the caller would time out",
        Outcome::Unknown => "is on a node that cannot be asked",
    };
    Some(format!("{} ({}) {what}.", choice.address, percent(choice.odds)))
}

/// A chance, in percent.
#[must_use]
pub fn percent(odds: f64) -> String {
    format!("{:.0} %", odds * 100.0)
}

/// Whether a try went as the trace says. Of datagrams silence says nothing.
#[must_use]
pub fn agrees(told: Option<Outcome>, status: &ConnectStatus, protocol: Protocol) -> bool {
    match (told, status.outcome, protocol) {
        (Some(Outcome::Delivered), Outcome::TimedOut, Protocol::Udp)
        // What is outside is not known.
        | (Some(Outcome::Left | Outcome::Unknown), _, _) => true,
        (told, real, _) => told == Some(real),
    }
}

/// What an answer says, in short.
#[must_use]
pub fn http_text(answer: &HttpAnswer) -> String {
    match &answer.error {
        Some(error) => format!("no answer: {error}"),
        None => format!("HTTP {}", answer.status),
    }
}
