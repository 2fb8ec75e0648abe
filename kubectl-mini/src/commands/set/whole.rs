//! `set selector`, `set serviceaccount` and `set subject`: fields that are not a container's.

use apimachinery::object::Object;
use serde_json::{Map, Value, json};

use super::{Flags, Words, pod_spec, refuse};
use crate::{
    cli::Command, context::Context, errors::CommandError, generate::selector::label_selector,
};

/// Changes the selector of Services.
#[derive(clap::Args, Clone, Debug)]
pub struct SetSelector {
    /// The objects, and the selector.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: Flags,
    /// If non-empty, the selectors update will only succeed if this is the current resource-version for the object.
    #[arg(long, default_value = "")]
    pub resource_version: String,
}

impl Command for SetSelector {
    const NAME: &'static str = "selector";
    const ABOUT: &'static str = "Set the selector on a resource";
    const USAGE: &'static str =
        "selector (-f FILENAME | TYPE NAME) EXPRESSIONS [--resource-version=version]";
    const HELP: &'static str =
        "Set the selector of a Service. The labels of its pods are left as they are.";
    const EXAMPLES: &'static str = "# Let the service my-svc lead to the pods of another release
kubectl-mini set selector service my-svc app=web,release=blue";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let Some((text, resources)) = self.arguments.split_last() else {
            return refuse("one selector is required");
        };
        let selector = read_selector(text)?;
        let items = self.flags.items(context, resources.to_vec()).await?;
        let words = Words { done: "selector updated", failed: "" };
        let edit = |object: &mut Object| {
            if object.kind() != "Service" {
                return refuse("setting a selector is only supported for Services");
            }
            if !self.resource_version.is_empty() {
                object.set(&["metadata", "resourceVersion"], self.resource_version.clone());
            }
            object.set(&["spec", "selector"], selector.clone()?);
            Ok(())
        };
        self.flags.change_whole(context, items, &words, edit).await
    }
}

/// What a selector would select by equality; else the refusal, which comes when there is an object.
type Equalities = Result<Map<String, Value>, Refusal>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal(String);

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        Self::Message(refusal.0)
    }
}

fn read_selector(text: &str) -> Result<Equalities, CommandError> {
    let selector = label_selector(text)?;
    if selector.match_expressions.is_empty() {
        let labels = selector.match_labels.into_iter();
        return Ok(Ok(labels.map(|(key, value)| (key, value.into())).collect()));
    }
    let expressions: Vec<String> = selector
        .match_expressions
        .iter()
        .map(|e| format!("{{{} {} [{}]}}", e.key, e.operator, e.values.join(" ")))
        .collect();
    Ok(Err(Refusal(format!(
        "match expression [{}] not supported on this object",
        expressions.join(" ")
    ))))
}

/// Changes the ServiceAccount of pod templates.
#[derive(clap::Args, Clone, Debug)]
pub struct SetServiceAccount {
    /// The objects, and the ServiceAccount.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: Flags,
}

impl Command for SetServiceAccount {
    const NAME: &'static str = "serviceaccount";
    const ABOUT: &'static str = "Update the service account of a resource";
    const USAGE: &'static str = "serviceaccount (-f FILENAME | TYPE NAME) SERVICE_ACCOUNT";
    const EXAMPLES: &'static str = "# Let the pods of nginx-deployment be serviceaccount1
kubectl-mini set serviceaccount deployment nginx-deployment serviceaccount1";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let Some((account, resources)) = self.arguments.split_last() else {
            return refuse("serviceaccount is required");
        };
        let items = self.flags.items(context, resources.to_vec()).await?;
        let words =
            Words { done: "serviceaccount updated", failed: "failed to patch ServiceAccountName" };
        let edit = |object: &mut Object| {
            let kind = object.kind().to_owned();
            let Some(spec) = pod_spec(object) else {
                return refuse(format!(
                    "the object is not a pod or does not have a pod template: *v1.{kind}"
                ));
            };
            spec["serviceAccountName"] = account.as_str().into();
            Ok(())
        };
        self.flags.change_whole(context, items, &words, edit).await
    }
}

