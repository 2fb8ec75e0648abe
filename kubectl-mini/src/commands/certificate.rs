//! `kubectl certificate approve` and `kubectl certificate deny`.

use apimachinery::{
    certificates::{APPROVED, DENIED},
    object::Object,
    resource,
    time::Time,
};
use serde_json::{Value, json};

use crate::{
    changing::{DryRun, Place, Reporter, Writer},
    cli::{Command, Spec, leaf},
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::{FileFlags, Item, Selection, fetch},
};

/// The subcommands.
pub static SUBCOMMANDS: &[Spec] = &[leaf::<Approve>(), leaf::<Deny>()];

/// The usage line of the group.
pub const USAGE: &str = "certificate SUBCOMMAND";

/// How often a write is tried that others were faster with.
const ATTEMPTS: usize = 10;

/// What both are told.
#[derive(clap::Args, Clone, Debug)]
pub struct Flags {
    /// The names.
    pub arguments: Vec<String>,
    /// Which files.
    #[command(flatten)]
    pub files: FileFlags,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
}

/// Approves requests.
#[derive(clap::Args, Clone, Debug)]
pub struct Approve {
    /// All but the last.
    #[command(flatten)]
    pub flags: Flags,
    /// Update the CSR even if it is already approved.
    #[arg(long)]
    pub force: bool,
}

/// Denies requests.
#[derive(clap::Args, Clone, Debug)]
pub struct Deny {
    /// All but the last.
    #[command(flatten)]
    pub flags: Flags,
    /// Update the CSR even if it is already denied.
    #[arg(long)]
    pub force: bool,
}

impl Command for Approve {
    const NAME: &'static str = "approve";
    const ABOUT: &'static str = "Approve a certificate signing request";
    const USAGE: &'static str = "approve (-f FILENAME | NAME)";
    const HELP: &'static str = "Approve a certificate signing request.

 kubectl certificate approve allows a cluster admin to approve a certificate signing request (CSR). This action tells a certificate signing controller to issue a certificate to the requester with the attributes requested in the CSR.

 SECURITY NOTICE: Depending on the requested attributes, the issued certificate can potentially grant a requester access to cluster resources or to authenticate as a requested identity. Before approving a CSR, ensure you understand what the signed certificate can do.";
    const EXAMPLES: &'static str = "# Approve CSR 'csr-sqgzp'
kubectl-mini certificate approve csr-sqgzp";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        decide(context, &self.flags, self.force, &APPROVAL).await
    }
}

impl Command for Deny {
    const NAME: &'static str = "deny";
    const ABOUT: &'static str = "Deny a certificate signing request";
    const USAGE: &'static str = "deny (-f FILENAME | NAME)";
    const HELP: &'static str = "Deny a certificate signing request.

 kubectl certificate deny allows a cluster admin to deny a certificate signing request (CSR). This action tells a certificate signing controller to not to issue a certificate to the requester.";
    const EXAMPLES: &'static str = "# Deny CSR 'csr-sqgzp'
kubectl-mini certificate deny csr-sqgzp";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        decide(context, &self.flags, self.force, &DENIAL).await
    }
}

/// One of the two decisions.
struct Decision {
    condition: &'static str,
    /// The condition that rules it out.
    opposite: &'static str,
    reason: &'static str,
    message: &'static str,
    told: &'static str,
}

const APPROVAL: Decision = Decision {
    condition: APPROVED,
    opposite: DENIED,
    reason: "KubectlApprove",
    message: "This CSR was approved by kubectl certificate approve.",
    told: "approved",
};
const DENIAL: Decision = Decision {
    condition: DENIED,
    opposite: APPROVED,
    reason: "KubectlDeny",
    message: "This CSR was denied by kubectl certificate deny.",
    told: "denied",
};

