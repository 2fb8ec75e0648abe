//! `kubelet-sim`: runs the pods of simulated nodes.

mod args;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use component_base::{
    health::{self, Checks},
    logs,
    metrics::Registry,
    shutdown::Shutdown,
    transport::{self, Listener},
};
use kubelet_sim::Server;

use self::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = run(&args) {
        tracing::error!("{error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(args: &Args) -> anyhow::Result<()> {
    logs::init("kubelet-sim", args.verbosity)?;
    // A pod's connection to another node costs two descriptors.
    component_base::files::raise_descriptor_limit()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build()?.block_on(serve(args))
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let config = args.config()?;
    // Those who shut down in order do so on the first signal, and the process ends with them.
    let graceful = &config.graceful;
    let first = if graceful.periods.is_on() { &graceful.requested } else { shutdown.token() };
    Shutdown::on_signals_cancel(first)?;
    args.lifeline_fd.map(|fd| shutdown.follow_lifeline(fd)).transpose().context("lifeline")?;
    if let Some(path) = &args.health_socket {
        let listener = Listener::bind_unix(path).context("health socket")?;
        let router = health::router(&Checks::new(), Registry::new());
        shutdown.spawn("health", transport::serve(listener, router, shutdown.token().clone()));
    }
    Server::new(config)?.run(shutdown.clone()).await;
    Ok(shutdown.wait(Duration::from_secs(5)).await?)
}