/// Adds subjects to role bindings.
#[derive(clap::Args, Clone, Debug)]
pub struct SetSubject {
    /// The objects.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: Flags,
    /// Groups to bind to the role
    #[arg(long, value_delimiter = ',')]
    pub group: Vec<String>,
    /// Service accounts to bind to the role
    #[arg(long, value_delimiter = ',')]
    pub serviceaccount: Vec<String>,
    /// Usernames to bind to the role
    #[arg(long, value_delimiter = ',')]
    pub user: Vec<String>,
}

impl Command for SetSubject {
    const NAME: &'static str = "subject";
    const ABOUT: &'static str =
        "Update the user, group, or service account in a role binding or cluster role binding";
    const USAGE: &'static str = "subject (-f FILENAME | TYPE NAME) [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname] [--dry-run=server|client|none]";
    const EXAMPLES: &'static str = "# Add a user and a service account to a role binding
kubectl-mini set subject rolebinding admin --user=user1 --serviceaccount=namespace:serviceaccount1";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let items = self.flags.items(context, self.arguments.clone()).await?;
        let subjects = self.subjects()?;
        let words = Words { done: "subjects updated", failed: "failed to patch subjects to" };
        let mut changed = Vec::new();
        let mut errors = Vec::new();
        for item in items {
            if !matches!(item.info.kind, "RoleBinding" | "ClusterRoleBinding") {
                errors.push(CommandError::message(format!(
                    "error: {} setting subjects is only supported for RoleBinding/ClusterRoleBinding",
                    crate::changing::resource_and_name(item.info, item.object.name())
                )));
            } else if subjects.iter().any(|new| !item.object.get_list(&["subjects"]).contains(new))
            {
                changed.push(item);
            }
        }
        let edit = |object: &mut Object| {
            let mut all = object.get_list(&["subjects"]).to_vec();
            for subject in &subjects {
                if !all.contains(subject) {
                    all.push(subject.clone());
                }
            }
            object.set(&["subjects"], all);
            Ok(())
        };
        if let Err(error) = self.flags.change_whole(context, changed, &words, edit).await {
            errors.push(error);
        }
        CommandError::gather(errors)
    }
}

impl SetSubject {
    fn subjects(&self) -> Result<Vec<Value>, CommandError> {
        const GROUP: &str = "rbac.authorization.k8s.io";
        if self.user.is_empty() && self.group.is_empty() && self.serviceaccount.is_empty() {
            return refuse("you must specify at least one value of user, group or serviceaccount");
        }
        let mut subjects = Vec::new();
        let mut add = |subject: Value| {
            if !subjects.contains(&subject) {
                subjects.push(subject);
            }
        };
        for (kind, names) in [("User", &self.user), ("Group", &self.group)] {
            for name in names {
                add(json!({ "apiGroup": GROUP, "kind": kind, "name": name }));
            }
        }
        for account in &self.serviceaccount {
            let parts: Vec<&str> = account.split(':').collect();
            let [namespace, name] = parts.as_slice() else {
                return refuse("serviceaccount must be <namespace>:<name>");
            };
            add(json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace }));
        }
        Ok(subjects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_of_services_are_equalities() {
        let check = |text: &str, expected: Result<Value, &str>| {
            let read = read_selector(text).unwrap();
            assert_eq!(
                read.map(Value::Object).map_err(|refusal| refusal.0),
                expected.map_err(ToOwned::to_owned),
                "{text}"
            );
        };
        check("a=b,c==d", Ok(json!({ "a": "b", "c": "d" })));
        check("a in (b,c)", Err("match expression [{a In [b c]}] not supported on this object"));
        check(
            "a,!b",
            Err(
                "match expression [{a Exists []} {b DoesNotExist []}] not supported on this object",
            ),
        );
        assert!(read_selector("a b").is_err());
    }
}
