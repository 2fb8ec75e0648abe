//! `kubectl create`: from files, and by subcommands from flags.

pub mod common;
pub mod config_map;
pub mod deployment;
pub mod disruption_budget;
pub mod ingress;
pub mod rbac;
pub mod secret;
pub mod service;
pub mod simple;
pub mod token;

use client::FieldValidation;

use crate::{
    changing::{
        DryRun, DryRunFlag, LAST_APPLIED, Place, Reporter, ValidateFlag, Writer,
        annotate_last_applied, with_source,
    },
    cli::{Command, Spec, group, leaf},
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::{FileFlags, Selection, Target},
};

/// The subcommands.
pub static SUBCOMMANDS: &[Spec] = &[
    leaf::<rbac::ClusterRole>(),
    leaf::<rbac::ClusterRoleBinding>(),
    leaf::<config_map::ConfigMap>().alias(&["cm"]),
    leaf::<deployment::Deployment>().alias(&["deploy"]),
    leaf::<ingress::Ingress>().alias(&["ing"]),
    leaf::<simple::Namespace>().alias(&["ns"]),
    leaf::<disruption_budget::DisruptionBudget>().alias(&["pdb"]),
    leaf::<simple::PriorityClass>().alias(&["pc"]),
    leaf::<rbac::Role>(),
    leaf::<rbac::RoleBinding>(),
    group(
        "secret",
        "Create a secret using a specified subcommand",
        "secret (docker-registry | generic | tls)",
        &[leaf::<secret::DockerRegistry>(), leaf::<secret::Generic>(), leaf::<secret::Tls>()],
    ),
    group(
        "service",
        "Create a service using a specified subcommand",
        "service",
        &[
            leaf::<service::ClusterIp>(),
            leaf::<service::ExternalName>(),
            leaf::<service::LoadBalancer>(),
            leaf::<service::NodePort>(),
        ],
    )
    .alias(&["svc"]),
    leaf::<simple::ServiceAccount>().alias(&["sa"]),
    leaf::<token::Token>(),
];

/// Creates objects that files describe.
#[derive(clap::Args, Clone, Debug)]
pub struct Create {
    /// None.
    pub arguments: Vec<String>,
    /// Which files.
    #[command(flatten)]
    pub files: FileFlags,
    /// How far to go.
    #[command(flatten)]
    pub dry_run: DryRunFlag,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// What becomes of unknown fields.
    #[command(flatten)]
    pub validate: ValidateFlag,
    /// Name of the manager used to track field ownership.
    #[arg(long, default_value = "kubectl-create")]
    pub field_manager: String,
    /// If true, the configuration of current object will be saved in its annotation.
    #[arg(long)]
    pub save_config: bool,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
}

impl Command for Create {
    const NAME: &'static str = "create";
    const ABOUT: &'static str = "Create a resource from a file or from stdin";
    const USAGE: &'static str = "create -f FILENAME";
    const HELP: &'static str = "Create a resource from a file or from stdin.

 JSON and YAML formats are accepted.";
    const EXAMPLES: &'static str = "# Create a pod using the data in pod.json
kubectl-mini create -f ./pod.json

# Create a pod based on the JSON passed into stdin
cat pod.json | kubectl-mini create -f -";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if self.files.is_empty() && self.arguments.is_empty() {
            return Err(CommandError::message("must specify one of -f and -k"));
        }
        if !self.arguments.is_empty() {
            let message = format!("Unexpected args: [{}]", self.arguments.join(" "));
            return Err(CommandError::usage(Self::NAME, message));
        }
        let dry_run = self.dry_run.get(context)?;
        let reporter = Reporter::new(&self.output, dry_run)?;
        let validation = self.validate.get()?;
        let selection = Selection {
            files: self.files.clone(),
            labels: self.selector.clone(),
            validated: validation != FieldValidation::Ignore,
            ..Selection::default()
        };
        let targets = selection.targets(context).await?;
        let writer = Writer::new(context, &self.field_manager, dry_run)?.validating(validation);
        let mut errors = targets.errors;
        let mut count = 0;
        for target in targets.targets {
            let created = self.create_one(context, &writer, &reporter, dry_run, target).await;
            match created {
                Ok(()) => count += 1,
                Err(error) => errors.push(error),
            }
        }
        if count == 0 && errors.is_empty() {
            return Err(CommandError::message("no objects passed to create"));
        }
        CommandError::gather(errors)
    }
}

impl Create {
    async fn create_one(
        &self,
        context: &Context,
        writer: &Writer<'_>,
        reporter: &Reporter,
        dry_run: DryRun,
        target: Target,
    ) -> Result<(), CommandError> {
        let Target::Named { info, namespace, name, manifest: Some((mut object, source)) } = target
        else {
            return Ok(());
        };
        if self.save_config || object.annotation(LAST_APPLIED).is_some() {
            annotate_last_applied(&mut object, false);
        }
        if dry_run != DryRun::Client {
            let place = Place::new(info, &namespace, &name);
            object = writer
                .create(place, &object)
                .await
                .map_err(|error| with_source(error, "creating", &source))?;
        }
        reporter.report(context, &object, "created")
    }
}
