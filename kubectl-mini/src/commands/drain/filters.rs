//! Which pods of a node go when it is drained, and which stop it.
//!
//! The filters come one after the other, as kubectl has them: long deleted, of a DaemonSet, mirror pods, with local
//! storage, without a controller. The first that keeps a pod decides; else the last one has the last word, so that its
//! silence takes back an earlier warning.

use apimachinery::{object::Object, status::Status};
use jiff::Timestamp;

/// What a drain was told to put up with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filters {
    pub(super) force: bool,
    pub(super) ignore_daemon_sets: bool,
    pub(super) delete_empty_dir_data: bool,
    /// Seconds; 0: never.
    pub(super) skip_deleted_for: u64,
    pub(super) now: Timestamp,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Goes,
    GoesWithWarning(String),
    Stays,
    StaysWithWarning(String),
    Refuses(String),
}

impl Verdict {
    pub(super) fn goes(&self) -> bool {
        matches!(self, Self::Goes | Self::GoesWithWarning(_))
    }
}

/// A pod and its lot.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) pod: Object,
    pub(super) verdict: Verdict,
}

const DAEMON_SET_REFUSED: &str = "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
const DAEMON_SET_IGNORED: &str = "ignoring DaemonSet-managed Pods";
const STORAGE_REFUSED: &str = "Pods with local storage (use --delete-emptydir-data to override)";
const STORAGE_DELETED: &str = "deleting Pods with local storage";
const UNMANAGED_REFUSED: &str =
    "cannot delete Pods that declare no controller (use --force to override)";
const UNMANAGED_DELETED: &str = "deleting Pods that declare no controller";
const MIRROR: &str = "kubernetes.io/config.mirror";

impl Filters {
    /// `daemon_set` is the look at the DaemonSet that the pod belongs to; `None`: it belongs to none.
    pub(super) fn judge(&self, pod: &Object, daemon_set: Option<&Result<(), Status>>) -> Verdict {
        let filters = [
            self.deleted(pod),
            self.of_daemon_set(pod, daemon_set),
            if pod.annotation(MIRROR).is_some() { Verdict::Stays } else { Verdict::Goes },
            self.with_local_storage(pod),
            self.without_controller(pod),
        ];
        let mut last = Verdict::Goes;
        for verdict in filters {
            last = verdict;
            if !last.goes() {
                break;
            }
        }
        last
    }

    fn deleted(&self, pod: &Object) -> Verdict {
        if deleted_for(pod, self.now, self.skip_deleted_for) {
            Verdict::Stays
        } else {
            Verdict::Goes
        }
    }

    fn of_daemon_set(&self, pod: &Object, daemon_set: Option<&Result<(), Status>>) -> Verdict {
        match daemon_set {
            None => Verdict::Goes,
            Some(_) if is_finished(pod) => Verdict::Goes,
            Some(Err(missing)) if missing.is_not_found() && self.force => {
                Verdict::GoesWithWarning(missing.message.clone())
            }
            Some(Err(error)) => Verdict::Refuses(error.message.clone()),
            Some(Ok(())) if self.ignore_daemon_sets => {
                Verdict::StaysWithWarning(DAEMON_SET_IGNORED.to_owned())
            }
            Some(Ok(())) => Verdict::Refuses(DAEMON_SET_REFUSED.to_owned()),
        }
    }

    fn with_local_storage(&self, pod: &Object) -> Verdict {
        let volumes = pod.get_list(&["spec", "volumes"]);
        let local = volumes.iter().any(|volume| volume.get("emptyDir").is_some());
        if !local || is_finished(pod) {
            Verdict::Goes
        } else if self.delete_empty_dir_data {
            Verdict::GoesWithWarning(STORAGE_DELETED.to_owned())
        } else {
            Verdict::Refuses(STORAGE_REFUSED.to_owned())
        }
    }

    fn without_controller(&self, pod: &Object) -> Verdict {
        if is_finished(pod) || pod.controller().is_some() {
            Verdict::Goes
        } else if self.force {
            Verdict::GoesWithWarning(UNMANAGED_DELETED.to_owned())
        } else {
            Verdict::Refuses(UNMANAGED_REFUSED.to_owned())
        }
    }
}

fn is_finished(pod: &Object) -> bool {
    matches!(pod.get_str(&["status", "phase"]), "Succeeded" | "Failed")
}

/// Whether a pod's deletion was due more than so many seconds ago; never for 0.
pub(super) fn deleted_for(pod: &Object, now: Timestamp, seconds: u64) -> bool {
    let Some(deleted) = pod.deletion_timestamp().filter(|_| seconds > 0) else { return false };
    let passed = now.duration_since(deleted.0).as_secs();
    u64::try_from(passed).is_ok_and(|passed| passed > seconds)
}

