//! `kubectl taint`.

use apimachinery::{object::Object, resource, validation};
use client::Patch;
use serde_json::{Value, json};

use crate::{
    changing::{DryRun, DryRunFlag, Place, Reporter, Writer},
    cli::Command,
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::{Item, Selection, fetch},
};

/// Changes the taints of nodes.
#[derive(clap::Args, Clone, Debug)]
pub struct Taint {
    /// The type, the names, and the taints.
    pub arguments: Vec<String>,
    /// How far to go.
    #[command(flatten)]
    pub dry_run: DryRunFlag,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// Select all nodes in the cluster
    #[arg(long)]
    pub all: bool,
    /// Name of the manager used to track field ownership.
    #[arg(long, default_value = "kubectl-taint")]
    pub field_manager: String,
    /// If true, allow taints to be overwritten, otherwise reject taint updates that overwrite existing taints.
    #[arg(long)]
    pub overwrite: bool,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.
    #[arg(long, short = 'l', default_value = "")]
    pub selector: String,
}

/// One taint; the effect may be empty where one is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Spec {
    key: String,
    value: String,
    effect: String,
}

impl Spec {
    fn parse(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| Err(format!("invalid taint spec: {text}{why}"));
        let parts: Vec<&str> = text.split(':').collect();
        let (pair, effect) = match parts[..] {
            [key] => (vec![key], ""),
            [pair, effect] => (pair.split('=').collect(), effect),
            _ => return invalid(""),
        };
        if parts.len() == 2 && !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            return Err(format!("invalid taint effect: {effect}, unsupported taint effect"));
        }
        if pair.len() > 2 {
            return invalid("");
        }
        let value = pair.get(1).copied().unwrap_or_default();
        let problems = validation::is_valid_label_value(value);
        if !problems.is_empty() {
            return invalid(&format!(", {}", problems.join("; ")));
        }
        let problems = validation::is_qualified_name(pair[0]);
        if !problems.is_empty() {
            return invalid(&format!(", {}", problems.join("; ")));
        }
        Ok(Self { key: pair[0].to_owned(), value: value.to_owned(), effect: effect.to_owned() })
    }

    fn of(taint: &Value) -> Self {
        let text =
            |key: &str| taint.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { key: text("key"), value: text("value"), effect: text("effect") }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.key == other.key && self.effect == other.effect
    }

    /// How Go's `Taint.ToString` prints it.
    fn text(&self) -> String {
        match (self.value.as_str(), self.effect.as_str()) {
            ("", "") => self.key.clone(),
            ("", effect) => format!("{}:{effect}", self.key),
            (value, "") => format!("{}={value}:", self.key),
            (value, effect) => format!("{}={value}:{effect}", self.key),
        }
    }
}

/// What is added and what is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Changes {
    add: Vec<Spec>,
    remove: Vec<Spec>,
}

