//! Kubelets: many nodes with many pods in one process, and how soon pods of many small Deployments are Ready.

use std::{cell::Cell, time::Duration};

use super::load::rest;
use crate::{
    http::Http,
    objects,
    report::{Bound, Report},
    world::{Lab, World, cpu_time},
};

const NODES: usize = 1_000;
const PODS: usize = 20_000;
const DEPLOYMENTS: usize = 600;
/// 110 pods each.
const SMALL: usize = 6;
const KUBELET: &str = "kubelet-sim";
/// What still goes on just after the pods are Running.
const SETTLE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(600);

pub(super) async fn many(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("1,000 nodes with 20,000 pods in one kubelet-sim");
    let mut world = World::with_nodes(lab, NODES).await?;
    world.start_controllers()?;
    let begun = lab.clock.monotonic();
    world.start_kubelet()?;
    let took = await_count(&world, "/api/v1/nodes", "\"podCIDR\":", NODES).await?;
    report.row("nodes registered, with their ranges", seconds(took, begun), "s", Bound::None);
    lab.clock.sleep(Duration::from_secs(5)).await;
    report.row("memory without pods (PSS)", world.pss(KUBELET)?, "MiB", Bound::None);

    let pod = |index| objects::bound_pod(&format!("web-{index:05}"), &node_name(index % NODES));
    let path = "/api/v1/pods?watch=true&fieldSelector=status.phase%3DRunning";
    let mut running = world.http().await?.watch(path).await?;
    let begun = lab.clock.monotonic();
    let next = Cell::new(0);
    let creating = rest(&world, 8, async |_, http| {
        let index = next.get();
        if index == PODS {
            return Ok(false);
        }
        next.set(index + 1);
        post(&world, http, objects::PODS, &pod(index)).await?;
        Ok(true)
    });
    let following = async {
        let mut seen = 0;
        while seen < PODS {
            let text = lab.clock.timeout(PATIENCE, running.next()).await;
            let text = text.map_err(|_| anyhow::anyhow!("{seen} of {PODS} pods run"))??;
            let added = |line: &&[u8]| line.starts_with(b"{\"type\":\"ADDED\"");
            seen += text.split(|byte| *byte == b'\n').filter(added).count();
        }
        anyhow::Ok(lab.clock.monotonic())
    };
    let (_, ended) = futures::try_join!(creating, following)?;
    report.row(
        "from the first request to the last pod Running",
        seconds(ended, begun),
        "s",
        Bound::None,
    );

    lab.clock.sleep(SETTLE).await;
    let pid = world.pid(KUBELET)?;
    let before = cpu_time(pid)?;
    lab.clock.sleep(lab.idle).await;
    let used = cpu_time(pid)?.saturating_sub(before).as_secs_f64() / lab.idle.as_secs_f64();
    report.row("idle: memory (PSS)", world.pss(KUBELET)?, "MiB", Bound::AtMost(1024.0));
    report.row("idle: CPU", used * 100.0, "% of one", Bound::AtMost(3.0));
    Ok(())
}

pub(super) async fn deployments(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("600 Deployments of one replica on six nodes");
    let mut rounds = Vec::new();
    for _ in 0..lab.rounds {
        let mut world = World::with_nodes(lab, SMALL).await?;
        world.start_controllers()?;
        world.start_scheduler()?;
        world.start_kubelet()?;
        await_count(&world, "/api/v1/nodes", "\"podCIDR\":", SMALL).await?;
        lab.clock.sleep(Duration::from_secs(1)).await;
        let next = Cell::new(0);
        let begun = lab.clock.monotonic();
        let path = "/apis/apps/v1/namespaces/default/deployments";
        rest(&world, 8, async |_, http| {
            let index = next.get();
            if index == DEPLOYMENTS {
                return Ok(false);
            }
            next.set(index + 1);
            post(&world, http, path, &objects::deployment(&format!("web-{index:03}"), 1)).await?;
            Ok(true)
        })
        .await?;
        let ended = await_count(&world, path, "\"readyReplicas\":1", DEPLOYMENTS).await?;
        rounds.push(seconds(ended, begun));
    }
    report.best("from the first request to the last one Ready", &rounds, "s", Bound::AtMost(5.0));
    Ok(())
}

/// Creates an object, however often the server asks to wait: the kubelets are busy with it, too.
async fn post(world: &World, http: &mut Http, path: &str, body: &[u8]) -> anyhow::Result<()> {
    loop {
        let response = http.post(path, body).await?;
        match response.code {
            201 => return Ok(()),
            429 => world.clock.sleep(Duration::from_millis(100)).await,
            _ => anyhow::bail!("{}", response.text()),
        }
    }
}

fn node_name(index: usize) -> String {
    format!("node-{}", index + 1)
}

fn seconds(end: Duration, begin: Duration) -> f64 {
    end.saturating_sub(begin).as_secs_f64()
}

/// Waits until a list shows a text so often; gives when it did.
async fn await_count(
    world: &World,
    path: &str,
    text: &str,
    count: usize,
) -> anyhow::Result<Duration> {
    let mut http = world.http().await?;
    let deadline = world.clock.monotonic() + PATIENCE;
    loop {
        let list = http.get(path).await?;
        let found = std::str::from_utf8(&list.body)?.matches(text).count();
        let now = world.clock.monotonic();
        if found == count {
            return Ok(now);
        }
        anyhow::ensure!(now < deadline, "{found} of {count}: {text} in {path}");
        world.clock.sleep(Duration::from_millis(50)).await;
    }
}
