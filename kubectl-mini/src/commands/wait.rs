//! `kubectl wait`.

use std::time::Duration;

use apimachinery::{
    json, jsonpath::JsonPath, object::Object, resource::ResourceInfo, status::Status,
};
use serde_json::Value;

use crate::{
    changing::{A_WEEK, DryRun, Reporter, resource_and_name},
    cli::{
        Command,
        values::{Signed, parse_duration},
    },
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::{FileFlags, Selection, Target, fetch},
    waiting::{Seen, Waited, until},
};

/// Waits until objects are in a condition.
#[derive(clap::Args, Clone, Debug)]
pub struct Wait {
    /// The types, and names.
    pub arguments: Vec<String>,
    /// Which files.
    #[command(flatten)]
    pub files: FileFlags,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// Select all resources in the namespace of the specified resource types
    #[arg(long)]
    pub all: bool,
    /// If present, list the requested object(s) across all namespaces.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Selector (field query) to filter on, supports '=', '==', and '!='.
    #[arg(long)]
    pub field_selector: Option<String>,
    /// The condition to wait on:
    /// [create|delete|condition=condition-name[=condition-value]|jsonpath='{JSONPath expression}'=[JSONPath value]].
    #[arg(long = "for", default_value = "")]
    pub condition: String,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
    /// The length of time to wait before giving up. Zero means check once and don't wait, negative means wait for a
    /// week.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub timeout: Signed,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
enum Condition {
    Create,
    Delete,
    Status { name: String, value: String },
    Path { path: JsonPath, value: Option<String> },
}

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

impl Condition {
    fn parse(text: &str) -> Result<Self, CommandError> {
        match text.to_lowercase().as_str() {
            "delete" => return Ok(Self::Delete),
            "create" => return Ok(Self::Create),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("condition=") {
            let (name, value) = rest.split_once('=').unwrap_or((rest, "true"));
            return Ok(Self::Status { name: name.to_owned(), value: value.to_owned() });
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            return Self::parse_path(rest);
        }
        refuse(format!("unrecognized condition: {text:?}"))
    }

    fn parse_path(text: &str) -> Result<Self, CommandError> {
        let parts = split_at_equals(text);
        if parts.len() > 2 {
            return refuse(
                "jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3 or --for=jsonpath='{.status.readyReplicas}'",
            );
        }
        let path = JsonPath::parse_relaxed(&parts[0])
            .map_err(|error| CommandError::message(error.to_string()))?;
        let value = match parts.get(1) {
            None => None,
            Some(value) => {
                let value = value.trim_matches(['\'', '"']);
                if value.is_empty() {
                    return refuse(
                        "jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3",
                    );
                }
                Some(value.to_owned())
            }
        };
        if parts[0].is_empty() {
            return refuse("jsonpath expression cannot be empty");
        }
        Ok(Self::Path { path, value })
    }

    fn is_met(&self, object: &Object) -> Result<bool, CommandError> {
        match self {
            Self::Create => Ok(true),
            Self::Delete => Ok(false),
            Self::Status { name, value } => Ok(status_is(object, name, value)),
            Self::Path { path, value } => path_is(object, path, value.as_deref()),
        }
    }
}

/// Splits at single equal signs; a double one belongs to the text.
fn split_at_equals(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let current = parts.last_mut().expect("there is one from the start");
        if c != '=' {
            current.push(c);
        } else if chars.next_if_eq(&'=').is_some() {
            current.push_str("==");
        } else {
            parts.push(String::new());
        }
    }
    parts
}

fn status_is(object: &Object, name: &str, value: &str) -> bool {
    let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
    for condition in object.get_list(&["status", "conditions"]) {
        let text = |key: &str| condition.get(key).and_then(Value::as_str);
        if !text("type").is_some_and(|kind| same(kind, name)) {
            continue;
        }
        let Some(status) = text("status") else { continue };
        let observed = condition
            .get("observedGeneration")
            .and_then(Value::as_i64)
            .or_else(|| object.get_i64(&["status", "observedGeneration"]));
        if observed.is_some_and(|observed| observed < object.generation()) {
            return false;
        }
        return same(status, value);
    }
    false
}

fn path_is(object: &Object, path: &JsonPath, value: Option<&str>) -> Result<bool, CommandError> {
    let data = Value::Object(object.0.clone());
    let results = path.find(&data).map_err(|error| CommandError::message(error.to_string()))?;
    let Some(first) = results.first().filter(|results| !results.is_empty()) else {
        return Ok(false);
    };
    if results.len() > 1 {
        return refuse("given jsonpath expression matches more than one list");
    }
    if first.len() > 1 {
        return refuse("given jsonpath expression matches more than one value");
    }
    let Some(value) = value else { return Ok(true) };
    let found = match &*first[0] {
        Value::Object(_) | Value::Array(_) => {
            return refuse("jsonpath leads to a nested object or list which is not supported");
        }
        Value::String(text) => text.clone(),
        other => json::to_string(other),
    };
    Ok(found.trim() == value.trim())
}

impl Command for Wait {
    const NAME: &'static str = "wait";
    const ABOUT: &'static str = "Wait for a specific condition on one or many resources";
    const USAGE: &'static str = "wait ([-f FILENAME] | resource.group/resource.name | resource.group [(-l label | --all)]) [--for=create|--for=delete|--for condition=available|--for=jsonpath='{}'[=value]]";
    const EXAMPLES: &'static str = "# Wait for the pod \"busybox1\" to contain the status condition of type \"Ready\"
kubectl-mini wait --for=condition=Ready pod/busybox1

# Wait for pod \"busybox1\" to be Running
kubectl-mini wait --for=jsonpath='{.status.phase}'=Running pod/busybox1

# Wait for the pod \"busybox1\" to be deleted, with a timeout of 60s, after having issued the \"delete\" command
kubectl-mini delete pod/busybox1
kubectl-mini wait --for=delete pod/busybox1 --timeout=60s";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let reporter = Reporter::new(&self.output, DryRun::None)?;
        let condition = Condition::parse(&self.condition)?;
        let timeout = if self.timeout.negative { A_WEEK } else { self.timeout.magnitude };
        let selection = Selection {
            files: self.files.clone(),
            arguments: self.arguments.clone(),
            labels: self.selector.clone(),
            fields: self.field_selector.clone(),
            all: self.all,
            all_namespaces: self.all_namespaces,
            ..Selection::default()
        };
        let targets = selection.targets(context).await?;
        let job = Job { context, reporter, condition, timeout, start: context.clock.monotonic() };
        let mut errors = targets.errors;
        let mut visited = 0;
        for target in targets.targets {
            match job.visit(&target).await {
                Ok(count) => visited += count,
                Err(error) => {
                    visited += 1;
                    errors.push(error);
                }
            }
        }
        let absence_is_fine = matches!(job.condition, Condition::Delete);
        if visited == 0 && errors.is_empty() && !absence_is_fine {
            return refuse("no matching resources found");
        }
        CommandError::gather(errors)
    }
}

