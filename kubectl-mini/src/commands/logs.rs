//! `kubectl logs`.

mod streams;

use apimachinery::{api::core::Pod, field::go_quote, resource, time::Time};
use proto::v1::{LogsRequest, PodRef};

use self::streams::Source;
use crate::{
    cli::{
        Command,
        values::{Signed, parse_duration, parse_i64},
    },
    context::Context,
    errors::CommandError,
    pods::{self, Order, choose, default_container, has_container},
    resources::{Item, Selection, Target, fetch, fetch_named},
    session::pod_by_default,
};

/// Prints the logs for a container in a pod or specified resource.
#[derive(clap::Args, Clone, Debug)]
pub struct Logs {
    /// The pod, or what has pods; and a container.
    pub arguments: Vec<String>,
    /// Get all containers' logs in the pod(s).
    #[arg(long)]
    pub all_containers: bool,
    /// Get logs from all pod(s). Sets prefix to true.
    #[arg(long)]
    pub all_pods: bool,
    /// Print the logs of this container
    #[arg(long, short = 'c')]
    pub container: Option<String>,
    /// Specify if the logs should be streamed.
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// If watching / following pod logs, allow for any errors that occur to be non-fatal
    #[arg(long)]
    pub ignore_errors: bool,
    /// Maximum bytes of logs to return. Defaults to no limit.
    #[arg(long, default_value = "0", value_parser = parse_i64)]
    pub limit_bytes: i64,
    /// Specify maximum number of concurrent logs to follow when using by a selector. Defaults to 5.
    #[arg(long, default_value = "5", value_parser = parse_i64)]
    pub max_log_requests: i64,
    /// The length of time (like 5s, 2m, or 3h, higher than zero) to wait until at least one pod is running
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    pub pod_running_timeout: Signed,
    /// Prefix each log line with the log source (pod name and container name)
    #[arg(long)]
    pub prefix: bool,
    /// If true, print the logs for the previous instance of the container in a pod if it exists.
    #[arg(long, short = 'p')]
    pub previous: bool,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.(e.g. -l
    /// key1=value1,key2=value2,key3 in (value3)). Matching objects must satisfy all of the specified label constraints.
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
    /// Only return logs newer than a relative duration like 5s, 2m, or 3h. Defaults to all logs. Only one of
    /// since-time / since may be used.
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub since: Signed,
    /// Only return logs after a specific date (RFC3339). Defaults to all logs. Only one of since-time / since may be
    /// used.
    #[arg(long)]
    pub since_time: Option<String>,
    /// Lines of recent log file to display. Defaults to -1 with no selector, showing all log lines otherwise 10, if a
    /// selector is provided.
    #[arg(long, value_parser = parse_i64)]
    pub tail: Option<i64>,
    /// Include timestamps on each line in the log output
    #[arg(long)]
    pub timestamps: bool,
}

const USAGE: &str = "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.
POD or TYPE/NAME is a required argument for the logs command";
/// Lines of each container, where a selector chooses pods and nothing else is said.
const SELECTOR_TAIL: i64 = 10;

impl Command for Logs {
    const NAME: &'static str = "logs";
    const ABOUT: &'static str = "Print the logs for a container in a pod";
    const USAGE: &'static str = "logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]";
    const HELP: &'static str = "Print the logs for a container in a pod or specified resource. If the pod has only one container, the container name is optional.";
    const EXAMPLES: &'static str = "# Return snapshot logs from pod nginx with only one container
kubectl-mini logs nginx

# Return snapshot logs from all containers in pods defined by label app=nginx
kubectl-mini logs -l app=nginx --all-containers=true

# Begin streaming the logs of the ruby container in pod web-1
kubectl-mini logs -f -c ruby web-1

# Display only the most recent 20 lines of output in pod nginx
kubectl-mini logs --tail=20 nginx

# Return snapshot logs from container nginx-1 of a deployment named nginx
kubectl-mini logs deployment/nginx -c nginx-1";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let selector = self.selector.clone().filter(|selector| !selector.is_empty());
        match (self.arguments.len(), &selector) {
            (0, None) | (3.., _) => return Err(CommandError::usage("logs", USAGE)),
            (1.., Some(_)) => {
                return Err(CommandError::usage(
                    "logs",
                    "only a selector (-l) or a POD name is allowed",
                ));
            }
            _ => {}
        }
        if !self.pod_running_timeout.is_positive() {
            return Err(CommandError::message("--pod-running-timeout must be higher than zero"));
        }
        if let Some(text) = self.since_time.as_deref().filter(|text| !text.is_empty()) {
            check_time(text).map_err(CommandError::Message)?;
        }
        let items = self.items(context, selector.as_deref()).await?;
        self.check()?;
        let sources = self.sources(context, &items).await?;
        if self.follow && sources.len() > 1 {
            let most = usize::try_from(self.max_log_requests).unwrap_or_default();
            if sources.len() > most {
                return Err(CommandError::message(format!(
                    "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, use --max-log-requests to increase the limit",
                    sources.len(),
                    self.max_log_requests
                )));
            }
            return streams::together(context, sources, self.ignore_errors).await;
        }
        streams::in_turn(context, sources, self.ignore_errors).await
    }
}

