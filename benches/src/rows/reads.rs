//! One pod again and again, and all pods at once.

use std::{cell::Cell, time::Duration};

use super::{
    load::{rest, store_large_pods},
    start::millis,
};
use crate::{
    objects,
    report::{Bound, Report},
    world::{Lab, World},
};

const TIME: Duration = Duration::from_secs(3);

pub(super) async fn run(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("Reads over REST and TLS");
    let world = World::with_api(lab).await?;
    let response = world.http().await?.post(objects::PODS, &objects::pod("web")).await?;
    anyhow::ensure!(response.code == 201, "{}", response.text());
    let path = format!("{}/web", objects::PODS);
    let mut rounds = Vec::new();
    for _ in 0..lab.rounds {
        let count = Cell::new(0_u32);
        let end = lab.clock.monotonic() + TIME;
        let took = rest(&world, 64, async |_, http| {
            let response = http.get(&path).await?;
            anyhow::ensure!(response.code == 200, "{}", response.text());
            count.set(count.get() + 1);
            Ok(lab.clock.monotonic() < end)
        })
        .await?;
        rounds.push(f64::from(count.get()) / took.as_secs_f64());
    }
    report.best(
        "GET of one pod, 64 keep-alive clients",
        &rounds,
        "per s",
        Bound::AtLeast(30_000.0),
    );

    store_large_pods(&world, 10_000).await?;
    let mut http = world.http().await?;
    let mut rounds = Vec::new();
    let mut length = 0;
    for _ in 0..lab.rounds.max(5) {
        let begun = lab.clock.monotonic();
        length = http.get_length("/api/v1/pods").await?;
        rounds.push(millis(lab.clock.monotonic().saturating_sub(begun)));
    }
    let what = format!("LIST of 10,000 pods, {:.1} MB of JSON", length as f64 / 1e6);
    report.best(&what, &rounds, "ms", Bound::AtMost(50.0));
    Ok(())
}
