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
const MANY_NODES: usize = 5_000;
const PODS: usize = 5_000;
const CONSTRAINED: usize = 2_000;
const REPLICAS: u32 = 1_000;

/// Pods that are stored before the scheduler starts.
struct Case {
    title: &'static str,
    nodes: usize,
    pods: usize,
    pod: fn(usize) -> Vec<u8>,
    /// Bindings per second, from the first to the last, and with the scheduler's start.
    bounds: (f64, Option<f64>),
}

/// Pods without constraints of their own.
pub(super) async fn pods(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let pod = |index| objects::pod(&format!("web-{index:05}"));
    for case in [
        Case {
            title: "5,000 pods on 1,000 nodes, API server and scheduler",
            nodes: NODES,
            pods: PODS,
            pod,
            bounds: (3_000.0, Some(2_000.0)),
        },
        Case {
            title: "5,000 pods on 5,000 nodes",
            nodes: MANY_NODES,
            pods: PODS,
            pod,
            bounds: (3_000.0, None),
        },
    ] {
        measure(lab, report, &case).await?;
    }
    Ok(())
}

/// Pods that mind each other.
pub(super) async fn constraints(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    for case in [
        Case {
            title: "2,000 pods on 1,000 nodes, no two of an application on one node (required anti-affinity)",
            nodes: NODES,
            pods: CONSTRAINED,
            pod: objects::shy_pod,
            bounds: (500.0, None),
        },
        Case {
            title: "2,000 pods on 1,000 nodes in ten zones, evenly over both (DoNotSchedule)",
            nodes: NODES,
            pods: CONSTRAINED,
            pod: objects::spread_pod,
            bounds: (500.0, None),
        },
    ] {
        measure(lab, report, &case).await?;
    }
    Ok(())
}

async fn measure(lab: &Lab, report: &mut Report, case: &Case) -> anyhow::Result<()> {
    report.section(case.title);
    let (mut rates, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..lab.rounds {
        let mut world = World::with_api(lab).await?;
        create_nodes(&world, case.nodes).await?;
        create_pods(&world, Face::Rest, 32, case.pods, Duration::from_secs(60), &case.pod).await?;
        let mut lines = watch_bindings(&world).await?;
        let begun = lab.clock.monotonic();
        world.start_scheduler()?;
        let (first, last) = await_bound(lab, &mut lines, case.pods).await?;
        rates.push((case.pods - 1) as f64 / last.saturating_sub(first).as_secs_f64());
        whole.push(case.pods as f64 / last.saturating_sub(begun).as_secs_f64());
    }
    let (rate, with_start) = case.bounds;
    let what = "pods bound, from the first binding to the last";
    report.best(what, &rates, "per s", Bound::AtLeast(rate));
    if let Some(with_start) = with_start {
        let what = "pods bound, the scheduler's start included";
        report.best(what, &whole, "per s", Bound::AtLeast(with_start));
    }
    Ok(())
}

pub(super) async fn deployment(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("A Deployment of 1,000 replicas on 1,000 nodes, all of the control plane");
    let mut rounds = Vec::new();
    for _ in 0..lab.rounds {
        let mut world = World::with_api(lab).await?;
        create_nodes(&world, NODES).await?;
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

async fn create_nodes(world: &World, count: usize) -> anyhow::Result<()> {
    let next = Cell::new(0);
    rest(world, 16, async |_, http| {
        let index = next.get();
        if index == count {
            return Ok(false);
        }
        next.set(index + 1);
        let node = objects::node(&format!("node-{index:04}"), &format!("zone-{}", index % 10));
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
