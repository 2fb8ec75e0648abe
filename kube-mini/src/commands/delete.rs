//! `kube-mini delete`: ends a cluster and removes everything of it.

use std::{fs, io, path::Path, time::Duration};

use anyhow::Context as _;
use component_base::{clock::Clock, kubeconfig::update_file};

use super::{ClusterArgs, not_running};
use crate::{
    config::ClusterConfig,
    host,
    output::note,
    paths::Environment,
    supervisor::control::{Request, ask},
};

/// How long a supervisor may take to let go of its lock after it said that all is down.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

pub(super) async fn run(args: &ClusterArgs, environment: &Environment) -> anyhow::Result<()> {
    let paths = args.paths(environment)?;
    if !paths.exists() {
        note(&format!("There is no cluster {:?}.", args.name));
        return Ok(());
    }
    match ask(&paths.control_socket(), Request::Stop).await {
        Err(e) if !not_running(&e) => return Err(e.into()),
        _ => {}
    }
    let clock = Clock::real();
    let deadline = clock.monotonic() + PATIENCE;
    let lock = loop {
        if let Some(lock) = host::try_lock(&paths.state("lock"))? {
            break lock;
        }
        anyhow::ensure!(clock.monotonic() < deadline, "the cluster's supervisor does not end");
        clock.sleep(LOOK).await;
    };
    // A state of another version is removed as well; what its kubeconfig was is then not known.
    if let Ok(Some(config)) = ClusterConfig::load(&paths.state("cluster.yaml"))
        && config.kubeconfig.exists()
    {
        update_file(&config.kubeconfig, &clock, |file| file.remove(&config.name)).await?;
    }
    remove(&paths.run)?;
    remove(&paths.state)?;
    drop(lock);
    note(&format!("Cluster {:?} is deleted.", args.name));
    Ok(())
}

fn remove(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
