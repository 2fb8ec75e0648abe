//! What survives the kubelet's own death: a simulated node's reboot.
//!
//! Every pod has a file with its object, its restart counts and how its containers ended. After a reboot the pods come
//! back from it with the same uid and (by the pod network's own checkpoint) the same address; every container that ran
//! has died with the node, and is started again as one more restart. No API server is needed for that.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    path::PathBuf,
};

use apimachinery::{api::core::Pod, time::MicroTime};
use component_base::clock::Clock;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    lifecycle::{Ended, Record, Records, State},
    status::Failure,
};

/// The exit code of a container that its node's end killed.
const KILLED: i32 = 255;

/// One container as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    restarts: i32,
    image_id: String,
    running_since: Option<MicroTime>,
    id: String,
    ended: Option<KeptEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeptEnd {
    exit_code: i32,
    signal: Option<i32>,
    reason: String,
    message: String,
    started_at: Option<MicroTime>,
    finished_at: MicroTime,
    id: String,
}

/// A pod as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodCheckpoint {
    /// The pod's object.
    pub pod: Pod,
    /// When the kubelet first saw it.
    pub start_time: MicroTime,
    /// Why it was told to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    containers: std::collections::BTreeMap<String, Kept>,
}

impl PodCheckpoint {
    /// What of a pod is to be kept.
    #[must_use]
    pub fn of(
        pod: &Pod,
        records: &Records,
        start_time: Timestamp,
        failure: Option<Failure>,
    ) -> Self {
        let end = |ended: &Ended| KeptEnd {
            exit_code: ended.exit_code,
            signal: ended.signal,
            reason: ended.reason.clone(),
            message: ended.message.clone(),
            started_at: ended.started_at.map(MicroTime),
            finished_at: MicroTime(ended.finished_at),
            id: ended.id.clone(),
        };
        let containers = records
            .iter()
            .map(|(name, record)| {
                let (running_since, id) = match &record.state {
                    State::Running { started_at, id } => (Some(MicroTime(*started_at)), id.clone()),
                    _ => (None, String::new()),
                };
                let kept = Kept {
                    restarts: record.restarts,
                    image_id: record.image_id.clone(),
                    running_since,
                    id,
                    ended: record.ended().map(end),
                };
                (name.clone(), kept)
            })
            .collect();
        let mut pod = pod.clone();
        // The version changes with every write of anybody; it is not kept.
        pod.metadata.resource_version = None;
        pod.metadata.managed_fields.clear();
        Self { pod, start_time: MicroTime(start_time), failure, containers }
    }

    /// The records with which the pod comes back: what ran has been killed.
    #[must_use]
    pub fn after_reboot(&self, clock: &Clock) -> Records {
        let (now, at) = (clock.now(), clock.monotonic());
        self.containers
            .iter()
            .map(|(name, kept)| {
                let mut record = Record {
                    restarts: kept.restarts,
                    image_id: kept.image_id.clone(),
                    ..Record::default()
                };
                if let Some(started_at) = &kept.running_since {
                    record.state = State::Terminated(Ended {
                        exit_code: KILLED,
                        signal: None,
                        reason: "Unknown".into(),
                        message: String::new(),
                        started_at: Some(started_at.0),
                        finished_at: now,
                        at,
                        id: kept.id.clone(),
                    });
                } else if let Some(end) = &kept.ended {
                    record.state = State::Terminated(Ended {
                        exit_code: end.exit_code,
                        signal: end.signal,
                        reason: end.reason.clone(),
                        message: end.message.clone(),
                        started_at: end.started_at.as_ref().map(|t| t.0),
                        finished_at: end.finished_at.0,
                        at,
                        id: end.id.clone(),
                    });
                }
                (name.clone(), record)
            })
            .collect()
    }
}

/// The checkpoints of a node.
pub struct Checkpoints {
    dir: PathBuf,
    /// The hash of what is kept, by uid: a copy of every pod would cost more than it saves.
    last: Mutex<HashMap<String, u64>>,
    hasher: RandomState,
}

