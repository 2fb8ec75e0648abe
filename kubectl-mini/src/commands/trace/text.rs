//! A trace for people: one numbered step after the other.

use std::fmt::Write as _;

use cni::{
    rules::{Protocol, TrafficPolicy},
    stance::Exemption,
    trace::{Choice, Hop, Judgement, Leads, Outcome, Side},
};

use super::told::{IngressTold, NameTold, Party, Step, Told, http_text, percent};
use crate::printers::Layout;

const INDENT: &str = "              ";

/// Prints a trace.
#[must_use]
pub fn render(told: &Told) -> String {
    let mut out = format!("From {}", told.from.text());
    if let Party::Pod { node, ip, .. } = &told.from {
        let _ = write!(out, " ({ip} on {node})");
    }
    let _ = write!(out, " to {}", told.to);
    if let Some(address) = told.address.filter(|address| address.to_string() != told.to) {
        let _ = write!(out, " ({address})");
    }
    let _ = writeln!(out, ", {}\n", protocol(told.protocol));
    for (number, step) in told.steps.iter().enumerate() {
        let (title, lines) = describe(step);
        let mut lines = lines.into_iter();
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(out, "{:>2}. {title:<9} {first}", number + 1);
        lines.for_each(|line| {
            let _ = writeln!(out, "{INDENT}{line}");
        });
    }
    let _ = writeln!(out, "\n{}", told.summary);
    for note in &told.notes {
        let _ = writeln!(out, "Note: {note}");
    }
    if let Some(live) = &told.live {
        let _ = write!(out, "Live: {}", outcome(live.status.outcome));
        if let Some(endpoint) = live.status.endpoint {
            let _ = write!(out, " to {endpoint}");
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds at most")]
        let _ = write!(out, " after {:.1} ms", live.status.microseconds as f64 / 1000.0);
        if let Some(answer) = &live.status.http {
            let _ = write!(out, ", {}", http_text(answer));
        }
        let verdict = if live.agrees { "as traced" } else { "NOT as traced" };
        let _ = writeln!(out, "; {verdict}.");
    }
    out
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

/// An end, in a word.
#[must_use]
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "connected",
        Outcome::Left => "leaves the cluster",
        Outcome::Refused => "refused",
        Outcome::TimedOut => "timed out",
        Outcome::NoRoute => "no route",
        Outcome::Unknown => "unknown",
    }
}

fn describe(step: &Step) -> (&'static str, Vec<String>) {
    match step {
        Step::Name { name } => ("Name", name_lines(name)),
        Step::Ingress { ingress } => ("Ingress", ingress_lines(ingress)),
        Step::Stop { stop } => ("Stop", vec![stop.clone()]),
        Step::Network { hop, container, port_name } => {
            hop_lines(hop, container.as_deref(), port_name.as_deref())
        }
    }
}

fn name_lines(name: &NameTold) -> Vec<String> {
    let status = &name.status;
    let mut lines = vec![name.asked.clone()];
    if status.from_hosts {
        lines.push("found in /etc/hosts".to_owned());
    } else if !status.resolv_conf.is_empty() {
        let conf: Vec<&str> = status.resolv_conf.lines().collect();
        lines.push(format!("/etc/resolv.conf: {}", conf.join("; ")));
    }
    lines.extend(status.steps.iter().map(|step| match &step.error {
        Some(error) => format!("{}: {error}", step.name),
        None => {
            let addresses: Vec<String> = step.addresses.iter().map(ToString::to_string).collect();
            format!("{} is {}", step.name, addresses.join(", "))
        }
    }));
    lines
}

fn ingress_lines(ingress: &IngressTold) -> Vec<String> {
    let IngressTold { pod, host, path, status, .. } = ingress;
    let mut lines = vec![format!("{pod} looks for {host}{path}")];
    if let (Some(ingress), Some(backend)) = (&ingress.ingress, &ingress.backend) {
        lines.push(format!("a rule of {ingress} leads to Service {backend}"));
    }
    if *status != 200 {
        lines.push(format!("answers {status}"));
    }
    lines.extend(choices(&ingress.endpoints));
    lines
}

/// The endpoints, one below the other.
fn choices(endpoints: &[Choice]) -> Vec<String> {
    let mut layout = Layout::default();
    for choice in endpoints {
        let mark = if choice.chosen { "→" } else { " " };
        let odds = if choice.excluded.is_some() { "-".to_owned() } else { percent(choice.odds) };
        let fate = match (&choice.excluded, choice.outcome) {
            (Some(why), _) => why.as_str(),
            (None, Some(fate)) => outcome(fate),
            (None, None) => "",
        };
        let node = choice.node.clone().unwrap_or_else(|| "-".to_owned());
        layout.row(vec![format!("{mark} {}", choice.address), node, odds, fate.to_owned()]);
    }
    layout.flush().lines().map(|line| line.trim_end().to_owned()).collect()
}

