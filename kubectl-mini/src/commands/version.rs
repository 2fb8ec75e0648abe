//! `kubectl version`, `api-versions`, `api-resources`, `cluster-info` and `options`: what there is.

use std::fmt::Write;

use apimachinery::{json, resource::ResourceInfo, yaml};
use component_base::transport::Failure;
use serde_json::{Map, Value, json};

use crate::{
    PROGRAM,
    cli::{Command, global_options},
    context::Context,
    errors::CommandError,
    printers::Layout,
    resources::discover,
};

/// Prints versions.
#[derive(clap::Args, Clone, Debug)]
pub struct Version {
    /// None.
    pub arguments: Vec<String>,
    /// If true, shows client version only (no server required).
    #[arg(long)]
    pub client: bool,
    /// One of 'yaml' or 'json'.
    #[arg(long, short, default_value = "")]
    pub output: String,
}

/// The version of Kubernetes whose commands these are.
const CLIENT_MINOR: &str = "36";

fn client_version() -> Value {
    json!({
        "buildDate": "1970-01-01T00:00:00Z",
        "compiler": "rustc",
        "gitCommit": "",
        "gitTreeState": "clean",
        "gitVersion": format!("v1.{CLIENT_MINOR}.0+{PROGRAM}-{}", env!("CARGO_PKG_VERSION")),
        "goVersion": "none",
        "major": "1",
        "minor": CLIENT_MINOR,
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
    })
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The members of a version in Go's order.
const ORDER: &[&str] = &[
    "major",
    "minor",
    "emulationMajor",
    "emulationMinor",
    "minCompatibilityMajor",
    "minCompatibilityMinor",
    "gitVersion",
    "gitCommit",
    "gitTreeState",
    "buildDate",
    "goVersion",
    "compiler",
    "platform",
];

impl Command for Version {
    const NAME: &'static str = "version";
    const ABOUT: &'static str = "Print the client and server version information";
    const USAGE: &'static str = "version [flags]";
    const EXAMPLES: &'static str = "# Print the client and server versions for the current context
kubectl-mini version";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if !self.arguments.is_empty() {
            return Err(CommandError::message(format!(
                "extra arguments: [{}]",
                self.arguments.join(" ")
            )));
        }
        if !["", "yaml", "json"].contains(&self.output.as_str()) {
            return Err(CommandError::message("--output must be 'yaml' or 'json'"));
        }
        let mut versions = Map::new();
        versions.insert("clientVersion".to_owned(), client_version());
        let mut failure = None;
        if !self.client {
            match server_version(context).await {
                Ok(version) => {
                    versions.insert("serverVersion".to_owned(), version);
                }
                Err(error) => failure = Some(error),
            }
        }
        let text = match self.output.as_str() {
            "yaml" => yaml::emit(&Value::Object(versions)) + "\n",
            "json" => as_json(&versions),
            _ => as_text(&versions),
        };
        context.print(&text)?;
        failure.map_or(Ok(()), Err)
    }
}

async fn server_version(context: &Context) -> Result<Value, CommandError> {
    let reply = context.request(context.client()?.discovery()).await?;
    serde_json::from_slice(&reply.version).map_err(|error| {
        CommandError::message(format!("unable to parse the server version: {error}"))
    })
}

fn as_text(versions: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (key, title) in [("clientVersion", "Client"), ("serverVersion", "Server")] {
        if let Some(version) = versions.get(key).and_then(|v| v["gitVersion"].as_str()) {
            let _ = writeln!(text, "{title} Version: {version}");
        }
    }
    text
}

/// Two spaces an indentation, members in Go's order.
fn as_json(versions: &Map<String, Value>) -> String {
    let parts: Vec<String> = versions
        .iter()
        .map(|(name, version)| {
            let members: Vec<String> = ORDER
                .iter()
                .filter_map(|key| {
                    let value = version.get(*key)?;
                    Some(format!("    \"{key}\": {}", json::to_string(value)))
                })
                .collect();
            format!("  \"{name}\": {{\n{}\n  }}", members.join(",\n"))
        })
        .collect();
    format!("{{\n{}\n}}\n", parts.join(",\n"))
}

fn no_arguments(command: &str, arguments: &[String]) -> Result<(), CommandError> {
    if arguments.is_empty() {
        return Ok(());
    }
    let message = format!("unexpected arguments: [{}]", arguments.join(" "));
    Err(CommandError::usage(command, message))
}

/// The resources that the server serves, as its discovery lists them.
pub(crate) async fn served(context: &Context) -> Result<Vec<&'static ResourceInfo>, CommandError> {
    Ok(discover(context).await?.to_vec())
}

/// kubectl tells of a missing server in other words here.
fn unavailable(context: &Context, error: CommandError) -> CommandError {
    let failure = error.status().and_then(client::wire::transport_failure);
    let (Some((Failure::Refused, _)), Ok(resolved)) = (failure, context.resolved()) else {
        return error;
    };
    let server = resolved.server.trim_end_matches('/');
    let host = server.split_once("://").map_or(server, |(_, host)| host);
    CommandError::message(format!(
        "couldn't get available api versions from server: Get \"{server}/api?timeout=32s\": dial tcp {host}: connect: connection refused"
    ))
}

/// Prints the API versions.
#[derive(clap::Args, Clone, Debug)]
pub struct ApiVersions {
    /// None.
    pub arguments: Vec<String>,
}

