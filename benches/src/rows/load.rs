//! Loads of several clients.

use std::{cell::Cell, time::Duration};

use apimachinery::resource;
use futures::future::try_join_all;

use crate::{objects, world::World};

/// The way that requests take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Face {
    Rest,
    Grpc,
}

/// Runs `clients` REST clients, each with its number and its connection: `each` makes one request after the other,
/// until it says that there are no more. Gives the time from the first request to the last answer, connecting excluded.
pub(crate) async fn rest<F>(world: &World, clients: usize, each: F) -> anyhow::Result<Duration>
where
    F: AsyncFn(usize, &mut crate::http::Http) -> anyhow::Result<bool>,
{
    let mut connections = try_join_all((0..clients).map(|_| world.http())).await?;
    let begun = world.clock.monotonic();
    let each = &each;
    try_join_all(connections.iter_mut().enumerate().map(async |(client, http)| {
        while each(client, http).await? {}
        anyhow::Ok(())
    }))
    .await?;
    Ok(world.clock.monotonic().saturating_sub(begun))
}

/// What was created, and how fast.
pub(crate) struct Created {
    pub(crate) count: usize,
    /// Per second.
    pub(crate) rate: f64,
}

/// Creates the pods that `pod` makes of 0, 1, …, until there are `count` or the time is up.
pub(crate) async fn create_pods(
    world: &World,
    face: Face,
    clients: usize,
    count: usize,
    time: Duration,
    pod: &dyn Fn(usize) -> Vec<u8>,
) -> anyhow::Result<Created> {
    let next = Cell::new(0);
    let deadline = world.clock.monotonic() + time;
    let take = || {
        let index = next.get();
        let go = index < count && world.clock.monotonic() < deadline;
        go.then(|| {
            next.set(index + 1);
            pod(index)
        })
    };
    let took = match face {
        Face::Rest => {
            rest(world, clients, async |_, http| {
                let Some(body) = take() else { return Ok(false) };
                let response = http.post(objects::PODS, &body).await?;
                anyhow::ensure!(response.code == 201, "{}", response.text());
                Ok(true)
            })
            .await?
        }
        Face::Grpc => {
            let connections: Vec<_> =
                (0..clients).map(|_| world.client()).collect::<Result<_, _>>()?;
            for client in &connections {
                client.resource(&resource::NAMESPACES).get("default").await?;
            }
            let begun = world.clock.monotonic();
            try_join_all(connections.iter().map(async |client| {
                let pods = client.resource(&resource::PODS).namespace("default");
                while let Some(body) = take() {
                    pods.create("", body.into()).await?;
                }
                anyhow::Ok(())
            }))
            .await?;
            world.clock.monotonic().saturating_sub(begun)
        }
    };
    Ok(Created { count: next.get(), rate: next.get() as f64 / took.as_secs_f64() })
}

/// Stores pods of 2.1 KB as fast as it goes.
pub(crate) async fn store_large_pods(world: &World, count: usize) -> anyhow::Result<()> {
    let pod = |index| objects::large_pod(&format!("pod-{index:05}"));
    create_pods(world, Face::Rest, 32, count, Duration::from_secs(120), &pod).await?;
    Ok(())
}
