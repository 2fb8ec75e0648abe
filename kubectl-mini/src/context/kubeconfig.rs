//! From flags and files to the context that requests go to, with kubectl's messages.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use component_base::kubeconfig::{
    self, Kubeconfig, KubeconfigError, Named, Overrides, Resolved, User,
};

use super::Environment;
use crate::{
    cli::GlobalFlags,
    errors::{CommandError, connection_refused},
};

/// Where kubectl looks for a server when nothing names one.
pub const UNSET_SERVER: &str = "localhost:8080";

/// The files that are read, the first one being the one that is written where none has what is changed: `--kubeconfig`,
/// else `KUBECONFIG`, else `~/.kube/config`.
#[must_use]
pub fn load_paths(global: &GlobalFlags, environment: &Environment) -> Vec<PathBuf> {
    if let Some(path) = global.kubeconfig.as_deref().filter(|path| !path.is_empty()) {
        return vec![PathBuf::from(path)];
    }
    let listed = environment.kubeconfig.as_deref().filter(|list| !list.is_empty());
    if let Some(list) = listed {
        return std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect();
    }
    environment.home.iter().map(|home| home.join(".kube").join("config")).collect()
}

pub(super) fn load(
    global: &GlobalFlags,
    environment: &Environment,
) -> Result<Kubeconfig, CommandError> {
    if let Some(path) = global.kubeconfig.as_deref().filter(|path| !path.is_empty()) {
        return kubeconfig::load_file(Path::new(path)).map_err(|error| unreadable(&error));
    }
    kubeconfig::load(&load_paths(global, environment)).map_err(|error| unreadable(&error))
}

fn unreadable(error: &KubeconfigError) -> CommandError {
    CommandError::message(match error {
        KubeconfigError::File { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
            format!("stat {}: no such file or directory", path.display())
        }
        KubeconfigError::File { path, source, .. } => {
            let why = source.to_string();
            let why = why.split(" (os error").next().unwrap_or_default().to_lowercase();
            format!("error loading config file \"{0}\": open {0}: {why}", path.display())
        }
        KubeconfigError::Syntax { path, source } => {
            format!("error loading config file \"{}\": {}", path.display(), go_yaml(source))
        }
        other => with_causes(other),
    })
}

/// libyaml words its errors as goyaml, but tells the place at the end.
fn go_yaml(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    match (error.location(), text.split_once(" at line ")) {
        (Some(location), Some((words, place))) => {
            // Go counts lines from 0 where the parser fails, not where the scanner does.
            let line = location.line() - usize::from(!place.contains("while scanning"));
            if line == 0 { format!("yaml: {words}") } else { format!("yaml: line {line}: {words}") }
        }
        _ => format!("yaml: {text}"),
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub(super) fn namespace(config: &Kubeconfig, global: &GlobalFlags) -> Result<String, CommandError> {
    let name = context_name(config, global);
    if let Some(namespace) = global.namespace.as_deref().filter(|name| !name.is_empty()) {
        return Ok(namespace.to_owned());
    }
    if !name.is_empty() && config.context(name).is_none() {
        return Err(no_context(name));
    }
    let chosen = config.context(name).and_then(|context| context.namespace.clone());
    Ok(chosen.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned()))
}

fn context_name<'a>(config: &'a Kubeconfig, global: &'a GlobalFlags) -> &'a str {
    global.context.as_deref().filter(|name| !name.is_empty()).unwrap_or(&config.current_context)
}

fn no_context(name: &str) -> CommandError {
    CommandError::Verbatim(format!(
        "Error in configuration: context was not found for specified context: {name}"
    ))
}

pub(super) fn resolve(config: &Kubeconfig, global: &GlobalFlags) -> Result<Resolved, CommandError> {
    let name = context_name(config, global);
    let context = config.context(name);
    if !name.is_empty() && context.is_none() {
        return Err(no_context(name));
    }
    if let Some(cluster) = global.cluster.as_deref().filter(|name| config.cluster(name).is_none()) {
        return Err(CommandError::message(format!("no server found for cluster \"{cluster}\"")));
    }
    if let Some(user) = global.user.as_deref().filter(|name| config.user(name).is_none()) {
        return Err(CommandError::message(format!("auth info \"{user}\" does not exist")));
    }
    let cluster = global.cluster.as_deref().or(context.map(|context| context.cluster.as_str()));
    if cluster.is_none_or(|name| config.cluster(name).is_none()) && global.server.is_none() {
        return Err(CommandError::Verbatim(connection_refused(UNSET_SERVER)));
    }
    let mut config = config.clone();
    let overrides = overrides(&mut config, global);
    config.resolve(&overrides).map_err(|error| CommandError::message(with_causes(&error)))
}

/// Turns flags into overrides; those that a kubeconfig's entries hold are written into copies of the entries.
fn overrides(config: &mut Kubeconfig, global: &GlobalFlags) -> Overrides {
    const MADE: &str = "\u{0}command line";
    let context = config.context(context_name(config, global)).cloned().unwrap_or_default();
    let mut overrides = Overrides {
        context: global.context.clone().filter(|name| !name.is_empty()),
        cluster: global.cluster.clone(),
        user: global.user.clone(),
        server: global.server.as_deref().map(with_scheme),
        namespace: global.namespace.clone(),
    };
    let user_name = overrides.user.clone().unwrap_or(context.user);
    let mut user = config.user(&user_name).cloned().unwrap_or_default();
    if change_user(&mut user, global) {
        config.users.push(Named { name: MADE.to_owned(), value: user });
        overrides.user = Some(MADE.to_owned());
    }
    let cluster_name = overrides.cluster.clone().unwrap_or(context.cluster);
    let known = config.cluster(&cluster_name).is_some();
    let mut cluster = config.cluster(&cluster_name).cloned().unwrap_or_default();
    let mut changed = !known;
    if let Some(path) = &global.certificate_authority {
        cluster.certificate_authority = Some(PathBuf::from(path));
        cluster.certificate_authority_data = None;
        changed = true;
    }
    if let Some(name) = &global.tls_server_name {
        cluster.tls_server_name = Some(name.clone());
        changed = true;
    }
    if changed {
        config.clusters.push(Named { name: MADE.to_owned(), value: cluster });
        overrides.cluster = Some(MADE.to_owned());
    }
    overrides
}

fn change_user(user: &mut User, global: &GlobalFlags) -> bool {
    let mut changed = false;
    if let Some(token) = &global.token {
        user.token = Some(token.clone());
        user.token_file = None;
        changed = true;
    }
    if let Some(path) = &global.client_certificate {
        user.client_certificate = Some(PathBuf::from(path));
        user.client_certificate_data = None;
        changed = true;
    }
    if let Some(path) = &global.client_key {
        user.client_key = Some(PathBuf::from(path));
        user.client_key_data = None;
        changed = true;
    }
    changed
}

fn with_scheme(server: &str) -> String {
    if server.contains("://") { server.to_owned() } else { format!("https://{server}") }
}

/// `host:port` of a URL.
pub(super) fn host(server: &str) -> &str {
    server.split_once("://").map_or(server, |(_, rest)| rest).trim_end_matches('/')
}
