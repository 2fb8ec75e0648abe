//! `kubectl run`.

use apimachinery::{
    object::Object,
    resource::{PODS, ResourceInfo, SERVICES},
    status::Status,
};
use client::Propagation;
use proto::v1::{LogsRequest, PodRef};
use serde_json::Value;

use super::{attach::Attach, create::common::required, delete::Plan, expose::overridden};
use crate::{
    changing::{DryRun, DryRunFlag, Place, Reporter, Writer, annotate_last_applied},
    cli::{
        Command,
        values::{Signed, parse_duration},
    },
    context::Context,
    errors::CommandError,
    generate::{pod::Run as Pod, service::Exposed},
    printers::OutputFlags,
    resources::{Target, Targets},
    waiting::{Seen, Waited, until},
};

/// Runs an image in a pod.
#[derive(clap::Args, Clone, Debug)]
pub struct Run {
    /// The name, and arguments of the container.
    pub arguments: Vec<String>,
    /// More of them.
    #[arg(last = true)]
    pub container_arguments: Vec<String>,
    /// How far to go.
    #[command(flatten)]
    pub dry_run: DryRunFlag,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// Annotations to apply to the pod.
    #[arg(long)]
    pub annotations: Vec<String>,
    /// If true, wait for the Pod to start running, and then attach to the Pod as if 'attach ...' were called. Default
    /// false, unless '-i/--stdin' is set, in which case the default is true. With '--restart=Never' the exit code of
    /// the container process is returned.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub attach: Option<bool>,
    /// If true and extra arguments are present, use them as the 'command' field in the container, rather than the
    /// 'args' field which is the default.
    #[arg(long)]
    pub command: bool,
    /// Environment variables to set in the container.
    #[arg(long)]
    pub env: Vec<String>,
    /// If true, create a ClusterIP service associated with the pod. Requires `--port`.
    #[arg(long)]
    pub expose: bool,
    /// Name of the manager used to track field ownership.
    #[arg(long, default_value = "kubectl-run")]
    pub field_manager: String,
    /// The image for the container to run.
    #[arg(long)]
    pub image: Option<String>,
    /// The image pull policy for the container. If left empty, this value will not be specified by the client and
    /// defaulted by the server.
    #[arg(long, default_value = "")]
    pub image_pull_policy: String,
    /// Comma separated labels to apply to the pod. Will override previous values.
    #[arg(long, short = 'l', default_value = "")]
    pub labels: String,
    /// If the pod is started in interactive mode or with stdin, leave stdin open after the first attach completes. By
    /// default, stdin will be closed after the first attach completes.
    #[arg(long)]
    pub leave_stdin_open: bool,
    /// An inline JSON override for the generated object.
    #[arg(long, default_value = "")]
    pub overrides: String,
    /// The length of time (like 5s, 2m, or 3h, higher than zero) to wait until at least one pod is running
    #[arg(long, default_value = "1m0s", value_parser = parse_duration)]
    pub pod_running_timeout: Signed,
    /// The port that this container exposes.
    #[arg(long, default_value = "")]
    pub port: String,
    /// If true, run the container in privileged mode.
    #[arg(long)]
    pub privileged: bool,
    /// If true, suppress prompt messages.
    #[arg(long, short = 'q')]
    pub quiet: bool,
    /// The restart policy for this Pod. Legal values [Always, OnFailure, Never].
    #[arg(long, default_value = "Always")]
    pub restart: String,
    /// If true, delete the pod after it exits. Only valid when attaching to the container, e.g. with '--attach' or with
    /// '-i/--stdin'.
    #[arg(long)]
    pub rm: bool,
    /// If true, the configuration of current object will be saved in its annotation.
    #[arg(long)]
    pub save_config: bool,
    /// Keep stdin open on the container in the pod, even if nothing is attached.
    #[arg(long, short = 'i')]
    pub stdin: bool,
    /// Allocate a TTY for the container in the pod.
    #[arg(long, short = 't')]
    pub tty: bool,
}

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