impl Logs {
    /// The objects whose logs are wanted.
    async fn items(
        &self,
        context: &Context,
        selector: Option<&str>,
    ) -> Result<Vec<Item>, CommandError> {
        let first = self.arguments.get(..self.arguments.len().min(1)).unwrap_or_default();
        let arguments = match selector {
            Some(_) => vec![resource::PODS.resource.to_owned()],
            None => pod_by_default(first),
        };
        let selection = Selection {
            arguments,
            labels: selector.map(ToOwned::to_owned),
            single_type: true,
            ..Selection::default()
        };
        let found = selection.targets(context).await?;
        let mut items = Vec::new();
        for target in &found.targets {
            match target {
                Target::Named { info, namespace, name, .. } => {
                    let item = fetch_named(context, info, namespace, name).await;
                    items.push(item.map_err(|error| self.explain(error, namespace))?);
                }
                Target::Collection { .. } => items.extend(fetch(context, target, 0).await?),
            }
        }
        if items.is_empty() {
            context.print_err(&format!(
                "No resources found in {} namespace.\n",
                context.namespace()?
            ))?;
        }
        Ok(items)
    }

    /// kubectl says more about a pod that is not there.
    #[expect(clippy::unused_self, reason = "belongs to this command's words")]
    fn explain(&self, error: CommandError, namespace: &str) -> CommandError {
        if error.is_not_found() {
            CommandError::message(format!(
                "error from server (NotFound): {error} in namespace {}",
                go_quote(namespace)
            ))
        } else {
            error
        }
    }

    fn check(&self) -> Result<(), CommandError> {
        let refuse = |text: String| Err(CommandError::Message(text));
        let since = !self.since.magnitude.is_zero();
        if since && self.since_time.as_deref().is_some_and(|time| !time.is_empty()) {
            return refuse(
                "at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned(),
            );
        }
        if self.all_containers
            && let Some(name) = self.named_container()
        {
            return refuse(format!(
                "--all-containers=true should not be specified with container name {name}"
            ));
        }
        if self.container.is_some() && self.arguments.len() == 2 {
            return refuse("only one of -c or an inline [CONTAINER] arg is allowed".to_owned());
        }
        if self.limit_bytes < 0 {
            return refuse("--limit-bytes must be greater than 0".to_owned());
        }
        if self.since.negative {
            return refuse("--since must be greater than 0".to_owned());
        }
        if self.tail.is_some_and(|tail| tail < -1) {
            return refuse("--tail must be greater than or equal to -1".to_owned());
        }
        Ok(())
    }

    fn named_container(&self) -> Option<&str> {
        let inline = self.arguments.get(1).map(String::as_str);
        self.container.as_deref().or(inline).filter(|name| !name.is_empty())
    }

