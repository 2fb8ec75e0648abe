//! `kubectl-mini trace`: the way of a request, hop by hop. kubectl has no such command.
//!
//! The nodes on the way are asked for their networks (rules, listeners, addresses), and [`cni::trace`] walks through them
//! by the functions that carry the traffic; names are resolved by the pod's own resolver; what an ingress controller
//! does, the controller itself says. Nothing is guessed from objects of the API but the names of pods and ports.
//!
//! | module | does |
//! |---|---|
//! | [`target`] | reads what was typed |
//! | `origin`, `aim` | find who connects, and the address |
//! | `walk` | fetches what the trace needs, and follows it through an ingress controller |
//! | [`told`] | the trace as it is told |
//! | [`text`], [`mermaid`] | its forms |

mod aim;
pub mod mermaid;
mod origin;
pub mod target;
pub mod text;
pub mod told;
mod walk;

use cni::rules::Protocol;
use serde_json::json;

use self::{
    target::{read_from, read_to},
    walk::Walk,
};
use crate::{cli::Command, context::Context, errors::CommandError};

/// Traces a request.
#[derive(clap::Args, Clone, Debug)]
pub struct Trace {
    /// Who connects, and to what.
    pub arguments: Vec<String>,
    /// Protocol of the connection. One of: (tcp, udp).
    #[arg(long, default_value = "tcp")]
    pub protocol: String,
    /// Makes the connection, too, and compares. (For a URL a GET is sent.)
    #[arg(long)]
    pub live: bool,
    /// Output format. One of: (json, mermaid); text by default.
    #[arg(long, short, default_value = "")]
    pub output: String,
}

impl Command for Trace {
    const NAME: &'static str = "trace";
    const ABOUT: &'static str = "Tell the way of a request, hop by hop";
    const USAGE: &'static str = "trace FROM TO[:PORT] [--protocol tcp|udp] [--live]";
    const HELP: &'static str = "Tell the way of a request, hop by hop: how its name is resolved, which Service's rule translates it, which endpoint is drawn and the chances of the others, the route to its node, what the network policies say and by which rule, and whether somebody listens. (kubectl has no such command.)

 FROM is a pod (web-1, pod/web-1, deploy/web), a node (node/node-1) or the host (outside). TO is a name as a program would use it (web, web.other), a URL, an address, svc/web, pod/web-1, node/node-1:30080 or ingress/web. The answer comes from the rules that carry the traffic, not from objects. The exit code is 0 if the request gets there, else 1.";
    const EXAMPLES: &'static str = "# Why does this pod not reach the Service?
kubectl-mini trace deploy/shop http://web:8080/

# From a browser to a pod
kubectl-mini trace outside http://127.0.0.1:31423

# Is that what happens?
kubectl-mini trace web-1 svc/db --live

# A diagram
kubectl-mini trace outside ingress/web -o mermaid";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let usage = |message: String| CommandError::usage(Self::NAME, message);
        let [from, to] = self.arguments.as_slice() else {
            let count = self.arguments.len();
            return Err(usage(format!("FROM and TO must be named, got {count} arguments")));
        };
        let protocol = match self.protocol.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => return Err(usage(format!("unknown protocol {other:?}: tcp or udp is meant"))),
        };
        if !matches!(self.output.as_str(), "" | "json" | "mermaid") {
            return Err(CommandError::message(format!(
                "unable to match a printer suitable for the output format \"{}\", allowed formats are: json,mermaid",
                self.output
            )));
        }
        let (from, to) = (read_from(from), read_to(to).map_err(usage)?);
        let told = Walk::new(context, protocol, self.live).follow(&from, &to).await?;
        let text = match self.output.as_str() {
            "json" => {
                let whole =
                    json!({"apiVersion": "kube-mini.dev/v1", "kind": "Trace", "status": told});
                format!("{whole:#}\n")
            }
            "mermaid" => mermaid::render(&told),
            _ => text::render(&told),
        };
        context.print(&text)?;
        if told.arrives() {
            Ok(())
        } else {
            Err(CommandError::Exit { text: String::new(), code: 1 })
        }
    }
}
