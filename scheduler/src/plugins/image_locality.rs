//! ImageLocality: prefers nodes that already have the pod's images, weighted by size and by how widespread they are.

use std::collections::HashMap;

use crate::{
    framework::{CycleState, MAX_NODE_SCORE, NodeInfo, Plugin, PodInfo, PreScore, Score},
    queue::events::ClusterEvent,
    snapshot::Snapshot,
};

const NAME: &str = "ImageLocality";
/// Below this many bytes per container an image is not worth a preference.
const MIN_THRESHOLD: i64 = 23 * 1024 * 1024;
/// Above this many bytes per container more does not count.
const MAX_CONTAINER_THRESHOLD: i64 = 1000 * 1024 * 1024;

/// The plugin.
pub struct ImageLocality;

/// The pod's image names as nodes list them, with how many nodes have each, and the number of nodes.
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
    fn events_to_register(&self) -> Vec<ClusterEvent> {
        Vec::new()
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
        if snapshot.nodes.iter().all(|n| n.images.is_empty()) {
            return false;
        }
        let mut counts: HashMap<String, i64> = HashMap::new();
        let spec = &pod.pod.spec;
        for container in spec.init_containers.iter().chain(&spec.containers) {
            let name = with_tag(container.image.as_deref().unwrap_or_default());
            let holders = snapshot.nodes.iter().filter(|n| n.images.contains_key(&name)).count();
            counts.insert(name, i64::try_from(holders).unwrap_or(i64::MAX));
        }
        let nodes = i64::try_from(snapshot.nodes.len()).unwrap_or(i64::MAX);
        let any = counts.values().any(|n| *n > 0);
        state.write(NAME, Spread { images: counts.into_iter().collect(), nodes });
        any
    }
}

impl Score for ImageLocality {
    fn run(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let Some(spread) = state.read::<Spread>(NAME) else { return 0 };
        let sum: i64 = spread
            .images
            .iter()
            .filter_map(|(name, holders)| {
                node.images.get(name).map(|size| size * holders / spread.nodes.max(1))
            })
            .sum();
        let containers = pod.pod.spec.containers.len() + pod.pod.spec.init_containers.len();
        let max = MAX_CONTAINER_THRESHOLD * i64::try_from(containers).unwrap_or(1).max(1);
        MAX_NODE_SCORE * (sum.clamp(MIN_THRESHOLD, max) - MIN_THRESHOLD)
            / (max - MIN_THRESHOLD).max(1)
    }
}
