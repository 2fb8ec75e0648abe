//! `kubectl label` and `kubectl annotate`.
//!
//! The two differ in little but words: what may be overwritten, how a change is told, and that labels are checked here.

use std::collections::BTreeMap;

use apimachinery::{
    field::go_quote, object::Object, patch::merge, resource::ResourceInfo, validation,
};
use client::Patch;
use serde_json::{Map, Value};

use crate::{
    changing::{DryRun, DryRunFlag, Place, Reporter, Writer, resources_and_pairs},
    cli::Command,
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::{FileFlags, Item, Selection, Target, Targets, fetch},
};

/// The flags of both commands.
#[derive(clap::Args, Clone, Debug)]
pub struct Flags {
    /// The types and names, and what changes.
    pub arguments: Vec<String>,
    /// Which files.
    #[command(flatten)]
    pub files: FileFlags,
    /// How far to go.
    #[command(flatten)]
    pub dry_run: DryRunFlag,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// Select all resources, in the namespace of the specified resource types
    #[arg(long)]
    pub all: bool,
    /// If true, check the specified action in all namespaces.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Selector (field query) to filter on, supports '=', '==', and '!='.
    #[arg(long)]
    pub field_selector: Option<String>,
    /// Name of the manager used to track field ownership.
    #[arg(long)]
    pub field_manager: Option<String>,
    /// If true, display them for a given resource.
    #[arg(long)]
    pub list: bool,
    /// If true, do not contact the API server but run locally.
    #[arg(long)]
    pub local: bool,
    /// If true, allow them to be overwritten, otherwise reject updates that overwrite existing ones.
    #[arg(long)]
    pub overwrite: bool,
    /// If non-empty, the update will only succeed if this is the current resource-version for the object. Only valid
    /// when specifying a single resource.
    #[arg(long, default_value = "")]
    pub resource_version: String,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Label,
    Annotation,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Annotation => "annotation",
        }
    }

    fn field(self) -> [&'static str; 2] {
        match self {
            Self::Label => ["metadata", "labels"],
            Self::Annotation => ["metadata", "annotations"],
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Annotation => "annotate",
        }
    }
}

/// Changes labels.
#[derive(clap::Args, Clone, Debug)]
pub struct Label {
    /// All of them.
    #[command(flatten)]
    pub flags: Flags,
}

/// Changes annotations.
#[derive(clap::Args, Clone, Debug)]
pub struct Annotate {
    /// All of them.
    #[command(flatten)]
    pub flags: Flags,
}

impl Command for Label {
    const NAME: &'static str = "label";
    const ABOUT: &'static str = "Update the labels on a resource";
    const USAGE: &'static str = "label [--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]";
    const EXAMPLES: &'static str =
        "# Update pod 'foo' with the label 'unhealthy' and the value 'true'
kubectl-mini label pods foo unhealthy=true

# Update pod 'foo' by removing a label named 'bar' if it exists
kubectl-mini label pods foo bar-";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        run(&self.flags, context, Kind::Label).await
    }
}

impl Command for Annotate {
    const NAME: &'static str = "annotate";
    const ABOUT: &'static str = "Update the annotations on a resource";
    const USAGE: &'static str = "annotate [--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]";
    const EXAMPLES: &'static str =
        "# Update pod 'foo' with the annotation 'description' and the value 'my frontend'
kubectl-mini annotate pods foo description='my frontend'";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        run(&self.flags, context, Kind::Annotation).await
    }
}

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

/// What becomes of the map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Changes {
    set: BTreeMap<String, String>,
    remove: Vec<String>,
}

fn parse(kind: Kind, pairs: &[String]) -> Result<Changes, CommandError> {
    let mut changes = Changes::default();
    for pair in pairs {
        if let Some((key, value)) = pair.split_once('=') {
            if kind == Kind::Label {
                if value.contains('=') {
                    return refuse(format!("invalid label spec: {pair}"));
                }
                let problems = validation::is_valid_label_value(value);
                if !problems.is_empty() {
                    return refuse(format!(
                        "invalid label value: {}: {}",
                        go_quote(pair),
                        problems.join(";")
                    ));
                }
            }
            changes.set.insert(key.to_owned(), value.to_owned());
        } else if let Some(key) = pair.strip_suffix('-') {
            changes.remove.push(key.to_owned());
        } else {
            return refuse(format!("unknown {} spec: {pair}", kind.word()));
        }
    }
    if kind == Kind::Label && changes.remove.iter().any(|key| changes.set.contains_key(key)) {
        return refuse("can not both modify and remove a label in the same command");
    }
    Ok(changes)
}

