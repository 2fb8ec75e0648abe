//! Many watchers while pods are created.

use std::{cell::RefCell, time::Duration};

use futures::future::{try_join, try_join_all};

use super::{load::rest, start::millis};
use crate::{
    http::Lines,
    objects,
    report::{Bound, Report},
    world::{Lab, World},
};

const WATCHERS: usize = 100;
const PODS: usize = 2_000;
const CLIENTS: usize = 16;

pub(super) async fn run(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("100 watchers while 16 clients create 2,000 pods, REST over TLS");
    let (mut rates, mut delays, mut creates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..lab.rounds {
        let round = round(lab).await?;
        rates.push(round.rate);
        delays.push(round.p99);
        creates.push(round.creates);
    }
    report.best("events delivered", &rates, "per s", Bound::AtLeast(200_000.0));
    report.best(
        "99th percentile of event after the write's answer",
        &delays,
        "ms",
        Bound::AtMost(50.0),
    );
    report.best("creates meanwhile", &creates, "per s", Bound::AtLeast(0.0));
    Ok(())
}

struct Round {
    rate: f64,
    p99: f64,
    creates: f64,
}

async fn round(lab: &Lab) -> anyhow::Result<Round> {
    let world = World::with_api(lab).await?;
    let path = "/api/v1/namespaces/default/pods?watch=true";
    let mut watches = Vec::new();
    for _ in 0..WATCHERS {
        watches.push(world.http().await?.watch(path).await?);
    }
    let answered = RefCell::new(vec![Duration::ZERO; PODS]);
    let next = std::cell::Cell::new(0);
    let creating = rest(&world, CLIENTS, async |_, http| {
        let index = next.get();
        if index == PODS {
            return Ok(false);
        }
        next.set(index + 1);
        let response = http.post(objects::PODS, &objects::pod(&name(index))).await?;
        anyhow::ensure!(response.code == 201, "{}", response.text());
        answered.borrow_mut()[index] = lab.clock.monotonic();
        Ok(true)
    });
    let begun = lab.clock.monotonic();
    let watching = try_join_all(watches.iter_mut().map(|lines| arrivals(lab, lines)));
    let (creating, arrived) = try_join(creating, watching).await?;
    let last = arrived.iter().flatten().max().copied().unwrap_or_default();
    let answered = answered.into_inner();
    let mut delays: Vec<Duration> = arrived
        .iter()
        .flat_map(|times| times.iter().zip(&answered).map(|(at, done)| at.saturating_sub(*done)))
        .collect();
    delays.sort_unstable();
    Ok(Round {
        rate: (WATCHERS * PODS) as f64 / last.saturating_sub(begun).as_secs_f64(),
        p99: millis(delays[delays.len() * 99 / 100]),
        creates: PODS as f64 / creating.as_secs_f64(),
    })
}

fn name(index: usize) -> String {
    format!("watched-{index:05}")
}

/// When each pod was told of.
async fn arrivals(lab: &Lab, lines: &mut Lines) -> anyhow::Result<Vec<Duration>> {
    let mut times = vec![Duration::ZERO; PODS];
    let mut seen = 0;
    while seen < PODS {
        let text = lines.next().await?;
        let now = lab.clock.monotonic();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            anyhow::ensure!(line.starts_with(b"{\"type\":\"ADDED\""), "not what was created");
            let line = std::str::from_utf8(line)?;
            let at = line.find("\"watched-").map(|at| at + 9);
            let index: usize = at.and_then(|at| line.get(at..at + 5)).unwrap_or("").parse()?;
            times[index] = now;
            seen += 1;
        }
    }
    Ok(times)
}