async fn decide(
    context: &Context,
    flags: &Flags,
    force: bool,
    decision: &Decision,
) -> Result<(), CommandError> {
    if flags.arguments.is_empty() && flags.files.is_empty() {
        return Err(CommandError::message(
            "one or more CSRs must be specified as <name> or -f <filename>",
        ));
    }
    let reporter = Reporter::typed(&flags.output, DryRun::None)?;
    let arguments = match flags.arguments.as_slice() {
        [] => Vec::new(),
        names => ["csr".to_owned()].iter().chain(names).cloned().collect(),
    };
    let selection = Selection { files: flags.files.clone(), arguments, ..Selection::default() };
    let found = selection.targets(context).await?;
    let mut errors = found.errors;
    for target in &found.targets {
        match fetch(context, target, 500).await {
            Err(error) => errors.push(error),
            Ok(items) => {
                for item in items {
                    match decide_one(context, item, force, decision).await {
                        Ok(object) => reporter.report(context, &object, decision.told)?,
                        Err(error) => errors.push(error),
                    }
                }
            }
        }
    }
    CommandError::gather(errors)
}

async fn decide_one(
    context: &Context,
    item: Item,
    force: bool,
    decision: &Decision,
) -> Result<Object, CommandError> {
    let Item { info, mut object } = item;
    if info != &resource::CERTIFICATE_SIGNING_REQUESTS {
        return Err(CommandError::message(format!(
            "can only handle certificates.k8s.io/v1 CertificateSigningRequest objects, got {}, Kind={}",
            info.api_version(),
            info.kind
        )));
    }
    let writer = Writer::new(context, "kubectl", DryRun::None)?;
    let name = object.name().to_owned();
    let place = Place { subresource: "approval", ..Place::new(info, "", &name) };
    for attempt in 1.. {
        let now = Time(context.clock.now()).truncated();
        let decided = with_condition(&object, decision, &Value::from(now.to_string()))?;
        let Some(decided) = decided.or_else(|| force.then(|| object.clone())) else { break };
        match writer.update(place, &decided).await {
            Err(CommandError::Api(status)) if status.is_conflict() && attempt < ATTEMPTS => {
                let read = context.client()?.get_object(info, "", &name);
                object = context.request(read).await?;
            }
            written => {
                written?;
                break;
            }
        }
    }
    Ok(object)
}

/// The request with the decision; None: it has been decided so before.
fn with_condition(
    request: &Object,
    decision: &Decision,
    now: &Value,
) -> Result<Option<Object>, CommandError> {
    let mut conditions = request.get_list(&["status", "conditions"]).to_vec();
    let mut decided = false;
    for condition in &conditions {
        if condition["type"] == decision.opposite {
            let name = apimachinery::field::go_quote(request.name());
            return Err(CommandError::message(format!(
                "certificate signing request {name} is already {}",
                decision.opposite
            )));
        }
        decided |= condition["type"] == decision.condition;
    }
    if decided {
        return Ok(None);
    }
    conditions.push(json!({
        "type": decision.condition,
        "status": "True",
        "reason": decision.reason,
        "message": decision.message,
        "lastUpdateTime": now,
    }));
    let mut object = request.clone();
    object.set(&["status", "conditions"], conditions);
    Ok(Some(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_made_once() {
        let request = |types: &[&str]| {
            let conditions: Vec<_> = types.iter().map(|kind| json!({"type": kind})).collect();
            let request = json!({"metadata": {"name": "a"}, "status": {"conditions": conditions}});
            Object::from_value(request).unwrap()
        };
        let now = Value::from("2026-05-01T12:00:00Z");
        let decided = with_condition(&request(&[]), &DENIAL, &now).unwrap().unwrap();
        let conditions = decided.get_list(&["status", "conditions"]);
        assert_eq!(conditions[0]["reason"], "KubectlDeny");
        assert_eq!(conditions[0]["lastUpdateTime"], now);
        assert!(with_condition(&request(&["Approved"]), &APPROVAL, &now).unwrap().is_none());
        let refused = with_condition(&request(&["Approved"]), &DENIAL, &now).unwrap_err();
        assert_eq!(refused.to_string(), "certificate signing request \"a\" is already Approved");
    }
}