fn hop_lines(
    hop: &Hop,
    container: Option<&str>,
    port_name: Option<&str>,
) -> (&'static str, Vec<String>) {
    match hop {
        Hop::Entry { node, address, service, node_port, open, others } => {
            let what = if *node_port { "node port" } else { "address" };
            let state = if *open { "is open at" } else { "is only kept at" };
            let mut lines =
                vec![format!("{address} on the host {state} {node}: {what} of {service}")];
            if !others.is_empty() {
                lines.push(format!("also at {}: the kernel picks one", others.join(", ")));
            }
            ("Entry", lines)
        }
        Hop::NotOpen { address } => {
            ("Entry", vec![format!("nothing of the cluster is open at {address} on the host")])
        }
        Hop::Service { node, service, address, policy, affinity_seconds, endpoints, .. } => {
            let policy = match policy {
                TrafficPolicy::Cluster => "any endpoint of the cluster",
                TrafficPolicy::Local => "endpoints of this node only (policy Local)",
            };
            let mut lines = vec![format!("{service} at {address}, by a rule of {node}: {policy}")];
            if let Some(seconds) = affinity_seconds {
                lines.push(format!("a client keeps its endpoint for {seconds} s (ClientIP)"));
            }
            if endpoints.is_empty() {
                lines.push("no endpoints".to_owned());
            }
            lines.extend(choices(endpoints));
            ("Service", lines)
        }
        Hop::ClosedPort { node, address } => (
            "Service",
            vec![format!(
                "{} is a Service's, but no port of it is {}: refused at {node}",
                address.ip(),
                address.port()
            )],
        ),
        Hop::Forbidden { node, address, client } => (
            "Firewall",
            vec![format!("{node} lets {client} not use {address} (loadBalancerSourceRanges)")],
        ),
        Hop::Policy { node, side, pod, peer, judgement, .. } => (
            "Policy",
            vec![policy_line(node, *side, &pod.to_string(), &peer.to_string(), judgement)],
        ),
        Hop::Route { node, address, way, range } => {
            let of = range.map_or_else(String::new, |range| format!(", which has {range}"));
            let line = match way {
                Leads::Here => format!("{} is on {node} itself{of}", address.ip()),
                Leads::Node(peer) => format!("{node} → {peer}{of}"),
                Leads::Backend => format!("{node} → the server on the host behind {address}"),
                Leads::ClosedBackend => format!("nothing on the host stands behind {address}"),
                Leads::Outside => format!("{node} → outside of the cluster"),
                Leads::Nowhere => format!("no node has {}", address.ip()),
            };
            ("Route", vec![line])
        }
        Hop::Port { node, pod, address, nobody, listening } => {
            let who = match pod {
                Some((namespace, name)) => format!("{namespace}/{name} on {node}"),
                None if *nobody => format!("no pod of {node} has {}", address.ip()),
                None => format!("{node} itself"),
            };
            let container =
                container.map_or_else(String::new, |name| format!(", container {name}"));
            let named = port_name.map_or_else(String::new, |name| format!(" ({name})"));
            let state = match (nobody, listening) {
                (true, _) => String::new(),
                (false, true) => format!("{container}, port {}{named}: listening", address.port()),
                (false, false) => {
                    format!("{container}, port {}{named}: nobody listens", address.port())
                }
            };
            (if pod.is_some() { "Pod" } else { "Node" }, vec![format!("{who}{state}")])
        }
        Hop::Silent { node } => ("Node", vec![format!("{node} cannot be asked")]),
        Hop::Loop { node } => ("Loop", vec![format!("given up at {node}")]),
    }
}

fn policy_line(node: &str, side: Side, pod: &str, peer: &str, judgement: &Judgement) -> String {
    let way = match side {
        Side::Egress => format!("out of {pod} to {peer}, at {node}"),
        Side::Ingress => format!("in to {pod} from {peer}, at {node}"),
    };
    let verdict = match judgement {
        Judgement::Open => "allowed, for no policy selects the pod".to_owned(),
        Judgement::Exempt { because } => format!(
            "always allowed: {}",
            match because {
                Exemption::Itself => "a pod speaks to itself",
                Exemption::OwnNode => "it comes from the pod's own node",
                Exemption::ToOwnNode => "it goes to the pod's own node",
            }
        ),
        Judgement::Allowed { policy, rule } => {
            format!("allowed by rule {} of {policy}", rule + 1)
        }
        Judgement::Denied { policies } => {
            format!("DROPPED: no rule of {} allows it", policies.join(", "))
        }
    };
    format!("{way}: {verdict}")
}
