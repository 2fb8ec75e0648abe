//! How long people wait for `trace` and `doctor`, in a cluster of 1,000 Services.

use std::{fmt::Write as _, fs, process::Output, time::Duration};

use super::{idle::Cluster, start::millis};
use crate::{
    report::{Bound, Report},
    world::Lab,
};

const SERVICES: usize = 1000;
/// Runs of a command: enough for one without disturbance.
const RUNS: usize = 20;
/// For the cluster to have everything.
const PATIENCE: Duration = Duration::from_secs(300);

const APP: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: nginx, image: nginx}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: shell, image: busybox, command: [sleep, infinity]}]}
";

pub(super) async fn run(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("`trace` and `doctor` in a cluster of 1,000 Services, the whole process");
    let mut cluster = Cluster::new(lab)?;
    cluster.up(lab)?;
    let mut manifest = APP.to_owned();
    for index in 0..SERVICES {
        write!(
            manifest,
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: web-{index}}}, spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}}}\n"
        )?;
    }
    let file = cluster.folder().join("services.yaml");
    fs::write(&file, manifest)?;
    let applied = cluster.kubectl().arg("apply").arg("-f").arg(&file).output()?;
    anyhow::ensure!(applied.status.success(), "{}", text(&applied));

    let last = format!("http://web-{}", SERVICES - 1);
    let give_up = lab.clock.monotonic() + PATIENCE;
    let ready =
        |output: &Output| output.status.success() && text(output).matches("33 %").count() == 3;
    loop {
        let traced = cluster.kubectl().args(["trace", "client", &last]).output()?;
        if ready(&traced) {
            break;
        }
        anyhow::ensure!(lab.clock.monotonic() < give_up, "{}", text(&traced));
        lab.clock.sleep(Duration::from_millis(200)).await;
    }
    let rows = [
        ("trace", vec!["trace", "client", &last], 50.0),
        ("doctor -A, nothing found", vec!["doctor", "-A"], 2000.0),
    ];
    for (name, words, most) in rows {
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let begun = lab.clock.monotonic();
            let output = cluster.kubectl().args(&words).output()?;
            times.push(millis(lab.clock.monotonic().saturating_sub(begun)));
            anyhow::ensure!(output.status.success(), "{}", text(&output));
        }
        times.sort_by(f64::total_cmp);
        report.row(&format!("{name}, best of {RUNS}"), times[0], "ms", Bound::AtMost(most));
        report.row(&format!("{name}, median"), times[RUNS / 2], "ms", Bound::None);
    }
    Ok(())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}
