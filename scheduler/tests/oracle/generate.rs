//! Random clusters, the same for the same seed. Values are few, so that they meet.

use crate::world::{
    Container, Labels, Node, NodeTerm, Pod, PodTerm, Requirement, Selector, Spread, Taint,
    Toleration, Workload, World,
};

const MIB: i64 = 1024 * 1024;
const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// A sequence of choices (xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    /// The choices that belong to a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            dice.roll(2);
        }
        dice
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.roll(100) < chance
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        let at = self.roll(of.len() as u64);
        of[usize::try_from(at).unwrap()].clone()
    }

    fn text(&mut self, of: &[&str]) -> String {
        self.one(of).to_owned()
    }

    fn number(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.roll(u64::try_from(to - from + 1).unwrap())).unwrap()
    }

    /// With this chance one or two things.
    fn few<T>(&mut self, chance: u64, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        let count = if self.percent(chance) { 1 + self.roll(2) } else { 0 };
        (0..count).map(|_| make(self)).collect()
    }
}

/// A cluster, and the pods that come one after the other.
pub(crate) fn world(seed: u64) -> (World, Vec<Pod>) {
    let mut dice = Dice::new(seed);
    let mut world = World::default();
    for name in ["one", "two", "three"] {
        let team = dice.text(&["red", "blue"]);
        world.namespaces.insert(name.into(), [("team".to_owned(), team)].into());
    }
    world.nodes = (0..dice.number(1, 6)).map(|at| node(&mut dice, at)).collect();
    world.services = workloads(&mut dice, "service", false);
    world.replica_sets = workloads(&mut dice, "set", true);
    let names: Vec<String> = world.nodes.iter().map(|n| n.name.clone()).collect();
    world.pods = (0..dice.number(0, 16))
        .map(|at| {
            let mut pod = pod(&mut dice, format!("placed-{at}"), 25);
            pod.node = Some(dice.one(&names));
            pod.terminating = dice.percent(10);
            pod.priority = i32::from(dice.percent(40)) + i32::from(dice.percent(40));
            pod
        })
        .collect();
    let incoming = (0..dice.number(1, 4))
        .map(|at| {
            let mut pod = pod(&mut dice, format!("new-{at}"), 30);
            pod.priority = i32::from(dice.percent(50)) + i32::from(dice.percent(50));
            pod
        })
        .collect();
    (world, incoming)
}

pub(crate) fn node(dice: &mut Dice, at: i64) -> Node {
    let name = format!("n{at}");
    let mut labels = Labels::new();
    let mut label = |chance, key: &str, value: String, dice: &mut Dice| {
        if dice.percent(chance) {
            labels.insert(key.to_owned(), value);
        }
    };
    label(95, HOSTNAME, name.clone(), dice);
    let zone = dice.text(&["z1", "z2", "z3"]);
    label(85, ZONE, zone, dice);
    let disk = dice.text(&["ssd", "hdd"]);
    label(70, "disk", disk, dice);
    let rank = dice.text(&["1", "2", "3", "x"]);
    label(70, "rank", rank, dice);
    Node {
        name,
        labels,
        taints: dice.few(30, |dice| Taint {
            key: dice.text(&["k1", "k2"]),
            value: dice.text(&["", "v"]),
            effect: dice.text(&[
                "NoSchedule",
                "NoExecute",
                "PreferNoSchedule",
                "PreferNoSchedule",
                "PreferNoSchedule",
            ]),
        }),
        cordoned: dice.percent(8),
        milli_cpu: dice.number(5, 40) * 100,
        memory: dice.number(4, 40) * 128 * MIB,
        pods: if dice.percent(15) { dice.number(0, 4) } else { 110 },
        gpus: if dice.percent(30) { dice.number(1, 2) } else { 0 },
        images: ["web:latest", "db:1", "big:1"]
            .into_iter()
            .filter_map(|name| {
                let size = dice.number(10, 3000) * MIB + dice.number(0, 999_999);
                dice.percent(40).then(|| (name.to_owned(), size))
            })
            .collect(),
    }
}

fn workloads(dice: &mut Dice, kind: &str, expressions: bool) -> Vec<Workload> {
    let one = |(at, dice): (u64, &mut Dice)| {
        let mut selector = Selector::default();
        selector.labels.insert("app".into(), dice.text(&["a", "b", "c"]));
        if expressions {
            selector.expressions = dice.few(30, requirement);
        }
        Workload { namespace: dice.text(&["one", "two"]), name: format!("{kind}-{at}"), selector }
    };
    (0..dice.roll(3)).map(|at| one((at, dice))).collect()
}

fn requirement(dice: &mut Dice) -> Requirement {
    let operator = dice.one(&["In", "NotIn", "Exists", "DoesNotExist"]);
    let key = dice.text(&["app", "tier"]);
    let values: &[&str] = if key == "app" { &["a", "b", "c"] } else { &["x", "y"] };
    let values = match operator {
        "In" | "NotIn" => (0..1 + dice.roll(2)).map(|_| dice.text(values)).collect(),
        _ => Vec::new(),
    };
    Requirement { key, operator, values }
}

fn selector(dice: &mut Dice) -> Option<Selector> {
    if dice.percent(4) {
        return None;
    }
    let mut selector = Selector::default();
    if dice.percent(75) {
        selector.labels.insert("app".into(), dice.text(&["a", "b", "c"]));
    }
    selector.expressions = dice.few(25, requirement);
    Some(selector)
}

