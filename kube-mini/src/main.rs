//! `kube-mini`: starts, shows and removes clusters.

use std::process::ExitCode;

use clap::Parser;
use kube_mini::{commands::Command, paths::Environment};

/// A Kubernetes cluster that fits in one hand: starts in about a second, needs no root and no Docker.
#[derive(Parser)]
#[command(name = "kube-mini", version, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let path = |name: &str| std::env::var_os(name).map(Into::into);
    let environment = Environment {
        state_home: path("XDG_STATE_HOME"),
        runtime_dir: path("XDG_RUNTIME_DIR"),
        home: path("HOME"),
        kubeconfig: std::env::var_os("KUBECONFIG"),
        uid: rustix::process::getuid().as_raw(),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(args.command.run(&environment)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            kube_mini::output::error(&format!("{e:#}"));
            ExitCode::FAILURE
        }
    }
}
