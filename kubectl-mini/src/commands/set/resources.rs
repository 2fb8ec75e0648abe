//! `set resources`.

use apimachinery::quantity::canonicalize;
use serde_json::{Map, Value, json};

use super::{Flags, Words, refuse};
use crate::{cli::Command, context::Context, errors::CommandError};

/// Changes requests and limits.
#[derive(clap::Args, Clone, Debug)]
pub struct Resources {
    /// The objects.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: Flags,
    /// The names of containers in the selected pod templates to change, all containers are selected by default - may
    /// use wildcards
    #[arg(long, short = 'c', default_value = "*")]
    pub containers: String,
    /// The resource requirement requests for this container. For example, 'cpu=100m,memory=256Mi'.
    #[arg(long, default_value = "")]
    pub limits: String,
    /// The resource requirement requests for this container. For example, 'cpu=100m,memory=256Mi'.
    #[arg(long, default_value = "")]
    pub requests: String,
}

const WORDS: Words = Words {
    done: "resource requirements updated",
    failed: "failed to patch resources update to pod template",
};

impl Command for Resources {
    const NAME: &'static str = "resources";
    const ABOUT: &'static str = "Update resource requests/limits on objects with pod templates";
    const USAGE: &'static str =
        "resources (-f FILENAME | TYPE NAME) ([--limits=LIMITS & --requests=REQUESTS]";
    const EXAMPLES: &'static str =
        "# Set a deployments nginx container cpu limits to \"200m\" and memory to \"512Mi\"
kubectl-mini set resources deployment nginx -c=nginx --limits=cpu=200m,memory=512Mi";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let items = self.flags.items(context, self.arguments.clone()).await?;
        if self.limits.is_empty() && self.requests.is_empty() {
            return refuse(
                "you must specify an update to requests or limits (in the form of --requests/--limits)",
            );
        }
        let limits = parse(&self.limits)?;
        let requests = parse(&self.requests)?;
        let edit = |_: &_, containers: &mut super::Containers<'_>| {
            let mut found = false;
            for container in containers.named("containers", &self.containers) {
                found = true;
                update(container, "limits", &limits);
                update(container, "requests", &requests);
            }
            if found {
                Ok(())
            } else {
                refuse(format!("error: unable to find container named {}", self.containers))
            }
        };
        self.flags.change(context, items, &WORDS, edit).await
    }
}

/// Reads `cpu=1,memory=1Gi`.
fn parse(spec: &str) -> Result<Map<String, Value>, CommandError> {
    let mut list = Map::new();
    for statement in spec.split(',').filter(|_| !spec.is_empty()) {
        let parts: Vec<&str> = statement.split('=').collect();
        let [name, quantity] = parts[..] else {
            return refuse(format!(
                "Invalid argument syntax {statement}, expected <resource>=<value>"
            ));
        };
        let quantity =
            canonicalize(quantity).map_err(|error| CommandError::message(error.to_string()))?;
        list.insert(name.to_owned(), quantity.into());
    }
    Ok(list)
}

fn update(container: &mut Value, field: &str, list: &Map<String, Value>) {
    if list.is_empty() {
        return;
    }
    let resources = &mut container["resources"];
    if !resources.is_object() {
        *resources = json!({});
    }
    if !resources[field].is_object() {
        resources[field] = json!({});
    }
    for (name, quantity) in list {
        resources[field][name] = quantity.clone();
    }
}
