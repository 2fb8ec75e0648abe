//! The scheduler against a second reading of Kubernetes' rules.
//!
//! `rules` and `scores` say by brute force which nodes a pod may run on and what each is worth, straight from what
//! Kubernetes documents, over plain values of their own: no index, no counting ahead, nothing of the plugins' code. Seeded
//! random clusters with every constraint there is are shown to both. A pod must be placed exactly if brute force finds a
//! node for it, on a node with the top score; and what is explained of each node must be the same verdict and total. Where
//! there is none, a preemption must make room and take nobody in vain.
//!
//! `KUBE_MINI_LONG=1` plays 10,000 clusters; a failing one is printed with its seed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod generate;
mod history;
mod preemption;
mod rules;
mod scores;
mod world;

use std::{sync::Arc, time::Duration};

use apimachinery::object::ObjectKey;
use scheduler::scheduler::{Action, Change, Input, Nomination, Scheduler};
use serde_json::Value;

use self::{
    generate::Dice,
    world::{Pod, World},
};

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Change<T> {
    Change::Applied(Arc::new(serde_json::from_value(value).unwrap()))
}

fn gone(pod: &Pod) -> Change<apimachinery::api::core::Pod> {
    Change::Deleted(Arc::new(serde_json::from_value(pod.to_json()).unwrap()))
}

/// Tells the scheduler all there is.
fn show(scheduler: &mut Scheduler, world: &World) {
    let mut tell = |input| scheduler.handle(input, Duration::ZERO);
    for (name, labels) in &world.namespaces {
        tell(Input::Namespace(object(world::namespace(name, labels))));
    }
    for node in &world.nodes {
        tell(Input::Node(object(node.to_json())));
    }
    for service in &world.services {
        tell(Input::Service(object(service.service_json())));
    }
    for set in &world.replica_sets {
        tell(Input::ReplicaSet(object(set.replica_set_json())));
    }
    for pod in &world.pods {
        tell(Input::Pod(object(pod.to_json())));
    }
}

/// What brute force says of each node: its total if the pod may run there.
fn verdicts(world: &World, pod: &Pod) -> Vec<(String, Option<i64>)> {
    let feasible: Vec<_> = world.nodes.iter().filter(|n| rules::fits(world, pod, n)).collect();
    let totals = scores::totals(world, pod, &feasible);
    let total = |name: &str| feasible.iter().position(|n| n.name == name).map(|at| totals[at]);
    world.nodes.iter().map(|n| (n.name.clone(), total(&n.name))).collect()
}

fn explained(scheduler: &mut Scheduler, pod: &Pod) -> Vec<(String, Option<i64>)> {
    let key = ObjectKey { namespace: pod.namespace.clone(), name: pod.name.clone() };
    let explanation = scheduler.explain(&key).expect("the pod is known");
    explanation.status.nodes.into_iter().map(|node| (node.name, node.total)).collect()
}

/// Plays one cluster; tells where both differ.
fn play(seed: u64) -> Result<(), String> {
    let (mut world, incoming) = generate::world(seed);
    let mut dice = Dice::new(seed + 1);
    let mut scheduler = Scheduler::new("default-scheduler", seed);
    show(&mut scheduler, &world);
    for mut pod in incoming {
        scheduler.handle(Input::Pod(object(pod.to_json())), Duration::ZERO);
        let expected = verdicts(&world, &pod);
        let told = explained(&mut scheduler, &pod);
        if told != expected {
            let why =
                serde_json::to_string_pretty(&scheduler.explain(&ObjectKey {
                    namespace: pod.namespace.clone(),
                    name: pod.name.clone(),
                }))
                .unwrap();
            return Err(format!(
                "expected {expected:?}\nexplained {told:?}\nof {pod:#?}\nin {world:#?}\n{why}"
            ));
        }
        let best = expected.iter().filter_map(|(_, total)| *total).max();
        let placed = match scheduler.next_action(Duration::ZERO) {
            Some(Action::Bind { node, .. }) => Some(node),
            Some(Action::Report { nomination, .. }) => {
                preemption::check(&world, &pod, &nomination)
                    .map_err(|why| format!("{why}: {nomination:?}\nfor {pod:#?}\nin {world:#?}"))?;
                if matches!(nomination, Nomination::Preempt(..)) {
                    // The room that it is promised is not brute force's matter.
                    return Ok(());
                }
                None
            }
            None => return Err(format!("{} was not tried", pod.name)),
        };
        let right = match &placed {
            None => best.is_none(),
            Some(node) => best.is_some() && expected.contains(&(node.clone(), best)),
        };
        if !right {
            return Err(format!("{placed:?} chosen of {expected:?}\nfor {pod:#?}\nin {world:#?}"));
        }
        if placed.is_some() {
            pod.node = placed;
            if dice.percent(50) {
                scheduler.handle(Input::Pod(object(pod.to_json())), Duration::ZERO);
            }
            world.pods.push(pod);
        } else {
            scheduler.handle(Input::Pod(gone(&pod)), Duration::ZERO);
        }
        for _ in 0..dice.roll(4) {
            scheduler.handle(history::change(&mut dice, &mut world), Duration::ZERO);
        }
    }
    Ok(())
}

#[test]
fn every_decision_is_what_brute_force_says() {
    let clusters = if std::env::var_os("KUBE_MINI_LONG").is_some() { 10_000 } else { 250 };
    for seed in 1..=clusters {
        if let Err(difference) = play(seed) {
            panic!("seed {seed}: {difference}");
        }
    }
}

/// The clusters are worth something only if they reach every rule, both ways.
#[test]
fn the_clusters_are_neither_too_easy_nor_too_hard() {
    let (mut placed, mut refused, mut choices) = (0, 0, 0);
    for seed in 1..=300 {
        let (world, incoming) = generate::world(seed);
        for pod in incoming {
            let feasible = verdicts(&world, &pod).iter().filter(|(_, t)| t.is_some()).count();
            placed += usize::from(feasible > 0);
            refused += usize::from(feasible == 0);
            choices += usize::from(feasible > 1);
        }
    }
    assert!(placed > 300 && refused > 150 && choices > 200, "{placed} {refused} {choices}");
}
