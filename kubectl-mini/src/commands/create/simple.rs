//! `kubectl create namespace`, `serviceaccount` and `priorityclass`.

use apimachinery::resource;

use super::common::{CreateFlags, create, one_name};
use crate::{
    cli::{Command, values::parse_i32},
    context::Context,
    errors::CommandError,
    generate::simple,
};

/// Creates a namespace.
#[derive(clap::Args, Clone, Debug)]
pub struct Namespace {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
}

impl Command for Namespace {
    const NAME: &'static str = "namespace";
    const ABOUT: &'static str = "Create a namespace with the specified name";
    const USAGE: &'static str = "namespace NAME [--dry-run=server|client|none]";
    const EXAMPLES: &'static str = "# Create a new namespace named my-namespace
kubectl-mini create namespace my-namespace";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create namespace", &self.arguments)?;
        let generated = Ok(simple::namespace(name));
        create(context, &self.flags, &resource::NAMESPACES, generated, None).await
    }
}

/// Creates a service account.
#[derive(clap::Args, Clone, Debug)]
pub struct ServiceAccount {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
}

impl Command for ServiceAccount {
    const NAME: &'static str = "serviceaccount";
    const ABOUT: &'static str = "Create a service account with the specified name";
    const USAGE: &'static str = "serviceaccount NAME [--dry-run=server|client|none]";
    const EXAMPLES: &'static str = "# Create a new service account named my-service-account
kubectl-mini create serviceaccount my-service-account";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create serviceaccount", &self.arguments)?;
        let generated = Ok(simple::service_account(name));
        let prefix = Some("failed to create serviceaccount:");
        create(context, &self.flags, &resource::SERVICE_ACCOUNTS, generated, prefix).await
    }
}

/// Creates a priority class.
#[derive(clap::Args, Clone, Debug)]
pub struct PriorityClass {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// the value of this priority class.
    #[arg(long, default_value = "0", value_parser = parse_i32)]
    pub value: i32,
    /// global-default specifies whether this PriorityClass should be considered as the default priority.
    #[arg(long)]
    pub global_default: bool,
    /// description is an arbitrary string that usually provides guidelines on when this priority class should be used.
    #[arg(long, default_value = "")]
    pub description: String,
    /// preemption-policy is the policy for preempting pods with lower priority.
    #[arg(long, default_value = "PreemptLowerPriority")]
    pub preemption_policy: String,
}

impl Command for PriorityClass {
    const NAME: &'static str = "priorityclass";
    const ABOUT: &'static str = "Create a priority class with the specified name";
    const USAGE: &'static str =
        "priorityclass NAME --value=VALUE --global-default=BOOL [--dry-run=server|client|none]";
    const EXAMPLES: &'static str = "# Create a priority class named high-priority
kubectl-mini create priorityclass high-priority --value=1000 --description=\"high priority\"";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create priorityclass", &self.arguments)?;
        let generated = Ok(simple::PriorityClass {
            name: name.to_owned(),
            value: self.value,
            global_default: self.global_default,
            description: self.description.clone(),
            preemption_policy: self.preemption_policy.clone(),
        }
        .generate());
        let prefix = Some("failed to create priorityclass:");
        create(context, &self.flags, &resource::PRIORITY_CLASSES, generated, prefix).await
    }
}
