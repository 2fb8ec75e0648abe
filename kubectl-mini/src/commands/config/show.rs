//! `config view`, `current-context`, `get-contexts`, `get-clusters` and `get-users`.

use component_base::kubeconfig::{Kubeconfig, Named};
use serde_json::{Map, Value, json};

use super::{read, read_resolved, refuse};
use crate::{
    cli::Command,
    context::Context,
    errors::CommandError,
    generate::go_order,
    printers::{Formats, OutputFlags},
};

/// Shows the configuration.
#[derive(clap::Args, Clone, Debug)]
pub struct View {
    /// None.
    pub arguments: Vec<String>,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// Flatten the resulting kubeconfig file into self-contained output (useful for creating portable kubeconfig files)
    #[arg(long)]
    pub flatten: bool,
    /// Remove all information not used by current-context from the output
    #[arg(long)]
    pub minify: bool,
    /// Display raw byte data and sensitive data
    #[arg(long)]
    pub raw: bool,
}

impl Command for View {
    const NAME: &'static str = "view";
    const ABOUT: &'static str = "Display merged kubeconfig settings or a specified kubeconfig file";
    const USAGE: &'static str = "view [flags]";
    const EXAMPLES: &'static str = "# Show merged kubeconfig settings
kubectl-mini config view

# Show merged kubeconfig settings, raw certificate data, and exposed secrets
kubectl-mini config view --raw";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if !self.arguments.is_empty() {
            let message = format!("unexpected arguments: [{}]", self.arguments.join(" "));
            return Err(CommandError::usage("config view", message));
        }
        let output = OutputFlags {
            output: Some(self.output.output.clone().unwrap_or_else(|| "yaml".to_owned())),
            ..self.output.clone()
        };
        let printer = output.printer(Formats::Common)?;
        let mut config = if self.flatten { read_resolved(context)? } else { read(context)? };
        if let Some(name) = context.global.context.as_deref().filter(|name| !name.is_empty()) {
            name.clone_into(&mut config.current_context);
        }
        if self.minify {
            minify(&mut config)?;
        }
        if self.flatten {
            flatten(&mut config)?;
        }
        let mut value = as_json(&config)?;
        if !self.raw && !self.flatten {
            hide_secrets(&mut value);
        }
        let text = if output.format() == ("json".to_owned(), None) {
            ordered(&value) + "\n"
        } else {
            match printer {
                Some(printer) => printer.print(&value)?,
                None => String::new(),
            }
        };
        context.print(&text)
    }
}

/// Leaves only what the current context leads to.
fn minify(config: &mut Kubeconfig) -> Result<(), CommandError> {
    let current = config.current_context.clone();
    if current.is_empty() {
        return refuse("current-context must exist in order to minify");
    }
    let Some(context) = config.context(&current).cloned() else {
        return refuse(format!("cannot locate context {current}"));
    };
    config.contexts.retain(|entry| entry.name == current);
    config.clusters.retain(|entry| entry.name == context.cluster);
    config.users.retain(|entry| entry.name == context.user);
    Ok(())
}

/// Takes the contents of files in.
fn flatten(config: &mut Kubeconfig) -> Result<(), CommandError> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let content = |path: &mut Option<std::path::PathBuf>, data: &mut Option<String>| {
        let Some(file) = path.take().filter(|file| !file.as_os_str().is_empty()) else {
            return Ok(());
        };
        let bytes = std::fs::read(&file).map_err(|error| {
            CommandError::message(format!(
                "open {}: {}",
                file.display(),
                crate::generate::sources::go_io_error(&error)
            ))
        })?;
        *data = Some(STANDARD.encode(bytes));
        Ok::<(), CommandError>(())
    };
    for Named { value, .. } in &mut config.clusters {
        content(&mut value.certificate_authority, &mut value.certificate_authority_data)?;
    }
    for Named { value, .. } in &mut config.users {
        content(&mut value.client_certificate, &mut value.client_certificate_data)?;
        content(&mut value.client_key, &mut value.client_key_data)?;
    }
    Ok(())
}

fn as_json(config: &Kubeconfig) -> Result<Value, CommandError> {
    let mut config = config.clone();
    config.clusters.sort_by(|a, b| a.name.cmp(&b.name));
    config.contexts.sort_by(|a, b| a.name.cmp(&b.name));
    config.users.sort_by(|a, b| a.name.cmp(&b.name));
    let mut value = serde_json::to_value(&config)
        .map_err(|error| CommandError::message(format!("print kubeconfig: {error}")))?;
    let Some(members) = value.as_object_mut() else { return Ok(value) };
    for (name, default) in
        [("apiVersion", json!("v1")), ("kind", json!("Config")), ("preferences", json!({}))]
    {
        members.entry(name).or_insert(default);
    }
    // Go prints an empty list as null.
    for name in ["clusters", "contexts", "users"] {
        if members.get(name).and_then(Value::as_array).is_some_and(Vec::is_empty) {
            members.insert(name.to_owned(), Value::Null);
        }
    }
    Ok(value)
}

