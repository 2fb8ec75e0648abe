//! What a preemption must be like: it makes room, takes nobody in vain, and is not missed where there is one.

use scheduler::scheduler::Nomination;

use crate::{
    rules::fits,
    world::{Pod, World},
};

/// The cluster without these pods.
fn without(world: &World, gone: impl Fn(&Pod) -> bool) -> World {
    let mut world = world.clone();
    world.pods.retain(|pod| !gone(pod));
    world
}

/// Checks what is planned for a pod that found no node. A pod that needs company is left out: whom to take from it is more
/// than a question of room.
pub(crate) fn check(world: &World, pod: &Pod, nomination: &Nomination) -> Result<(), String> {
    if !pod.near.is_empty() {
        return Ok(());
    }
    match nomination {
        Nomination::Keep => Err("it may preempt".into()),
        Nomination::Clear => {
            for node in &world.nodes {
                let lower = |other: &Pod| {
                    other.node.as_ref() == Some(&node.name) && other.priority < pod.priority
                };
                if world.pods.iter().any(lower) && fits(&without(world, lower), pod, node) {
                    return Err(format!("{} could be cleared", node.name));
                }
            }
            Ok(())
        }
        Nomination::Preempt(plan, _) => {
            let node =
                world.nodes.iter().find(|n| n.name == plan.node).ok_or("there is no node")?;
            let names: Vec<&str> = plan.victims.iter().map(|v| v.key.name.as_str()).collect();
            let is_victim = |other: &Pod| names.contains(&other.name.as_str());
            let victims = world.pods.iter().filter(|p| is_victim(p));
            if victims
                .clone()
                .any(|v| v.priority >= pod.priority || v.node != Some(plan.node.clone()))
            {
                return Err(format!("{names:?} may not go"));
            }
            if !fits(&without(world, is_victim), pod, node) {
                return Err(format!("without {names:?} it does not fit {}", node.name));
            }
            for spared in victims.map(|v| &v.name) {
                let fewer = without(world, |other| is_victim(other) && other.name != *spared);
                if fits(&fewer, pod, node) {
                    return Err(format!("{spared} need not go"));
                }
            }
            Ok(())
        }
    }
}
