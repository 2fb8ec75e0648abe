//! `kubectl drain`.
//!
//! [`filters`] decides which pods of a node go; this part carries it out: all pods at once by eviction, which the
//! server refuses with 429 as long as a PodDisruptionBudget would be violated, or by deletion where there is no
//! eviction. Then it waits until they are gone. A node that cannot be drained does not keep the next from its turn.

mod filters;

use std::time::Duration;

use apimachinery::{
    field::go_quote,
    labels::Selector,
    object::Object,
    resource::{self, PODS},
    status::Status,
};
use client::DeleteOptions;
use futures::future::join_all;
use serde_json::json;

use self::filters::{Filters, Judged};
use super::cordon::{check_words, nodes, set_unschedulable};
use crate::{
    changing::{DryRun, DryRunFlag, Place, Reporter, Writer},
    cli::{
        Command,
        values::{Signed, format_duration, parse_duration, parse_i64},
    },
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::{Item, Target, fetch},
};

/// Empties nodes.
#[derive(clap::Args, Clone, Debug)]
pub struct Drain {
    /// The nodes.
    pub arguments: Vec<String>,
    /// How far to go.
    #[command(flatten)]
    pub dry_run: DryRunFlag,
    /// Read large lists in chunks of so many; 0 reads them whole.
    #[arg(long, default_value = "500", value_parser = parse_i64)]
    pub chunk_size: i64,
    /// Go on even if pods use emptyDir volumes, whose contents are lost.
    #[arg(long)]
    pub delete_emptydir_data: bool,
    /// Delete pods instead of evicting them: PodDisruptionBudgets are not asked.
    #[arg(long)]
    pub disable_eviction: bool,
    /// Go on even if there are pods that no controller would make anew.
    #[arg(long)]
    pub force: bool,
    /// Seconds that each pod is given to end; negative: its own.
    #[arg(long, default_value = "-1", value_parser = parse_i64)]
    pub grace_period: i64,
    /// Leave the pods of DaemonSets alone.
    #[arg(long)]
    pub ignore_daemonsets: bool,
    /// Label selector for the pods of the node
    #[arg(long, default_value = "")]
    pub pod_selector: String,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.
    #[arg(long, short = 'l', default_value = "")]
    pub selector: String,
    /// Do not wait for pods whose deletion was asked for more than so many seconds ago; 0 waits for all.
    #[arg(long, default_value = "0", value_parser = parse_i64)]
    pub skip_wait_for_delete_timeout: i64,
    /// How long to wait before giving up; zero waits for ever
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub timeout: Signed,
}

/// Between two attempts to evict a pod that its budget protects.
const RETRY: Duration = Duration::from_secs(5);
/// Between two looks at a pod that is to go.
const LOOK: Duration = Duration::from_secs(1);

impl Command for Drain {
    const NAME: &'static str = "drain";
    const ABOUT: &'static str = "Drain node in preparation for maintenance";
    const USAGE: &'static str = "drain NODE";
    const HELP: &'static str = "Empty a node before work on it.

 The node is cordoned, so that no new pods come, and its pods are evicted: a PodDisruptionBudget may hold an eviction back, which is then tried again every 5 seconds. Pods of DaemonSets stay, as they would be made anew at once; without --ignore-daemonsets they stop the drain. So do pods that no controller would make anew, unless --force is given, and pods with emptyDir volumes, unless --delete-emptydir-data is given.

