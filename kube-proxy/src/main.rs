//! `kube-proxy`: makes Services work on one node.

mod args;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use client::Client;
use component_base::{
    clock::Clock,
    kubeconfig::{self, Overrides},
    logs,
    shutdown::Shutdown,
    transport::Endpoint,
};
use kube_proxy::{Config, Server};

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
    logs::init("kube-proxy", args.verbosity)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build()?.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    args.lifeline_fd.map(|fd| shutdown.follow_lifeline(fd)).transpose().context("lifeline")?;
    let resolved = kubeconfig::load_file(&args.kubeconfig)?.resolve(&Overrides::default())?;
    let client = Client::new(&resolved.endpoint)?;
    let node = Endpoint::Unix { path: args.node_socket };
    let server = Server::bind(Config {
        cache_file: args.cache_file,
        health_socket: args.health_socket,
        ..Config::new(&args.node_name, &client, node, Clock::real())
    })?;
    server.run(shutdown.clone()).await;
    Ok(shutdown.wait(Duration::from_secs(5)).await?)
}
