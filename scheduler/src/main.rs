//! `kube-scheduler`: finds pods their nodes.

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
use scheduler::{Config, Server, metrics::Metrics};

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
    logs::init("kube-scheduler", args.verbosity)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build()?.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    args.lifeline_fd.map(|fd| shutdown.follow_lifeline(fd)).transpose().context("lifeline")?;
    let resolved = kubeconfig::load_file(&args.kubeconfig)?.resolve(&Overrides::default())?;
    let client = Client::new(&resolved.endpoint)?.with_field_manager("kube-scheduler");
    let registry = Registry::new();
    let metrics = Metrics::new(&registry);
    if let Some(path) = &args.health_socket {
        let listener = Listener::bind_unix(path).context("health socket")?;
        let router = health::router(&Checks::new(), registry);
        shutdown.spawn("health", transport::serve(listener, router, shutdown.token().clone()));
    }
    let clock = Clock::real();
    let election = args.leader_election.election("kube-scheduler", &host::name(), &clock)?;
    let scheduler_name = args.scheduler_name;
    let mut server = Server::new(Config { client, clock, scheduler_name, metrics });
    if let Some(path) = args.endpoint_socket {
        server = server.with_endpoint(path);
    }
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