struct Job<'a> {
    context: &'a Context,
    reporter: Reporter,
    condition: Condition,
    timeout: Duration,
    start: Duration,
}

impl Job<'_> {
    /// Waits for what a target stands for; gives how many objects that were.
    async fn visit(&self, target: &Target) -> Result<usize, CommandError> {
        if let (Condition::Create, Target::Named { info, namespace, name, .. }) =
            (&self.condition, target)
        {
            return self.until_created(info, namespace, name).await.map(|()| 1);
        }
        let items = match fetch(self.context, target, 500).await {
            Ok(items) => items,
            Err(error) if error.is_not_found() && self.condition == Condition::Delete => {
                return Ok(0);
            }
            Err(error) => return Err(error),
        };
        let count = items.len();
        let mut errors = Vec::new();
        for item in items {
            if let Err(error) = self.wait(item.info, &item.object).await {
                errors.push(error);
            }
        }
        CommandError::gather(errors).map(|()| count)
    }

    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.context.clock.monotonic().saturating_sub(self.start))
    }

    async fn until_created(
        &self,
        info: &'static ResourceInfo,
        namespace: &str,
        name: &str,
    ) -> Result<(), CommandError> {
        if self.timeout.is_zero() {
            return refuse("--for=create requires a non-zero --timeout value");
        }
        let mut created = None;
        let waited = until(self.context, info, namespace, name, Some(self.left()), |seen| {
            if let Seen::Present(object) = seen {
                created = Some(object.clone());
            }
            Ok(created.is_some())
        })
        .await?;
        match (waited, created) {
            (Waited::Done, Some(object)) => {
                self.reporter.report(self.context, &object, "condition met")
            }
            _ => refuse("timed out waiting for the condition"),
        }
    }

    async fn wait(&self, info: &'static ResourceInfo, object: &Object) -> Result<(), CommandError> {
        let key = object.key();
        let called = resource_and_name(info, &key.name);
        if self.timeout.is_zero() {
            if self.condition.is_met(object)? {
                return self.reporter.report(self.context, object, "condition met");
            }
            return refuse(format!("condition not met for {called}"));
        }
        let mut last = object.clone();
        let uid = object.uid().to_owned();
        let deleting = self.condition == Condition::Delete;
        let left = self.left();
        let waited =
            until(self.context, info, &key.namespace, &key.name, Some(left), |seen| match seen {
                Seen::Present(object) => {
                    let replaced = deleting && object.uid() != uid;
                    last = object.clone();
                    Ok(replaced || self.condition.is_met(object)?)
                }
                Seen::Absent if !deleting => Err(Status::not_found(info, &key.name).into()),
                Seen::Absent | Seen::Deleted(_) => Ok(deleting),
            })
            .await?;
        match waited {
            Waited::Done => self.reporter.report(self.context, &last, "condition met"),
            Waited::TimedOut => refuse(format!("timed out waiting for the condition on {called}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_are_read() {
        let check = |text: &str, expected: Result<(), &str>| {
            let parsed = Condition::parse(text).map(drop).map_err(|error| error.to_string());
            assert_eq!(parsed, expected.map_err(ToOwned::to_owned), "{text}");
        };
        check("delete", Ok(()));
        check("condition=Ready=false", Ok(()));
        check("jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True", Ok(()));
        check("", Err("unrecognized condition: \"\""));
        check("jsonpath=", Err("jsonpath expression cannot be empty"));
        check(
            "jsonpath={.a}=",
            Err(
                "jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3",
            ),
        );
    }

    #[test]
    fn conditions_are_met() {
        let object = Object::from_value(json!({
            "metadata": {"generation": 2},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "Old", "status": "True", "observedGeneration": 1},
            ]},
        }))
        .unwrap();
        let check = |text: &str, expected: bool| {
            assert_eq!(
                Condition::parse(text).unwrap().is_met(&object).unwrap(),
                expected,
                "{text}"
            );
        };
        check("condition=ready", true);
        check("condition=Ready=False", false);
        check("condition=Old", false);
        check("condition=None", false);
        check("jsonpath={.status.phase}=Running", true);
        check("jsonpath={.status.phase}", true);
        check("jsonpath={.status.none}", false);
        check("delete", false);
    }
}
