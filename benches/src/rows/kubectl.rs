//! The time of one command, from start to exit.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    load::{Face, create_pods},
    start::millis,
};
use crate::{
    objects,
    report::{Bound, Report},
    world::{Lab, World},
};

/// Runs of a program: enough for one without disturbance.
const RUNS: usize = 20;

pub(super) async fn run(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("`get pods` of 100 pods, the whole process");
    let world = World::with_api(lab).await?;
    let pod = |index| objects::pod(&format!("web-{index:05}"));
    create_pods(&world, Face::Rest, 4, 100, std::time::Duration::from_secs(30), &pod).await?;
    let ours = lab.programs.join("kubectl-mini");
    measure(lab, report, &world, "kubectl-mini", &ours, Bound::AtMost(12.0))?;
    match real_kubectl() {
        Some(real) => measure(lab, report, &world, "the real kubectl", &real, Bound::None)?,
        None => report.note("no kubectl on PATH or in KUBECTL to compare with"),
    }
    Ok(())
}

fn real_kubectl() -> Option<PathBuf> {
    if let Some(chosen) = std::env::var_os("KUBECTL") {
        return Some(chosen.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|file| file.is_file())
}

fn measure(
    lab: &Lab,
    report: &mut Report,
    world: &World,
    name: &str,
    program: &Path,
    bound: Bound,
) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begun = lab.clock.monotonic();
        let output = Command::new(program)
            .arg("--kubeconfig")
            .arg(&world.kubeconfig)
            .args(["get", "pods"])
            // Where kubectl keeps its cache of discovery.
            .env("HOME", world.kubeconfig.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .output()?;
        times.push(millis(lab.clock.monotonic().saturating_sub(begun)));
        let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
        if !output.status.success() || lines != 101 {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            report.note(&format!("{name} gives no list of 100 pods: {}", error.trim()));
            return Ok(());
        }
    }
    times.sort_by(f64::total_cmp);
    report.row(&format!("{name}, best of {RUNS}"), times[0], "ms", bound);
    report.row(&format!("{name}, median"), times[RUNS / 2], "ms", Bound::None);
    Ok(())
}
