//! Durable pod creates.

use std::time::Duration;

use super::{
    context::fdatasync_rate,
    load::{Face, create_pods},
};
use crate::{
    objects,
    report::{Bound, Report},
    world::{Lab, World, cpu_time},
};

const TIME: Duration = Duration::from_secs(3);

pub(super) async fn run(lab: &Lab, report: &mut Report, face: Face) -> anyhow::Result<()> {
    let name = if face == Face::Rest { "REST" } else { "gRPC" };
    report.section(&format!("Pod creates over {name} and TLS, each durable before its answer"));
    report.note(&format!("the pod's manifest is {} bytes", objects::pod("web-12345").len()));
    for (clients, bound) in [(1, 1_500.0), (16, 8_000.0), (64, 10_000.0)] {
        let (mut rounds, mut costs) = (Vec::new(), Vec::new());
        for _ in 0..lab.rounds {
            let world = World::with_api(lab).await?;
            let pod = |index| objects::pod(&format!("web-{index:05}"));
            let before = cpu_time(world.pid("kube-apiserver")?)?;
            let created = create_pods(&world, face, clients, usize::MAX, TIME, &pod).await?;
            let used = cpu_time(world.pid("kube-apiserver")?)?.saturating_sub(before);
            rounds.push(created.rate);
            costs.push(used.as_secs_f64() * 1e6 / created.count as f64);
        }
        let what = format!("pod creates, {name} {clients} clients");
        report.best(&what, &rounds, "per s", Bound::AtLeast(bound));
        report.best("  the API server's CPU time for each", &costs, "µs", Bound::None);
    }
    report.row("fdatasync after these", fdatasync_rate(lab)?, "per s", Bound::None);
    Ok(())
}
