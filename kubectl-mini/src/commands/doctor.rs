//! `kubectl-mini doctor`: finds what keeps requests from being served, and says what mends it. kubectl has no such command.
//!
//! One [`snapshot`] of the API and of the nodes' own reports is looked at by a table of pure [`checks`]; what they find
//! has a line of cause, the evidence, and a command. What is on its way (a pod that starts, rules that are being sent) is
//! no finding: whatever is found is looked for a second time a moment later, and only what stays is told.

pub mod checks;
pub mod finding;
mod scope;
pub mod snapshot;

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use self::{
    checks::CHECKS,
    finding::{Finding, render},
    scope::Scope,
    snapshot::Snapshot,
};
use crate::{cli::Command, context::Context, errors::CommandError};

/// How long what is found must stay.
const SETTLE: Duration = Duration::from_millis(1500);

/// Finds what is wrong.
#[derive(clap::Args, Clone, Debug)]
pub struct Doctor {
    /// What to look at: a type and a name; everything by default.
    pub arguments: Vec<String>,
    /// Looks at all namespaces.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Output format. One of: (json); text by default.
    #[arg(long, short, default_value = "")]
    pub output: String,
}

impl Command for Doctor {
    const NAME: &'static str = "doctor";
    const ABOUT: &'static str = "Find what keeps requests from being served, and what mends it";
    const USAGE: &'static str = "doctor [service|ingress|pod|node NAME] [-A]";
    const HELP: &'static str = "Find what keeps requests from being served, and what mends it. (kubectl has no such command.)

 Objects of the API are compared with what the nodes really do. Each finding has its cause in a line, the evidence, and the command that mends it. Without a name everything of the namespace and of the cluster is looked at. The exit code is 0 if nothing is found, 1 if something is.";
    const EXAMPLES: &'static str = "# Why does this Service not answer?
kubectl-mini doctor service web

# Is all well?
kubectl-mini doctor -A

# For a program
kubectl-mini doctor -A -o json";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if !matches!(self.output.as_str(), "" | "json") {
            return Err(CommandError::message(format!(
                "unable to match a printer suitable for the output format \"{}\", allowed formats are: json",
                self.output
            )));
        }
        let namespace = context.namespace()?;
        let scope = Scope::read(&self.arguments, &namespace, self.all_namespaces)
            .map_err(|why| CommandError::usage(Self::NAME, why))?;
        let snapshot = Snapshot::take(context).await?;
        let (mut findings, mut size) = (scope.look(&snapshot), snapshot.size());
        if !findings.is_empty() {
            context.clock.sleep(SETTLE).await;
            let later = Snapshot::take(context).await?;
            let again = scope.look(&later);
            let stays = |finding: &Finding| findings.iter().any(|first| first.is_same(finding));
            findings = again.into_iter().filter(stays).collect();
            size = later.size();
        }
        let healthy = findings.is_empty();
        let text = if self.output == "json" {
            let looked_for: BTreeMap<&str, &str> =
                CHECKS.iter().map(|check| (check.name, check.about)).collect();
            let told = json!({
                "apiVersion": "kube-mini.dev/v1", "kind": "Diagnosis",
                "status": {"healthy": healthy, "findings": findings, "lookedFor": looked_for},
            });
            format!("{told:#}\n")
        } else {
            render(&findings, &size)
        };
        context.print(&text)?;
        if healthy { Ok(()) } else { Err(CommandError::Exit { text: String::new(), code: 1 }) }
    }
}
