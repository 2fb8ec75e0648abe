//! Who owns whom, by uid.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use apimachinery::{
    api::meta::{ObjectMeta, OwnerReference},
    object::ObjectKey,
    resource::{self, ResourceInfo},
};

/// The finalizer of a foreground deletion.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of a deletion that orphans dependents.
pub const ORPHAN: &str = "orphan";

/// An object, or an owner that is only known from its dependents.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its kind; None for an owner of a kind that is not known here.
    pub info: Option<&'static ResourceInfo>,
    /// Namespace and name.
    pub key: ObjectKey,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// The uids of what it owns.
    pub dependents: BTreeSet<String>,
    /// It is being deleted in the foreground.
    pub foreground: bool,
    /// It is being deleted and orphans its dependents.
    pub orphaning: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// It has been seen itself, not only in references to it.
    pub seen: bool,
}

/// The graph.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<String, Node>,
    /// Owners that do not exist where they were looked for: uid and namespace. An object of the same uid may be elsewhere.
    absent: HashSet<(String, String)>,
}

/// What to look at after a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    /// Whether this object should go: an owner of it is gone or going.
    Examine(String),
    /// Whether this owner, deleted in the foreground, has dependents left.
    Foreground(String),
    /// This owner's dependents are to forget it.
    Orphan(String),
    /// Other kinds may be served than before.
    Kinds,
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Examine(uid) => write!(f, "examine {uid}"),
            Self::Foreground(uid) => write!(f, "foreground {uid}"),
            Self::Orphan(uid) => write!(f, "orphan {uid}"),
            Self::Kinds => f.write_str("kinds"),
        }
    }
}

impl Graph {
    /// A node.
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// Whether an owner is known not to exist in a namespace (empty: cluster-scoped).
    #[must_use]
    pub fn is_absent(&self, uid: &str, namespace: &str) -> bool {
        self.absent.contains(&(uid.to_owned(), namespace.to_owned()))
    }

    /// Remembers that an owner does not exist there.
    pub fn set_absent(&mut self, uid: &str, namespace: &str) {
        if self.absent.len() > 10_000 {
            self.absent.clear();
        }
        self.absent.insert((uid.to_owned(), namespace.to_owned()));
    }

    /// The owner that an object names in another namespace than the one where it really is.
    #[must_use]
    pub fn misplaced_owners(&self, uid: &str) -> Vec<OwnerReference> {
        let Some(node) = self.nodes.get(uid) else { return Vec::new() };
        let elsewhere = |owner: &&OwnerReference| {
            self.nodes.get(&owner.uid).is_some_and(|found| {
                let namespace = &found.key.namespace;
                found.seen && !namespace.is_empty() && *namespace != node.key.namespace
            })
        };
        node.owners.iter().filter(elsewhere).cloned().collect()
    }

