//! Every process may die: `kill -9` of all of them, again and again, under load; what is left afterwards is what was
//! asked for, and nothing else.
//!
//! | module | is |
//! |---|---|
//! | [`dice`] | chance that a seed repeats |
//! | [`load`] | rollouts, scaling, deletions |
//! | [`history`] | what a watch of all pods tells: no second binding, no address given twice |
//! | [`verdict`] | what must be there in the end, and what must not |
//!
//! The seed is printed, and set by `KUBE_MINI_CHAOS_SEED`. It fixes what is done in which order; how the processes fall
//! in between is up to the machine.

mod dice;
mod history;
mod load;
mod verdict;

use std::{cell::Cell, time::Duration};

use component_base::clock::Clock;
use futures::future::{join, join_all};
use tests::{Component, Runner, TestCluster, eventually};

use self::{dice::Dice, history::History, load::Load};
use crate::support::size;

const NODES: u32 = 3;
/// The node that is lost whole, its kubelet and its kube-proxy at once.
const LOST: u32 = 3;
/// How long the cluster has to become what was asked for, once nobody disturbs it any more.
const PATIENCE: Duration = Duration::from_secs(90);

fn seed() -> u64 {
    let set = std::env::var("KUBE_MINI_CHAOS_SEED").ok();
    let set = set.map(|text| text.parse().expect("KUBE_MINI_CHAOS_SEED is a number"));
    // The long run takes another way each time.
    let chance = || if size(0, 1) == 0 { 1 } else { Clock::real().random_u64() % 1_000_000 };
    set.unwrap_or_else(chance)
}

/// What is killed, and for how long it stays away.
struct Blow {
    victims: Vec<Component>,
    away: Duration,
}

/// `times` blows at each component of a part of the cluster, in an order of chance.
fn blows(components: &[Component], times: usize, dice: &mut Dice) -> Vec<Blow> {
    let mut blows: Vec<Blow> = components
        .iter()
        .flat_map(|component| std::iter::repeat_n(*component, times))
        .map(|component| Blow {
            victims: vec![component],
            away: Duration::from_millis(dice.below(500)),
        })
        .collect();
    dice.shuffle(&mut blows);
    blows
}

/// Deals blows, spread evenly over `time`.
async fn strike(cluster: &TestCluster, blows: Vec<Blow>, time: Duration) {
    let pause = time / u32::try_from(blows.len() + 1).unwrap();
    for blow in blows {
        cluster.clock().sleep(pause).await;
        cluster.check_alive();
        for victim in &blow.victims {
            cluster.kill(*victim).unwrap();
        }
        cluster.clock().sleep(blow.away).await;
        for victim in &blow.victims {
            cluster.start(*victim).await.unwrap();
        }
    }
}

#[tokio::test]
async fn all_components_die_under_load_and_nothing_is_wrong_afterwards() {
    let seed = seed();
    println!("KUBE_MINI_CHAOS_SEED={seed}");
    let mut dice = Dice::new(seed);
    let times = size(1, 10);
    let time = Duration::from_secs(size(9, 300).try_into().unwrap());
    let cluster =
        TestCluster::builder().runner(Runner::Process).nodes(NODES).start().await.unwrap();
    let fresh = verdict::resources(&cluster);

    let mut parts = vec![blows(
        &[Component::ApiServer, Component::ControllerManager, Component::Scheduler],
        times,
        &mut dice,
    )];
    for node in 1..LOST {
        parts.push(blows(
            &[Component::Kubelet(node), Component::KubeProxy(node)],
            times,
            &mut dice,
        ));
    }
    // A lost node: mostly for a moment, and twice in a long run for longer than the cluster waits for it.
    let away = |number: usize| match number % 5 {
        3 => Duration::from_secs(65),
        _ => Duration::from_secs(2),
    };
    let whole = |number| Blow {
        victims: vec![Component::Kubelet(LOST), Component::KubeProxy(LOST)],
        away: away(number),
    };
    parts.push((0..times).map(whole).collect());

    let history = History::begin(&cluster).await;
    let over = Cell::new(false);
    let mut load = Load::new(&cluster, dice);
    let striking = async {
        // Two minutes of a long run belong to the losses themselves.
        let spread = |part: &[Blow]| time.saturating_sub(part.iter().map(|blow| blow.away).sum());
        let strikes = parts.into_iter().map(|part| {
            let spread = spread(&part);
            strike(&cluster, part, spread)
        });
        join_all(strikes).await;
        over.set(true);
    };
    let judging = async {
        join(load.run(&over), striking).await;
        load.insist().await;
        eventually("the cluster is as it was asked to be", PATIENCE, async || {
            cluster.check_alive();
            verdict::state(&cluster, load.wanted()).await
        })
        .await;
        history::finish(&cluster).await;
    };
    let (history, ()) = join(history.follow(), judging).await;
    println!("{} operations, {} pods", load.operations(), history.pods());
    history.check();
    verdict::logs(&cluster);
    verdict::nothing_leaked(&cluster, &fresh).await;
    cluster.shutdown().await.unwrap();
}