impl Command for ApiVersions {
    const NAME: &'static str = "api-versions";
    const ABOUT: &'static str =
        "Print the supported API versions on the server, in the form of \"group/version\"";
    const USAGE: &'static str = "api-versions";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        no_arguments(Self::NAME, &self.arguments)?;
        let found = served(context).await.map_err(|error| unavailable(context, error))?;
        let mut versions: Vec<String> = found.into_iter().map(ResourceInfo::api_version).collect();
        versions.sort();
        versions.dedup();
        context.print(&(versions.join("\n") + "\n"))
    }
}

/// Prints the types.
#[derive(clap::Args, Clone, Debug)]
pub struct ApiResources {
    /// None.
    pub arguments: Vec<String>,
    /// Limit to resources in the specified API group.
    #[arg(long)]
    pub api_group: Option<String>,
    /// Limit to resources that belong to the specified categories.
    #[arg(long, value_delimiter = ',')]
    pub categories: Vec<String>,
    /// If false, non-namespaced resources will be returned, otherwise returning namespaced resources by default.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub namespaced: Option<bool>,
    /// When using the default or custom-column output format, don't print headers (default print headers).
    #[arg(long)]
    pub no_headers: bool,
    /// Output format. One of: (wide, name).
    #[arg(long, short, default_value = "")]
    pub output: String,
    /// If non-empty, sort list of resources using specified field. The field can be either 'name' or 'kind'.
    #[arg(long, default_value = "")]
    pub sort_by: String,
    /// Limit to resources that support the specified verbs.
    #[arg(long, value_delimiter = ',')]
    pub verbs: Vec<String>,
}

impl Command for ApiResources {
    const NAME: &'static str = "api-resources";
    const ABOUT: &'static str = "Print the supported API resources on the server";
    const USAGE: &'static str = "api-resources [flags]";
    const EXAMPLES: &'static str = "# Print the supported API resources
kubectl-mini api-resources

# Print the supported non-namespaced resources
kubectl-mini api-resources --namespaced=false";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        no_arguments(Self::NAME, &self.arguments)?;
        if !["", "wide", "name"].contains(&self.output.as_str()) {
            return Err(CommandError::message(format!(
                "--output {} is not available",
                self.output
            )));
        }
        if !["", "name", "kind"].contains(&self.sort_by.as_str()) {
            return Err(CommandError::message("--sort-by accepts only name or kind"));
        }
        let (mut found, failure) = match served(context).await {
            Ok(found) => (found, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        found.retain(|info| self.is_wanted(info));
        match self.sort_by.as_str() {
            "name" => found.sort_by_key(|info| info.resource),
            "kind" => found.sort_by_key(|info| info.kind),
            _ => found.sort_by(|a, b| (a.group, a.resource).cmp(&(b.group, b.resource))),
        }
        context.print(&self.text(&found))?;
        failure.map_or(Ok(()), Err)
    }
}

impl ApiResources {
    fn is_wanted(&self, info: &ResourceInfo) -> bool {
        self.api_group.as_deref().is_none_or(|group| info.group == group)
            && self.namespaced.is_none_or(|namespaced| info.namespaced == namespaced)
            && self.verbs.iter().all(|verb| info.has_verb(verb))
            && self.categories.iter().all(|name| info.categories.contains(&name.as_str()))
    }

    fn text(&self, found: &[&ResourceInfo]) -> String {
        if self.output == "name" {
            return found.iter().map(|info| info.group_resource() + "\n").collect();
        }
        let wide = self.output == "wide";
        let mut rows = Vec::new();
        if !self.no_headers {
            let mut row = vec!["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"];
            if wide {
                row.extend(["VERBS", "CATEGORIES"]);
            }
            rows.push(row.into_iter().map(ToOwned::to_owned).collect());
        }
        for info in found {
            let mut row = vec![
                info.resource.to_owned(),
                info.short_names.join(","),
                info.api_version(),
                info.namespaced.to_string(),
                info.kind.to_owned(),
            ];
            if wide {
                row.push(info.verbs.join(","));
                row.push(info.categories.join(","));
            }
            rows.push(row);
        }
        columns(rows)
    }
}

/// Columns three spaces apart, as kubectl's tab writer sets them: the last one is not padded.
pub fn columns(rows: Vec<Vec<String>>) -> String {
    let mut layout = Layout::default();
    for row in rows {
        layout.row(row);
    }
    layout.flush()
}

/// Tells where the cluster is.
#[derive(clap::Args, Clone, Debug)]
pub struct ClusterInfo {
    /// None.
    pub arguments: Vec<String>,
}

impl Command for ClusterInfo {
    const NAME: &'static str = "cluster-info";
    const ABOUT: &'static str = "Display cluster information";
    const USAGE: &'static str = "cluster-info";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if !self.arguments.is_empty() {
            return Err(CommandError::message(format!(
                "unknown command {:?} for \"{PROGRAM} cluster-info\"",
                self.arguments.join(" ")
            )));
        }
        let hint = format!(
            "\nTo further debug and diagnose cluster problems, use '{PROGRAM} cluster-info dump'.\n"
        );
        let server = match context.resolved() {
            Ok(resolved) => resolved.server.clone(),
            Err(error) => {
                context.print(&hint)?;
                return Err(error);
            }
        };
        let reached = context.request(context.client()?.discovery()).await;
        if let Err(error) = reached {
            context.print(&hint)?;
            return Err(error);
        }
        context.print(&format!("Kubernetes control plane is running at {server}\n{hint}"))
    }
}

/// Prints the flags of every command.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// None.
    pub arguments: Vec<String>,
}

impl Command for Options {
    const NAME: &'static str = "options";
    const ABOUT: &'static str = "Print the list of flags inherited by all commands";
    const USAGE: &'static str = "options";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let options = global_options();
        context.print(&format!("The following options can be passed to any command:\n\n{options}"))
    }
}
