//! `kubectl create role`, `clusterrole`, `rolebinding` and `clusterrolebinding`.

use apimachinery::resource;

use super::common::{CreateFlags, create, one_name, required};
use crate::{
    cli::Command,
    context::Context,
    errors::CommandError,
    generate::{GenerateError, rbac},
};

/// Warns of verbs that kubectl does not know, and turns the error about unknown types into kubectl's form.
fn generate(
    context: &Context,
    role: &rbac::Role,
) -> Result<apimachinery::object::Object, CommandError> {
    let generated = role.generate();
    if !role.verbs.is_empty() {
        let warnings: Vec<String> = role
            .unusual_verbs()
            .into_iter()
            .map(|verb| format!("'{verb}' is not a standard resource verb"))
            .collect();
        context.warn(&warnings)?;
    }
    generated.map_err(|GenerateError(text)| {
        if text.starts_with("the server doesn't have") {
            CommandError::Verbatim(text)
        } else {
            CommandError::Message(text)
        }
    })
}

/// Creates a role.
#[derive(clap::Args, Clone, Debug)]
pub struct Role {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// Verb that applies to the resources contained in the rule
    #[arg(long, value_delimiter = ',')]
    pub verb: Vec<String>,
    /// Resource that the rule applies to
    #[arg(long, value_delimiter = ',')]
    pub resource: Vec<String>,
    /// Resource in the white list that the rule applies to, repeat this flag for multiple items
    #[arg(long)]
    pub resource_name: Vec<String>,
}

impl Command for Role {
    const NAME: &'static str = "role";
    const ABOUT: &'static str = "Create a role with single rule";
    const USAGE: &'static str = "role NAME --verb=verb --resource=resource.group/subresource [--resource-name=resourcename] [--dry-run=server|client|none]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create role", &self.arguments)?;
        let role = rbac::Role {
            name: name.to_owned(),
            verbs: self.verb.clone(),
            resources: self.resource.clone(),
            resource_names: self.resource_name.clone(),
            ..rbac::Role::default()
        };
        let object = generate(context, &role)?;
        create(context, &self.flags, &resource::ROLES, Ok(object), None).await
    }
}

/// Creates a cluster role.
#[derive(clap::Args, Clone, Debug)]
pub struct ClusterRole {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// Verb that applies to the resources contained in the rule
    #[arg(long, value_delimiter = ',')]
    pub verb: Vec<String>,
    /// Resource that the rule applies to
    #[arg(long, value_delimiter = ',')]
    pub resource: Vec<String>,
    /// Resource in the white list that the rule applies to, repeat this flag for multiple items
    #[arg(long)]
    pub resource_name: Vec<String>,
    /// A partial url that user should have access to.
    #[arg(long, value_delimiter = ',')]
    pub non_resource_url: Vec<String>,
    /// An aggregation label selector for combining ClusterRoles.
    #[arg(long, default_value = "")]
    pub aggregation_rule: String,
}

impl Command for ClusterRole {
    const NAME: &'static str = "clusterrole";
    const ABOUT: &'static str = "Create a cluster role";
    const USAGE: &'static str = "clusterrole NAME --verb=verb --resource=resource.group [--resource-name=resourcename] [--dry-run=server|client|none]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create clusterrole", &self.arguments)?;
        let role = rbac::Role {
            name: name.to_owned(),
            cluster: true,
            verbs: self.verb.clone(),
            resources: self.resource.clone(),
            resource_names: self.resource_name.clone(),
            paths: self.non_resource_url.clone(),
            aggregation: rbac::parse_aggregation(&self.aggregation_rule)?,
        };
        let object = generate(context, &role)?;
        create(context, &self.flags, &resource::CLUSTER_ROLES, Ok(object), None).await
    }
}

/// Creates a role binding.
#[derive(clap::Args, Clone, Debug)]
pub struct RoleBinding {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// ClusterRole this RoleBinding should reference
    #[arg(long, default_value = "")]
    pub clusterrole: String,
    /// Role this RoleBinding should reference
    #[arg(long, default_value = "")]
    pub role: String,
    /// Usernames to bind to the role. The flag can be repeated to add multiple users.
    #[arg(long)]
    pub user: Vec<String>,
    /// Groups to bind to the role. The flag can be repeated to add multiple groups.
    #[arg(long)]
    pub group: Vec<String>,
    /// Service accounts to bind to the role, in the format <namespace>:<name>. The flag can be repeated to add multiple
    /// service accounts.
    #[arg(long)]
    pub serviceaccount: Vec<String>,
}

impl Command for RoleBinding {
    const NAME: &'static str = "rolebinding";
    const ABOUT: &'static str = "Create a role binding for a particular role or cluster role";
    const USAGE: &'static str = "rolebinding NAME --clusterrole=NAME|--role=NAME [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname] [--dry-run=server|client|none]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create rolebinding", &self.arguments)?;
        let generated = rbac::Binding {
            name: name.to_owned(),
            cluster: false,
            cluster_role: self.clusterrole.clone(),
            role: self.role.clone(),
            users: self.user.clone(),
            groups: self.group.clone(),
            service_accounts: self.serviceaccount.clone(),
        }
        .generate();
        let prefix = Some("failed to create rolebinding:");
        create(context, &self.flags, &resource::ROLE_BINDINGS, generated, prefix).await
    }
}

/// Creates a cluster role binding.
#[derive(clap::Args, Clone, Debug)]
pub struct ClusterRoleBinding {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// ClusterRole this ClusterRoleBinding should reference
    #[arg(long)]
    pub clusterrole: Option<String>,
    /// Usernames to bind to the clusterrole. The flag can be repeated to add multiple users.
    #[arg(long)]
    pub user: Vec<String>,
    /// Groups to bind to the clusterrole. The flag can be repeated to add multiple groups.
    #[arg(long)]
    pub group: Vec<String>,
    /// Service accounts to bind to the clusterrole, in the format <namespace>:<name>. The flag can be repeated to add
    /// multiple service accounts.
    #[arg(long)]
    pub serviceaccount: Vec<String>,
}

impl Command for ClusterRoleBinding {
    const NAME: &'static str = "clusterrolebinding";
    const ABOUT: &'static str = "Create a cluster role binding for a particular cluster role";
    const USAGE: &'static str = "clusterrolebinding NAME --clusterrole=NAME [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname] [--dry-run=server|client|none]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        required(&[("clusterrole", self.clusterrole.is_some())])?;
        let name = one_name("create clusterrolebinding", &self.arguments)?;
        let generated = rbac::Binding {
            name: name.to_owned(),
            cluster: true,
            cluster_role: self.clusterrole.clone().unwrap_or_default(),
            users: self.user.clone(),
            groups: self.group.clone(),
            service_accounts: self.serviceaccount.clone(),
            ..rbac::Binding::default()
        }
        .generate();
        let prefix = Some("failed to create clusterrolebinding:");
        create(context, &self.flags, &resource::CLUSTER_ROLE_BINDINGS, generated, prefix).await
    }
}
