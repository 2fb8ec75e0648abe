//! Scheduling, and a whole Deployment.

use std::{cell::Cell, time::Duration};

use super::load::{Face, create_pods, rest};
use crate::{
    http::Lines,
    objects,
    report::{Bound, Report},
    world::{Lab, World},
};

const NODES: usize = 1_000;
const PODS: usize = 5_000;
const REPLICAS: u32 = 1_000;

pub(super) async fn pods(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("5,000 pods on 1,000 nodes, API server and scheduler");
    let (mut rates, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..lab.rounds {
        let mut world = World::with_api(lab).await?;
        create_nodes(&world).await?;
        let pod = |index| objects::pod(&format!("web-{index:05}"));
        create_pods(&world, Face::Rest, 32, PODS, Duration::from_secs(60), &pod).await?;
        let mut lines = watch_bindings(&world).await?;
        let begun = lab.clock.monotonic();
        world.start_scheduler()?;
        let (first, last) = await_bound(lab, &mut lines, PODS).await?;
        rates.push((PODS - 1) as f64 / last.saturating_sub(first).as_secs_f64());
        whole.push(PODS as f64 / last.saturating_sub(begun).as_secs_f64());
    }
    report.best(
        "pods bound, from the first binding to the last",
        &rates,
        "per s",
        Bound::AtLeast(3_000.0),
    );
    report.best(
        "pods bound, the scheduler's start included",
        &whole,
        "per s",
        Bound::AtLeast(2_000.0),
    );
    Ok(())
}

pub(super) async fn deployment(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("A Deployment of 1,000 replicas on 1,000 nodes, all of the control plane");
    let mut rounds = Vec::new();
    for _ in 0..lab.rounds {
        let mut world = World::with_api(lab).await?;
        create_nodes(&world).await?;
        world.start_controllers()?;
        world.start_scheduler()?;
        await_pod_cidrs(&world).await?;
        lab.clock.sleep(Duration::from_secs(1)).await;
        let mut lines = watch_bindings(&world).await?;
        let mut http = world.http().await?;
        let begun = lab.clock.monotonic();
        let path = "/apis/apps/v1/namespaces/default/deployments";
        let response = http.post(path, &objects::deployment("web", REPLICAS)).await?;
        anyhow::ensure!(response.code == 201, "{}", response.text());
        let (_, last) = await_bound(lab, &mut lines, REPLICAS as usize).await?;
        rounds.push(last.saturating_sub(begun).as_secs_f64());
    }
    report.best("from the request to the last binding", &rounds, "s", Bound::AtMost(1.0));
    Ok(())
}

async fn create_nodes(world: &World) -> anyhow::Result<()> {
    let next = Cell::new(0);
    rest(world, 16, async |_, http| {
        let index = next.get();
        if index == NODES {
            return Ok(false);
        }
        next.set(index + 1);
        let node = objects::node(&format!("node-{index:04}"));
        let response = http.post("/api/v1/nodes", &node).await?;
        anyhow::ensure!(response.code == 201, "{}", response.text());
        let name = format!("/api/v1/nodes/node-{index:04}");
        let ready = response.body.windows(12).any(|window| window == b"KubeletReady");
        anyhow::ensure!(ready, "{name} lost its status");
        Ok(true)
    })
    .await?;
    Ok(())
}

/// Waits until the controllers have given every node its range of addresses.
async fn await_pod_cidrs(world: &World) -> anyhow::Result<()> {
    let mut http = world.http().await?;
    loop {
        let nodes = http.get("/api/v1/nodes").await?;
        let ready = std::str::from_utf8(&nodes.body)?.matches("\"podCIDR\":").count();
        if ready == NODES {
            return Ok(());
        }
        world.clock.sleep(Duration::from_millis(50)).await;
    }
}

async fn watch_bindings(world: &World) -> anyhow::Result<Lines> {
    let path = "/api/v1/pods?watch=true&fieldSelector=spec.nodeName!%3D";
    world.http().await?.watch(path).await
}

/// When the first and the last pod was bound.
async fn await_bound(
    lab: &Lab,
    lines: &mut Lines,
    count: usize,
) -> anyhow::Result<(Duration, Duration)> {
    let mut seen = 0;
    let mut first = None;
    let deadline = Duration::from_secs(120);
    while seen < count {
        let text = lab.clock.timeout(deadline, lines.next()).await;
        let text = text.map_err(|_| anyhow::anyhow!("{seen} of {count} pods were bound"))??;
        first.get_or_insert_with(|| lab.clock.monotonic());
        let added = |line: &&[u8]| line.starts_with(b"{\"type\":\"ADDED\"");
        seen += text.split(|byte| *byte == b'\n').filter(added).count();
    }
    let last = lab.clock.monotonic();
    Ok((first.unwrap_or(last), last))
}
