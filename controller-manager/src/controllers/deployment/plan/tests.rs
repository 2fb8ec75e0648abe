//! Deployments played against a model of the ReplicaSet controller and of pods that take their time to become ready.

use apimachinery::{api::apps::ReplicaSetStatus, time::Time};
use serde_json::{Value, json};

use super::*;

struct Model {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    events: Vec<String>,
    clock: i64,
    seed: u64,
}

impl Model {
    fn new(spec: &Value) -> Self {
        let mut value = json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "d", "generation": 1},
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"type": "RollingUpdate",
                             "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
                "template": {"metadata": {"labels": {"app": "web"}},
                             "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}},
            },
        });
        for (key, field) in spec.as_object().expect("a spec is an object") {
            value["spec"][key] = field.clone();
        }
        let deployment = serde_json::from_value(value).expect("a Deployment");
        Self { deployment, sets: Vec::new(), events: Vec::new(), clock: 1_000, seed: 7 }
    }

    fn edit(&mut self, change: impl FnOnce(&mut Deployment)) {
        change(&mut self.deployment);
        *self.deployment.metadata.generation.get_or_insert(0) += 1;
    }

    fn image(&mut self, image: &str) {
        self.edit(|d| d.spec.template.spec.containers[0].image = Some(image.into()));
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.clock).expect("a small number of seconds")
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.seed >> 33) % below
    }

    /// One sync of the controller; true: it wrote something.
    fn sync(&mut self) -> bool {
        self.clock += 1;
        let actions = plan(Snapshot {
            deployment: Arc::new(self.deployment.clone()),
            replica_sets: self.sets.iter().cloned().map(Arc::new).collect(),
            pods: Vec::new(),
            now: self.now(),
        });
        let mut wrote = false;
        for action in actions {
            match action {
                Action::Create(mut set) => {
                    set.metadata.creation_timestamp = Some(Time(self.now()));
                    set.metadata.uid = set.metadata.name.clone();
                    self.sets.push(*set);
                    wrote = true;
                }
                Action::Update(set) => {
                    let at = self.at(&set);
                    self.sets[at] = *set;
                    wrote = true;
                }
                Action::Delete(set) => {
                    let at = self.at(&set);
                    self.sets.remove(at);
                    wrote = true;
                }
                Action::SetRevision(revision) => {
                    self.deployment
                        .metadata
                        .annotations
                        .insert(revision::REVISION.into(), revision);
                }
                Action::UpdateStatus(status) => {
                    wrote |= self.deployment.status != *status;
                    self.deployment.status = *status;
                }
                Action::Event(_, reason, message) => {
                    self.events.push(format!("{reason}: {message}"));
                }
                Action::Revise(deployment) => {
                    self.deployment = *deployment;
                    wrote = true;
                }
                Action::RequeueAfter(_) => {}
            }
        }
        wrote
    }

    fn at(&self, set: &ReplicaSet) -> usize {
        self.sets
            .iter()
            .position(|s| s.metadata.name == set.metadata.name)
            .expect("the plan names a set that is there")
    }

    /// The ReplicaSet controllers and the pods make some progress; pods of an image with "broken" never get ready.
    fn pods_progress(&mut self) {
        for at in 0..self.sets.len() {
            let chance = self.random(3) > 0;
            let set = &mut self.sets[at];
            let wanted = set.spec.replicas.unwrap_or(0);
            let broken = set.spec.template.as_ref().is_some_and(|t| {
                t.spec.containers[0].image.as_deref().is_some_and(|i| i.contains("broken"))
            });
            let available = set.status.available_replicas.unwrap_or(0).min(wanted);
            let gain = i32::from(chance && !broken && available < wanted);
            let count = Some(available + gain).filter(|n| *n > 0);
            set.status = ReplicaSetStatus {
                replicas: wanted,
                ready_replicas: count,
                available_replicas: count,
                observed_generation: set.metadata.generation,
                ..ReplicaSetStatus::default()
            };
        }
    }

    fn size(&self) -> i32 {
        self.sets.iter().map(|s| s.spec.replicas.unwrap_or(0)).sum()
    }

    fn available(&self) -> i32 {
        self.sets.iter().map(|s| s.status.available_replicas.unwrap_or(0)).sum()
    }

    /// Plays until nothing changes any more; `each` looks at every step.
    fn settle(&mut self, mut each: impl FnMut(&Self)) {
        let mut quiet = 0;
        for _ in 0..2_000 {
            let wrote = self.sync();
            each(self);
            let before = self.sets.clone();
            self.pods_progress();
            each(self);
            quiet = if wrote || before != self.sets { 0 } else { quiet + 1 };
            if quiet > 20 {
                return;
            }
        }
        panic!("does not settle: {:?}", self.deployment.status);
    }

    fn condition(&self, type_: &str) -> String {
        let found = self.deployment.status.conditions.iter().find(|c| c.type_ == type_);
        found.map_or_else(String::new, |c| {
            format!("{} {}", c.status, c.reason.as_deref().unwrap_or_default())
        })
    }

    /// Sizes of the sets, the oldest first.
    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(|s| s.spec.replicas.unwrap_or(0)).collect()
    }
}

