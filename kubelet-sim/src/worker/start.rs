//! Starting one container.

use client::events::EventType;
use std::{path::PathBuf, sync::Arc, time::Duration};

use apimachinery::api::core::{Container as Spec, LifecycleHandler};
use cni::userspace::SandboxSpec;
use container_runtime::{
    Container, ContainerSpec, ContainerState, DeclaredPort, ExecRequest, Image, Protocol,
    files::Mount, logs,
};
use futures::FutureExt;

use super::{
    PodWorker,
    events::Event,
    names,
    runs::{ended, exit_of, is_running, next_restart, next_run, run_id},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    env::{Sources, environment, expand_all},
    lifecycle::{Record, State, restarts},
    objects::References,
    probes::Kind,
    simulation::{ContainerSimulation, PodSimulation, gate::FaultGate},
    tokens, volumes,
};

/// How long after a failure that the user must mend the next attempt is made.
const RETRY: Duration = Duration::from_secs(10);
/// How long after a failed volume or network: the first pause, which doubles each time up to [`RETRY`].
const SANDBOX_RETRY: Duration = Duration::from_millis(500);

/// How long a pod waits for the certificate of its namespace, which a controller makes a moment after the namespace.
const ROOT_CA_PATIENCE: Duration = Duration::from_secs(1);