fn usage<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::usage("run", text))
}

impl Command for Run {
    const NAME: &'static str = "run";
    const ABOUT: &'static str = "Run a particular image on the cluster";
    const USAGE: &'static str = "run NAME --image=image [--env=\"key=value\"] [--port=port] [--dry-run=server|client] [--overrides=inline-json] [--command] -- [COMMAND] [args...]";
    const EXAMPLES: &'static str = "# Start a nginx pod
kubectl-mini run nginx --image=nginx

# Start a busybox pod and keep it in the foreground, don't restart it if it exits
kubectl-mini run -i -t busybox --image=busybox --restart=Never

# Start the nginx pod using a different command and custom arguments
kubectl-mini run nginx --image=nginx --command -- <cmd> <arg1> ... <argN>";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        required(&[("image", self.image.is_some())])?;
        let dry_run = self.dry_run.get(context)?;
        let reporter = Reporter::typed(&self.output, dry_run)?;
        self.check(dry_run)?;
        let words: Vec<String> =
            self.arguments.iter().chain(&self.container_arguments).cloned().collect();
        let Some((name, arguments)) = words.split_first() else {
            return usage("NAME is required for run");
        };
        let pod = self.pod(name, arguments)?;
        let job = Job { run: &self, context, reporter, dry_run, namespace: context.namespace()? };
        let pod = job.create(&PODS, pod).await?;
        let service = if self.expose { Some(job.expose(name).await?) } else { None };
        if !self.attaches() {
            return job.reporter.report(context, &pod, "created");
        }
        let result = job.attach(&pod).await;
        if self.rm {
            job.remove(&pod, service.as_ref()).await?;
        }
        result
    }
}

impl Run {
    fn attaches(&self) -> bool {
        self.attach.unwrap_or(self.stdin)
    }

    fn check(&self, dry_run: DryRun) -> Result<(), CommandError> {
        if self.arguments.is_empty() && self.container_arguments.is_empty() {
            return usage("NAME is required for run");
        }
        let image = self.image.as_deref().unwrap_or_default();
        if image.is_empty() {
            return refuse("--image is required");
        }
        if !is_reference(image) {
            return refuse(format!("Invalid image name {image:?}: invalid reference format"));
        }
        if self.tty && !self.stdin {
            return usage("-i/--stdin is required for containers with -t/--tty=true");
        }
        if self.expose && self.port.is_empty() {
            return usage("--port must be set when exposing a service");
        }
        if !["Always", "OnFailure", "Never", ""].contains(&self.restart.as_str()) {
            return usage(format!("invalid restart policy: {}", self.restart));
        }
        if !self.attaches() && self.rm {
            return usage("--rm should only be used for attached containers");
        }
        if self.attaches() && dry_run != DryRun::None {
            return usage(
                "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)",
            );
        }
        let policy = self.image_pull_policy.as_str();
        if !["Always", "IfNotPresent", "Never", ""].contains(&policy) {
            return usage(format!("invalid image pull policy: {policy}"));
        }
        Ok(())
    }

    fn pod(&self, name: &str, arguments: &[String]) -> Result<Object, CommandError> {
        let pod = Pod {
            name: name.to_owned(),
            image: self.image.clone().unwrap_or_default(),
            image_pull_policy: self.image_pull_policy.clone(),
            port: self.port.clone(),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            env: self.env.clone(),
            args: arguments.to_vec(),
            command: self.command,
            restart: self.restart.clone(),
            stdin: self.stdin,
            leave_stdin_open: self.leave_stdin_open,
            tty: self.tty,
            privileged: self.privileged,
        };
        overridden(pod.generate()?, &self.overrides, &PODS)
    }
}