    /// Takes in a new or changed object.
    pub fn apply(&mut self, info: &'static ResourceInfo, meta: &ObjectMeta) -> Vec<Work> {
        let uid = meta.uid.clone().unwrap_or_default();
        let deleting = meta.deletion_timestamp.is_some();
        let has = |finalizer: &str| deleting && meta.finalizers.iter().any(|f| f == finalizer);
        let (foreground, orphaning) = (has(FOREGROUND), has(ORPHAN));
        let former = self.nodes.get(&uid);
        let was_seen = former.is_some_and(|n| n.seen);
        let former_owners: Vec<OwnerReference> =
            former.map(|n| n.owners.clone()).unwrap_or_default();
        let dependents = former.map(|n| n.dependents.clone()).unwrap_or_default();
        let (was_foreground, was_orphaning) =
            former.map_or((false, false), |n| (n.foreground, n.orphaning));
        let node = Node {
            info: Some(info),
            key: ObjectKey {
                namespace: meta.namespace.clone().unwrap_or_default(),
                name: meta.name.clone().unwrap_or_default(),
            },
            owners: meta.owner_references.clone(),
            dependents,
            foreground,
            orphaning,
            deleting,
            seen: true,
        };
        self.absent.remove(&(uid.clone(), node.key.namespace.clone()));
        let mut work = Vec::new();
        for gone in former_owners.iter().filter(|o| !node.owners.iter().any(|n| n.uid == o.uid)) {
            self.unlink(&gone.uid, &uid, &mut work);
        }
        for owner in &node.owners {
            let doubtful = self.link(owner, &node.key, &uid);
            // An owner that nobody has seen may not exist, nor one that is elsewhere: find out.
            if doubtful && (!was_seen || !former_owners.contains(owner)) {
                work.push(Work::Examine(uid.clone()));
            }
        }
        if was_seen && former_owners != node.owners {
            // A reference may have lost what blocked its owner's deletion.
            work.extend(node.owners.iter().filter_map(|o| {
                self.nodes
                    .get(&o.uid)
                    .filter(|n| n.foreground)
                    .map(|_| Work::Foreground(o.uid.clone()))
            }));
        }
        if foreground && !was_foreground {
            work.push(Work::Foreground(uid.clone()));
        }
        if orphaning && !was_orphaning {
            work.push(Work::Orphan(uid.clone()));
        }
        let owner_goes = node.owners.iter().any(|o| {
            let namespace = node.key.namespace.clone();
            self.nodes.get(&o.uid).is_some_and(|n| n.foreground)
                || self.absent.contains(&(o.uid.clone(), namespace))
                || self.absent.contains(&(o.uid.clone(), String::new()))
        });
        if !was_seen {
            // Dependents that named it before it was seen may have meant it to be elsewhere.
            let here = &node.key.namespace;
            let misled = node.dependents.iter().filter(|dependent| {
                let found = self.nodes.get(*dependent);
                !here.is_empty() && found.is_some_and(|n| n.key.namespace != *here)
            });
            work.extend(misled.cloned().map(Work::Examine));
        }
        if owner_goes {
            work.push(Work::Examine(uid.clone()));
        }
        self.nodes.insert(uid, node);
        work.sort();
        work.dedup();
        work
    }

    /// Takes an object out; its dependents are to be examined.
    pub fn remove(&mut self, uid: &str) -> Vec<Work> {
        let mut work = Vec::new();
        let Some(node) = self.nodes.remove(uid) else { return work };
        for owner in &node.owners {
            self.unlink(&owner.uid, uid, &mut work);
        }
        if !node.dependents.is_empty() {
            self.set_absent(uid, &node.key.namespace);
            work.extend(node.dependents.into_iter().map(Work::Examine));
        }
        work
    }

    /// Forgets all objects of a kind that is not served any more.
    pub fn forget(&mut self, info: &'static ResourceInfo) -> Vec<Work> {
        let gone = |node: &Node| node.seen && node.info.is_some_and(|i| std::ptr::eq(i, info));
        let uids: Vec<String> =
            self.nodes.iter().filter(|(_, node)| gone(node)).map(|(uid, _)| uid.clone()).collect();
        uids.iter().flat_map(|uid| self.remove(uid)).collect()
    }

    /// Notes a dependent on its owner; true: the owner itself has not been seen, or is in another namespace.
    fn link(&mut self, owner: &OwnerReference, dependent: &ObjectKey, uid: &str) -> bool {
        let node = self.nodes.entry(owner.uid.clone()).or_insert_with(|| {
            let (group, version) =
                owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
            let info = resource::find_kind(group, version, &owner.kind)
                .or_else(|| resource::dynamic::find_kind(group, version, &owner.kind));
            let namespaced = info.is_none_or(|i| i.namespaced);
            Node {
                info,
                key: ObjectKey {
                    namespace: if namespaced { dependent.namespace.clone() } else { String::new() },
                    name: owner.name.clone(),
                },
                owners: Vec::new(),
                dependents: BTreeSet::new(),
                foreground: false,
                orphaning: false,
                deleting: false,
                seen: false,
            }
        });
        node.dependents.insert(uid.to_owned());
        !node.seen || (!node.key.namespace.is_empty() && node.key.namespace != dependent.namespace)
    }

