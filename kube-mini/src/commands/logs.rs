//! `kube-mini logs COMPONENT`: what a component wrote.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use component_base::clock::Clock;

use super::ClusterArgs;
use crate::paths::Environment;

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Which log.
#[derive(Args)]
pub struct LogsArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The component, as `kube-mini status` lists it.
    component: String,
    /// Go on as the component writes.
    #[arg(short, long)]
    follow: bool,
}

pub(super) async fn run(args: &LogsArgs, environment: &Environment) -> anyhow::Result<()> {
    let (paths, _) = args.cluster.existing(environment)?;
    let mut known: Vec<String> = fs::read_dir(paths.state("logs"))?
        .filter_map(Result::ok)
        .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".log")?.to_owned()))
        .collect();
    known.sort();
    anyhow::ensure!(
        known.contains(&args.component),
        "there is no component {:?}; there are: {}",
        args.component,
        known.join(", ")
    );
    let path = paths.log(&args.component);
    let mut file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
    let clock = Clock::real();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        file.read_to_end(&mut buffer)?;
        match io::stdout().write_all(&buffer).and_then(|()| io::stdout().flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            result => result?,
        }
        if !args.follow {
            return Ok(());
        }
        clock.sleep(LOOK).await;
    }
}