/// Whether container runtimes take it as the name of an image: lower case, with a tag or digest.
fn is_reference(image: &str) -> bool {
    let (name, digest) = image.split_once('@').unwrap_or((image, "sha256:"));
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name[last..].find(':') {
        Some(colon) => (&name[..last + colon], Some(&name[last + colon + 1..])),
        None => (name, None),
    };
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let tag_fits = tag.is_none_or(|tag| {
        !tag.is_empty() && tag.len() <= 128 && tag.chars().all(word) && !tag.starts_with(['.', '-'])
    });
    let mut parts = name.split('/').peekable();
    let host = parts
        .next_if(|part| name.contains('/') && (part.contains(['.', ':']) || *part == "localhost"));
    let host_fits = host.is_none_or(|host| {
        host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':'))
    });
    let part_fits = |part: &str| {
        let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(ends)
            && part.ends_with(ends)
            && part.chars().all(|c| ends(c) || matches!(c, '_' | '.' | '-'))
    };
    tag_fits && host_fits && digest.contains(':') && parts.peek().is_some() && parts.all(part_fits)
}

struct Job<'a> {
    run: &'a Run,
    context: &'a Context,
    reporter: Reporter,
    dry_run: DryRun,
    namespace: String,
}

impl Job<'_> {
    async fn create(
        &self,
        info: &'static ResourceInfo,
        mut object: Object,
    ) -> Result<Object, CommandError> {
        if self.dry_run == DryRun::Client {
            if self.context.namespace_is_enforced() {
                object.set(&["metadata", "namespace"], self.namespace.as_str());
            }
            return Ok(object);
        }
        if self.run.save_config {
            annotate_last_applied(&mut object, true);
        }
        let writer = Writer::new(self.context, &self.run.field_manager, self.dry_run)?;
        let place = Place::new(info, &self.namespace, object.name());
        writer.create(place, &object).await
    }

    /// `--expose`: the service is told of first.
    async fn expose(&self, name: &str) -> Result<Object, CommandError> {
        let labels = &self.run.labels;
        let service = Exposed {
            name: name.to_owned(),
            selector: if labels.is_empty() { format!("run={name}") } else { labels.clone() },
            labels: labels.clone(),
            ports: self.run.port.clone(),
            ..Exposed::default()
        };
        let service = self.create(&SERVICES, service.generate()?).await?;
        self.reporter.report(self.context, &service, "created")?;
        if self.run.output.output.as_deref() == Some("yaml") {
            self.context.print("---\n")?;
        }
        Ok(service)
    }

    async fn attach(&self, pod: &Object) -> Result<(), CommandError> {
        let name = pod.name();
        let timeout = self.run.pod_running_timeout.magnitude;
        let mut ended = false;
        let started = |seen: Seen<'_>| match seen {
            Seen::Present(pod) => {
                ended = has_ended(pod);
                Ok(ended || is_ready(pod))
            }
            Seen::Absent => Ok(false),
            Seen::Deleted(_) => Err(Status::not_found(&PODS, "").into()),
        };
        let waited =
            until(self.context, &PODS, &self.namespace, name, Some(timeout), started).await?;
        if waited == Waited::TimedOut {
            return refuse("timed out waiting for the condition");
        }
        if ended {
            self.logs(name).await?;
        } else {
            let attach = Attach {
                arguments: vec![name.to_owned()],
                container: None,
                pod_running_timeout: self.run.pod_running_timeout,
                quiet: self.run.quiet,
                stdin: self.run.stdin,
                tty: self.run.tty,
            };
            if let Err(error) = attach.run(self.context).await {
                self.context.print_err(&format!(
                    "warning: couldn't attach to pod/{name}, falling back to streaming logs: {error}\n"
                ))?;
                self.logs(name).await?;
            }
        }
        let waits = !self.run.leave_stdin_open
            && ["Never", "OnFailure"].contains(&self.run.restart.as_str());
        if waits { self.exit_code(name).await } else { Ok(()) }
    }

    async fn logs(&self, name: &str) -> Result<(), CommandError> {
        let request = LogsRequest {
            pod: Some(PodRef {
                namespace: self.namespace.clone(),
                name: name.to_owned(),
                ..PodRef::default()
            }),
            ..LogsRequest::default()
        };
        let failed = |status: tonic::Status| client::wire::from_tonic(&status);
        let mut streams = self.context.client()?.streams();
        let mut chunks = streams.logs(request).await.map_err(failed)?.into_inner();
        while let Some(chunk) = chunks.message().await.map_err(failed)? {
            self.context.print_bytes(&chunk.data)?;
        }
        Ok(())
    }

    /// Waits for the pod's end; its exit code becomes ours.
    async fn exit_code(&self, name: &str) -> Result<(), CommandError> {
        let timeout = self.run.pod_running_timeout.magnitude;
        let only_success = self.run.restart == "OnFailure";
        let mut last = None;
        let ended = |seen: Seen<'_>| match seen {
            Seen::Present(pod) => {
                let phase = pod.get_str(&["status", "phase"]);
                let done = phase == "Succeeded" || (phase == "Failed" && !only_success);
                last = Some(pod.clone());
                Ok(done)
            }
            Seen::Absent => Ok(false),
            Seen::Deleted(_) => Err(Status::not_found(&PODS, "").into()),
        };
        let waited =
            until(self.context, &PODS, &self.namespace, name, Some(timeout), ended).await?;
        if waited == Waited::TimedOut {
            return refuse("timed out waiting for the condition");
        }
        last.map_or(Ok(()), |pod| outcome(&pod))
    }

    async fn remove(&self, pod: &Object, service: Option<&Object>) -> Result<(), CommandError> {
        let plan = Plan {
            dry_run: DryRun::None,
            grace_period: -1,
            propagation: Propagation::Background,
            ignore_not_found: true,
            short: false,
            quiet: self.run.quiet,
            wait: None,
            warn_cluster_scope: false,
        };
        let objects = [(&PODS, Some(pod)), (&SERVICES, service)];
        let targets = objects.into_iter().filter_map(|(info, object)| {
            let object = object?;
            Some(Target::Named {
                info,
                namespace: self.namespace.clone(),
                name: object.name().to_owned(),
                manifest: None,
            })
        });
        plan.delete(self.context, Targets { targets: targets.collect(), ..Targets::default() })
            .await
    }
}

