//! `kubectl config`: looking into kubeconfig files and changing them.

pub mod change;
pub mod properties;
pub mod show;

use std::{fs, io, path::PathBuf};

use component_base::kubeconfig::{Kubeconfig, KubeconfigError, Named, load_file, update_file};

use crate::{
    cli::{Spec, leaf},
    context::{Context, load_paths},
    errors::CommandError,
};

/// The subcommands.
pub static SUBCOMMANDS: &[Spec] = &[
    leaf::<show::CurrentContext>(),
    leaf::<change::DeleteCluster>(),
    leaf::<change::DeleteContext>(),
    leaf::<change::DeleteUser>(),
    leaf::<show::GetClusters>(),
    leaf::<show::GetContexts>(),
    leaf::<show::GetUsers>(),
    leaf::<change::RenameContext>(),
    leaf::<properties::Set>(),
    leaf::<change::SetContext>(),
    leaf::<properties::Unset>(),
    leaf::<change::UseContext>().alias(&["use"]),
    leaf::<show::View>(),
];

/// The usage line of the group.
pub const USAGE: &str = "config SUBCOMMAND";

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

/// kubectl shows the help of a command that it refuses for its arguments; here the hint to it.
fn unexpected(arguments: &[String]) -> CommandError {
    CommandError::message(format!("Unexpected args: [{}]", arguments.join(" ")))
}

/// The files that are read, in their order.
fn paths(context: &Context) -> Vec<PathBuf> {
    load_paths(&context.global, &context.environment)
}

/// The file that messages name and that gets new entries: the first that exists, else the last.
fn default_file(context: &Context) -> Result<PathBuf, CommandError> {
    let paths = paths(context);
    paths.iter().find(|path| path.exists()).or(paths.last()).cloned().ok_or_else(|| {
        CommandError::message("there is no kubeconfig file to write: no home directory")
    })
}

/// All entries of all files, paths as the files have them; missing files have none.
fn read(context: &Context) -> Result<Kubeconfig, CommandError> {
    fn add<T>(entries: &mut Vec<Named<T>>, more: Vec<Named<T>>) {
        for entry in more {
            if !entries.iter().any(|known| known.name == entry.name) {
                entries.push(entry);
            }
        }
    }
    let mut merged = Kubeconfig::default();
    for path in paths(context) {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(failed(&KubeconfigError::File { operation: "read", path, source }));
            }
        };
        let config = serde_yaml::from_str::<Option<Kubeconfig>>(&text)
            .map_err(|source| failed(&KubeconfigError::Syntax { path, source }))?
            .unwrap_or_default();
        add(&mut merged.clusters, config.clusters);
        add(&mut merged.contexts, config.contexts);
        add(&mut merged.users, config.users);
        if merged.current_context.is_empty() {
            merged.current_context = config.current_context;
        }
        for (field, value) in config.other {
            merged.other.entry(field).or_insert(value);
        }
    }
    Ok(merged)
}

/// The same with absolute paths, so that the files which it names can be read.
fn read_resolved(context: &Context) -> Result<Kubeconfig, CommandError> {
    component_base::kubeconfig::load(&paths(context)).map_err(|error| failed(&error))
}

fn failed(error: &KubeconfigError) -> CommandError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    CommandError::message(text)
}

/// The file that holds an entry, else the one for new entries.
fn file_with(
    context: &Context,
    holds: impl Fn(&Kubeconfig) -> bool,
) -> Result<PathBuf, CommandError> {
    for path in paths(context) {
        match load_file(&path) {
            Ok(config) if holds(&config) => return Ok(path),
            Ok(_) => {}
            Err(KubeconfigError::File { source, .. })
                if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    default_file(context)
}

/// Changes one file. Entries stand in the order of their names, as kubectl writes them.
async fn update(
    context: &Context,
    path: &std::path::Path,
    change: impl FnOnce(&mut Kubeconfig),
) -> Result<(), CommandError> {
    let sorted = |config: &mut Kubeconfig| {
        change(config);
        config.clusters.sort_by(|a, b| a.name.cmp(&b.name));
        config.contexts.sort_by(|a, b| a.name.cmp(&b.name));
        config.users.sort_by(|a, b| a.name.cmp(&b.name));
        config
            .other
            .entry("preferences".to_owned())
            .or_insert_with(|| serde_yaml::Value::Mapping(serde_yaml::Mapping::new()));
    };
    update_file(path, &context.clock, sorted).await.map_err(|error| failed(&error))
}
