//! What nodes do for ever: renew their leases.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::load::rest;
use crate::{
    report::{Bound, Report},
    world::{Lab, World},
};

const UPDATES: usize = 100_000;
const LEASES: usize = 64;
const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

pub(super) async fn run(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("100,000 updates of leases, then idle");
    let world = World::with_api(lab).await?;
    let versions = RefCell::new(vec![String::new(); LEASES]);
    // Connections and their buffers are there before and after.
    rest(&world, LEASES, async |client, http| {
        let response = http.post(PATH, lease(client, 0, "").to_string().as_bytes()).await?;
        anyhow::ensure!(response.code == 201, "{}", response.text());
        versions.borrow_mut()[client] = version(&response.body)?;
        Ok(false)
    })
    .await?;
    let next = Cell::new(0);
    let update = async |client: usize, http: &mut crate::http::Http| {
        let index = next.get();
        if index == UPDATES {
            return Ok(false);
        }
        next.set(index + 1);
        let body = lease(client, index, &versions.borrow()[client]).to_string();
        let response = http.put(&format!("{PATH}/node-{client}"), body.as_bytes()).await?;
        anyhow::ensure!(response.code == 200, "{}", response.text());
        versions.borrow_mut()[client] = version(&response.body)?;
        Ok(true)
    };
    lab.clock.sleep(Duration::from_secs(1)).await;
    let before = world.pss("kube-apiserver")?;
    let took = rest(&world, LEASES, update).await?;
    report.row("updates", UPDATES as f64 / took.as_secs_f64(), "per s", Bound::None);
    lab.clock.sleep(Duration::from_secs(10)).await;
    let growth = world.pss("kube-apiserver")? - before;
    report.row("store on disk", world.store_size()?, "MiB", Bound::AtMost(64.0));
    report.row("more memory (PSS)", growth, "MiB", Bound::AtMost(10.0));
    Ok(())
}

fn lease(client: usize, index: usize, version: &str) -> Value {
    let name = format!("node-{client}");
    let micros = index % 1_000_000;
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease", "resourceVersion": version},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": 40,
            "renewTime": format!("2026-01-01T00:00:00.{micros:06}Z"),
        },
    })
}

fn version(lease: &[u8]) -> anyhow::Result<String> {
    let lease: Value = serde_json::from_slice(lease)?;
    Ok(lease["metadata"]["resourceVersion"].as_str().context("no resourceVersion")?.to_owned())
}
