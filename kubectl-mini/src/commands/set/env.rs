//! `set env`, from the command line.

use apimachinery::object::Object;
use serde_json::{Value, json};

use super::{Containers, Flags, Words, pod_spec};
use crate::{
    cli::Command, context::Context, errors::CommandError, generate::sources::is_variable_name,
    resources::Item,
};

/// Changes environment variables.
#[derive(clap::Args, Clone, Debug)]
pub struct Env {
    /// The objects, and `KEY=VALUE` or `KEY-`.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: Flags,
    /// The names of containers in the selected pod templates to change - may use wildcards
    #[arg(long, short = 'c', default_value = "*")]
    pub containers: String,
    /// If true, display the environment and any changes in the standard format.
    #[arg(long)]
    pub list: bool,
    /// If true, allow environment to be overwritten, otherwise reject updates that overwrite existing environment.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true)]
    pub overwrite: bool,
}

const WORDS: Words =
    Words { done: "env updated", failed: "failed to patch env update to pod template:" };

/// What is set, and what is removed.
#[derive(Default)]
struct Changes {
    set: Vec<(String, String)>,
    remove: Vec<String>,
}

impl Command for Env {
    const NAME: &'static str = "env";
    const ABOUT: &'static str = "Update environment variables on a pod template";
    const USAGE: &'static str = "env RESOURCE/NAME KEY_1=VAL_1 ... KEY_N=VAL_N";
    const EXAMPLES: &'static str = "# Update deployment 'registry' with a new environment variable
kubectl-mini set env deployment/registry STORAGE_DIR=/local

# Remove the environment variable ENV from all deployment configs
kubectl-mini set env deployments --all ENV-";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let (resources, changes) = self.split()?;
        let items = self.flags.items(context, resources).await?;
        if self.list {
            return self.show(context, items);
        }
        self.flags
            .change(context, items, &WORDS, |object, containers| {
                self.edit(context, object, containers, &changes)
            })
            .await
    }
}

impl Env {
    fn split(&self) -> Result<(Vec<String>, Changes), CommandError> {
        let mut resources = Vec::new();
        let mut changes = Changes::default();
        for word in &self.arguments {
            if let Some((key, value)) =
                word.split_once('=').filter(|(key, _)| is_variable_name(key))
            {
                changes.set.push((key.to_owned(), value.to_owned()));
            } else if let Some(key) = word.strip_suffix('-').filter(|key| is_variable_name(key)) {
                changes.remove.push(key.to_owned());
            } else if changes.set.is_empty() && changes.remove.is_empty() {
                resources.push(word.clone());
            } else {
                return super::refuse(format!(
                    "all resources must be specified before environment changes: {word}"
                ));
            }
        }
        Ok((resources, changes))
    }

    fn edit(
        &self,
        context: &Context,
        object: &Object,
        containers: &mut Containers<'_>,
        changes: &Changes,
    ) -> Result<(), CommandError> {
        let mut found = false;
        for list in ["initContainers", "containers"] {
            for container in containers.named(list, &self.containers) {
                found = true;
                self.update(container, changes)?;
            }
        }
        if !found {
            context.warn(&[format!(
                "{}/{} does not have any containers matching {:?}",
                object.kind(),
                object.name(),
                self.containers
            )])?;
        }
        Ok(())
    }

    fn update(&self, container: &mut Value, changes: &Changes) -> Result<(), CommandError> {
        let old = container["env"].as_array().cloned().unwrap_or_default();
        let name_of = |variable: &Value| variable["name"].as_str().unwrap_or_default().to_owned();
        let mut new = old.clone();
        for (key, value) in &changes.set {
            let variable = json!({"name": key, "value": value});
            match new.iter_mut().find(|variable| name_of(variable) == *key) {
                Some(_) if !self.overwrite => {
                    return super::refuse(format!(
                        "'{key}' already has a value, and --overwrite is false"
                    ));
                }
                Some(present) => *present = variable,
                None => new.push(variable),
            }
        }
        new.retain(|variable| !changes.remove.contains(&name_of(variable)));
        if new != old {
            container["env"] = new.into();
        }
        Ok(())
    }

    fn show(&self, context: &Context, items: Vec<Item>) -> Result<(), CommandError> {
        for Item { info, mut object } in items {
            let name = object.name().to_owned();
            let Some(spec) = pod_spec(&mut object) else { continue };
            let mut containers = Containers(spec);
            for list in ["initContainers", "containers"] {
                for container in containers.named(list, &self.containers) {
                    let called = container["name"].as_str().unwrap_or_default();
                    let kind = if list == "containers" { "container" } else { "init container" };
                    context.print(&format!("# {} {name}, {kind} {called}\n", info.kind))?;
                    for variable in container["env"].as_array().into_iter().flatten() {
                        context.print(&(line(variable) + "\n"))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// How a variable is listed.
fn line(variable: &Value) -> String {
    let text = |path: &str| variable.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let name = text("/name");
    let source = &variable["valueFrom"];
    if !source["configMapKeyRef"].is_null() {
        let (map, key) =
            (text("/valueFrom/configMapKeyRef/name"), text("/valueFrom/configMapKeyRef/key"));
        format!("# {name} from configmap {map}, key {key}")
    } else if !source["secretKeyRef"].is_null() {
        let (secret, key) =
            (text("/valueFrom/secretKeyRef/name"), text("/valueFrom/secretKeyRef/key"));
        format!("# {name} from secret {secret}, key {key}")
    } else if !source["fieldRef"].is_null() {
        format!("# {name} from field path {}", text("/valueFrom/fieldRef/fieldPath"))
    } else {
        format!("{name}={}", text("/value"))
    }
}
