//! `kubectl diff`: what `apply` would change.
//!
//! Each object is written twice, as it is and as a server-side dry run of the apply leaves it, into two folders, and a
//! program compares these: `diff -u -N`, or what `KUBECTL_EXTERNAL_DIFF` names. Its exit code is ours.

use std::{fs, path::Path, process::Stdio};

use apimachinery::{object::Object, resource::ResourceInfo, yaml};
use client::Patch;
use serde_json::Value;
use tokio::process::Command as Process;

use super::apply::{server_side, three_way};
use crate::{
    changing::{DryRun, Place, Writer, with_source},
    cli::Command,
    context::Context,
    errors::CommandError,
    resources::{FileFlags, Selection, Target},
};

/// Compares what is with what apply would make of it.
#[derive(clap::Args, Clone, Debug)]
pub struct Diff {
    /// None.
    pub arguments: Vec<String>,
    /// Which files.
    #[command(flatten)]
    pub files: FileFlags,
    /// Name of the manager used to track field ownership (default kubectl-client-side-apply, with --server-side kubectl).
    #[arg(long)]
    pub field_manager: Option<String>,
    /// If true, server-side apply will force the changes against conflicts.
    #[arg(long)]
    pub force_conflicts: bool,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
    /// If true, apply runs in the server instead of the client.
    #[arg(long)]
    pub server_side: bool,
    /// Refused: pruning is not supported.
    #[arg(long)]
    pub prune: bool,
}

impl Command for Diff {
    const NAME: &'static str = "diff";
    const ABOUT: &'static str = "Diff the live version against a would-be applied version";
    const USAGE: &'static str = "diff -f FILENAME";
    const HELP: &'static str = "Show what apply would change, without changing it.

 The program of KUBECTL_EXTERNAL_DIFF compares, else 'diff -u -N'. The exit code is 0 where nothing differs, 1 where something does, more after an error.";
    const EXAMPLES: &'static str = "# What would this file change?
kubectl-mini diff -f pod.json

# The same, read from standard input
cat service.yaml | kubectl-mini diff -f -";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if !self.arguments.is_empty() {
            let message = format!("Unexpected args: [{}]", self.arguments.join(" "));
            return Err(failed(&CommandError::usage(Self::NAME, message)));
        }
        self.compare(context).await.map_err(|error| match error {
            ended @ CommandError::Exit { .. } => ended,
            error => failed(&error),
        })
    }
}

/// Errors of diff end with more than 1, which means a difference.
fn failed(error: &CommandError) -> CommandError {
    let (text, _) = crate::errors::report(error, "");
    CommandError::Exit { text, code: 2 }
}

