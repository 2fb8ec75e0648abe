//! The values that a flag or an argument may have: names of the cluster's objects, contexts, formats.
//!
//! [`ARGUMENTS`] says per command what its arguments are. Whatever goes wrong on the way (no cluster, no right) gives
//! no candidates: a shell has no place for errors.

use std::time::Duration;

use apimachinery::resource::{self, ResourceInfo};
use client::ListOptions;

use super::{Candidate, Directive};
use crate::{
    context::Context,
    pods::{Order, choose},
    resources::{Selection, fetch, resolve_type},
};

/// What the arguments of a command are.
#[derive(Clone, Copy, Debug)]
enum Arguments {
    /// A type and names, or `TYPE/NAME`; of all types.
    Objects,
    /// The same, of these types.
    ObjectsOf(&'static [&'static str]),
    /// Pods, or workloads by `TYPE/NAME`; then a container.
    Pods,
    /// One name of this type.
    One(&'static str),
    /// One entry of the kubeconfig.
    Entry(Entry),
    /// One of these words.
    Words(&'static [&'static str]),
}

/// Lists of a kubeconfig.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Context,
    Cluster,
    User,
}

const ARGUMENTS: &[(&str, Arguments)] = &[
    ("annotate", Arguments::Objects),
    ("attach", Arguments::Pods),
    ("completion", Arguments::Words(&["bash", "fish", "powershell", "zsh"])),
    ("config delete-cluster", Arguments::Entry(Entry::Cluster)),
    ("config delete-context", Arguments::Entry(Entry::Context)),
    ("config delete-user", Arguments::Entry(Entry::User)),
    ("config rename-context", Arguments::Entry(Entry::Context)),
    ("config set-context", Arguments::Entry(Entry::Context)),
    ("config use-context", Arguments::Entry(Entry::Context)),
    ("cordon", Arguments::One("nodes")),
    ("delete", Arguments::Objects),
    ("describe", Arguments::Objects),
    ("doctor", Arguments::ObjectsOf(&["service", "ingress", "pod", "node"])),
    ("drain", Arguments::One("nodes")),
    ("edit", Arguments::Objects),
    ("exec", Arguments::Pods),
    ("explain-schedule", Arguments::One("pods")),
    (
        "expose",
        Arguments::ObjectsOf(&[
            "pod",
            "service",
            "replicationcontroller",
            "deployment",
            "replicaset",
        ]),
    ),
    ("get", Arguments::Objects),
    ("label", Arguments::Objects),
    ("logs", Arguments::Pods),
    ("node rules", Arguments::One("nodes")),
    ("patch", Arguments::Objects),
    ("port-forward", Arguments::Pods),
    ("rollout history", Arguments::ObjectsOf(ROLLED_OUT)),
    ("rollout pause", Arguments::ObjectsOf(&["deployment"])),
    ("rollout restart", Arguments::ObjectsOf(ROLLED_OUT)),
    ("rollout resume", Arguments::ObjectsOf(&["deployment"])),
    ("rollout status", Arguments::ObjectsOf(ROLLED_OUT)),
    ("rollout undo", Arguments::ObjectsOf(ROLLED_OUT)),
    (
        "scale",
        Arguments::ObjectsOf(&["deployment", "replicaset", "replicationcontroller", "statefulset"]),
    ),
    (
        "set image",
        Arguments::ObjectsOf(&[
            "daemonsets",
            "deployments",
            "pods",
            "cronjobs",
            "replicasets",
            "replicationcontrollers",
            "statefulsets",
        ]),
    ),
    ("taint", Arguments::ObjectsOf(&["node"])),
    ("top node", Arguments::One("nodes")),
    ("top pod", Arguments::One("pods")),
    ("trace", Arguments::Pods),
    ("uncordon", Arguments::One("nodes")),
];

const ROLLED_OUT: &[&str] = &["deployment", "daemonset", "statefulset"];

/// What may stand before the slash where pods are meant.
const WITH_PODS: &[&str] = &[
    "daemonsets/",
    "deployments/",
    "pods/",
    "jobs/",
    "replicasets/",
    "replicationcontrollers/",
    "services/",
    "statefulsets/",
];

