//! Pods on a node that shuts down in order after 5 seconds, within 10 of which 4 are for critical pods, and boots 30 seconds
//! after the beginning. All begin together.

use std::time::Duration;

use super::{NodeStep, cases, folders, live};
use crate::{node::shutdown::GracePeriods, testing::World};

/// How the names of these cases begin.
pub(super) const PREFIX: &str = "shutdown-";

#[tokio::test]
async fn pods_of_a_node_that_shuts_down_live_as_their_pairs_of_files_tell() {
    let seconds = Duration::from_secs;
    let periods = GracePeriods::new(seconds(10), seconds(4)).unwrap();
    let world = World::shutting_down_within(periods).await;
    let cases = cases(folders(|name| name.starts_with(PREFIX)), Duration::ZERO);
    let node = [(seconds(5), NodeStep::ShutDown), (seconds(30), NodeStep::Boot)];
    live(world, cases, &node).await;
}