fn has_ended(pod: &Object) -> bool {
    ["Succeeded", "Failed"].contains(&pod.get_str(&["status", "phase"]))
}

fn is_ready(pod: &Object) -> bool {
    pod.get_str(&["status", "phase"]) == "Running"
        && pod.get_list(&["status", "conditions"]).iter().any(|condition| {
            let text = |key: &str| condition.get(key).and_then(Value::as_str);
            text("type") == Some("Ready") && text("status") == Some("True")
        })
}

/// How the pod's process ended.
fn outcome(pod: &Object) -> Result<(), CommandError> {
    if pod.get_str(&["status", "phase"]) == "Succeeded" {
        return Ok(());
    }
    let called = format!("pod {}/{}", pod.namespace(), pod.name());
    let state = pod
        .get_list(&["status", "containerStatuses"])
        .first()
        .and_then(|status| status.pointer("/state/terminated"));
    let code = state.and_then(|state| state["exitCode"].as_i64()).unwrap_or_default();
    let (Some(state), false) = (state, code == 0) else {
        return refuse(format!("{called} failed with unknown exit code"));
    };
    let text = |key: &str| state.get(key).and_then(Value::as_str).unwrap_or_default();
    Err(CommandError::Exit {
        text: format!("{called} terminated ({})\n{}", text("reason"), text("message")),
        code: u8::try_from(code & 0xff).unwrap_or(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_are_checked() {
        let check =
            |image: &str, expected: bool| assert_eq!(is_reference(image), expected, "{image}");
        check("nginx", true);
        check("nginx:1.27-alpine", true);
        check("docker.io/library/nginx:latest", true);
        check("localhost:5000/a/b_c", true);
        check("nginx@sha256:abc", true);
        check("NGINX", false);
        check("nginx:", false);
        check("-nginx", false);
        check("a//b", false);
        check("ng inx", false);
    }
}