async fn run(flags: &Flags, context: &Context, kind: Kind) -> Result<(), CommandError> {
    let dry_run = flags.dry_run.get(context)?;
    Reporter::new(&flags.output, dry_run)?;
    let (resources, pairs) = resources_and_pairs(&flags.arguments, kind.word())?;
    let changes = parse(kind, &pairs)?;
    if flags.list && flags.output.output.as_deref().is_some_and(|output| !output.is_empty()) {
        return refuse("--list and --output may not be specified together");
    }
    check(flags, kind, dry_run, &resources, &changes)?;
    let selection = Selection {
        files: flags.files.clone(),
        arguments: resources,
        labels: flags.selector.clone(),
        fields: flags.field_selector.clone(),
        all: flags.all,
        all_namespaces: flags.all_namespaces,
        ..Selection::default()
    };
    let targets = selection.targets(context).await?;
    let single = targets.single;
    if !single && !flags.resource_version.is_empty() {
        return refuse("--resource-version may only be used with a single resource");
    }
    let (items, mut errors) = items(context, targets, flags.local).await;
    // annotate keeps one printer for all objects, label makes one for each.
    let reporter = Reporter::new(&flags.output, dry_run)?;
    let job = Job { flags, context, kind, dry_run, changes, single };
    for Item { info, object } in items {
        if let Err(error) = job.change(info, object, &reporter).await {
            errors.push(error);
        }
    }
    CommandError::gather(errors)
}

/// The objects as they are now, or with `local` as the files have them.
pub async fn items(
    context: &Context,
    targets: Targets,
    local: bool,
) -> (Vec<Item>, Vec<CommandError>) {
    let mut errors = targets.errors;
    let mut items = Vec::new();
    for target in targets.targets {
        match target {
            Target::Named { info, manifest: Some((mut object, _)), .. } if local => {
                // A namespace that only the command line knows is not in the file.
                if object.namespace() == "default" {
                    object.remove(&["metadata", "namespace"]);
                }
                items.push(Item { info, object });
            }
            target => match fetch(context, &target, 500).await {
                Ok(found) => items.extend(found),
                Err(error) => errors.push(error),
            },
        }
    }
    (items, errors)
}

fn check(
    flags: &Flags,
    kind: Kind,
    dry_run: DryRun,
    resources: &[String],
    changes: &Changes,
) -> Result<(), CommandError> {
    let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    if flags.all && given(&flags.selector) {
        return refuse("cannot set --all and --selector at the same time");
    }
    if flags.all && given(&flags.field_selector) {
        return refuse("cannot set --all and --field-selector at the same time");
    }
    if flags.local {
        let file = if kind == Kind::Label { "pod" } else { "rsrc" };
        if dry_run == DryRun::Server {
            return refuse(
                "cannot specify --local and --dry-run=server - did you mean --dry-run=client?",
            );
        }
        if !resources.is_empty() {
            return refuse(format!(
                "can only use local files by -f {file}.yaml or --filename={file}.json when --local=true is set"
            ));
        }
        if flags.files.is_empty() {
            return refuse(format!(
                "one or more files must be specified as -f {file}.yaml or --filename={file}.json"
            ));
        }
    } else if resources.is_empty() && flags.files.is_empty() {
        return refuse(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        );
    }
    if *changes == Changes::default() && !flags.list {
        return refuse(format!("at least one {} update is required", kind.word()));
    }
    let both: Vec<&str> = changes
        .remove
        .iter()
        .filter(|key| changes.set.contains_key(*key))
        .map(String::as_str)
        .collect();
    if !both.is_empty() {
        return refuse(format!(
            "can not both modify and remove the following annotation(s) in the same command: {}",
            both.join(", ")
        ));
    }
    Ok(())
}

struct Job<'a> {
    flags: &'a Flags,
    context: &'a Context,
    kind: Kind,
    dry_run: DryRun,
    changes: Changes,
    single: bool,
}