    fn unlink(&mut self, owner: &str, dependent: &str, work: &mut Vec<Work>) {
        let Some(node) = self.nodes.get_mut(owner) else { return };
        node.dependents.remove(dependent);
        if node.foreground {
            work.push(Work::Foreground(owner.to_owned()));
        }
        if !node.seen && node.dependents.is_empty() {
            self.nodes.remove(owner);
        }
    }

    /// The dependents that hold up an owner's foreground deletion.
    #[must_use]
    pub fn blocking(&self, uid: &str) -> Vec<String> {
        let Some(node) = self.nodes.get(uid) else { return Vec::new() };
        let blocks = |dependent: &&String| {
            self.nodes.get(*dependent).is_some_and(|d| {
                d.owners.iter().any(|o| o.uid == uid && o.block_owner_deletion == Some(true))
            })
        };
        node.dependents.iter().filter(blocks).cloned().collect()
    }

    /// How many objects are known, by kind.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for info in self.nodes.values().filter_map(|n| n.info) {
            *counts.entry(info.resource).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::resource;
    use serde_json::{Value, json};

    use super::*;

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    fn object(uid: &str, owners: &[&str]) -> ObjectMeta {
        let owners: Vec<Value> = owners
            .iter()
            .map(|o| {
                json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": o, "uid": o,
                            "blockOwnerDeletion": true})
            })
            .collect();
        meta(json!({"name": uid, "namespace": "n", "uid": uid, "ownerReferences": owners}))
    }

    #[test]
    fn a_deleted_owner_has_its_dependents_examined() {
        let mut graph = Graph::default();
        assert_eq!(graph.apply(&resource::REPLICA_SETS, &object("rs", &[])), []);
        assert_eq!(graph.apply(&resource::PODS, &object("p", &["rs"])), []);
        assert_eq!(graph.remove("rs"), [Work::Examine("p".into())]);
        assert!(graph.is_absent("rs", "n") && !graph.is_absent("rs", "m"));
        assert_eq!(graph.remove("p"), []);
    }

    #[test]
    fn an_owner_that_was_never_seen_is_looked_for() {
        let mut graph = Graph::default();
        assert_eq!(
            graph.apply(&resource::PODS, &object("p", &["rs"])),
            [Work::Examine("p".into())]
        );
        graph.apply(&resource::REPLICA_SETS, &object("rs", &[]));
        assert_eq!(graph.apply(&resource::PODS, &object("q", &["rs"])), []);
    }

    #[test]
    fn a_foreground_deletion_waits_for_blocking_dependents() {
        let mut graph = Graph::default();
        graph.apply(&resource::REPLICA_SETS, &object("rs", &[]));
        graph.apply(&resource::PODS, &object("p", &["rs"]));
        let mut deleting = object("rs", &[]);
        deleting.deletion_timestamp = Some(apimachinery::time::Time(jiff::Timestamp::UNIX_EPOCH));
        deleting.finalizers = vec![FOREGROUND.into()];
        assert_eq!(
            graph.apply(&resource::REPLICA_SETS, &deleting),
            [Work::Foreground("rs".into())]
        );
        assert_eq!(graph.blocking("rs"), ["p"]);
        assert_eq!(graph.remove("p"), [Work::Foreground("rs".into())]);
        assert!(graph.blocking("rs").is_empty());
    }

    #[test]
    fn a_changed_reference_moves_the_dependent() {
        let mut graph = Graph::default();
        graph.apply(&resource::REPLICA_SETS, &object("a", &[]));
        graph.apply(&resource::REPLICA_SETS, &object("b", &[]));
        graph.apply(&resource::PODS, &object("p", &["a"]));
        graph.apply(&resource::PODS, &object("p", &["b"]));
        assert_eq!(graph.remove("a"), []);
        assert_eq!(graph.remove("b"), [Work::Examine("p".into())]);
    }
}