fn hide_secrets(value: &mut Value) {
    let each =
        |value: &mut Value, list: &str, entry: &str, change: &dyn Fn(&mut Map<String, Value>)| {
            for item in value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(members) = item.get_mut(entry).and_then(Value::as_object_mut) {
                    change(members);
                }
            }
        };
    let data = "DATA+OMITTED";
    let hide = |members: &mut Map<String, Value>, name: &str, by: &str| {
        if members.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty()) {
            members.insert(name.to_owned(), by.into());
        }
    };
    each(value, "clusters", "cluster", &|members| {
        hide(members, "certificate-authority-data", data);
    });
    each(value, "users", "user", &|members| {
        hide(members, "client-certificate-data", data);
        hide(members, "client-key-data", data);
        hide(members, "token", "REDACTED");
        hide(members, "password", "REDACTED");
    });
}

/// The members of the file in Go's order.
const ORDER: &[&str] = &[
    "kind",
    "apiVersion",
    "preferences",
    "name",
    "clusters",
    "cluster",
    "users",
    "user",
    "contexts",
    "context",
    "current-context",
    "namespace",
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "certificate-authority",
    "certificate-authority-data",
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "token",
    "tokenFile",
];

fn ordered(value: &Value) -> String {
    go_order::pretty_by(value, &|_, name| {
        ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len())
    })
}

/// Shows the current context.
#[derive(clap::Args, Clone, Debug)]
pub struct CurrentContext {
    /// None.
    pub arguments: Vec<String>,
}

impl Command for CurrentContext {
    const NAME: &'static str = "current-context";
    const ABOUT: &'static str = "Display the current-context";
    const USAGE: &'static str = "current-context [flags]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let config = read(context)?;
        if config.current_context.is_empty() {
            return refuse("current-context is not set");
        }
        context.print(&format!("{}\n", config.current_context))
    }
}

/// Lists contexts.
#[derive(clap::Args, Clone, Debug)]
pub struct GetContexts {
    /// Only these.
    pub arguments: Vec<String>,
    /// When using the default or custom-column output format, don't print headers (default print headers).
    #[arg(long)]
    pub no_headers: bool,
    /// Output format. One of: (name).
    #[arg(long, short, default_value = "")]
    pub output: String,
}

impl Command for GetContexts {
    const NAME: &'static str = "get-contexts";
    const ABOUT: &'static str = "Describe one or many contexts";
    const USAGE: &'static str = "get-contexts [(-o|--output=)name)]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if !["", "name"].contains(&self.output.as_str()) {
            return refuse(format!(
                "--output {} is not available in kubectl config get-contexts; resetting to default output format",
                self.output
            ));
        }
        let config = read(context)?;
        let mut names: Vec<String> = if self.arguments.is_empty() {
            config.contexts.iter().map(|entry| entry.name.clone()).collect()
        } else {
            self.arguments.clone()
        };
        names.sort();
        let mut rows = Vec::new();
        if !self.no_headers && self.output.is_empty() {
            rows.push(
                ["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"].map(ToOwned::to_owned),
            );
        }
        let mut errors = Vec::new();
        let mut text = String::new();
        for name in names {
            let Some(entry) = config.context(&name) else {
                errors.push(CommandError::message(format!("context {name} not found")));
                continue;
            };
            if self.output == "name" {
                text.push_str(&format!("{name}\n"));
                continue;
            }
            let mark = if name == config.current_context { "*" } else { "" };
            let namespace = entry.namespace.clone().unwrap_or_default();
            rows.push([
                mark.to_owned(),
                name,
                entry.cluster.clone(),
                entry.user.clone(),
                namespace,
            ]);
        }
        let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
        text.push_str(&crate::commands::version::columns(rows));
        context.print(&text)?;
        CommandError::gather(errors)
    }
}

fn names<T>(context: &Context, entries: &[Named<T>]) -> Result<(), CommandError> {
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    context.print(&format!("NAME\n{lines}"))
}

/// Lists clusters.
#[derive(clap::Args, Clone, Debug)]
pub struct GetClusters {
    /// None.
    pub arguments: Vec<String>,
}

impl Command for GetClusters {
    const NAME: &'static str = "get-clusters";
    const ABOUT: &'static str = "Display clusters defined in the kubeconfig";
    const USAGE: &'static str = "get-clusters [flags]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        names(context, &read(context)?.clusters)
    }
}

/// Lists users.
#[derive(clap::Args, Clone, Debug)]
pub struct GetUsers {
    /// None.
    pub arguments: Vec<String>,
}

impl Command for GetUsers {
    const NAME: &'static str = "get-users";
    const ABOUT: &'static str = "Display users defined in the kubeconfig";
    const USAGE: &'static str = "get-users [flags]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        names(context, &read(context)?.users)
    }
}