    /// One source per container.
    async fn sources(
        &self,
        context: &Context,
        items: &[Item],
    ) -> Result<Vec<Source>, CommandError> {
        const REFUSAL: &str = "cannot get the logs from";
        let mut sources = Vec::new();
        for item in items {
            if self.all_pods {
                for pod in pods::all(context, item, REFUSAL).await? {
                    self.add_sources(context, &pod, &mut sources)?;
                }
                continue;
            }
            let timeout = self.pod_running_timeout.magnitude;
            let chosen = choose(context, item, Order::ForLogs, timeout, REFUSAL).await?;
            if chosen.count > 1 {
                context.print_err(&format!(
                    "Found {} pods, using pod/{}\n",
                    chosen.count,
                    chosen.pod.metadata.name.as_deref().unwrap_or_default()
                ))?;
            }
            self.add_sources(context, &chosen.pod, &mut sources)?;
        }
        Ok(sources)
    }

    fn add_sources(
        &self,
        context: &Context,
        pod: &Pod,
        sources: &mut Vec<Source>,
    ) -> Result<(), CommandError> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let mut add = |container: &str| {
            let prefix = if self.prefix || self.all_pods {
                format!("[pod/{name}/{container}] ")
            } else {
                String::new()
            };
            sources.push(Source { request: self.request(pod, container), prefix });
        };
        if self.all_containers {
            let spec = &pod.spec;
            spec.init_containers.iter().for_each(|container| add(&container.name));
            spec.containers.iter().for_each(|container| add(&container.name));
            spec.ephemeral_containers.iter().for_each(|container| add(&container.name));
            return Ok(());
        }
        match self.named_container() {
            Some(container) if has_container(pod, container) => add(container),
            Some(container) => {
                return Err(CommandError::message(format!(
                    "container {container} is not valid for pod {name}"
                )));
            }
            None => {
                let (container, told) = default_container(pod, true);
                context.print_err(&told)?;
                add(&container);
            }
        }
        Ok(())
    }

    fn request(&self, pod: &Pod, container: &str) -> LogsRequest {
        let selected = self.selector.as_deref().is_some_and(|selector| !selector.is_empty());
        let tail = self.tail.or_else(|| selected.then_some(SELECTOR_TAIL));
        let since = self.since.magnitude;
        let since_seconds = since.as_secs() + u64::from(since.subsec_millis() >= 500);
        LogsRequest {
            pod: Some(PodRef {
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                name: pod.metadata.name.clone().unwrap_or_default(),
                container: container.to_owned(),
                uid: String::new(),
            }),
            follow: self.follow,
            previous: self.previous,
            timestamps: self.timestamps,
            tail_lines: tail.filter(|tail| *tail >= 0),
            since_seconds: (!since.is_zero())
                .then(|| i64::try_from(since_seconds).unwrap_or(i64::MAX)),
            since_time: self.since_time.clone().unwrap_or_default(),
            limit_bytes: Some(self.limit_bytes).filter(|limit| *limit > 0),
        }
    }
}

/// Checks an RFC 3339 time; the message is that of Go's `time.Parse`.
fn check_time(text: &str) -> Result<(), String> {
    const LAYOUT: [&str; 11] = ["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05"];
    let parsed: Result<Time, _> = serde_json::from_value(text.into());
    if parsed.is_ok() {
        return Ok(());
    }
    let failed = |rest: &str, element: &str| {
        Err(format!(
            "parsing time {} as \"2006-01-02T15:04:05Z07:00\": cannot parse {} as \"{element}\"",
            go_quote(text),
            go_quote(rest)
        ))
    };
    let mut rest = text;
    for element in LAYOUT {
        let digits = element.starts_with(|c: char| c.is_ascii_digit());
        let fits = rest.get(..element.len()).is_some_and(|part| {
            if digits { part.bytes().all(|b| b.is_ascii_digit()) } else { part == element }
        });
        if !fits {
            return failed(rest, element);
        }
        rest = &rest[element.len()..];
    }
    failed(rest, "Z07:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_checked_as_in_go() {
        let check = |text: &str, expected: Option<&str>| {
            let message = expected.map(|rest| {
                format!("parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": {rest}")
            });
            assert_eq!(check_time(text).err(), message);
        };
        check("2026-01-02T03:04:05Z", None);
        check("2026-01-02T03:04:05+01:00", None);
        check("x", Some("cannot parse \"x\" as \"2006\""));
        check("2026-01-02", Some("cannot parse \"\" as \"T\""));
        check("2026-01-02T03:04:05", Some("cannot parse \"\" as \"Z07:00\""));
    }
}
