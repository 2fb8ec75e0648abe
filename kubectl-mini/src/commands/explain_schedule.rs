//! `kubectl-mini explain-schedule`: why a pod is where it is, or nowhere. kubectl has no such command.
//!
//! The scheduler itself judges the pod against the nodes as they are now (subresource `pods/scheduling`); here its
//! answer becomes text: which filter refuses a node and why, what each plugin gives the others, and who would win.

use std::fmt::Write;

use apimachinery::resource::PODS;
use serde::Deserialize;

use crate::{
    cli::Command,
    context::Context,
    errors::CommandError,
    printers::{Formats, Layout, OutputFlags},
};

/// Explains a pod's placement.
#[derive(clap::Args, Clone, Debug)]
pub struct ExplainSchedule {
    /// The pod.
    pub arguments: Vec<String>,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl Command for ExplainSchedule {
    const NAME: &'static str = "explain-schedule";
    const ABOUT: &'static str = "Explain where the scheduler puts a pod, and why";
    const USAGE: &'static str = "explain-schedule POD";
    const HELP: &'static str = "Explain where the scheduler puts a pod, and why. (kubectl has no such command.)

 The scheduler is asked to judge the pod against all nodes as they are now, without placing it. A pod that has its node already is judged as if it had none. First filters refuse nodes; then score plugins give each node that is left 0 to 100, times the plugin's weight; the highest total wins.";
    const EXAMPLES: &'static str = "# Why is this pod pending?
kubectl-mini explain-schedule web-1

# The same for a program
kubectl-mini explain-schedule web-1 -o json";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = match self.arguments.as_slice() {
            [name] => {
                name.strip_prefix("pod/").or_else(|| name.strip_prefix("pods/")).unwrap_or(name)
            }
            [] => return Err(CommandError::usage(Self::NAME, "exactly one pod must be named")),
            more => {
                let message = format!("exactly one pod must be named, got {}", more.len());
                return Err(CommandError::usage(Self::NAME, message));
            }
        };
        let printer = self.output.printer(Formats::Common)?;
        let client = context.client()?;
        let namespace = context.namespace()?;
        let api = client.resource(&PODS).namespace(&namespace).subresource("scheduling");
        let explanation = context.request(api.get(name)).await?.object()?;
        match printer {
            Some(printer) => context.print(&printer.print(&explanation.into_value())?),
            None => {
                let explanation: Explanation = explanation.view().map_err(|error| {
                    CommandError::message(format!("unable to read the explanation: {error}"))
                })?;
                context.print(&explanation.render())
            }
        }
    }
}

/// `SchedulingExplanation`, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Explanation {
    metadata: Metadata,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    state: String,
    node_name: String,
    nominated_node_name: String,
    scheduler_name: String,
    gates: Vec<String>,
    message: String,
    selected: String,
    candidates: Vec<String>,
    nodes: Vec<Node>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    name: String,
    feasible: bool,
    plugin: String,
    resolvable: bool,
    reasons: Vec<String>,
    total: i64,
    scores: Vec<Score>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Score {
    plugin: String,
    normalized: i64,
    weight: i64,
    score: i64,
}

impl Explanation {
    fn render(&self) -> String {
        let Self { metadata: Metadata { name, namespace }, status } = self;
        let mut text = format!("Pod {namespace}/{name}: {}\n", status.sentence());
        text += &status.refusals();
        text += &status.scores();
        text += &status.conclusion();
        text
    }
}

impl Status {
    /// What is the matter with the pod.
    fn sentence(&self) -> String {
        let nominated = match self.nominated_node_name.as_str() {
            "" => String::new(),
            node => format!(" Pods with a lower priority make room for it on {node}."),
        };
        match self.state.as_str() {
            "Scheduled" => format!("scheduled, on {}.", self.node_name),
            "Unschedulable" => format!(
                "unschedulable: at the last attempt no node could take it; the next follows when something changes.{nominated}"
            ),
            "Pending" => format!("pending: it waits for its turn.{nominated}"),
            "Backoff" => format!(
                "backing off: the last attempt failed, and the next one waits a little.{nominated}"
            ),
            "Gated" => format!(
                "gated: the scheduler does not look at it before these gates are removed: {}.",
                self.gates.join(", ")
            ),
            "Foreign" => format!(
                "left alone: it asks for the scheduler {:?}, and this one is another.",
                self.scheduler_name
            ),
            "Deleted" => "being deleted: it is not placed any more.".to_owned(),
            other => format!("{other}."),
        }
    }

    fn refusals(&self) -> String {
        let refused: Vec<&Node> = self.nodes.iter().filter(|node| !node.feasible).collect();
        if refused.is_empty() {
            return String::new();
        }
        let mut layout = Layout::default();
        layout.row(["NODE", "FILTER", "PREEMPTION", "WHY"].map(ToOwned::to_owned).to_vec());
        for node in refused {
            let preemption = if node.resolvable { "may help" } else { "cannot help" };
            layout.row(vec![
                node.name.clone(),
                node.plugin.clone(),
                preemption.to_owned(),
                node.reasons.join("; "),
            ]);
        }
        format!("\nNodes that cannot take it, and the filter that refuses:\n{}", layout.flush())
    }

