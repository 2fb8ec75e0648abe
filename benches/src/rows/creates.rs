//! Durable pod creates.

use std::time::Duration;

use super::{
    context::fdatasync_rate,
    load::{Face, create_pods},
};
use crate::{
    objects,
    report::{Bound, Report},
    world::{Lab, World},
};

const TIME: Duration = Duration::from_secs(3);

pub(super) async fn run(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("Pod creates, each durable before its answer");
    report.note(&format!("the pod's manifest is {} bytes", objects::pod("web-12345").len()));
    for (face, name) in [(Face::Rest, "REST"), (Face::Grpc, "gRPC")] {
        for (clients, bound) in [(1, 1_500.0), (16, 8_000.0), (64, 10_000.0)] {
            let mut rounds = Vec::new();
            for _ in 0..lab.rounds {
                let world = World::with_api(lab).await?;
                let pod = |index| objects::pod(&format!("web-{index:05}"));
                rounds.push(create_pods(&world, face, clients, usize::MAX, TIME, &pod).await?);
            }
            let what = format!("pod creates, {name} over TLS, {clients} clients");
            report.best(&what, &rounds, "per s", Bound::AtLeast(bound));
        }
    }
    report.row("fdatasync after these", fdatasync_rate(lab)?, "per s", Bound::None);
    Ok(())
}
