//! ImageLocality: prefers nodes that already have the pod's images, weighted by size and by how widespread they are.

use apimachinery::api::core::Container;

use crate::{
    framework::{CycleState, MAX_NODE_SCORE, NodeInfo, Plugin, PodInfo, PreScore, Score},
    snapshot::Snapshot,
};

const NAME: &str = "ImageLocality";
/// Below this many bytes per container an image is not worth a preference.
const MIN_THRESHOLD: i64 = 23 * 1024 * 1024;
/// Above this many bytes per container more does not count.
const MAX_CONTAINER_THRESHOLD: i64 = 1000 * 1024 * 1024;

/// The plugin.
pub struct ImageLocality;

/// Each container's image as nodes list it, where some do, with how many nodes have it, and the number of nodes.
struct Spread {
    images: Vec<(String, i64)>,
    nodes: i64,
}

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        NAME
    }
    fn pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

/// The name with `:latest` where neither tag nor digest is given.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

impl PreScore for ImageLocality {
    fn run(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        _: &[&NodeInfo],
        snapshot: &Snapshot,
    ) -> bool {
        if snapshot.images.is_empty() {
            return false;
        }
        let spec = &pod.pod.spec;
        let holders = |container: &Container| {
            let name = with_tag(container.image.as_deref().unwrap_or_default());
            let holders = snapshot.images.get(&name).copied()?;
            Some((name, holders))
        };
        let images: Vec<_> =
            spec.init_containers.iter().chain(&spec.containers).filter_map(holders).collect();
        let nodes = i64::try_from(snapshot.nodes.len()).unwrap_or(i64::MAX);
        let any = !images.is_empty();
        state.write(NAME, Spread { images, nodes });
        any
    }
}

/// The size as far as the image is spread, which keeps pods from gathering on the few nodes that have it:
/// `scaledImageScore`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "computed as Kubernetes computes it"
)]
fn scaled(size: i64, holders: i64, nodes: i64) -> i64 {
    (size as f64 * (holders as f64 / nodes.max(1) as f64)) as i64
}

impl Score for ImageLocality {
    fn run(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let Some(spread) = state.read::<Spread>(NAME) else { return 0 };
        let sum: i64 = spread
            .images
            .iter()
            .filter_map(|(name, holders)| {
                node.images.get(name).map(|size| scaled(*size, *holders, spread.nodes))
            })
            .sum();
        let containers = pod.pod.spec.containers.len() + pod.pod.spec.init_containers.len();
        let max = MAX_CONTAINER_THRESHOLD * i64::try_from(containers).unwrap_or(1).max(1);
        MAX_NODE_SCORE * (sum.clamp(MIN_THRESHOLD, max) - MIN_THRESHOLD)
            / (max - MIN_THRESHOLD).max(1)
    }
}