const FORMATS: &[&str] = &[
    "json",
    "yaml",
    "name",
    "go-template",
    "go-template-file",
    "template",
    "templatefile",
    "jsonpath",
    "jsonpath-as-json",
    "jsonpath-file",
];
const FORMATS_OF_GET: &[&str] = &["custom-columns", "custom-columns-file", "wide"];

/// How long the cluster is asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who asks for values, and about what.
pub(super) struct Values<'a> {
    pub(super) context: &'a Context,
    /// `rollout status`.
    pub(super) command: String,
    /// The arguments before the one that is asked for.
    pub(super) arguments: &'a [String],
}

type Found = (Vec<Candidate>, Directive);

fn nothing() -> Found {
    (Vec::new(), Directive::NO_FILES)
}

fn starting(words: impl IntoIterator<Item = String>, start: &str) -> Vec<Candidate> {
    let words = words.into_iter().filter(|word| word.starts_with(start));
    words.map(Candidate::plain).collect()
}

fn among(words: &[&str], start: &str) -> Vec<Candidate> {
    starting(words.iter().map(|word| (*word).to_owned()), start)
}

impl Values<'_> {
    pub(super) async fn of_flag(&self, flag: &str, start: &str) -> Found {
        let found = match flag {
            "namespace" => starting(self.names("namespaces").await, start),
            "context" => starting(self.entries(Entry::Context), start),
            "cluster" => starting(self.entries(Entry::Cluster), start),
            "user" => starting(self.entries(Entry::User), start),
            "protocol" if self.command == "trace" => among(&["tcp", "udp"], start),
            "container" => starting(self.containers().await, start),
            "filename" => {
                let directive = Directive { extensions: true, ..Directive::DEFAULT };
                return (among(&["json", "yaml", "yml"], ""), directive);
            }
            "output" => {
                let mut words = FORMATS.to_vec();
                match self.command.as_str() {
                    "get" => words.extend(FORMATS_OF_GET),
                    "version" | "edit" => words = vec!["json", "yaml"],
                    "trace" => words = vec!["json", "mermaid"],
                    "doctor" => words = vec!["json"],
                    "node rules" => words = vec!["iptables-save", "json", "nft"],
                    _ => {}
                }
                among(&words, start)
            }
            _ => return (Vec::new(), Directive::DEFAULT),
        };
        (found, Directive::NO_FILES)
    }

    pub(super) async fn of_argument(&self, start: &str) -> Found {
        let kind = ARGUMENTS.iter().find(|(command, _)| *command == self.command);
        let Some((_, kind)) = kind else { return (Vec::new(), Directive::DEFAULT) };
        let found = match kind {
            Arguments::Objects => return self.objects(&self.types().await, start).await,
            Arguments::ObjectsOf(types) => {
                let types: Vec<String> = types.iter().map(|name| (*name).to_owned()).collect();
                return self.objects(&types, start).await;
            }
            Arguments::Pods => return self.pods(start).await,
            Arguments::One(_) | Arguments::Entry(_) | Arguments::Words(_)
                if !self.arguments.is_empty() =>
            {
                return nothing();
            }
            Arguments::One(name_of_type) => self.names(name_of_type).await,
            Arguments::Entry(entry) => self.entries(*entry),
            Arguments::Words(words) => words.iter().map(|word| (*word).to_owned()).collect(),
        };
        (starting(found, start), Directive::NO_FILES)
    }

    /// `TYPE NAME…` and `TYPE/NAME…`.
    async fn objects(&self, types: &[String], start: &str) -> Found {
        let Some(first) = self.arguments.first() else {
            if let Some((name_of_type, name)) = start.split_once('/') {
                return (self.with_type(name_of_type, name).await, Directive::NO_FILES);
            }
            // One type of several: those before the comma stay.
            let (before, last) = start.rsplit_once(',').unwrap_or(("", start));
            let comma = if start.contains(',') { "," } else { "" };
            let words = types.iter().filter(|name| name.starts_with(last));
            let words = words.map(|name| format!("{before}{comma}{name}"));
            return (starting(words, ""), Directive::NO_FILES);
        };
        if first.contains('/') {
            let Some((name_of_type, name)) = start.split_once('/') else {
                let words = types.iter().map(|name| format!("{name}/"));
                let directive = Directive { no_space: true, ..Directive::NO_FILES };
                return (starting(words, start), directive);
            };
            return (self.with_type(name_of_type, name).await, Directive::NO_FILES);
        }
        let mut names = self.names(first).await;
        names.retain(|name| !self.arguments[1..].contains(name));
        (starting(names, start), Directive::NO_FILES)
    }

    async fn with_type(&self, name_of_type: &str, start: &str) -> Vec<Candidate> {
        let mut names = self.names(name_of_type).await;
        names.retain(|name| name.starts_with(start));
        let words = names.into_iter().map(|name| format!("{name_of_type}/{name}"));
        starting(words.filter(|word| !self.arguments.contains(word)), "")
    }

    async fn pods(&self, start: &str) -> Found {
        if !self.arguments.is_empty() {
            let second = self.arguments.len() == 1 && self.command == "logs";
            let containers = if second { self.containers().await } else { Vec::new() };
            return (starting(containers, start), Directive::NO_FILES);
        }
        if let Some((name_of_type, name)) = start.split_once('/') {
            return (self.with_type(name_of_type, name).await, Directive::NO_FILES);
        }
        let mut found = starting(self.names("pods").await, start);
        let workloads = among(WITH_PODS, start);
        let only_types = found.is_empty() && !workloads.is_empty();
        found.extend(workloads);
        (found, Directive { no_space: only_types, ..Directive::NO_FILES })
    }

    /// The containers of the pod that the first argument names.
    async fn containers(&self) -> Vec<String> {
        let Some(first) = self.arguments.first() else { return Vec::new() };
        let typed = if first.contains('/') { first.clone() } else { format!("pods/{first}") };
        let selection = Selection { arguments: vec![typed], ..Selection::default() };
        let asked = async {
            let targets = selection.targets(self.context).await.ok()?;
            let items = fetch(self.context, targets.targets.first()?, 0).await.ok()?;
            let item = items.first()?;
            let chosen =
                choose(self.context, item, Order::ForExec, Duration::ZERO, "no pods of").await;
            let spec = chosen.ok()?.pod.spec;
            let init = spec.init_containers.into_iter().map(|container| container.name);
            let containers = spec.containers.into_iter().map(|container| container.name);
            Some(init.chain(containers).collect())
        };
        self.in_time(asked).await
    }

    /// The types whose objects can be read, by group.
    async fn types(&self) -> Vec<String> {
        let asked = async {
            let mut found = crate::commands::version::served(self.context).await.ok()?;
            found.retain(|info| info.has_verb("get"));
            found.sort_by_key(|info| (info.group, info.resource));
            Some(found.into_iter().map(ResourceInfo::group_resource).collect())
        };
        self.in_time(asked).await
    }

    /// The names of a type's objects.
    async fn names(&self, name_of_type: &str) -> Vec<String> {
        let asked = async {
            let info = match resource::resolve(name_of_type).filter(|info| info.served) {
                Some(info) => info,
                None => resolve_type(self.context, name_of_type).await.ok()?,
            };
            let namespace =
                if info.namespaced { self.context.namespace().ok()? } else { String::new() };
            let client = self.context.client().ok()?;
            let list = client.list_objects(info, &namespace, &ListOptions::default()).await.ok()?;
            Some(list.items.iter().map(|object| object.name().to_owned()).collect())
        };
        self.in_time(asked).await
    }

    async fn in_time(&self, asked: impl Future<Output = Option<Vec<String>>>) -> Vec<String> {
        let answer = self.context.clock.timeout(PATIENCE, asked).await;
        answer.ok().flatten().unwrap_or_default()
    }

    fn entries(&self, entry: Entry) -> Vec<String> {
        let Ok(config) = self.context.kubeconfig() else { return Vec::new() };
        let mut names: Vec<String> = match entry {
            Entry::Context => config.contexts.iter().map(|entry| entry.name.clone()).collect(),
            Entry::Cluster => config.clusters.iter().map(|entry| entry.name.clone()).collect(),
            Entry::User => config.users.iter().map(|entry| entry.name.clone()).collect(),
        };
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_about_a_command_in_order() {
        assert!(ARGUMENTS.is_sorted_by_key(|(command, _)| *command));
        for (command, _) in ARGUMENTS {
            let words: Vec<String> = command.split(' ').map(ToOwned::to_owned).collect();
            let (path, rest) = crate::cli::descend(&words);
            assert!(rest.is_empty() && path.len() == words.len(), "{command}");
        }
    }
}
