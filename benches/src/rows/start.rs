//! How soon an API server answers, and what it holds in memory.

use std::time::Duration;

use super::load::store_large_pods;
use crate::{
    report::{Bound, Report},
    world::{Lab, World},
};

pub(super) async fn run(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("API server: start and memory");
    let mut rounds = Vec::new();
    let mut empty = Vec::new();
    for _ in 0..lab.rounds {
        let mut world = World::new(lab)?;
        rounds.push(millis(world.start_api().await?));
        lab.clock.sleep(Duration::from_secs(1)).await;
        empty.push(world.pss("kube-apiserver")?);
    }
    report.best("answering after process start, empty store", &rounds, "ms", Bound::AtMost(150.0));
    report.best("its memory (PSS)", &empty, "MiB", Bound::None);

    let mut world = World::with_api(lab).await?;
    store_large_pods(&world, 10_000).await?;
    lab.clock.sleep(Duration::from_secs(5)).await;
    let written = world.pss("kube-apiserver")?;
    report.row("10,000 pods stored: memory (PSS)", written, "MiB", Bound::AtMost(150.0));
    let mut rounds = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..lab.rounds {
        world.stop("kube-apiserver")?;
        rounds.push(millis(world.start_api().await?));
        lab.clock.sleep(Duration::from_secs(2)).await;
        memory.push(world.pss("kube-apiserver")?);
    }
    report.best("answering after process start, 10,000 pods", &rounds, "ms", Bound::AtMost(400.0));
    report.best("10,000 pods, after a restart: memory (PSS)", &memory, "MiB", Bound::AtMost(150.0));
    report.row("10,000 pods: store on disk", world.store_size()?, "MiB", Bound::None);
    Ok(())
}

pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