impl Changes {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut changes = Self::default();
        for word in words {
            if let Some(text) = word.strip_suffix('-') {
                changes.remove.push(Spec { value: String::new(), ..Spec::parse(text)? });
                continue;
            }
            let spec = Spec::parse(word)?;
            if spec.effect.is_empty() {
                return Err(format!("invalid taint spec: {word}"));
            }
            if changes.add.iter().any(|known| known.is_same(&spec)) {
                return Err(format!(
                    "duplicated taints with the same key and effect: {{{} {} {} <nil>}}",
                    spec.key, spec.value, spec.effect
                ));
            }
            changes.add.push(spec);
        }
        Ok(changes)
    }

    fn conflicts(&self) -> Vec<String> {
        let mut conflicts = Vec::new();
        for add in &self.add {
            for remove in self.remove.iter().filter(|remove| remove.key == add.key) {
                if remove.effect.is_empty() || remove.effect == add.effect {
                    conflicts.push(format!("{}={}", remove.key, remove.effect));
                }
            }
        }
        conflicts
    }

    /// The new taints, and what was done.
    fn apply(
        &self,
        node: &str,
        old: &[Value],
        overwrite: bool,
    ) -> Result<(Vec<Value>, &'static str), CommandError> {
        let specs: Vec<Spec> = old.iter().map(Spec::of).collect();
        let known = |add: &&Spec| specs.iter().any(|spec| spec.is_same(add));
        let present: Vec<&str> =
            self.add.iter().filter(known).map(|add| add.key.as_str()).collect();
        if !present.is_empty() && !overwrite {
            let keys = present.join(",");
            return refuse(format!(
                "node {node} already has {keys} taint(s) with same effect(s) and --overwrite is false"
            ));
        }
        let mut new: Vec<Value> = self
            .add
            .iter()
            .map(|Spec { key, value, effect }| {
                let mut taint = json!({"effect": effect, "key": key});
                if !value.is_empty() {
                    taint["value"] = value.as_str().into();
                }
                taint
            })
            .collect();
        let kept = old.iter().filter(|taint| {
            let spec = Spec::of(taint);
            !self.add.iter().any(|add| add.is_same(&spec))
        });
        new.extend(kept.cloned());
        let added = new.len() != old.len();
        let mut removed = false;
        let mut errors = Vec::new();
        for remove in &self.remove {
            let before = new.len();
            new.retain(|taint| {
                let spec = Spec::of(taint);
                spec.key != remove.key
                    || !(remove.effect.is_empty() || spec.effect == remove.effect)
            });
            removed = new.len() != before;
            if !removed {
                errors.push(CommandError::message(format!("taint {:?} not found", remove.text())));
            }
        }
        CommandError::gather(errors)?;
        let operation = match (added, removed) {
            (true, true) => "modified",
            _ if overwrite => "modified",
            (true, false) => "tainted",
            (false, _) => "untainted",
        };
        Ok((new, operation))
    }
}

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

impl Command for Taint {
    const NAME: &'static str = "taint";
    const ABOUT: &'static str = "Update the taints on one or more nodes";
    const USAGE: &'static str =
        "taint NODE NAME KEY_1=VAL_1:TAINT_EFFECT_1 ... KEY_N=VAL_N:TAINT_EFFECT_N";
    const EXAMPLES: &'static str = "# Update node 'foo' with a taint with key 'dedicated' and value 'special-user' and effect 'NoSchedule'
kubectl-mini taint nodes foo dedicated=special-user:NoSchedule

# Remove from node 'foo' the taint with key 'dedicated' and effect 'NoSchedule' if one exists
kubectl-mini taint nodes foo dedicated:NoSchedule-";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let dry_run = self.dry_run.get(context)?;
        Reporter::new(&self.output, dry_run)?;
        let (resources, words) = self.split()?;
        let changes =
            Changes::parse(&words).map_err(|message| CommandError::usage(Self::NAME, message))?;
        self.check(&resources, &changes)?;
        let named = !self.all && self.selector.is_empty();
        let arguments = if named {
            resources[1..].iter().map(|name| format!("nodes/{name}")).collect()
        } else {
            vec!["nodes".to_owned()]
        };
        let selection = Selection {
            arguments,
            labels: Some(self.selector.clone()).filter(|selector| !selector.is_empty()),
            all: self.all,
            ..Selection::default()
        };
        let targets = selection.targets(context).await?;
        let mut errors = targets.errors;
        for target in &targets.targets {
            match fetch(context, target, 500).await {
                Err(error) => errors.push(error),
                Ok(items) => {
                    for item in items {
                        if let Err(error) = self.change(context, item, &changes, dry_run).await {
                            errors.push(error);
                        }
                    }
                }
            }
        }
        CommandError::gather(errors)
    }
}

impl Taint {
    /// What names nodes, and what names taints.
    fn split(&self) -> Result<(Vec<String>, Vec<String>), CommandError> {
        let mut resources = Vec::new();
        let mut taints: Vec<String> = Vec::new();
        for word in &self.arguments {
            if word.contains(['=', ':']) || word.ends_with('-') {
                taints.push(word.clone());
            } else if taints.is_empty() {
                resources.push(word.clone());
            } else {
                return refuse(format!(
                    "all resources must be specified before taint changes: {word}"
                ));
            }
        }
        if resources.is_empty() {
            return refuse("one or more resources must be specified as <resource> <name>");
        }
        if taints.is_empty() {
            return refuse("at least one taint update is required");
        }
        Ok((resources, taints))
    }

