//! `auth can-i`.

use apimachinery::{
    api::rbac::PolicyRule,
    object::Object,
    resource::{SELF_SUBJECT_ACCESS_REVIEWS, SELF_SUBJECT_RULES_REVIEWS},
};
use serde_json::{Value, json};

use super::review;
use crate::{
    cli::Command, commands::describe::access, context::Context, errors::CommandError,
    printers::Layout, resources::resolve_type,
};

/// Tells whether an action is allowed.
#[derive(clap::Args, Clone, Debug)]
pub struct CanI {
    /// The verb, and what it is about.
    pub arguments: Vec<String>,
    /// If true, check the specified action in all namespaces.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// If true, prints all allowed actions.
    #[arg(long)]
    pub list: bool,
    /// If true, prints allowed actions without headers
    #[arg(long)]
    pub no_headers: bool,
    /// If true, suppress output and just return the exit code.
    #[arg(long, short = 'q')]
    pub quiet: bool,
    /// SubResource such as pod/log or deployment/scale
    #[arg(long, default_value = "")]
    pub subresource: String,
}

const VERBS: &[&str] = &[
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "use",
    "bind",
    "impersonate",
    "*",
    "approve",
    "sign",
    "escalate",
    "attest",
];
const VERBS_OF_URLS: &[&str] = &["get", "put", "post", "head", "options", "delete", "patch", "*"];

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

impl Command for CanI {
    const NAME: &'static str = "can-i";
    const ABOUT: &'static str = "Check whether an action is allowed";
    const USAGE: &'static str = "can-i VERB [TYPE | TYPE/NAME | NONRESOURCEURL]";
    const HELP: &'static str = "Ask the server whether it would let you do something. The exit code is 0 for yes and 1 for no.

 VERB is a verb of the API: get, list, watch, delete, … TYPE is a resource; NONRESOURCEURL begins with \"/\".";
    const EXAMPLES: &'static str = "# May I create pods in any namespace?
kubectl-mini auth can-i create pods --all-namespaces

# May I read the log of any pod?
kubectl-mini auth can-i get pods --subresource=log

# May this service account list pods?
kubectl-mini auth can-i list pods --as=system:serviceaccount:default:foo

# What may I do in this namespace?
kubectl-mini auth can-i --list";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if self.list {
            return self.list(context).await;
        }
        let (verb, what) = match self.arguments.as_slice() {
            [verb, what] => (verb.as_str(), what.as_str()),
            _ => {
                return refuse(
                    "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl-mini auth can-i -h' for help and examples.",
                );
            }
        };
        if self.quiet && self.no_headers {
            return refuse("--quiet cannot be set with --list or --no-headers");
        }
        let spec = match what {
            url if url.starts_with('/') => {
                if !self.subresource.is_empty() {
                    return refuse("--subresource can not be used with NonResourceURL");
                }
                self.check_verb(context, verb, VERBS_OF_URLS)?;
                json!({ "nonResourceAttributes": { "path": url, "verb": verb } })
            }
            what => {
                let spec = self.about(context, verb, what).await?;
                self.check_verb(context, verb, VERBS)?;
                spec
            }
        };
        let review = review(context, &SELF_SUBJECT_ACCESS_REVIEWS, spec).await?;
        let allowed = review.get_bool(&["status", "allowed"]).unwrap_or_default();
        if !self.quiet {
            context.print(&answer(&review, allowed))?;
        }
        if allowed { Ok(()) } else { Err(CommandError::Exit { text: String::new(), code: 1 }) }
    }
}

fn answer(review: &Object, allowed: bool) -> String {
    if allowed {
        return "yes\n".to_owned();
    }
    let mut text = "no".to_owned();
    for part in ["reason", "evaluationError"] {
        let said = review.get_str(&["status", part]);
        if !said.is_empty() {
            text += &format!(" - {said}");
        }
    }
    text + "\n"
}

impl CanI {
    fn check_verb(
        &self,
        context: &Context,
        verb: &str,
        known: &[&str],
    ) -> Result<(), CommandError> {
        if known.contains(&verb) {
            return Ok(());
        }
        context.print_err(&format!("Warning: verb '{verb}' is not a known verb\n\n"))
    }

