//! A trace as the diagram that documents draw of a request, for this very one.

use cni::{
    rules::Protocol,
    trace::{Choice, Hop, Judgement, Leads, Side},
};

use super::told::{Party, Step, Told, percent};

/// Boxes and arrows, as they come.
#[derive(Default)]
struct Chart {
    lines: Vec<String>,
    boxes: usize,
}

impl Chart {
    /// Adds a box, and an arrow to it from where the request was.
    fn to(&mut self, from: &str, arrow: &str, label: &str, text: &str) -> String {
        self.boxes += 1;
        let id = format!("n{}", self.boxes);
        let label = if label.is_empty() { String::new() } else { format!("|\"{}\"|", safe(label)) };
        self.lines.push(format!("    {from} {arrow}{label} {id}[\"{}\"]", safe(text)));
        id
    }
}

/// Quotes and line ends have a meaning of their own in a diagram.
fn safe(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\n', "<br>")
}

/// Prints a trace as a Mermaid flowchart.
#[must_use]
pub fn render(told: &Told) -> String {
    let from = match &told.from {
        Party::Pod { namespace, name, node, ip } => {
            format!("Pod {namespace}/{name}\n{ip} on {node}")
        }
        Party::Node { name } => format!("Node {name}"),
        Party::Host => "User".to_owned(),
    };
    let protocol = if told.protocol == Protocol::Tcp { "TCP" } else { "UDP" };
    let mut chart = Chart::default();
    chart.lines.push(format!("    from[\"{}\"]", safe(&from)));
    let (mut at, mut label) = ("from".to_owned(), format!("{} {protocol}", told.to));
    for step in &told.steps {
        step_box(&mut chart, step, &mut at, &mut label);
    }
    let end = if told.arrives() { "-->" } else { "--x" };
    let summary = told.summary.clone();
    let last = chart.to(&at, end, &label, &summary);
    let style = if told.arrives() { "stroke:#2a2" } else { "stroke:#c22" };
    chart.lines.push(format!("    style {last} {style}"));
    format!("flowchart TD\n{}\n", chart.lines.join("\n"))
}

fn step_box(chart: &mut Chart, step: &Step, at: &mut String, label: &mut String) {
    let mut go = |chart: &mut Chart, text: &str, next: &str| {
        *at = chart.to(at, "-->", label, text);
        next.clone_into(label);
    };
    match step {
        Step::Name { name } => {
            let found = name.status.addresses().iter().map(ToString::to_string);
            let found: Vec<String> = found.collect();
            go(chart, &format!("CoreDNS\n{}", name.asked), &found.join(", "));
        }
        Step::Ingress { ingress } => {
            let text = format!("Ingress Controller\n{}", ingress.pod);
            go(chart, &text, &format!("{}{}", ingress.host, ingress.path));
            if let Some(backend) = &ingress.backend {
                go(chart, &format!("Service {backend}"), "");
            }
            others(chart, at, &ingress.endpoints, label);
        }
        Step::Stop { .. } => {}
        Step::Network { hop, .. } => match hop {
            Hop::Entry { node, address, node_port, .. } => {
                let what = if *node_port { "NodePort" } else { "LoadBalancer" };
                go(chart, &format!("{what}\n{address} at {node}"), "");
            }
            Hop::Service { node, service, address, endpoints, .. } => {
                let text = format!("Service {service}\n{address}");
                go(chart, &text, &format!("kube-proxy on {node}:"));
                others(chart, at, endpoints, label);
            }
            Hop::Policy { side, judgement, .. } => {
                let side = if *side == Side::Egress { "egress" } else { "ingress" };
                match judgement {
                    Judgement::Allowed { policy, .. } => {
                        go(chart, &format!("NetworkPolicy {policy}"), &format!("{side} allowed"));
                    }
                    Judgement::Denied { policies } => {
                        let text = format!("NetworkPolicy {}", policies.join(", "));
                        go(chart, &text, &format!("{side} denied"));
                    }
                    Judgement::Open | Judgement::Exempt { .. } => {}
                }
            }
            Hop::Route { way: Leads::Node(peer), range, .. } => {
                let range = range.map_or_else(String::new, |range| format!("\n{range}"));
                go(chart, &format!("Node {peer}{range}"), "");
            }
            Hop::Port { pod: Some((namespace, name)), address, .. } => {
                go(chart, &format!("Pod {namespace}/{name}\n{address}"), "");
            }
            _ => {}
        },
    }
}

/// The endpoints that it does not go to, and the chance of the one that it does.
fn others(chart: &mut Chart, at: &str, endpoints: &[Choice], label: &mut String) {
    for choice in endpoints {
        if choice.chosen {
            *label =
                format!("{label} {} {}", choice.address, percent(choice.odds)).trim().to_owned();
        } else {
            let why = choice.excluded.clone().unwrap_or_else(|| percent(choice.odds));
            let text = format!("Endpoint {}", choice.address);
            chart.to(at, "-.->", &why, &text);
        }
    }
}