impl Checkpoints {
    /// Keeps checkpoints in `dir`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(dir: PathBuf) -> std::io::Result<Self> {
        component_base::files::create_private_dir(&dir)?;
        Ok(Self { dir, last: Mutex::default(), hasher: RandomState::new() })
    }

    fn path(&self, uid: &str) -> PathBuf {
        self.dir.join(format!("{uid}.json"))
    }

    /// Keeps a pod, if it differs from what is kept.
    ///
    /// The file is replaced in one step but not synced: it must outlive this process, not a power failure, after which
    /// the API server knows the pods anyway.
    pub fn save(&self, uid: &str, checkpoint: &PodCheckpoint) {
        let text = match serde_json::to_vec(checkpoint) {
            Ok(text) => text,
            Err(e) => {
                tracing::error!(pod = uid, error = %e, "cannot write a pod's checkpoint");
                return;
            }
        };
        let hash = self.hasher.hash_one(&text);
        let mut last = self.last.lock();
        if last.get(uid) == Some(&hash) {
            return;
        }
        let temporary = self.dir.join(format!("{uid}.new"));
        let written = std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, self.path(uid)));
        match written {
            Ok(()) => {
                last.insert(uid.to_owned(), hash);
            }
            Err(e) => tracing::error!(pod = uid, error = %e, "cannot keep a pod's checkpoint"),
        }
    }

    /// Forgets a pod.
    pub fn remove(&self, uid: &str) {
        self.last.lock().remove(uid);
        if let Err(e) = std::fs::remove_file(self.path(uid))
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::error!(pod = uid, error = %e, "cannot remove a pod's checkpoint");
        }
    }

    /// Reads all checkpoints; one that cannot be read is skipped, with an error in the log.
    #[must_use]
    pub fn load(&self) -> Vec<PodCheckpoint> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .filter_map(|path| {
                let read = std::fs::read(&path).map_err(|e| e.to_string());
                let parsed = read.and_then(|t| {
                    serde_json::from_slice::<PodCheckpoint>(&t).map_err(|e| e.to_string())
                });
                parsed
                    .inspect_err(|e| {
                        tracing::error!(path = %path.display(), error = %e, "skipping a checkpoint");
                    })
                    .ok()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    const STARTED: Timestamp = Timestamp::constant(1_700_000_000, 123_456_000);

    fn ended(exit_code: i32) -> Ended {
        Ended {
            exit_code,
            signal: Some(9),
            reason: "Error".into(),
            message: "why".into(),
            started_at: Some(STARTED),
            finished_at: STARTED,
            at: Duration::from_secs(7),
            id: "containerd://0".into(),
        }
    }

    fn pod(uid: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": uid, "resourceVersion": "7",
                         "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30},
            "spec": {"containers": [{"name": "c"}]},
            "status": {"phase": "Running"},
        }))
        .unwrap()
    }

    /// Keeps a record, reads it in a new process, and gives what comes back.
    fn reboot(record: Record) -> Record {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::from([("c".to_owned(), record)]);
        let kept = PodCheckpoint::of(&pod("u"), &records, STARTED, Some(Failure::NodeShutdown));
        Checkpoints::open(dir.path().to_owned()).unwrap().save("u", &kept);
        let mut loaded = Checkpoints::open(dir.path().to_owned()).unwrap().load();
        assert_eq!(loaded.len(), 1);
        let loaded = loaded.remove(0);
        assert_eq!(loaded, kept);
        assert_eq!(loaded.start_time.0, STARTED);
        assert_eq!(loaded.failure, Some(Failure::NodeShutdown));
        assert_eq!(loaded.pod.metadata.deletion_grace_period_seconds, Some(30));
        assert_eq!(loaded.pod.metadata.resource_version, None);
        let (clock, _) = Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
        loaded.after_reboot(&clock).get("c").unwrap().clone()
    }

    #[test]
    fn what_ran_was_killed_and_what_had_ended_stays_so() {
        let check = |record: Record, expected: Record| assert_eq!(reboot(record), expected);
        let (begun, restarts, image_id) = (true, 4, "sha256:1".to_owned());
        let kept = Record { restarts, image_id, ..Record::default() };
        check(Record { begun, ..kept.clone() }, kept.clone());
        let at = Duration::ZERO;
        let came_back = Ended { at, ..ended(3) };
        check(
            Record { begun, state: State::Terminated(ended(3)), ..kept.clone() },
            Record { state: State::Terminated(came_back.clone()), ..kept.clone() },
        );
        // One that was just being made again had ended before.
        check(
            Record { begun, last: Some(ended(3)), ..kept.clone() },
            Record { state: State::Terminated(came_back), ..kept.clone() },
        );
        let running = State::Running { started_at: STARTED, id: "containerd://1".into() };
        let killed = Ended {
            exit_code: KILLED,
            signal: None,
            reason: "Unknown".into(),
            message: String::new(),
            started_at: Some(STARTED),
            finished_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            at,
            id: "containerd://1".into(),
        };
        check(
            Record { begun, state: running, last: Some(ended(3)), ready: true, ..kept.clone() },
            Record { state: State::Terminated(killed), ..kept },
        );
    }

    #[test]
    fn files_are_written_when_they_differ_and_broken_ones_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(dir.path().to_owned()).unwrap();
        let file = dir.path().join("u.json");
        let save = |restarts: i32| {
            let records = Records::from([("c".into(), Record { restarts, ..Record::default() })]);
            checkpoints.save("u", &PodCheckpoint::of(&pod("u"), &records, STARTED, None));
        };
        save(1);
        std::fs::remove_file(&file).unwrap();
        save(1);
        assert!(!file.exists(), "the same is not written twice");
        save(2);
        assert!(file.exists());
        std::fs::write(dir.path().join("broken.json"), "{").unwrap();
        std::fs::write(dir.path().join("u.new"), "half").unwrap();
        assert_eq!(checkpoints.load().len(), 1);
        checkpoints.remove("u");
        checkpoints.remove("u");
        assert_eq!(checkpoints.load().len(), 0);
    }
}