    fn check(&self, resources: &[String], changes: &Changes) -> Result<(), CommandError> {
        let kind = resources[0].to_lowercase();
        match resource::resolve(&kind).filter(|info| info.served) {
            Some(info) if info.kind == "Node" => {}
            Some(_) => {
                return refuse(format!(
                    "invalid resource type {kind}, only node types are supported"
                ));
            }
            None => {
                return Err(CommandError::Verbatim(format!(
                    "the server doesn't have a resource type {kind:?}"
                )));
            }
        }
        let conflicts = changes.conflicts();
        if !conflicts.is_empty() {
            return refuse(format!(
                "can not both modify and remove the following taint(s) in the same command: {}",
                conflicts.join(", ")
            ));
        }
        if self.all && !self.selector.is_empty() {
            return refuse("setting 'all' parameter with a non empty selector is prohibited");
        }
        if !self.all && self.selector.is_empty() && resources.len() < 2 {
            return refuse(
                "at least one resource name must be specified since 'all' parameter is not set",
            );
        }
        Ok(())
    }

    async fn change(
        &self,
        context: &Context,
        Item { info, object }: Item,
        changes: &Changes,
        dry_run: DryRun,
    ) -> Result<(), CommandError> {
        let mut node: Object = object;
        let old = node.get_list(&["spec", "taints"]);
        let (new, operation) = changes.apply(node.name(), old, self.overwrite)?;
        if dry_run == DryRun::Client {
            node.set(&["spec", "taints"], new);
        } else {
            // Taints are an atomic list: the whole of it goes into the patch.
            let taints = if new.is_empty() { Value::Null } else { new.into() };
            let patch = Patch::Strategic(json!({"spec": {"taints": taints}}));
            let name = node.name().to_owned();
            let writer = Writer::new(context, &self.field_manager, dry_run)?;
            node = writer.patch(Place::new(info, "", &name), &patch).await?;
        }
        // kubectl tells of a dry run here in no other words.
        let told = if dry_run == DryRun::Client { DryRun::None } else { dry_run };
        Reporter::typed(&self.output, told)?.report(context, &node, operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn changes_are_read() {
        let check = |text: &str, expected: Result<(usize, usize), &str>| {
            let changes = Changes::parse(&words(text)).map(|c| (c.add.len(), c.remove.len()));
            assert_eq!(changes, expected.map_err(ToOwned::to_owned), "{text}");
        };
        check("a=b:NoSchedule c:NoExecute d- e:NoSchedule-", Ok((2, 2)));
        check("a=b:Foo", Err("invalid taint effect: Foo, unsupported taint effect"));
        check("a:b:c", Err("invalid taint spec: a:b:c"));
        check("a", Err("invalid taint spec: a"));
        check(
            "x=y:NoSchedule x=z:NoSchedule",
            Err("duplicated taints with the same key and effect: {x z NoSchedule <nil>}"),
        );
    }

    #[test]
    fn taints_come_and_go() {
        let old = [json!({"key": "a", "effect": "NoSchedule"})];
        let check = |text: &str, overwrite: bool, expected: Result<(usize, &str), &str>| {
            let changes = Changes::parse(&words(text)).unwrap();
            let applied = changes
                .apply("n", &old, overwrite)
                .map(|(taints, operation)| (taints.len(), operation))
                .map_err(|error| error.to_string());
            assert_eq!(applied, expected.map_err(ToOwned::to_owned), "{text}");
        };
        check("b=c:NoExecute", false, Ok((2, "tainted")));
        check("a-", false, Ok((0, "untainted")));
        check("b:NoExecute a-", false, Ok((1, "modified")));
        check("a=x:NoSchedule", true, Ok((1, "modified")));
        check(
            "a=x:NoSchedule",
            false,
            Err("node n already has a taint(s) with same effect(s) and --overwrite is false"),
        );
        check("z-", false, Err("taint \"z\" not found"));
    }
}