 The command ends when the pods are gone. 'kubectl-mini uncordon' lets new pods onto the node again.";
    const EXAMPLES: &'static str = "# Empty node \"foo\", pods without a controller included
kubectl-mini drain foo --force

# The same, but stop at pods without a controller, and give each pod 15 minutes to end
kubectl-mini drain foo --grace-period=900";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        check_words(Self::NAME, &self.arguments, &self.selector)?;
        let dry_run = self.dry_run.get(context)?;
        if Selector::parse(&self.pod_selector).is_err() {
            return Err(CommandError::message(
                "--pod-selector=<pod_selector> must be a valid label selector",
            ));
        }
        let nodes = nodes(context, &self.arguments, &self.selector, self.chunk_size).await?;
        set_unschedulable(context, &nodes, dry_run, true).await?;
        let drainer = Drainer { flags: &self, context, dry_run };
        let mut failed: Vec<String> = Vec::new();
        let mut errors = Vec::new();
        for Item { object: node, .. } in &nodes {
            match drainer.drain(node.name()).await {
                Ok(()) => {
                    let reporter = Reporter::new(&OutputFlags::default(), dry_run)?;
                    reporter.report(context, node, "drained")?;
                }
                Err(error) => {
                    context.print_err(&format!(
                        "error: unable to drain node {} due to error: {error}, continuing command...\n",
                        go_quote(node.name())
                    ))?;
                    errors.push(error);
                    failed.push(format!(" {}\n", node.name()));
                }
            }
        }
        if !failed.is_empty() {
            context.print_err("There are pending nodes to be drained:\n")?;
            context.print_err(&failed.concat())?;
        }
        CommandError::gather(errors)
    }
}

struct Drainer<'a> {
    flags: &'a Drain,
    context: &'a Context,
    dry_run: DryRun,
}