    fn scores(&self) -> String {
        let mut feasible: Vec<&Node> = self.nodes.iter().filter(|node| node.feasible).collect();
        if feasible.is_empty() {
            return String::new();
        }
        feasible.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
        // Every plugin that gave any node a score, in the order of its first mention.
        let mut plugins: Vec<(&str, i64)> = Vec::new();
        for score in feasible.iter().flat_map(|node| &node.scores) {
            if !plugins.iter().any(|(name, _)| *name == score.plugin) {
                plugins.push((&score.plugin, score.weight));
            }
        }
        let mut layout = Layout::default();
        let mut heading = vec!["NODE".to_owned(), "TOTAL".to_owned()];
        heading.extend(plugins.iter().map(|(name, weight)| match weight {
            1 => (*name).to_owned(),
            weight => format!("{name} ×{weight}"),
        }));
        layout.row(heading);
        for node in &feasible {
            let mut row = vec![node.name.clone(), node.total.to_string()];
            row.extend(plugins.iter().map(|(name, _)| {
                let score = node.scores.iter().find(|score| score.plugin == *name);
                score.map_or_else(
                    || "-".to_owned(),
                    |score| match score.weight {
                        1 => score.score.to_string(),
                        weight => format!("{} ×{weight} = {}", score.normalized, score.score),
                    },
                )
            }));
            layout.row(row);
        }
        let note = if plugins.is_empty() {
            "the only one, so that no plugin needs to compare:"
        } else {
            "best first; each plugin gives 0 to 100, times its weight:"
        };
        format!("\nNodes that can take it, {note}\n{}", layout.flush())
    }

    fn conclusion(&self) -> String {
        let mut text = String::new();
        if !self.message.is_empty() {
            let _ = write!(text, "\nThe scheduler says: {}\n", self.message);
        }
        let others: Vec<&str> = self
            .candidates
            .iter()
            .map(String::as_str)
            .filter(|name| *name != self.selected)
            .collect();
        if self.selected.is_empty() {
            return text;
        }
        let chosen = &self.selected;
        if others.is_empty() {
            let _ = write!(text, "\nPlaced now, it would go to {chosen}.\n");
        } else {
            let _ = write!(
                text,
                "\nPlaced now, it would go to {chosen}, or as well to {}: the total is the same, and chance decides.\n",
                others.join(", ")
            );
        }
        if self.state == "Scheduled"
            && *chosen != self.node_name
            && !others.contains(&self.node_name.as_str())
        {
            let _ = writeln!(
                text,
                "It is on {} because the nodes looked different when it was placed; a pod that has its node keeps it.",
                self.node_name
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(status: &serde_json::Value) -> String {
        let explanation =
            json!({ "metadata": { "name": "web-1", "namespace": "default" }, "status": status });
        serde_json::from_value::<Explanation>(explanation).unwrap().render()
    }

    #[test]
    fn a_placed_pod_is_explained_by_scores() {
        let score = |plugin: &str, normalized: i64, weight: i64| json!({ "plugin": plugin, "raw": normalized, "normalized": normalized, "weight": weight, "score": normalized * weight });
        let text = rendered(&json!({
            "state": "Scheduled", "nodeName": "node-2", "selected": "node-2", "candidates": ["node-2"],
            "nodes": [
                { "name": "node-1", "feasible": false, "plugin": "TaintToleration", "reasons": ["node(s) had untolerated taint(s)"] },
                { "name": "node-3", "feasible": true, "total": 145, "scores": [score("NodeResourcesFit", 45, 1), score("TaintToleration", 50, 2)] },
                { "name": "node-2", "feasible": true, "total": 345, "scores": [score("NodeResourcesFit", 45, 1), score("TaintToleration", 100, 3)] },
            ],
        }));
        assert_eq!(
            text,
            "Pod default/web-1: scheduled, on node-2.

Nodes that cannot take it, and the filter that refuses:
NODE     FILTER            PREEMPTION    WHY
node-1   TaintToleration   cannot help   node(s) had untolerated taint(s)

Nodes that can take it, best first; each plugin gives 0 to 100, times its weight:
NODE     TOTAL   NodeResourcesFit   TaintToleration ×3
node-2   345     45                 100 ×3 = 300
node-3   145     45                 50 ×2 = 100

Placed now, it would go to node-2.
"
        );
    }

    #[test]
    fn a_pod_without_a_node_is_explained_by_refusals() {
        let text = rendered(&json!({
            "state": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu.",
            "nodes": [{ "name": "node-1", "feasible": false, "plugin": "NodeResourcesFit", "resolvable": true, "reasons": ["Insufficient cpu"] }],
        }));
        assert_eq!(
            text,
            "Pod default/web-1: unschedulable: at the last attempt no node could take it; the next follows when something changes.

Nodes that cannot take it, and the filter that refuses:
NODE     FILTER             PREEMPTION   WHY
node-1   NodeResourcesFit   may help     Insufficient cpu

The scheduler says: 0/1 nodes are available: 1 Insufficient cpu.
"
        );
    }

    #[test]
    fn ties_and_moved_favourites_are_told() {
        let node = |name: &str| json!({ "name": name, "feasible": true, "total": 1, "scores": [{ "plugin": "P", "normalized": 1, "weight": 1, "score": 1 }] });
        let text = rendered(&json!({
            "state": "Scheduled", "nodeName": "a", "selected": "b", "candidates": ["b", "c"],
            "nodes": [node("b"), node("c")],
        }));
        assert!(text.ends_with("\nPlaced now, it would go to b, or as well to c: the total is the same, and chance decides.\nIt is on a because the nodes looked different when it was placed; a pod that has its node keeps it.\n"), "{text}");
        let text = rendered(&json!({ "state": "Gated", "gates": ["x/y"] }));
        assert_eq!(
            text,
            "Pod default/web-1: gated: the scheduler does not look at it before these gates are removed: x/y.\n"
        );
    }
}
