//! `config use-context`, `set-context`, `rename-context`, `delete-context`, `delete-cluster` and `delete-user`.

use component_base::kubeconfig::{Context as Entry, Kubeconfig, Named};

use super::{default_file, file_with, read, refuse, unexpected, update};
use crate::{PROGRAM, cli::Command, context::Context, errors::CommandError};

/// Makes a context the current one.
#[derive(clap::Args, Clone, Debug)]
pub struct UseContext {
    /// Its name.
    pub arguments: Vec<String>,
}

impl Command for UseContext {
    const NAME: &'static str = "use-context";
    const ABOUT: &'static str = "Set the current-context in a kubeconfig file";
    const USAGE: &'static str = "use-context CONTEXT_NAME";
    const EXAMPLES: &'static str = "# Use the context for the kube-mini cluster
kubectl-mini config use-context kube-mini";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let [name] = self.arguments.as_slice() else { return Err(unexpected(&self.arguments)) };
        if name.is_empty() {
            return refuse("empty context names are not allowed");
        }
        if read(context)?.context(name).is_none() {
            return refuse(format!("no context exists with the name: {name:?}"));
        }
        let path = file_with(context, |config| !config.current_context.is_empty())?;
        update(context, &path, |config| name.clone_into(&mut config.current_context)).await?;
        context.print(&format!("Switched to context {name:?}.\n"))
    }
}

/// Changes or creates a context.
#[derive(clap::Args, Clone, Debug)]
pub struct SetContext {
    /// Its name.
    pub arguments: Vec<String>,
    /// Modify the current context
    #[arg(long)]
    pub current: bool,
    /// cluster for the context entry in kubeconfig
    #[arg(long)]
    pub cluster: Option<String>,
    /// user for the context entry in kubeconfig
    #[arg(long)]
    pub user: Option<String>,
    /// namespace for the context entry in kubeconfig
    #[arg(long)]
    pub namespace: Option<String>,
}

impl Command for SetContext {
    const NAME: &'static str = "set-context";
    const ABOUT: &'static str = "Set a context entry in kubeconfig";
    const USAGE: &'static str = "set-context [NAME | --current] [--cluster=cluster_nickname] [--user=user_nickname] [--namespace=namespace]";
    const EXAMPLES: &'static str = "# Set the default namespace of the current context
kubectl-mini config set-context --current --namespace=shop";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let config = read(context)?;
        let name = match self.arguments.as_slice() {
            [] | [_] => self.arguments.first().cloned().unwrap_or_default(),
            more => return Err(unexpected(more)),
        };
        if self.current && !name.is_empty() {
            return refuse("you cannot specify both a context name and --current");
        }
        if !self.current && name.is_empty() {
            return refuse("you must specify a non-empty context name or --current");
        }
        let name = if self.current { config.current_context.clone() } else { name };
        if name.is_empty() {
            return refuse("no current context is set");
        }
        let exists = config.context(&name).is_some();
        let path = file_with(context, |config| config.context(&name).is_some())?;
        update(context, &path, |config| {
            if config.context(&name).is_none() {
                config.contexts.push(Named { name: name.clone(), value: Entry::default() });
            }
            if let Some(entry) = config.context_mut(&name) {
                self.change(entry);
            }
        })
        .await?;
        let done = if exists { "modified" } else { "created" };
        context.print(&format!("Context {name:?} {done}.\n"))
    }
}

impl SetContext {
    fn change(&self, entry: &mut Entry) {
        if let Some(cluster) = &self.cluster {
            entry.cluster.clone_from(cluster);
        }
        if let Some(user) = &self.user {
            entry.user.clone_from(user);
        }
        if let Some(namespace) = &self.namespace {
            entry.namespace = Some(namespace.clone()).filter(|namespace| !namespace.is_empty());
        }
    }
}

/// Gives a context another name.
#[derive(clap::Args, Clone, Debug)]
pub struct RenameContext {
    /// The old and the new name.
    pub arguments: Vec<String>,
}