/// The pods of one message, in order of their messages' first appearance.
fn grouped<'a>(
    judged: &'a [Judged],
    message_of: impl Fn(&'a Verdict) -> Option<&'a str>,
) -> Vec<(&'a str, String)> {
    let mut groups: Vec<(&str, String)> = Vec::new();
    for Judged { pod, verdict } in judged {
        let Some(message) = message_of(verdict) else { continue };
        let name = format!("{}/{}", pod.namespace(), pod.name());
        match groups.iter_mut().find(|(known, _)| *known == message) {
            Some((_, names)) => *names += &format!(", {name}"),
            None => groups.push((message, name)),
        }
    }
    groups
}

/// Why the drain stops.
pub(super) fn refusals(judged: &[Judged]) -> Vec<String> {
    let groups = grouped(judged, |verdict| match verdict {
        Verdict::Refuses(message) => Some(message),
        _ => None,
    });
    groups.into_iter().map(|(message, pods)| format!("cannot delete {message}: {pods}")).collect()
}

/// What is worth a warning.
pub(super) fn warnings(judged: &[Judged]) -> String {
    let groups = grouped(judged, |verdict| match verdict {
        Verdict::GoesWithWarning(message) | Verdict::StaysWithWarning(message) => Some(message),
        _ => None,
    });
    let texts: Vec<String> =
        groups.into_iter().map(|(message, pods)| format!("{message}: {pods}")).collect();
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use apimachinery::resource;
    use serde_json::{Value, json};

    use super::*;

    const STRICT: Filters = Filters {
        force: false,
        ignore_daemon_sets: false,
        delete_empty_dir_data: false,
        skip_deleted_for: 0,
        now: Timestamp::UNIX_EPOCH,
    };

    fn pod(parts: &Value) -> Object {
        let mut pod =
            json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {}, "status": {}});
        apimachinery::patch::merge::apply(&mut pod, parts).unwrap();
        Object::from_value(pod).unwrap()
    }

    fn owned() -> Value {
        json!({"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true}]}})
    }

    #[test]
    fn pods_go_stay_or_stop_the_drain() {
        let lenient = Filters {
            force: true,
            ignore_daemon_sets: true,
            delete_empty_dir_data: true,
            ..STRICT
        };
        let check = |parts: Value, strict: Verdict, forced: Verdict| {
            let pod = pod(&parts);
            assert_eq!(STRICT.judge(&pod, None), strict, "{pod:?}");
            assert_eq!(lenient.judge(&pod, None), forced, "{pod:?}");
        };
        let refuses = |text: &str| Verdict::Refuses(text.to_owned());
        let warns = |text: &str| Verdict::GoesWithWarning(text.to_owned());
        check(owned(), Verdict::Goes, Verdict::Goes);
        check(json!({}), refuses(UNMANAGED_REFUSED), warns(UNMANAGED_DELETED));
        check(json!({"status": {"phase": "Failed"}}), Verdict::Goes, Verdict::Goes);
        check(json!({"metadata": {"annotations": {MIRROR: "x"}}}), Verdict::Stays, Verdict::Stays);
        let mut stored = owned();
        stored["spec"] = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
        // The last filter has nothing to say of a pod with a controller, and so takes the warning back.
        check(stored, refuses(STORAGE_REFUSED), Verdict::Goes);
    }

    #[test]
    fn daemon_sets_pods_stay() {
        let pod = pod(&owned());
        let missing = || Err(Status::not_found(&resource::DEPLOYMENTS, "ds"));
        let check = |filters: Filters, found: Result<(), Status>, expected: Verdict| {
            assert_eq!(filters.judge(&pod, Some(&found)), expected);
        };
        check(STRICT, Ok(()), Verdict::Refuses(DAEMON_SET_REFUSED.to_owned()));
        check(
            Filters { ignore_daemon_sets: true, ..STRICT },
            Ok(()),
            Verdict::StaysWithWarning(DAEMON_SET_IGNORED.to_owned()),
        );
        check(STRICT, missing(), Verdict::Refuses("deployments.apps \"ds\" not found".to_owned()));
        check(Filters { force: true, ..STRICT }, missing(), Verdict::Goes);
    }

    #[test]
    fn long_deleted_pods_are_left_alone() {
        let pod = pod(&json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:00Z"}}));
        let after = |seconds| Timestamp::from_second(seconds).unwrap();
        assert!(!deleted_for(&pod, after(10), 0));
        assert!(!deleted_for(&pod, after(10), 10));
        assert!(deleted_for(&pod, after(11), 10));
        let filters = Filters { skip_deleted_for: 5, now: after(6), ..STRICT };
        assert_eq!(filters.judge(&pod, None), Verdict::Stays);
    }

    #[test]
    fn messages_gather_their_pods() {
        let judged = |name: &str, verdict: Verdict| Judged {
            pod: pod(&json!({"metadata": {"name": name}})),
            verdict,
        };
        let refused = |text: &str| Verdict::Refuses(text.to_owned());
        let all = [
            judged("a", refused("x")),
            judged("b", Verdict::GoesWithWarning("w".to_owned())),
            judged("c", refused("x")),
            judged("d", Verdict::StaysWithWarning("v".to_owned())),
        ];
        assert_eq!(refusals(&all), ["cannot delete x: ns/a, ns/c"]);
        assert_eq!(warnings(&all), "w: ns/b; v: ns/d");
    }
}
