//! `kube-mini down`: ends a cluster's processes; the state stays.

use super::{ClusterArgs, not_running};
use crate::{
    output::note,
    paths::Environment,
    supervisor::control::{Request, ask},
};

pub(super) async fn run(args: &ClusterArgs, environment: &Environment) -> anyhow::Result<()> {
    let (paths, config) = args.existing(environment)?;
    match ask(&paths.control_socket(), Request::Stop).await {
        Ok(_) => note(&format!(
            "Cluster {:?} is stopped; `kube-mini up{}` brings it back.",
            config.name,
            args.flag()
        )),
        Err(e) if not_running(&e) => note(&format!("Cluster {:?} is not running.", config.name)),
        Err(e) => return Err(e.into()),
    }
    Ok(())
}
