//! The groups of figures.

mod context;
mod creates;
mod diagnosis;
mod idle;
mod kubectl;
mod leases;
pub(crate) mod load;
mod nodes;
mod reads;
mod scheduling;
mod start;
mod watchers;

use crate::{report::Report, world::Lab};

/// The names of the rows, in their order.
pub(crate) const NAMES: &[&str] = &[
    "context",
    "start",
    "cluster",
    "creates-rest",
    "creates-grpc",
    "reads",
    "watchers",
    "scheduling",
    "scheduling-constraints",
    "deployment",
    "kubectl",
    "diagnosis",
    "leases",
    "nodes",
    "deployments",
];

/// Measures one row.
pub(crate) async fn run(name: &str, lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    match name {
        "context" => context::run(lab, report),
        "start" => start::run(lab, report).await,
        "cluster" => idle::run(lab, report).await,
        "creates-rest" => creates::run(lab, report, load::Face::Rest).await,
        "creates-grpc" => creates::run(lab, report, load::Face::Grpc).await,
        "reads" => reads::run(lab, report).await,
        "watchers" => watchers::run(lab, report).await,
        "scheduling" => scheduling::pods(lab, report).await,
        "scheduling-constraints" => scheduling::constraints(lab, report).await,
        "deployment" => scheduling::deployment(lab, report).await,
        "kubectl" => kubectl::run(lab, report).await,
        "diagnosis" => diagnosis::run(lab, report).await,
        "leases" => leases::run(lab, report).await,
        "nodes" => nodes::many(lab, report).await,
        "deployments" => nodes::deployments(lab, report).await,
        _ => unreachable!("the names are checked before"),
    }
}
