//! `kube-controller-manager`: brings what is to what should be.

mod args;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use client::Client;
use component_base::{
    clock::Clock,
    health::{self, Checks},
    host,
    kubeconfig::{self, Overrides},
    logs,
    metrics::Registry,
    shutdown::Shutdown,
    transport::{self, Listener},
};
use controller_manager::{Config, Server};

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
    logs::init("kube-controller-manager", args.verbosity)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build()?.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    args.lifeline_fd.map(|fd| shutdown.follow_lifeline(fd)).transpose().context("lifeline")?;
    let resolved = kubeconfig::load_file(&args.kubeconfig)?.resolve(&Overrides::default())?;
    let client = Client::new(&resolved.endpoint)?.with_field_manager("kube-controller-manager");
    let registry = Registry::new();
    if let Some(path) = &args.health_socket {
        let listener = Listener::bind_unix(path).context("health socket")?;
        let router = health::router(&Checks::new(), registry);
        shutdown.spawn("health", transport::serve(listener, router, shutdown.token().clone()));
    }
    let clock = Clock::real();
    let election =
        args.leader_election.election("kube-controller-manager", &host::name(), &clock)?;
    let options = args.options()?;
    let server = Server::new(Config { client, clock, cluster_cidr: args.cluster_cidr })
        .with_options(options);
    match &election {
        None => server.run(shutdown.clone()).await,
        Some((election, _identity)) => {
            let led = server.run_elected(election, shutdown.clone()).await;
            shutdown.cancel();
            led?;
        }
    }
    Ok(shutdown.wait(Duration::from_secs(5)).await?)
}
