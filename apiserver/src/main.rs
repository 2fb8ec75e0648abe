//! `kube-apiserver`: serves the Kubernetes API.

mod args;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use apiserver::Server;
use clap::Parser;
use component_base::{files, logs, shutdown::Shutdown};

use self::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = run(args) {
        tracing::error!("{error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(args: Args) -> anyhow::Result<()> {
    logs::init("kube-apiserver", args.verbosity)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build()?.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    args.lifeline_fd.map(|fd| shutdown.follow_lifeline(fd)).transpose().context("lifeline")?;
    let address_file = args.address_file.clone();
    let server = Server::bind(args.config()?).await?;
    if let (Some(file), Some(address)) = (address_file, server.local_addr()) {
        files::write_atomic(&file, address.to_string().as_bytes(), 0o600)
            .context("address file")?;
    }
    server.run(shutdown.clone()).await?;
    shutdown.cancel();
    Ok(shutdown.wait(Duration::from_secs(5)).await?)
}