    /// The attributes of a request for `TYPE` or `TYPE/NAME`.
    async fn about(
        &self,
        context: &Context,
        verb: &str,
        what: &str,
    ) -> Result<Value, CommandError> {
        let (name_of_type, name) = what.split_once('/').unwrap_or((what, ""));
        let mut namespace =
            if self.all_namespaces { String::new() } else { context.namespace()? };
        let (group, version, resource) = if name_of_type == "*" || name_of_type.is_empty() {
            (String::new(), String::new(), name_of_type.to_owned())
        } else if let Ok(info) = resolve_type(context, name_of_type).await {
            if !info.namespaced && !namespace.is_empty() {
                let of_group = if info.group.is_empty() {
                    String::new()
                } else {
                    format!(" in group '{}'", info.group)
                };
                context.print_err(&format!(
                    "Warning: resource '{}' is not namespace scoped{of_group}\n\n",
                    info.resource
                ))?;
                namespace.clear();
            }
            (info.group.to_owned(), info.version.to_owned(), info.resource.to_owned())
        } else {
            context.request(context.client()?.discovery()).await?;
            let (resource, group) = name_of_type.split_once('.').unwrap_or((name_of_type, ""));
            let of_group =
                if group.is_empty() { String::new() } else { format!(" in group '{group}'") };
            context.print_err(&format!(
                "Warning: the server doesn't have a resource type '{resource}'{of_group}\n\n"
            ))?;
            (group.to_owned(), String::new(), resource.to_owned())
        };
        Ok(json!({ "resourceAttributes": {
            "namespace": namespace, "verb": verb, "group": group, "version": version,
            "resource": resource, "subresource": self.subresource, "name": name,
        } }))
    }

    /// `--list`.
    async fn list(&self, context: &Context) -> Result<(), CommandError> {
        if self.quiet {
            return refuse("--quiet cannot be set with --list or --no-headers");
        }
        if !self.arguments.is_empty() {
            return refuse("list option must be specified with no arguments");
        }
        let namespace = context.namespace()?;
        let spec = json!({ "namespace": namespace });
        let review = review(context, &SELF_SUBJECT_RULES_REVIEWS, spec).await?;
        if review.get_bool(&["status", "incomplete"]) == Some(true) {
            let why = review.get_str(&["status", "evaluationError"]);
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            context.print_err(&format!("warning: the list may be incomplete{why}\n"))?;
        }
        context.print(&rules(&review, self.no_headers))
    }
}

fn rules(review: &Object, no_headers: bool) -> String {
    let lists = ["resourceRules", "nonResourceRules"];
    let rules = lists.iter().flat_map(|list| review.get_list(&["status", list]));
    let rules = rules.filter_map(|rule| serde_json::from_value::<PolicyRule>(rule.clone()).ok());
    let simple: Vec<PolicyRule> = rules.flat_map(|rule| access::break_down(&rule)).collect();
    let mut layout = Layout::default();
    if !no_headers {
        let heading = ["Resources", "Non-Resource URLs", "Resource Names", "Verbs"];
        layout.row(heading.map(ToOwned::to_owned).to_vec());
    }
    for rule in access::compact(simple.into_iter()) {
        layout.row(vec![
            access::resource_of(&rule),
            access::list(&rule.non_resource_urls),
            access::list(&rule.resource_names),
            access::list(&rule.verbs),
        ]);
    }
    layout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_give_reasons() {
        let check = |status: Value, expected: &str| {
            let review = Object::from_value(json!({ "kind": "X", "status": status })).unwrap();
            let allowed = review.get_bool(&["status", "allowed"]).unwrap_or_default();
            assert_eq!(answer(&review, allowed), expected);
        };
        check(json!({ "allowed": true, "reason": "x" }), "yes\n");
        check(json!({ "allowed": false }), "no\n");
        check(json!({ "reason": "a", "evaluationError": "b" }), "no - a - b\n");
    }

    #[test]
    fn rules_are_a_table() {
        let review = json!({ "kind": "X", "status": {
            "resourceRules": [{ "verbs": ["get"], "apiGroups": ["apps", ""], "resources": ["deployments/scale"] }],
            "nonResourceRules": [{ "verbs": ["get"], "nonResourceURLs": ["/healthz"] }],
        } });
        assert_eq!(
            rules(&Object::from_value(review).unwrap(), false),
            "Resources                Non-Resource URLs   Resource Names   Verbs
                         [/healthz]          []               [get]
deployments/scale        []                  []               [get]
deployments.apps/scale   []                  []               [get]
"
        );
    }
}
