//! Measures the sizes that the project holds, with the real programs: `kube-mini-bench --programs target/release [ROW]...`
//!
//! | module | gives |
//! |---|---|
//! | [`world`] | a cluster's processes below a temporary directory, their memory and CPU |
//! | [`http`] | HTTP/1.1 over TLS as a load generator wants it: little work per request |
//! | [`objects`] | the pods and nodes |
//! | [`report`] | rows of measured value, bound and verdict |
//! | [`rows`] | one file per group of figures, and the table of them |
//!
//! The generator is one thread, because it shares the machine with what it measures. All figures of a run are of one
//! machine at one time; ratios between runs mean little on machines that others use too, so the best of several
//! rounds is taken and all rounds are shown.
#![allow(clippy::print_stdout, reason = "a program whose output is its purpose")]

mod http;
mod objects;
mod report;
mod rows;
mod world;

use std::path::PathBuf;

use clap::Parser;
use component_base::clock::Clock;

use crate::{report::Report, world::Lab};

/// Measures kube-mini's sizes.
#[derive(Parser)]
#[command(name = "kube-mini-bench")]
struct Args {
    /// Folder of the programs to measure.
    #[arg(long, default_value = "target/release")]
    programs: PathBuf,
    /// Folder for the stores; it should lie on a real disk.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Rounds of each figure; the best counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds for which an idle cluster is watched.
    #[arg(long, default_value_t = 60)]
    idle_seconds: u64,
    /// Which rows to measure; all, if none is named.
    rows: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    component_base::files::raise_descriptor_limit()?;
    std::fs::create_dir_all(&args.dir)?;
    let lab = Lab {
        clock: Clock::real(),
        programs: std::path::absolute(&args.programs)?,
        dir: std::path::absolute(&args.dir)?,
        rounds: args.rounds.max(1),
        idle: std::time::Duration::from_secs(args.idle_seconds),
    };
    for name in &args.rows {
        let known = rows::NAMES.contains(&name.as_str());
        anyhow::ensure!(known, "no row {name:?}: there are {}", rows::NAMES.join(", "));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut report = Report::default();
        for name in rows::NAMES {
            if args.rows.is_empty() || args.rows.iter().any(|row| row == name) {
                rows::run(name, &lab, &mut report).await?;
            }
        }
        report.finish();
        Ok(())
    })
}
