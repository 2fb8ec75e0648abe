//! `kube-mini kubeconfig`: the administrator's kubeconfig.

use super::ClusterArgs;
use crate::{output::line, paths::Environment};

pub(super) fn run(args: &ClusterArgs, environment: &Environment) -> anyhow::Result<()> {
    let (paths, _) = args.existing(environment)?;
    let text = std::fs::read_to_string(paths.state("kubeconfig"))?;
    line(text.trim_end());
    Ok(())
}
