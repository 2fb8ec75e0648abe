//! `create poddisruptionbudget`.

use apimachinery::resource;

use super::common::{CreateFlags, create, one_name};
use crate::{
    cli::Command, context::Context, errors::CommandError,
    generate::disruption_budget::DisruptionBudget as Generator,
};

/// Creates a pod disruption budget.
#[derive(clap::Args, Clone, Debug)]
pub struct DisruptionBudget {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// How many of the pods, or which part of them, may be unavailable at a time.
    #[arg(long, default_value = "")]
    pub max_unavailable: String,
    /// How many of the pods, or which part of them, must be available.
    #[arg(long, default_value = "")]
    pub min_available: String,
    /// Which pods. Only equality-based selector requirements are supported.
    #[arg(long, default_value = "")]
    pub selector: String,
}

impl Command for DisruptionBudget {
    const NAME: &'static str = "poddisruptionbudget";
    const ABOUT: &'static str = "Create a pod disruption budget with the specified name";
    const USAGE: &'static str = "poddisruptionbudget NAME --selector=SELECTOR --min-available=N [--dry-run=server|client|none]";
    const EXAMPLES: &'static str =
        "# At least one of the pods with the label app=rails shall be there at any time
kubectl-mini create poddisruptionbudget my-pdb --selector=app=rails --min-available=1

# At least half of the pods with the label app=nginx
kubectl-mini create pdb my-pdb --selector=app=nginx --min-available=50%";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create poddisruptionbudget", &self.arguments)?;
        let generated = Generator {
            name: name.to_owned(),
            selector: self.selector.clone(),
            min_available: self.min_available.clone(),
            max_unavailable: self.max_unavailable.clone(),
        }
        .generate();
        let prefix = Some("failed to create poddisruptionbudgets:");
        create(context, &self.flags, &resource::POD_DISRUPTION_BUDGETS, generated, prefix).await
    }
}