impl Job<'_> {
    async fn change(
        &self,
        info: &'static ResourceInfo,
        object: Object,
        reporter: &Reporter,
    ) -> Result<(), CommandError> {
        let mut before = object;
        if !self.flags.resource_version.is_empty() {
            // So that the patch carries the demanded one in any case.
            before.remove(&["metadata", "resourceVersion"]);
        }
        let sends = !(self.dry_run == DryRun::Client || self.flags.local || self.flags.list);
        if sends && self.kind == Kind::Label {
            for key in &self.changes.remove {
                if before.label(key).is_none() {
                    self.context.print(&format!("label {} not found.\n", go_quote(key)))?;
                }
            }
        }
        let mut after = self.updated(&before)?;
        let operation = self.operation(&before, &after);
        if sends {
            let patch = merge::create_two_way(
                &Value::Object(before.0.clone()),
                &Value::Object(after.0.clone()),
            );
            let default = format!("kubectl-{}", self.kind.command());
            let manager = self.flags.field_manager.as_deref().unwrap_or(&default);
            let key = before.key();
            let place = Place::new(info, &key.namespace, &key.name);
            let writer = Writer::new(self.context, manager, self.dry_run)?;
            after = writer.patch(place, &Patch::Merge(patch)).await?;
        }
        if self.flags.list {
            return self.list(info, &after);
        }
        match self.kind {
            Kind::Label => {
                let reporter = Reporter::new(&self.flags.output, self.dry_run)?;
                reporter.report(self.context, &after, operation)
            }
            Kind::Annotation => reporter.report(self.context, &after, operation),
        }
    }

    fn updated(&self, before: &Object) -> Result<Object, CommandError> {
        let field = self.kind.field();
        let mut map = match before.get(&field) {
            Some(Value::Object(map)) => map.clone(),
            _ => Map::new(),
        };
        if !self.flags.overwrite {
            self.check_overwrites(&map)?;
        }
        for (key, value) in &self.changes.set {
            map.insert(key.clone(), value.as_str().into());
        }
        for key in &self.changes.remove {
            map.remove(key);
        }
        let mut after = before.clone();
        if map.is_empty() {
            after.remove(&field);
        } else {
            after.set(&field, map);
        }
        if !self.flags.resource_version.is_empty() {
            after.set(&["metadata", "resourceVersion"], self.flags.resource_version.as_str());
        }
        Ok(after)
    }

    fn check_overwrites(&self, map: &Map<String, Value>) -> Result<(), CommandError> {
        let mut found = Vec::new();
        for (key, new) in &self.changes.set {
            let free = self.kind == Kind::Annotation && key == "kubernetes.io/change-cause";
            let old = map.get(key).and_then(Value::as_str);
            if let Some(value) = old.filter(|old| !free && old != new) {
                found.push(format!("'{key}' already has a value ({value})"));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        match self.kind {
            Kind::Annotation => refuse(format!(
                "--overwrite is false but found the following declared annotation(s): {}",
                found.join("; ")
            )),
            Kind::Label => {
                let errors = found
                    .into_iter()
                    .map(|text| CommandError::Message(format!("{text}, and --overwrite is false")));
                CommandError::gather(errors.collect())
            }
        }
    }

    fn operation(&self, before: &Object, after: &Object) -> &'static str {
        if self.kind == Kind::Annotation {
            return "annotated";
        }
        let size = |object: &Object| object.to_bytes().len();
        if before == after {
            "not labeled"
        } else if !self.flags.overwrite && size(after) < size(before) {
            "unlabeled"
        } else {
            "labeled"
        }
    }

    fn list(&self, info: &ResourceInfo, object: &Object) -> Result<(), CommandError> {
        let mut text = String::new();
        let indent = if self.single { "" } else { " " };
        if !self.single {
            let word = self.kind.word();
            text = format!("Listing {word}s for {}.{}/{}:\n", info.kind, info.group, object.name());
        }
        let map = object.get(&self.kind.field()).and_then(Value::as_object);
        for (key, value) in map.into_iter().flatten() {
            text.push_str(&format!("{indent}{key}={}\n", value.as_str().unwrap_or_default()));
        }
        self.context.print(&text)
    }
}