impl Drainer<'_> {
    async fn drain(&self, node: &str) -> Result<(), CommandError> {
        let judged = self.judge(node).await?;
        refuse(&judged)?;
        let warnings = filters::warnings(&judged);
        if !warnings.is_empty() {
            self.context.print_err(&format!("Warning: {warnings}\n"))?;
        }
        let pods: Vec<Object> = leaving(judged);
        if self.dry_run == DryRun::Client {
            return pods.iter().try_for_each(|pod| {
                self.context.print(&format!("evicting pod {} (dry run)\n", place_of(pod)))
            });
        }
        let Err(error) = self.remove(pods).await else { return Ok(()) };
        match self.judge(node).await {
            Ok(judged) => {
                let refused = refuse(&judged);
                let pending = leaving(judged);
                if !pending.is_empty() {
                    let names: String =
                        pending.iter().map(|pod| format!("pod/{}\n", pod.name())).collect();
                    self.context.print_err(&format!(
                        "There are pending pods in node {} when an error occurred: {error}\n{names}",
                        go_quote(node)
                    ))?;
                }
                if let Err(refused) = refused {
                    self.tell_unreadable(&refused)?;
                }
            }
            Err(unreadable) => self.tell_unreadable(&unreadable)?,
        }
        Err(error)
    }

    fn tell_unreadable(&self, error: &CommandError) -> Result<(), CommandError> {
        self.context.print_err(&format!(
            "Following errors occurred while getting the list of pods to delete:\n{error}"
        ))
    }

    /// What is to become of the node's pods.
    async fn judge(&self, node: &str) -> Result<Vec<Judged>, CommandError> {
        let target = Target::Collection {
            info: &PODS,
            namespace: String::new(),
            labels: self.flags.pod_selector.clone(),
            fields: format!("spec.nodeName={node}"),
        };
        let pods = fetch(self.context, &target, self.flags.chunk_size).await?;
        let filters = Filters {
            force: self.flags.force,
            ignore_daemon_sets: self.flags.ignore_daemonsets,
            delete_empty_dir_data: self.flags.delete_emptydir_data,
            skip_deleted_for: u64::try_from(self.flags.skip_wait_for_delete_timeout).unwrap_or(0),
            now: self.context.clock.now(),
        };
        let mut judged = Vec::new();
        for Item { object: pod, .. } in pods {
            let daemon_set = self.daemon_set(&pod).await;
            let verdict = filters.judge(&pod, daemon_set.as_ref());
            judged.push(Judged { pod, verdict });
        }
        Ok(judged)
    }

    /// Whether the DaemonSet that a pod belongs to is there; `None`: the pod belongs to none.
    async fn daemon_set(&self, pod: &Object) -> Option<Result<(), Status>> {
        let owner = pod.controller().filter(|owner| owner.kind == "DaemonSet")?;
        let info = resource::find("apps", "v1", "daemonsets")?;
        let found = match self.context.client() {
            Ok(client) => client.get_object(info, pod.namespace(), &owner.name).await,
            Err(_) => return None,
        };
        Some(found.map(drop))
    }

    async fn remove(&self, pods: Vec<Object>) -> Result<(), CommandError> {
        if pods.is_empty() {
            return Ok(());
        }
        let evicts = !self.flags.disable_eviction && PODS.subresource("eviction").is_some();
        if !evicts {
            return self.delete(&pods).await;
        }
        let outcomes = join_all(pods.into_iter().map(|pod| self.evict(pod))).await;
        let errors: Vec<CommandError> = outcomes.into_iter().filter_map(Result::err).collect();
        if errors.is_empty() { Ok(()) } else { Err(CommandError::Several(errors)) }
    }

    /// When the time is over; `None`: never.
    fn deadline(&self) -> Option<Duration> {
        let timeout = self.flags.timeout;
        (timeout != Signed::default()).then(|| {
            let now = self.context.clock.monotonic();
            if timeout.negative { now } else { now + timeout.magnitude }
        })
    }

    fn is_over(&self, deadline: Option<Duration>) -> bool {
        deadline.is_some_and(|deadline| self.context.clock.monotonic() >= deadline)
    }

    async fn evict(&self, first: Object) -> Result<(), CommandError> {
        let deadline = self.deadline();
        let mut pod = first.clone();
        let writer = Writer::new(self.context, "kubectl", self.dry_run)?;
        loop {
            let suffix = if self.dry_run == DryRun::Server { " (server dry run)" } else { "" };
            self.context.print(&format!("evicting pod {}{suffix}\n", place_of(&pod)))?;
            let named = format!("pods/{} -n {}", go_quote(pod.name()), go_quote(pod.namespace()));
            if self.is_over(deadline) {
                return Err(CommandError::message(format!(
                    "error when evicting {named}: global timeout reached: {}",
                    format_duration(self.flags.timeout.magnitude)
                )));
            }
            let place =
                Place { subresource: "eviction", ..Place::new(&PODS, pod.namespace(), pod.name()) };
            let again = match writer.create(place, &self.eviction(&pod)).await {
                Ok(_) => false,
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) if error.status().is_some_and(Status::is_too_many_requests) => {
                    self.context.print_err(&format!(
                        "error when evicting {named} (will retry after 5s): {error}\n"
                    ))?;
                    true
                }
                Err(error) if is_terminating(&error) && pod.deletion_timestamp().is_some() => false,
                Err(error) if is_terminating(&error) => {
                    self.context.print_err(&format!(
                        "error when evicting pod {} from terminating namespace {} (will retry after 5s): {error}\n",
                        go_quote(pod.name()),
                        go_quote(pod.namespace())
                    ))?;
                    true
                }
                Err(error) => {
                    return Err(CommandError::message(format!(
                        "error when evicting {named}: {error}"
                    )));
                }
            };
            if !again {
                break;
            }
            self.context.clock.sleep(RETRY).await;
            if let Ok(fresh) = self.look(&pod).await {
                pod = fresh;
            }
        }
        if self.dry_run == DryRun::Server {
            return Ok(());
        }
        self.wait(vec![pod], deadline, "evicted").await.map_err(|error| {
            CommandError::message(format!(
                "error when waiting for pod {} in namespace {} to terminate: {error}",
                go_quote(first.name()),
                go_quote(first.namespace())
            ))
        })
    }

    fn eviction(&self, pod: &Object) -> Object {
        let mut options = serde_json::Map::new();
        if self.flags.grace_period >= 0 {
            options.insert("gracePeriodSeconds".to_owned(), self.flags.grace_period.into());
        }
        if self.dry_run == DryRun::Server {
            options.insert("dryRun".to_owned(), json!(["All"]));
        }
        let mut eviction = Object::default();
        eviction.set(&["apiVersion"], "policy/v1");
        eviction.set(&["kind"], "Eviction");
        eviction.set(&["metadata", "name"], pod.name());
        eviction.set(&["metadata", "namespace"], pod.namespace());
        eviction.set(&["deleteOptions"], options);
        eviction
    }

    async fn delete(&self, pods: &[Object]) -> Result<(), CommandError> {
        let writer = Writer::new(self.context, "kubectl", self.dry_run)?;
        let options = DeleteOptions {
            grace_period_seconds: (self.flags.grace_period >= 0).then_some(self.flags.grace_period),
            ..DeleteOptions::default()
        };
        for pod in pods {
            match writer.delete(Place::new(&PODS, pod.namespace(), pod.name()), &options).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        if self.dry_run == DryRun::Server {
            return Ok(());
        }
        self.wait(pods.to_vec(), self.deadline(), "deleted").await
    }

    async fn look(&self, pod: &Object) -> Result<Object, CommandError> {
        let client = self.context.client()?;
        self.context.request(client.get_object(&PODS, pod.namespace(), pod.name())).await
    }

    /// Waits until the pods are gone, or replaced by their namesakes.
    async fn wait(
        &self,
        mut pods: Vec<Object>,
        deadline: Option<Duration>,
        verb: &str,
    ) -> Result<(), CommandError> {
        loop {
            let mut pending = Vec::new();
            for pod in pods {
                let gone = match self.look(&pod).await {
                    Ok(seen) if seen.uid() == pod.uid() => {
                        if !self.skips(&seen)? {
                            pending.push(pod);
                        }
                        continue;
                    }
                    Ok(_) => Ok(()),
                    Err(error) if error.is_not_found() => Ok(()),
                    Err(error) => Err(error),
                };
                let verb = match (&gone, verb) {
                    (Ok(()), verb) => verb,
                    (Err(_), "evicted") => "eviction failed",
                    (Err(_), _) => "deletion failed",
                };
                let mut told = pod.clone();
                told.set(&["apiVersion"], "v1");
                told.set(&["kind"], "Pod");
                Reporter::new(&OutputFlags::default(), self.dry_run)?.report(
                    self.context,
                    &told,
                    verb,
                )?;
                gone?;
            }
            if pending.is_empty() {
                return Ok(());
            }
            pods = pending;
            let left = deadline
                .map_or(LOOK, |end| end.saturating_sub(self.context.clock.monotonic()).min(LOOK));
            self.context.clock.sleep(left).await;
            if self.is_over(deadline) {
                return Err(CommandError::message("context deadline exceeded"));
            }
        }
    }

    /// Whether nobody is to wait for a pod any more, whose deletion was asked for long ago.
    fn skips(&self, pod: &Object) -> Result<bool, CommandError> {
        let seconds = self.flags.skip_wait_for_delete_timeout;
        let skip = u64::try_from(seconds)
            .is_ok_and(|seconds| filters::deleted_for(pod, self.context.clock.now(), seconds));
        if skip {
            self.context.print(&format!(
                "pod {} has DeletionTimestamp older than {seconds} seconds, skipping\n",
                go_quote(pod.name())
            ))?;
        }
        Ok(skip)
    }
}

fn place_of(pod: &Object) -> String {
    format!("{}/{}", pod.namespace(), pod.name())
}

fn leaving(judged: Vec<Judged>) -> Vec<Object> {
    judged.into_iter().filter(|judged| judged.verdict.goes()).map(|judged| judged.pod).collect()
}

/// The pods that stop a drain.
fn refuse(judged: &[Judged]) -> Result<(), CommandError> {
    let errors = filters::refusals(judged);
    if errors.is_empty() {
        return Ok(());
    }
    Err(CommandError::Several(errors.into_iter().map(CommandError::Message).collect()))
}

/// Whether the namespace is being deleted, so that nothing is created in it.
fn is_terminating(error: &CommandError) -> bool {
    error.status().is_some_and(|status| {
        status.is_forbidden()
            && status.details.as_ref().is_some_and(|details| {
                details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
            })
    })
}