impl Command for RenameContext {
    const NAME: &'static str = "rename-context";
    const ABOUT: &'static str = "Rename a context from the kubeconfig file";
    const USAGE: &'static str = "rename-context CONTEXT_NAME NEW_NAME";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let [old, new] = self.arguments.as_slice() else {
            return Err(unexpected(&self.arguments));
        };
        let config = read(context)?;
        let file = default_file(context)?;
        if config.context(old).is_none() {
            return refuse(format!(
                "cannot rename the context {old:?}, it's not in {}",
                file.display()
            ));
        }
        if config.context(new).is_some() {
            return refuse(format!(
                "cannot rename the context {old:?}, the context {new:?} already exists in {}",
                file.display()
            ));
        }
        let path = file_with(context, |config| config.context(old).is_some())?;
        update(context, &path, |config| {
            for entry in config.contexts.iter_mut().filter(|entry| entry.name == *old) {
                entry.name.clone_from(new);
            }
            if config.current_context == *old {
                config.current_context.clone_from(new);
            }
        })
        .await?;
        context.print(&format!("Context {old:?} renamed to {new:?}.\n"))
    }
}

/// Which entries a deletion is about.
#[derive(Clone, Copy)]
enum Kind {
    Cluster,
    Context,
    User,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Context => "context",
            Self::User => "user",
        }
    }

    fn has(self, config: &Kubeconfig, name: &str) -> bool {
        match self {
            Self::Cluster => config.cluster(name).is_some(),
            Self::Context => config.context(name).is_some(),
            Self::User => config.user(name).is_some(),
        }
    }

    fn remove(self, config: &mut Kubeconfig, name: &str) {
        match self {
            Self::Cluster => config.clusters.retain(|entry| entry.name != name),
            Self::Context => config.contexts.retain(|entry| entry.name != name),
            Self::User => config.users.retain(|entry| entry.name != name),
        }
    }
}

async fn delete(context: &Context, kind: Kind, arguments: &[String]) -> Result<(), CommandError> {
    let [name] = arguments else { return Err(unexpected(arguments)) };
    let config = read(context)?;
    let word = kind.word();
    if !kind.has(&config, name) {
        let file = default_file(context)?;
        return refuse(format!("cannot delete {word} {name}, not in {}", file.display()));
    }
    if matches!(kind, Kind::Context) && config.current_context == *name {
        context.print_err(&format!(
            "warning: this removed your active context, use \"{PROGRAM} config use-context\" to select a different one\n"
        ))?;
    }
    let path = file_with(context, |config| kind.has(config, name))?;
    update(context, &path, |config| kind.remove(config, name)).await?;
    context.print(&format!("deleted {word} {name} from {}\n", path.display()))
}

/// Drops a context.
#[derive(clap::Args, Clone, Debug)]
pub struct DeleteContext {
    /// Its name.
    pub arguments: Vec<String>,
}

impl Command for DeleteContext {
    const NAME: &'static str = "delete-context";
    const ABOUT: &'static str = "Delete the specified context from the kubeconfig";
    const USAGE: &'static str = "delete-context NAME";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        delete(context, Kind::Context, &self.arguments).await
    }
}

/// Drops a cluster.
#[derive(clap::Args, Clone, Debug)]
pub struct DeleteCluster {
    /// Its name.
    pub arguments: Vec<String>,
}

impl Command for DeleteCluster {
    const NAME: &'static str = "delete-cluster";
    const ABOUT: &'static str = "Delete the specified cluster from the kubeconfig";
    const USAGE: &'static str = "delete-cluster NAME";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        delete(context, Kind::Cluster, &self.arguments).await
    }
}

/// Drops a user.
#[derive(clap::Args, Clone, Debug)]
pub struct DeleteUser {
    /// Its name.
    pub arguments: Vec<String>,
}

impl Command for DeleteUser {
    const NAME: &'static str = "delete-user";
    const ABOUT: &'static str = "Delete the specified user from the kubeconfig";
    const USAGE: &'static str = "delete-user NAME";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        delete(context, Kind::User, &self.arguments).await
    }
}
