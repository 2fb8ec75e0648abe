//! `kubectl-mini node rules`: the rules that carry a node's traffic, in the forms that people know.

use cni::render::{iptables_save, nft};

use crate::{cli::Command, context::Context, errors::CommandError, inspection};

/// Shows the rules of a node.
#[derive(clap::Args, Clone, Debug)]
pub struct Rules {
    /// The node.
    pub arguments: Vec<String>,
    /// Output format. One of: (iptables-save, nft, json).
    #[arg(long, short, default_value = "iptables-save")]
    pub output: String,
}

impl Command for Rules {
    const NAME: &'static str = "rules";
    const ABOUT: &'static str = "Show the rules that carry a node's traffic";
    const USAGE: &'static str = "rules NODE [-o iptables-save|nft|json]";
    const HELP: &'static str = "Show the rules that carry a node's traffic: what kube-proxy has programmed, and the network policies of its pods. (kubectl has no such command.)

 The node itself is asked. Its rules are no netfilter's; they are printed as iptables-save or nft would print the same rules after kube-proxy, under the names that it gives its chains, or whole as JSON.";
    const EXAMPLES: &'static str = "# What iptables -t nat -S would show
kubectl-mini node rules node-1

# The same as nftables
kubectl-mini node rules node-1 -o nft

# Everything, for a program
kubectl-mini node rules node-1 -o json";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let node = match self.arguments.as_slice() {
            [node] => {
                node.strip_prefix("node/").or_else(|| node.strip_prefix("nodes/")).unwrap_or(node)
            }
            more => {
                let message = format!("exactly one node must be named, got {}", more.len());
                return Err(CommandError::usage("node rules", message));
            }
        };
        let form = match self.output.as_str() {
            "iptables-save" => iptables_save,
            "nft" => nft,
            "json" => |report: &cni::report::NodeReport| {
                let text = serde_json::to_string_pretty(&report.rules);
                text.map_or_else(|error| error.to_string(), |text| text + "\n")
            },
            other => {
                return Err(CommandError::message(format!(
                    "unable to match a printer suitable for the output format \"{other}\", allowed formats are: iptables-save,json,nft"
                )));
            }
        };
        let report = inspection::report(context, node).await?;
        context.print(&form(&report))
    }
}