#[test]
fn a_new_deployment_comes_up_in_one_step() {
    let mut model = Model::new(&json!({}));
    model.settle(|_| {});
    assert_eq!(model.sizes(), [3]);
    assert_eq!(model.condition("Progressing"), "True NewReplicaSetAvailable");
    assert_eq!(model.condition("Available"), "True MinimumReplicasAvailable");
    let name = model.sets[0].metadata.name.clone().unwrap();
    assert_eq!(
        model.events,
        [format!("ScalingReplicaSet: Scaled up replica set {name} from 0 to 3")]
    );
    assert_eq!(revision::of(&model.sets[0]), 1);
}

#[test]
fn a_rolling_update_never_breaks_its_bounds() {
    let check = |replicas: i32, surge: Value, unavailable: Value, most: i32, least: i32| {
        let mut model = Model::new(&json!({
            "replicas": replicas,
            "strategy": {"type": "RollingUpdate",
                         "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
        }));
        model.settle(|_| {});
        for image in ["nginx:2", "nginx:3", "nginx:1"] {
            model.image(image);
            model.settle(|m| {
                assert!(m.size() <= most, "{} pods, at most {most}", m.size());
                assert!(m.available() >= least, "{} available, at least {least}", m.available());
            });
            let updated = model.deployment.status.updated_replicas;
            assert_eq!(updated, Some(replicas));
            assert_eq!(model.size(), replicas);
        }
        assert_eq!(model.sets.len(), 3, "the template of the first revision is found again");
        assert_eq!(revision::of(&model.sets[0]), 4);
    };
    check(3, json!("25%"), json!("25%"), 4, 3);
    check(10, json!("25%"), json!("25%"), 13, 8);
    check(10, json!(0), json!(1), 10, 9);
    check(10, json!(1), json!(0), 11, 10);
    check(1, json!("25%"), json!("25%"), 2, 1);
    check(4, json!("100%"), json!("100%"), 8, 0);
    check(5, json!("0%"), json!("1%"), 5, 4);
}

#[test]
fn recreate_removes_all_before_it_creates() {
    let mut model = Model::new(&json!({"strategy": {"type": "Recreate"}}));
    model.settle(|_| {});
    model.image("nginx:2");
    model.settle(|m| assert!(m.sizes().iter().filter(|n| **n > 0).count() <= 1));
    assert_eq!(model.sizes(), [0, 3]);
}

#[test]
fn a_paused_rollout_stands_still_but_scales() {
    let mut model = Model::new(&json!({"replicas": 10}));
    model.settle(|_| {});
    model.image("nginx:broken");
    model.settle(|_| {});
    assert_eq!(model.sizes(), [8, 5], "a broken template stops at its bounds");
    model.edit(|d| {
        d.spec.paused = Some(true);
        d.spec.replicas = Some(20);
    });
    model.settle(|_| {});
    assert_eq!(model.condition("Progressing"), "Unknown DeploymentPaused");
    assert_eq!(model.sizes(), [15, 10], "old and new grow in proportion, to 20 + 25%");
    model.edit(|d| d.spec.paused = None);
    model.image("nginx:1");
    model.settle(|_| {});
    assert_eq!(model.sizes(), [20, 0]);
}

#[test]
fn scaling_without_a_rollout_resizes_the_one_set() {
    let mut model = Model::new(&json!({}));
    model.settle(|_| {});
    for replicas in [7, 1, 0, 3] {
        model.edit(|d| d.spec.replicas = Some(replicas));
        model.settle(|_| {});
        assert_eq!(model.sizes(), [replicas]);
        assert_eq!(model.condition("Available"), "True MinimumReplicasAvailable");
    }
}

#[test]
fn history_is_kept_up_to_its_limit() {
    let mut model = Model::new(&json!({"revisionHistoryLimit": 2}));
    for image in ["nginx:1", "nginx:2", "nginx:3", "nginx:4", "nginx:5"] {
        model.image(image);
        model.settle(|_| {});
    }
    let revisions: Vec<i64> = model.sets.iter().map(revision::of).collect();
    assert_eq!(revisions, [3, 4, 5]);
}

#[test]
fn a_rollout_that_stands_still_exceeds_its_deadline() {
    let mut model = Model::new(&json!({"progressDeadlineSeconds": 100}));
    model.settle(|_| {});
    model.image("nginx:broken");
    model.settle(|_| {});
    assert_eq!(model.condition("Progressing"), "True ReplicaSetUpdated");
    model.clock += 200;
    model.settle(|_| {});
    assert_eq!(model.condition("Progressing"), "False ProgressDeadlineExceeded");
    model.image("nginx:1");
    model.settle(|_| {});
    assert_eq!(model.condition("Progressing"), "True NewReplicaSetAvailable");
}

#[test]
fn a_selector_that_selects_all_is_refused() {
    let mut model = Model::new(&json!({"selector": {}}));
    model.sync();
    assert_eq!(
        model.events,
        ["SelectingAll: This deployment is selecting all pods. A non-empty selector is required."]
    );
    assert!(model.sets.is_empty());
}

#[test]
fn the_hash_changes_with_the_template_and_the_collision_count() {
    let model = Model::new(&json!({}));
    let template = &model.deployment.spec.template;
    let hash = revision::template_hash(template, None);
    assert_eq!(hash, revision::template_hash(template, None));
    assert_ne!(hash, revision::template_hash(template, Some(1)));
    assert!(hash.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b)), "{hash}");
}
