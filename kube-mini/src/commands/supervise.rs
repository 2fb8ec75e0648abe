//! `kube-mini supervise`: the process behind a running cluster.

use std::io::{Seek, SeekFrom, Write};

use anyhow::Context as _;
use component_base::{clock::Clock, logs, shutdown::Shutdown};

use super::ClusterArgs;
use crate::{
    components::{self, Assembly},
    config::ClusterConfig,
    host::{self, AddressSlice},
    paths::Environment,
    supervisor,
};

pub(super) async fn run(args: &ClusterArgs, environment: &Environment) -> anyhow::Result<()> {
    logs::init("kube-mini", 0)?;
    let (paths, config) = args.existing(environment)?;
    let lock_path = paths.state("lock");
    let Some(mut lock) = host::try_lock(&lock_path)? else {
        anyhow::bail!("another supervisor holds {}", lock_path.display());
    };
    lock.set_len(0)?;
    lock.seek(SeekFrom::Start(0))?;
    writeln!(lock, "{}", std::process::id())?;
    // A process of its own session: the terminal that started the cluster may close.
    if let Err(e) = rustix::process::setsid() {
        tracing::debug!(error = %e, "is the leader of its group already");
    }
    let slice = AddressSlice::acquire(&host::lock_dir(), config.address_slice)?;
    if slice.index() != config.address_slice {
        let config = ClusterConfig { address_slice: slice.index(), ..config.clone() };
        config.save(&paths.state("cluster.yaml"))?;
    }
    let programs = components::programs_dir()?;
    let specs = components::table(&Assembly {
        programs: &programs,
        paths: &paths,
        config: &config,
        external_network: slice.address(0),
        loopback_lock: Some(host::lock_dir().join("loopback")),
        allow_egress: true,
    });
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    supervisor::run(specs, paths.control_socket(), Clock::real(), shutdown)
        .await
        .context("supervise the cluster")?;
    drop(slice);
    drop(lock);
    Ok(())
}