/// Why a container cannot be started: reason and message of its waiting state.
type Problem = (&'static str, String);

impl PodWorker {
    /// Starts a container; false: it cannot be started now.
    pub(super) async fn start(&mut self, name: &str) -> bool {
        if !self.prepare_pod().await {
            return false;
        }
        let Some(spec) = self.spec(name) else { return false };
        let simulation = PodSimulation::of(&self.pod).container(name);
        let record = self.records.get_or_default(name);
        record.tried = spec.image.clone().unwrap_or_default();
        if self.delayed(name, simulation.start_delay) {
            return false;
        }
        let Some(image) = self.image(&spec) else { return false };
        match self.create(&spec, image).await {
            Ok(container) => {
                let before = self.records.get(name).cloned().unwrap_or_default();
                let record = self.records.get_or_default(name);
                next_run(record, &self.node.clock, spec.image.as_deref().unwrap_or_default());
                record.image_id = container.image().id();
                self.container_event(name, EventType::Normal, "Created", "Container created");
                match container.start() {
                    Ok(()) => {
                        let text = "Container started";
                        self.container_event(name, EventType::Normal, "Started", text);
                        self.started(&spec, &container, before, &simulation);
                    }
                    Err(e) => self.never_ran(&spec, &container, &e.to_string()),
                }
                true
            }
            Err((reason, message)) => {
                let retry = self.node.clock.monotonic() + RETRY;
                let text = format!("Error: {message}");
                self.container_event(name, EventType::Warning, "Failed", &text);
                let record = self.records.get_or_default(name);
                record.problem = Some((reason.to_owned(), message));
                record.retry_at = Some(retry);
                false
            }
        }
    }

    /// Holds a start up once, as the pod asks; whether it is held up now.
    fn delayed(&mut self, name: &str, delay: Option<Duration>) -> bool {
        let now = self.node.clock.monotonic();
        let record = self.records.get_or_default(name);
        let Some(delay) = delay.filter(|_| !record.delayed) else { return false };
        record.delayed = true;
        record.retry_at = Some(now + delay);
        true
    }

    /// Gives the pod its network and its volumes, once.
    async fn prepare_pod(&mut self) -> bool {
        let now = self.node.clock.monotonic();
        if self.volumes_retry.is_some_and(|at| at > now) {
            return false;
        }
        if !self.volumes_ready {
            if let Err(message) = self.set_up_volumes().await {
                self.node.event(&self.pod, EventType::Warning, "FailedMount", &message);
                self.retry_sandbox();
                return false;
            }
            self.volumes_ready = true;
            self.keep_volumes();
        }
        if self.sandbox.is_none() {
            let key = SandboxSpec {
                id: self.uid.clone(),
                namespace: self.pod.metadata.namespace.clone().unwrap_or_default(),
                name: self.pod.metadata.name.clone().unwrap_or_default(),
            };
            let add = || {
                self.hostname = names::hostname(&self.pod, &self.node.settings.name)?;
                // On the host's network it is the node's own hosts file.
                if self.pod.spec.host_network == Some(true) {
                    return Ok(self.node.own_sandbox());
                }
                let sandbox = self.node.network.add(key).map_err(|e| {
                    format!(
                        "rpc error: code = Unknown desc = failed to setup network for sandbox: {e}"
                    )
                })?;
                let ip = sandbox.ip().to_string();
                sandbox.set_hosts_file(names::hosts_file(&self.pod, &ip));
                Ok::<_, String>(sandbox)
            };
            match add() {
                Ok(sandbox) => {
                    self.open_host_ports(&sandbox);
                    self.shared.write().sandbox = Some(sandbox.clone());
                    crate::names::set_resolver(&self.node, &self.pod, &sandbox);
                    self.sandbox = Some(sandbox);
                }
                Err(e) => {
                    let message = format!("Failed to create pod sandbox: {e}");
                    self.node.event(
                        &self.pod,
                        EventType::Warning,
                        "FailedCreatePodSandBox",
                        &message,
                    );
                    self.retry_sandbox();
                    return false;
                }
            }
        }
        self.volumes_retry = None;
        self.volumes_failures = 0;
        true
    }

    fn retry_sandbox(&mut self) {
        let pause = SANDBOX_RETRY.saturating_mul(1 << self.volumes_failures.min(8)).min(RETRY);
        self.volumes_failures += 1;
        self.volumes_retry = Some(self.node.clock.monotonic() + pause);
    }

    async fn set_up_volumes(&mut self) -> Result<(), String> {
        if self.pod.spec.volumes.is_empty() {
            return Ok(());
        }
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let references = References::of_volumes(&self.pod);
        let mut referenced = self
            .node
            .objects
            .fetch(namespace, &references)
            .await
            .map_err(|status| format!("MountVolume.SetUp failed: {}", status.message))?;
        let account = self.pod.spec.volumes.iter().any(tokens::is_account_volume);
        if account && !referenced.config_maps.contains_key(tokens::ROOT_CA) {
            let objects = &self.node.objects;
            let coming = objects.await_config_map(namespace, tokens::ROOT_CA, ROOT_CA_PATIENCE);
            let map = coming.await.map(|map| (tokens::ROOT_CA.to_owned(), map));
            referenced.config_maps.extend(map);
        }
        (referenced.tokens, self.token_due) =
            tokens::request(&self.node, &self.pod, &self.dir).await?;
        volumes::set_up(
            &self.pod,
            &self.dir,
            &referenced,
            &self.node.host_ip,
            self.node.clock.now(),
        )
    }

    /// Keeps volumes up to date that change with their sources.
    fn keep_volumes(&mut self) {
        let Some(pods) = self.pods.clone().filter(|_| volumes::live::is_needed(&self.pod)) else {
            return;
        };
        let keeping = volumes::live::follow(self.node.clone(), pods, self.dir.clone());
        self.live_volumes = Some(AbortOnDropHandle::new(self.tasks.spawn(keeping)));
    }

    async fn create(&mut self, spec: &Spec, image: Arc<Image>) -> Result<Container, Problem> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let references = References::of_container(spec);
        let referenced = self
            .node
            .objects
            .fetch(namespace, &references)
            .await
            .map_err(|status| ("CreateContainerConfigError", status.message))?;
        self.node.await_services().await;
        let services = self.node.services_of(namespace);
        let mut pod = (*self.pod).clone();
        pod.status.pod_ip = self.sandbox.as_ref().map(|s| s.ip().to_string());
        let sources = Sources {
            pod: &pod,
            config_maps: &referenced.config_maps,
            secrets: &referenced.secrets,
            services: &services,
            host_ip: &self.node.host_ip,
            allocatable: &self.node.allocatable,
        };
        let env = environment(spec, &sources)
            .map_err(|message| ("CreateContainerConfigError", message))?;
        let mounts: Vec<Mount> = volumes::mounts(&self.pod, spec, &self.dir, &env)
            .map_err(|message| ("CreateContainerConfigError", message))?;
        let Some(mut network) = self.sandbox.clone() else {
            return Err(("CreateContainerError", "the pod has no sandbox".to_owned()));
        };
        if let Some(pods) = self.pods.clone() {
            let gate = FaultGate::new(&spec.name, pods, self.node.clock.clone());
            network = network.with_gate(Arc::new(gate));
        }
        let attempt = self.records.get(&spec.name).map_or(0, next_restart);
        let log_path = self.log_path(&spec.name, attempt);
        self.remember_log(&spec.name, attempt);
        let container = self
            .node
            .runtime
            .create(ContainerSpec {
                name: spec.name.clone(),
                image,
                command: expand_all(&spec.command, &env),
                args: expand_all(&spec.args, &env),
                env,
                working_dir: spec.working_dir.clone().filter(|d| !d.is_empty()),
                mounts,
                network,
                hostname: self.hostname.clone(),
                ports: declared_ports(spec),
                log_path,
                stdin: spec.stdin == Some(true),
                stdin_once: spec.stdin_once == Some(true),
                tty: spec.tty == Some(true),
                termination_message_path: spec
                    .termination_message_path
                    .clone()
                    .unwrap_or_else(|| "/dev/termination-log".to_owned()),
            })
            .map_err(|e| ("CreateContainerError", e.to_string()))?;
        Ok(container)
    }

    /// A container that cannot be started ends at once, with 128, and counts as a crash.
    fn never_ran(&mut self, spec: &Spec, container: &Container, message: &str) {
        self.container_event(
            &spec.name,
            EventType::Warning,
            "Failed",
            &format!("Error: {message}"),
        );
        let ContainerState::Exited(exit) = container.state() else { return };
        let id = run_id(container);
        let code = exit.code;
        let at = self.node.clock.monotonic();
        let record = self.records.get_or_default(&spec.name);
        record.state = State::Terminated(ended(exit, at, id));
        if restarts(&self.pod, spec, record, code) {
            record.problem = Some(("RunContainerError".to_owned(), message.to_owned()));
        }
        self.publish();
    }

    fn log_path(&self, container: &str, restarts: i32) -> PathBuf {
        logs::path(
            &self.node.log_root(),
            self.pod.metadata.namespace.as_deref().unwrap_or_default(),
            self.pod.metadata.name.as_deref().unwrap_or_default(),
            &self.uid,
            container,
            u32::try_from(restarts).unwrap_or(0),
        )
    }

    /// Where the log of a container's run is, and that of the run before.
    fn remember_log(&self, container: &str, attempt: i32) {
        let path = self.log_path(container, attempt);
        let former = self.existing_log(container, attempt - 1);
        self.shared.write().logs.insert(container.to_owned(), (path, former));
    }

    fn existing_log(&self, container: &str, restarts: i32) -> Option<PathBuf> {
        let path = self.log_path(container, restarts);
        (restarts >= 0 && path.exists()).then_some(path)
    }

    /// Finds the logs of the runs before the node's reboot: they can be read until the next run begins, and then as
    /// the previous ones.
    pub(super) fn recall_logs(&self) {
        for (name, record) in self.records.iter() {
            if self.existing_log(name, record.restarts).is_some() {
                self.remember_log(name, record.restarts);
            }
        }
    }

    /// Notes that a container runs, and starts what belongs to its run. `before`: its record before it was started.
    fn started(
        &mut self,
        spec: &Spec,
        container: &Container,
        before: Record,
        simulation: &ContainerSimulation,
    ) {
        let (name, run) = (spec.name.clone(), run_id(container));
        let now = self.node.clock.monotonic();
        self.shared.write().containers.insert(name.clone(), container.clone());
        let hook = spec.lifecycle.as_ref().and_then(|l| l.post_start.clone());
        let record: &mut Record = self.records.get_or_default(&name);
        record.state = State::Running { started_at: self.node.clock.now(), id: run.clone() };
        record.started = spec.startup_probe.is_none();
        record.ready_at = simulation.ready_delay.map(|delay| now + delay);
        record.passes = record.started && spec.readiness_probe.is_none();
        record.ready = record.is_ready(now);
        record.stopping = false;
        record.shown = hook.is_some().then(|| Box::new(before));
        let from_log = spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        self.events.push(Box::pin(exit_of(name.clone(), container.clone(), from_log)));
        self.enact(&name, &run, simulation);
        match hook {
            Some(hook) => self.post_start(spec, container, hook),
            None => self.probe(spec),
        }
    }

    /// Starts the timers of what the container is to act out in this run.
    fn enact(&self, name: &str, run: &str, simulation: &ContainerSimulation) {
        let clock = &self.node.clock;
        if let Some(delay) = simulation.ready_delay {
            self.events.push(Box::pin(clock.sleep(delay).map(|()| Event::Look)));
        }
        let crash = (simulation.crash_after, simulation.crash_code(), "Error");
        let crash = if crash.1 == 0 { (crash.0, 0, "Completed") } else { crash };
        for (after, code, reason) in [crash, (simulation.oom_after, 137, "OOMKilled")] {
            let Some(after) = after else { continue };
            let (container, run) = (name.to_owned(), run.to_owned());
            self.events.push(Box::pin(clock.sleep(after).map(move |()| Event::Enact {
                container,
                run,
                code,
                reason,
            })));
        }
    }

    fn probe(&mut self, spec: &Spec) {
        if spec.startup_probe.is_some() {
            self.start_probes(&spec.name, &[Kind::Startup]);
        } else {
            self.start_probes(&spec.name, &[Kind::Readiness, Kind::Liveness]);
        }
    }

    /// Runs the postStart hook beside the worker, which starts nothing else of the pod until it is over.
    fn post_start(&self, spec: &Spec, container: &Container, hook: LifecycleHandler) {
        let (node, key) = (self.node.clone(), self.key());
        let (running, spec) = (container.clone(), spec.clone());
        let pod_ip = self.sandbox.as_ref().map(cni::network::Sandbox::ip);
        self.events.push(Box::pin(async move {
            let outcome = crate::hooks::run(&node, &key, &spec, &running, pod_ip, &hook).await;
            Event::PostStart { container: spec.name, run: run_id(&running), outcome }
        }));
    }

    /// A postStart hook is over: the container shows as running, and is probed; or it is stopped.
    pub(super) fn post_started(&mut self, name: &str, run: &str, outcome: Result<(), String>) {
        let current = self.shared.read().containers.get(name).cloned();
        let Some(container) = current.filter(|c| run_id(c) == run) else { return };
        let Some(spec) = self.spec(name) else { return };
        let pod = self.pod.clone();
        let Some(record) = self.records.get_mut(name) else { return };
        let Err(message) = outcome else {
            record.shown = None;
            if record.running() && !record.stopping {
                self.probe(&spec);
            }
            return;
        };
        match &record.state {
            State::Terminated(end) => {
                record.shown = None;
                if restarts(&pod, &spec, record, end.exit_code) {
                    record.problem = Some(("PostStartHookError".to_owned(), message));
                }
            }
            _ => record.hook_failure = Some(message),
        }
        // What went wrong may tell a secret: it is in the status only.
        let failed = "FailedPostStartHook";
        self.container_event(name, EventType::Warning, failed, "PostStartHook failed");
        self.container_event(name, EventType::Normal, "Killing", failed);
        if is_running(&container) {
            let grace = self.container_grace();
            self.stop_beside(name, grace);
        }
    }
}

fn declared_ports(spec: &Spec) -> Vec<DeclaredPort> {
    spec.ports
        .iter()
        .filter_map(|p| {
            Some(DeclaredPort {
                name: p.name.clone().unwrap_or_default(),
                port: u16::try_from(p.container_port).ok()?,
                protocol: if p.protocol.as_deref() == Some("UDP") {
                    Protocol::Udp
                } else {
                    Protocol::Tcp
                },
            })
        })
        .collect()
}

/// A process of a hook.
pub(crate) fn hook_request(command: &[String]) -> ExecRequest {
    ExecRequest { command: command.to_vec(), stdin: false, tty: false }
}