impl Diff {
    async fn compare(&self, context: &Context) -> Result<(), CommandError> {
        if self.force_conflicts && !self.server_side {
            return Err(CommandError::message("--force-conflicts only works with --server-side"));
        }
        if self.prune {
            return Err(CommandError::message("pruning (--prune) is not supported"));
        }
        if self.files.is_empty() {
            return Err(CommandError::message("must specify one of -f and -k"));
        }
        let selection = Selection {
            files: self.files.clone(),
            labels: self.selector.clone(),
            ..Selection::default()
        };
        let targets = selection.targets(context).await?;
        let unwritable =
            |error: std::io::Error| CommandError::message(format!("temporary files: {error}"));
        let folder = |side: &str| {
            tempfile::Builder::new().prefix(&format!("{side}-")).tempdir().map_err(unwritable)
        };
        let sides = [folder("LIVE")?, folder("MERGED")?];
        let default =
            if self.server_side { server_side::MANAGER } else { "kubectl-client-side-apply" };
        let manager = self.field_manager.as_deref().unwrap_or(default);
        let writer = Writer::new(context, manager, DryRun::Server)?;
        let by_server = self.server_side.then_some(self.force_conflicts);
        let mut errors = targets.errors;
        for target in targets.targets {
            match states(context, &writer, target, by_server).await {
                Ok((name, states)) => {
                    for (side, state) in sides.iter().zip(states) {
                        let text = state.map(|state| yaml::emit(&Value::Object(state.0)));
                        let text = text.unwrap_or_default();
                        fs::write(side.path().join(&name), text).map_err(unwritable)?;
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        CommandError::gather(errors)?;
        run_program(context, sides[0].path(), sides[1].path()).await
    }
}

/// The name of an object's files, and what stands in them: as it is, and as it would be.
async fn states(
    context: &Context,
    writer: &Writer<'_>,
    target: Target,
    by_server: Option<bool>,
) -> Result<(String, [Option<Object>; 2]), CommandError> {
    let Target::Named { info, namespace, name, manifest: Some((mut manifest, source)) } = target
    else {
        return Err(CommandError::message("no objects passed to diff"));
    };
    if let Some(force) = by_server {
        let place = Place::new(info, &namespace, &name);
        let sides = applied(context, writer, place, manifest, force).await?;
        return Ok((file_name(info, &namespace, &name), presentable(info, sides)));
    }
    // As what was applied last has it: an absent map would take all annotations away.
    if manifest.get(&["metadata", "annotations"]).is_none() {
        manifest.set(&["metadata", "annotations"], serde_json::Map::new());
    }
    let place = Place::new(info, &namespace, &name);
    let client = context.client()?;
    let live = context.request(client.get_object(info, &namespace, &name)).await;
    let sides = match live {
        Ok(live) => {
            let patch = three_way(info, &live, &manifest)?;
            let (Patch::Strategic(value) | Patch::Merge(value)) = &patch else {
                return Err(CommandError::message("no objects passed to diff"));
            };
            let merged = if value.as_object().is_some_and(serde_json::Map::is_empty) {
                live.clone()
            } else {
                let patched = writer.patch(place, &patch).await;
                patched.map_err(|error| with_source(error, "patching", &source))?
            };
            [Some(live), Some(merged)]
        }
        Err(error) if error.is_not_found() => {
            let empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
            if manifest.get(&["metadata", "annotations"]).is_some_and(empty) {
                manifest.remove(&["metadata", "annotations"]);
            }
            let created = writer.create(place, &manifest).await;
            [None, Some(created.map_err(|error| with_source(error, "creating", &source))?)]
        }
        Err(error) => return Err(error),
    };
    Ok((file_name(info, &namespace, &name), presentable(info, sides)))
}

/// The object as it is, and as the server would apply the manifest.
async fn applied(
    context: &Context,
    writer: &Writer<'_>,
    place: Place<'_>,
    manifest: Object,
    force: bool,
) -> Result<[Option<Object>; 2], CommandError> {
    let get = context.client()?.get_object(place.info, place.namespace, place.name);
    let live = match context.request(get).await {
        Ok(live) => Some(live),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let patch = Patch::Apply { object: manifest.into_value(), force };
    let merged = writer.patch(place, &patch).await?;
    Ok([live, Some(merged)])
}

/// What of both is compared.
fn presentable(info: &ResourceInfo, mut sides: [Option<Object>; 2]) -> [Option<Object>; 2] {
    for object in sides.iter_mut().flatten() {
        object.remove(&["metadata", "managedFields"]);
    }
    if info.kind == "Secret" {
        mask(&mut sides);
    }
    sides
}

/// `apps.v1.Deployment.default.web`.
fn file_name(info: &ResourceInfo, namespace: &str, name: &str) -> String {
    let group = if info.group.is_empty() { String::new() } else { format!("{}.", info.group) };
    format!("{group}{}.{}.{namespace}.{name}", info.version, info.kind)
}

/// Hides the values of a Secret; where they differ, that can be seen.
fn mask(sides: &mut [Option<Object>; 2]) {
    let value = |object: &Option<Object>, key: &str| {
        object.as_ref().and_then(|object| object.get(&["data", key]).cloned())
    };
    let keys: Vec<String> = sides
        .iter()
        .flatten()
        .filter_map(|object| object.get(&["data"])?.as_object())
        .flat_map(|data| data.keys().cloned())
        .collect();
    for key in keys {
        let (before, after) = (value(&sides[0], &key), value(&sides[1], &key));
        let hidden = match (&before, &after) {
            (Some(before), Some(after)) if before != after => ["*** (before)", "*** (after)"],
            _ => ["***", "***"],
        };
        for (object, hidden) in sides.iter_mut().flatten().zip(hidden) {
            if object.get(&["data", &key]).is_some() {
                object.set(&["data", &key], hidden);
            }
        }
    }
}

async fn run_program(context: &Context, live: &Path, merged: &Path) -> Result<(), CommandError> {
    let external = context.environment.diff_program.as_deref().unwrap_or_default();
    let mut words = external.split_whitespace();
    let (program, arguments): (&str, Vec<&str>) = match words.next() {
        // kubectl hands on plain words only.
        Some(program) => (
            program,
            words
                .filter(|word| word.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '='))
                .collect(),
        ),
        None => ("diff", vec!["-u", "-N"]),
    };
    let output = Process::new(program)
        .args(arguments)
        .args([live, merged])
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| {
            let why = match error.kind() {
                std::io::ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
                _ => error.to_string(),
            };
            CommandError::message(format!("failed to run {program:?}: exec: {program:?}: {why}"))
        })?;
    context.print_bytes(&output.stdout)?;
    context.print_err_bytes(&output.stderr)?;
    match output.status.code() {
        Some(0) => Ok(()),
        code => Err(CommandError::Exit {
            text: if code == Some(1) { String::new() } else { format!("error: {}", output.status) },
            code: code.and_then(|code| u8::try_from(code).ok()).unwrap_or(2),
        }),
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::resource;
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_named_after_their_objects() {
        assert_eq!(file_name(&resource::PODS, "ns", "web"), "v1.Pod.ns.web");
        assert_eq!(file_name(&resource::DEPLOYMENTS, "ns", "d"), "apps.v1.Deployment.ns.d");
        assert_eq!(file_name(&resource::NODES, "", "n"), "v1.Node..n");
    }

    #[test]
    fn secrets_stay_secret() {
        let secret = |data| Object::from_value(json!({ "kind": "Secret", "data": data })).ok();
        let mut sides = [
            secret(json!({ "a": "1", "b": "2" })),
            secret(json!({ "a": "1", "b": "3", "c": "4" })),
        ];
        mask(&mut sides);
        let data: Vec<_> =
            sides.iter().flatten().filter_map(|object| object.get(&["data"]).cloned()).collect();
        assert_eq!(
            data,
            [
                json!({ "a": "***", "b": "*** (before)" }),
                json!({ "a": "***", "b": "*** (after)", "c": "***" })
            ]
        );
    }
}