pub(crate) fn labels(dice: &mut Dice) -> Labels {
    let mut labels = Labels::new();
    labels.insert("app".into(), dice.text(&["a", "b", "c"]));
    if dice.percent(60) {
        labels.insert("tier".into(), dice.text(&["x", "y"]));
    }
    if dice.percent(5) {
        labels.clear();
    }
    labels
}

fn pod(dice: &mut Dice, name: String, constrained: u64) -> Pod {
    let labels = labels(dice);
    let namespace = dice.text(&["one", "one", "two", "three"]);
    Pod {
        name,
        owner: dice.percent(40).then(|| format!("set-{}", dice.roll(2))),
        init: dice.few(12, |dice| Container { sidecar: dice.percent(50), ..container(dice) }),
        containers: (0..1 + dice.roll(2)).map(|_| container(dice)).collect(),
        overhead: if dice.percent(5) { 50 } else { 0 },
        node_selector: if dice.percent(constrained / 3) {
            [("disk".to_owned(), dice.text(&["ssd", "hdd"]))].into()
        } else {
            Labels::new()
        },
        required_nodes: dice
            .percent(constrained)
            .then(|| (0..1 + dice.roll(2)).map(|_| node_term(dice)).collect()),
        preferred_nodes: dice.few(constrained, |dice| (dice.number(1, 100), node_term(dice))),
        tolerations: dice.few(40, |dice| {
            let exists = dice.percent(50);
            Toleration {
                key: if exists && dice.percent(20) {
                    String::new()
                } else {
                    dice.text(&["k1", "k2", "node.kubernetes.io/unschedulable"])
                },
                exists,
                value: if exists { String::new() } else { dice.text(&["", "v"]) },
                effect: dice.text(&["", "", "NoSchedule", "NoExecute", "PreferNoSchedule"]),
            }
        }),
        near: dice.few(constrained / 2, pod_term),
        near_preferred: dice.few(constrained, pod_term),
        away: dice.few(constrained / 2, pod_term),
        away_preferred: dice.few(constrained, pod_term),
        spread: dice.few(constrained * 2, spread),
        namespace,
        labels,
        ..Pod::default()
    }
}

fn container(dice: &mut Dice) -> Container {
    Container {
        image: dice.text(&["web", "db:1", "big:1", "none"]),
        milli_cpu: dice.percent(70).then(|| dice.number(0, 12) * 50),
        memory: dice.percent(60).then(|| dice.number(0, 10) * 64 * MIB),
        gpus: dice.percent(4).then_some(1),
        host_ports: dice.few(6, |dice| {
            (
                dice.text(&["", "", "10.0.0.1", "10.0.0.2"]),
                dice.text(&["TCP", "TCP", "UDP"]),
                dice.number(80, 81),
            )
        }),
        sidecar: false,
    }
}

fn node_term(dice: &mut Dice) -> NodeTerm {
    let mut term = NodeTerm::default();
    if dice.percent(90) {
        term.expressions = (0..1 + dice.roll(2)).map(|_| node_requirement(dice)).collect();
    }
    if dice.percent(15) {
        let operator = dice.one(&["In", "In", "NotIn"]);
        let values = vec![format!("n{}", dice.roll(4))];
        term.fields.push(Requirement { key: "metadata.name".into(), operator, values });
    }
    term
}

fn node_requirement(dice: &mut Dice) -> Requirement {
    let operator = dice.one(&["In", "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);
    let key = match operator {
        "Gt" | "Lt" => "rank".to_owned(),
        _ => dice.text(&["disk", ZONE, "rank"]),
    };
    let values: &[&str] = match key.as_str() {
        "disk" => &["ssd", "hdd"],
        "rank" => &["1", "2", "3"],
        _ => &["z1", "z2", "z3"],
    };
    let values = match operator {
        "In" | "NotIn" => (0..1 + dice.roll(2)).map(|_| dice.text(values)).collect(),
        "Gt" | "Lt" => vec![dice.text(&["1", "2"])],
        _ => Vec::new(),
    };
    Requirement { key, operator, values }
}

fn pod_term(dice: &mut Dice) -> PodTerm {
    let selector = selector(dice);
    // Keys to match need a selector to be added to.
    let keys = |dice: &mut Dice, chance| {
        if dice.percent(chance) { vec![dice.text(&["tier", "app"])] } else { Vec::new() }
    };
    let chance = if selector.is_some() { 12 } else { 0 };
    PodTerm {
        namespaces: dice.few(20, |dice| dice.text(&["one", "two", "three"])),
        namespace_selector: dice.percent(20).then(|| {
            let mut selector = Selector::default();
            if dice.percent(70) {
                selector.labels.insert("team".into(), dice.text(&["red", "blue"]));
            }
            selector
        }),
        key: dice.text(&[HOSTNAME, HOSTNAME, ZONE, "disk"]),
        match_keys: keys(dice, chance),
        mismatch_keys: keys(dice, chance),
        weight: dice.number(1, 100),
        selector,
    }
}

fn spread(dice: &mut Dice) -> Spread {
    let hard = dice.percent(50);
    let selector = selector(dice);
    let match_keys = if selector.is_some() && dice.percent(15) {
        vec![dice.text(&["tier", "app"])]
    } else {
        Vec::new()
    };
    Spread {
        max_skew: dice.number(1, 3),
        key: dice.text(&[HOSTNAME, ZONE, ZONE, "disk"]),
        hard,
        selector,
        min_domains: (hard && dice.percent(25)).then(|| dice.number(1, 4)),
        ignores_affinity: dice.percent(20),
        honors_taints: dice.percent(30),
        match_keys,
    }
}
