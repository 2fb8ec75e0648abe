//! What happens between two pods: the scheduler's counts are kept from change to change, and must stay right.

use scheduler::scheduler::Input;

use crate::{
    generate::{self, Dice},
    gone, object,
    world::World,
};

/// Changes the cluster, and says how.
pub(crate) fn change(dice: &mut Dice, world: &mut World) -> Input {
    let pods = world.pods.len() as u64;
    if pods == 0 || dice.percent(40) {
        let at = usize::try_from(dice.roll(world.nodes.len() as u64)).unwrap();
        world.nodes[at] = generate::node(dice, i64::try_from(at).unwrap());
        return Input::Node(object(world.nodes[at].to_json()));
    }
    let at = usize::try_from(dice.roll(pods)).unwrap();
    if dice.percent(50) {
        return Input::Pod(gone(&world.pods.remove(at)));
    }
    let pod = &mut world.pods[at];
    pod.labels = generate::labels(dice);
    pod.terminating |= dice.percent(30);
    Input::Pod(object(pod.to_json()))
}
