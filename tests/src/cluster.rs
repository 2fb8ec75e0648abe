//! A cluster for a test: clients of it, what to do with it, and how to break it.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use apimachinery::{
    api::{
        Resource,
        apps::Deployment,
        core::{Node, Pod, Service},
    },
    object::Object,
    resource,
    status::Status,
    yaml,
};
use client::{Client, FieldValidation, ListOptions, Patch};
use component_base::{
    clock::Clock,
    tls::{CertSpec, CertificateAuthority, KeyPair},
    transport::{Endpoint, TlsEndpoint, channel},
};
use kube_mini::{
    config::ClusterConfig,
    host::{self, AddressSlice},
    paths::ClusterPaths,
    pki,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tonic::transport::Channel;

use crate::{
    builder::Builder,
    exec::{self, ExecRequest, ExecResult, split_name},
    in_process::InProcess,
    processes::{ComponentCopy, Processes},
    wait::eventually_on,
};

/// How long the waits of [`TestCluster`] go on; far beyond what anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the search for a free address slice begins: beyond those that `kube-mini up` prefers, and for all the same,
/// so that the lock files stay few.
const FIRST_SLICE: u32 = 60_300;

/// A component of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// `kube-apiserver`.
    ApiServer,
    /// `kube-controller-manager`.
    ControllerManager,
    /// `kube-scheduler`.
    Scheduler,
    /// The kubelet of this node.
    Kubelet(u32),
    /// The kube-proxy of this node.
    KubeProxy(u32),
}

impl Component {
    /// All components of a cluster, in the order in which they are started.
    pub fn all(nodes: u32) -> impl Iterator<Item = Self> {
        let nodes = (1..=nodes).flat_map(|node| [Self::Kubelet(node), Self::KubeProxy(node)]);
        [Self::ApiServer, Self::ControllerManager, Self::Scheduler].into_iter().chain(nodes)
    }
}

/// The name that `kube-mini` gives the process.
impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiServer => f.write_str("kube-apiserver"),
            Self::ControllerManager => f.write_str("kube-controller-manager"),
            Self::Scheduler => f.write_str("kube-scheduler"),
            Self::Kubelet(node) => write!(f, "kubelet-node-{node}"),
            Self::KubeProxy(node) => write!(f, "kube-proxy-node-{node}"),
        }
    }
}

/// What both runners are made from.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) nodes: u32,
    pub(crate) paths: ClusterPaths,
    pub(crate) config: ClusterConfig,
    pub(crate) slice: AddressSlice,
    pub(crate) authority: CertificateAuthority,
    /// Keeps the API's port ours while the API server is away: bound, never listening.
    _port: TcpSocket,
    folder: TempDir,
}

impl Parts {
    pub(crate) fn new(builder: &Builder, clock: Clock) -> anyhow::Result<Self> {
        // Short, for Unix paths end at 104 bytes.
        let private = std::fs::Permissions::from_mode(0o700);
        let folder =
            tempfile::Builder::new().prefix("km-").permissions(private).tempdir_in("/tmp")?;
        let paths =
            ClusterPaths { state: folder.path().join("state"), run: folder.path().join("run") };
        paths.create(rustix::process::getuid().as_raw())?;
        let slice = AddressSlice::acquire(&host::lock_dir(), FIRST_SLICE)?;
        let port = TcpSocket::new_v4()?;
        port.set_reuseaddr(true)?;
        port.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let config = ClusterConfig {
            name: "test".to_owned(),
            nodes: builder.nodes,
            api_port: port.local_addr()?.port(),
            cluster_cidr: "10.244.0.0/16".to_owned(),
            address_slice: slice.index(),
            ingress_ports: None,
            audit: false,
            kubeconfig: paths.state("kubeconfig"),
        };
        // Certificates are judged by real time, whatever the cluster's own.
        pki::write(&paths, &config, &Clock::real())?;
        let read = |name: &str| std::fs::read_to_string(paths.state("pki").join(name));
        let authority = CertificateAuthority::load(KeyPair {
            cert_pem: read("ca.crt")?,
            key_pem: read("ca.key")?,
        })?;
        Ok(Self {
            clock,
            nodes: builder.nodes,
            paths,
            config,
            slice,
            authority,
            _port: port,
            folder,
        })
    }

    pub(crate) fn api_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.config.api_port).into()
    }

    /// The API over TLS, with a certificate for this user.
    pub(crate) fn tls_endpoint(&self, user: &str, groups: &[&str]) -> anyhow::Result<Endpoint> {
        let pair = self.authority.issue(&CertSpec::client(user, groups), Clock::real().now())?;
        let address = self.api_address().to_string();
        let endpoint = TlsEndpoint::new(&address, self.authority.cert_pem(), Some(&pair))?;
        Ok(Endpoint::Tls(endpoint))
    }
}

pub(crate) enum Running {
    InProcess(InProcess),
    Process(Processes),
}

/// A running cluster; it ends when this is dropped. See the [crate's documentation](crate).
pub struct TestCluster {
    // Ends before the folder goes.
    running: Running,
    parts: Arc<Parts>,
    admin: Client,
}

impl TestCluster {
    /// Describes a cluster.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(parts: Arc<Parts>, running: Running) -> Self {
        let admin = match &running {
            Running::InProcess(runner) => runner.channel("kubernetes-admin", &["system:masters"]),
            Running::Process(_) => channel(
                &parts
                    .tls_endpoint("kubernetes-admin", &["system:masters"])
                    .expect("the authority has just been made"),
            ),
        };
        Self { running, parts, admin: Client::from_channel(admin) }
    }

    // ---- clients ----

    /// The API as `kubernetes-admin`, who may do everything.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.admin
    }

    /// The API as somebody else: a client certificate for processes, a stated identity in process.
    ///
    /// # Errors
    /// The certificate cannot be issued.
    pub fn client_as(&self, user: &str, groups: &[&str]) -> anyhow::Result<Client> {
        Ok(Client::from_channel(self.channel_as(user, groups)?))
    }

    /// The connection under [`Self::client_as`], for requests of one's own, to the REST face too.
    ///
    /// # Errors
    /// The certificate cannot be issued.
    pub fn channel_as(&self, user: &str, groups: &[&str]) -> anyhow::Result<Channel> {
        Ok(match &self.running {
            Running::InProcess(runner) => runner.channel(user, groups),
            Running::Process(_) => channel(&self.parts.tls_endpoint(user, groups)?),
        })
    }

    /// The administrator's kubeconfig file, for programs: both runners serve the API on TLS.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.parts.paths.state("kubeconfig")
    }

    /// Where the API listens.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        self.parts.api_address()
    }

    /// The certificate of the cluster's authority.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.parts.authority.cert_pem()
    }

    /// The cluster's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.parts.clock
    }

    /// The cluster's folder: state, sockets, logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.parts.folder.path()
    }

    /// The folder of the store's database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.parts.paths.state("db")
    }

    // ---- objects ----

    /// Creates what the manifest lists, or changes what is there already to it; unknown fields are an error. Objects
    /// without a namespace go to `default`.
    ///
    /// # Errors
    /// The manifest is broken, or the API refuses an object; those before it stay.
    pub async fn apply(&self, manifest: &str) -> anyhow::Result<Vec<Object>> {
        let mut applied = Vec::new();
        for document in yaml::read(manifest, "manifest")? {
            if !document.value.is_null() {
                applied.push(self.apply_one(document.value).await?);
            }
        }
        Ok(applied)
    }

    async fn apply_one(&self, value: Value) -> anyhow::Result<Object> {
        let mut object = Object::from_value(value)?;
        let built_in = resource::find_object_kind(object.api_version(), object.kind());
        let info = match built_in {
            Some(info) => info,
            None => self
                .admin
                .discover()
                .await?
                .into_iter()
                .find(|info| info.is_kind(object.api_version(), object.kind()))
                .with_context(|| format!("no kind {} {}", object.api_version(), object.kind()))?,
        };
        if info.namespaced && object.namespace().is_empty() {
            object.set(&["metadata", "namespace"], "default");
        }
        let key = object.key();
        let api = self
            .admin
            .resource(info)
            .namespace(&key.namespace)
            .field_validation(FieldValidation::Strict);
        // Asked first, as kubectl does: a Service that is there already holds the node port that its twin would want.
        let applied = match api.get(&key.name).await {
            Err(status) if status.is_not_found() => api.create("", object.to_bytes()).await,
            Err(status) => Err(status),
            Ok(_) => {
                let value = object.into_value();
                // Only built-in kinds know strategic patches.
                let patch =
                    if built_in.is_some() { Patch::Strategic(value) } else { Patch::Merge(value) };
                api.patch(&key.name, &patch).await
            }
        };
        let reply = applied.with_context(|| format!("{} {key}", info.kind))?;
        Ok(reply.object()?)
    }

    /// Waits, on the cluster's clock, until `condition` is `Ok`: [`eventually`](crate::eventually) with half a minute of
    /// patience.
    ///
    /// # Panics
    /// When the time has passed.
    pub async fn eventually<T, E: fmt::Display, F: Future<Output = Result<T, E>>>(
        &self,
        what: &str,
        condition: impl FnMut() -> F,
    ) -> T {
        eventually_on(&self.parts.clock, what, PATIENCE, condition).await
    }

    /// Waits until the object (`name`, or `namespace/name`) is there and `condition` is `Ok` for it.
    ///
    /// # Panics
    /// After half a minute, with the last thing that `condition` said.
    pub async fn wait_for<T: Resource>(
        &self,
        name: &str,
        condition: impl Fn(&T) -> Result<(), String>,
    ) -> T {
        let (namespace, bare) = split_name(name);
        let namespace = if T::INFO.namespaced { namespace } else { "" };
        let what = format!("{} {name}", T::INFO.kind);
        self.eventually(&what, async || {
            let object = self.admin.get::<T>(namespace, bare).await.map_err(|s| s.to_string())?;
            condition(&object).map(|()| object)
        })
        .await
    }

    /// Waits until the Deployment (`name`, or `namespace/name`) has rolled out, as `kubectl rollout status` judges it.
    ///
    /// # Panics
    /// After half a minute, with the Deployment's status.
    pub async fn wait_ready(&self, deployment: &str) -> Deployment {
        self.wait_for::<Deployment>(deployment, |deployment| {
            let wanted = deployment.spec.replicas.unwrap_or(1);
            let status = &deployment.status;
            let current = status.observed_generation.unwrap_or(0)
                >= deployment.metadata.generation.unwrap_or(0);
            let counts = [status.updated_replicas, status.replicas, status.available_replicas];
            if current && counts.iter().all(|count| count.unwrap_or(0) == wanted) {
                Ok(())
            } else {
                Err(format!("{wanted} replicas wanted: {status:?}"))
            }
        })
        .await
    }

    /// Waits until the pod (`name`, or `namespace/name`) is Ready.
    ///
    /// # Panics
    /// After half a minute, with the pod's status.
    pub async fn wait_pod_ready(&self, pod: &str) -> Pod {
        self.wait_for::<Pod>(pod, |pod| {
            if is_ready(pod) { Ok(()) } else { Err(format!("{:?}", pod.status)) }
        })
        .await
    }

    /// The Ready pods of a label selector in a namespace, by name; those on their way out are left out.
    ///
    /// # Errors
    /// The API's.
    pub async fn ready_pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, Status> {
        let pods = self.admin.list::<Pod>(namespace, &ListOptions::labels(selector)).await?;
        let alive = |pod: &Pod| pod.metadata.deletion_timestamp.is_none() && is_ready(pod);
        Ok(pods.items.into_iter().filter(alive).collect())
    }

    pub(crate) async fn wait_nodes_ready(&self, timeout: Duration) {
        let clock = &self.parts.clock;
        eventually_on(clock, "all nodes Ready", timeout, async || {
            self.check_alive();
            let nodes = self.admin.list::<Node>("", &ListOptions::default()).await;
            let nodes = nodes.map_err(|status| status.to_string())?.items;
            let ready = |node: &&Node| {
                let conditions = &node.status.conditions;
                node.spec.pod_cidr.is_some()
                    && conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
            };
            match nodes.iter().filter(ready).count() {
                count if count == self.parts.nodes as usize => Ok(()),
                count => Err(format!("{count} of {}", self.parts.nodes)),
            }
        })
        .await;
    }

    // ---- addresses ----

    /// The address of a node on the host, its ExternalIP; nodes count from 1.
    ///
    /// # Panics
    /// There is no such node.
    #[must_use]
    pub fn node_address(&self, node: u32) -> Ipv4Addr {
        assert!((1..=self.parts.nodes).contains(&node), "there is no node {node}");
        self.parts.slice.address(u8::try_from(node).expect("at most 100 nodes"))
    }

    /// Where the ingress controller of [`Builder::ingress`] answers on the host: plain HTTP and TLS.
    ///
    /// # Panics
    /// After half a minute without an address.
    pub async fn ingress_address(&self) -> [SocketAddr; 2] {
        let service = self
            .wait_for::<Service>("ingress/ingress-kube-mini", |service| {
                let balancer = service.status.load_balancer.as_ref();
                let ready = balancer.is_some_and(|balancer| !balancer.ingress.is_empty());
                if ready { Ok(()) } else { Err("no address yet".to_owned()) }
            })
            .await;
        let ingress = service.status.load_balancer.into_iter().flat_map(|status| status.ingress);
        let ip = ingress.filter_map(|ingress| ingress.ip?.parse::<Ipv4Addr>().ok()).next();
        let ip = ip.expect("an address of the cluster's slice");
        [8080, 8443].map(|port| SocketAddr::from((ip, port)))
    }

    /// `http://<first node>:<first node port>` of a Service (`name`, or `namespace/name`).
    ///
    /// # Errors
    /// There is no such Service, or it has no node port.
    pub async fn node_port_url(&self, service: &str) -> anyhow::Result<String> {
        let port = self.node_port(service).await?;
        Ok(format!("http://{}:{port}", self.node_address(1)))
    }

    /// The first node port of a Service (`name`, or `namespace/name`).
    ///
    /// # Errors
    /// There is no such Service, or it has no node port.
    pub async fn node_port(&self, service: &str) -> anyhow::Result<i32> {
        let (namespace, name) = split_name(service);
        let found: Service = self.admin.get(namespace, name).await?;
        let mut ports = found.spec.ports.iter().filter_map(|port| port.node_port);
        ports.next().with_context(|| format!("Service {service} has no node port"))
    }

    // ---- pods ----

    /// Runs a command in the default container of a pod (`name`, or `namespace/name`).
    ///
    /// # Errors
    /// The API's. A command that fails is no error here.
    pub async fn exec(&self, pod: &str, command: &[&str]) -> Result<ExecResult, Status> {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        let pod = pod.to_owned();
        self.exec_with(ExecRequest { pod, command, ..ExecRequest::default() }).await
    }

    /// Runs `sh -c script` in the default container of a pod.
    ///
    /// # Errors
    /// The API's. A script that fails is no error here.
    pub async fn sh(&self, pod: &str, script: &str) -> Result<ExecResult, Status> {
        self.exec(pod, &["sh", "-c", script]).await
    }

    /// Runs a command with everything that can be said about it.
    ///
    /// # Errors
    /// The API's. A command that fails is no error here.
    pub async fn exec_with(&self, request: ExecRequest) -> Result<ExecResult, Status> {
        exec::exec(&self.admin, request).await
    }

    /// The log of a pod's default container.
    ///
    /// # Errors
    /// The API's.
    pub async fn logs(&self, pod: &str) -> Result<String, Status> {
        exec::logs(&self.admin, pod, "", false).await
    }

    // ---- components ----

    /// Starts a component that does not run.
    ///
    /// # Errors
    /// It runs, or cannot be started.
    pub async fn start(&self, component: Component) -> anyhow::Result<()> {
        match &self.running {
            Running::InProcess(runner) => runner.start(component).await,
            Running::Process(runner) => runner.start(component),
        }
    }

    /// Ends a component in order (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// It does not run, or does not end well.
    pub async fn stop(&self, component: Component) -> anyhow::Result<()> {
        match &self.running {
            Running::InProcess(runner) => runner.stop(component).await,
            Running::Process(runner) => runner.stop(component).await,
        }
    }

    /// Ends a process by SIGKILL and waits for its end.
    ///
    /// # Errors
    /// It does not run, or the runner has no processes.
    pub fn kill(&self, component: Component) -> anyhow::Result<()> {
        match &self.running {
            Running::InProcess(_) => anyhow::bail!("a part of this process cannot be killed alone"),
            Running::Process(runner) => runner.kill(component),
        }
    }

    /// A node goes, as by a power failure: its kubelet and kube-proxy end, killed where they are processes, and its pods
    /// with them. Nobody is told.
    ///
    /// # Errors
    /// They do not run, or do not end well.
    pub async fn fail_node(&self, node: u32) -> anyhow::Result<()> {
        for component in [Component::KubeProxy(node), Component::Kubelet(node)] {
            match &self.running {
                Running::InProcess(runner) => runner.stop(component).await?,
                Running::Process(runner) => runner.kill(component)?,
            }
        }
        Ok(())
    }

    /// A node shuts down in order, within [`Builder::shutdown_grace_periods`]: its pods end, then its kubelet and kube-proxy.
    ///
    /// # Errors
    /// They do not run, or do not end well.
    pub async fn shut_down_node(&self, node: u32) -> anyhow::Result<()> {
        match &self.running {
            Running::InProcess(runner) => runner.shut_down_node(node).await?,
            Running::Process(runner) => runner.stop(Component::Kubelet(node)).await?,
        }
        self.stop(Component::KubeProxy(node)).await
    }

    /// A node that failed or was shut down comes back, with what is on its disk.
    ///
    /// # Errors
    /// It runs, or cannot be started.
    pub async fn start_node(&self, node: u32) -> anyhow::Result<()> {
        self.start(Component::Kubelet(node)).await?;
        self.start(Component::KubeProxy(node)).await
    }

    /// Starts all components, as [`Builder::start`] did; does not wait for the nodes.
    ///
    /// # Errors
    /// One runs already, or cannot be started.
    pub async fn start_all(&self) -> anyhow::Result<()> {
        for component in Component::all(self.parts.nodes) {
            self.start(component).await.with_context(|| format!("start {component}"))?;
        }
        Ok(())
    }

    /// Ends all components in order, the API server last.
    ///
    /// # Errors
    /// One does not run, or does not end well; the others are ended all the same.
    pub async fn stop_all(&self) -> anyhow::Result<()> {
        let mut components: Vec<_> = Component::all(self.parts.nodes).collect();
        components.reverse();
        let mut failures = Vec::new();
        for component in components {
            if let Err(error) = self.stop(component).await {
                failures.push(format!("{component}: {error:#}"));
            }
        }
        anyhow::ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(())
    }

    /// Checks that no process has ended by itself: nothing that is waited for will come then.
    ///
    /// # Panics
    /// One has; its name and how it ended.
    pub fn check_alive(&self) {
        if let Running::Process(runner) = &self.running {
            runner.check_alive();
        }
    }

    /// Starts one more process of a component beside the cluster's own, with these arguments in place of its own or in
    /// addition: a standby that waits for the leadership.
    ///
    /// # Errors
    /// It cannot be started, or the runner has no processes.
    pub fn start_copy(
        &self,
        component: Component,
        number: u32,
        args: &[&str],
    ) -> anyhow::Result<ComponentCopy> {
        match &self.running {
            Running::InProcess(_) => anyhow::bail!("copies need the runner of processes"),
            Running::Process(runner) => runner.start_copy(component, number, args),
        }
    }

    /// How a component's process ended by itself; None: it runs, or was ended by the test, or is no process.
    #[must_use]
    pub fn ended(&self, component: Component) -> Option<ExitStatus> {
        match &self.running {
            Running::InProcess(_) => None,
            Running::Process(runner) => runner.ended(component),
        }
    }

    /// The process id of a component, where it runs as a process.
    #[must_use]
    pub fn pid(&self, component: Component) -> Option<u32> {
        match &self.running {
            Running::InProcess(_) => None,
            Running::Process(runner) => runner.pid(component),
        }
    }

    /// The process ids of the components that run; this process' own, in process.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        match &self.running {
            Running::InProcess(_) => vec![std::process::id()],
            Running::Process(runner) => runner.pids(),
        }
    }

    /// Ends a cluster all of whose components run, as dropping does, and tells what went wrong.
    ///
    /// # Errors
    /// What did not run any more, or did not end well.
    pub async fn shutdown(self) -> anyhow::Result<()> {
        self.stop_all().await
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        match &mut self.running {
            Running::InProcess(runner) => runner.end(),
            Running::Process(runner) => runner.end(),
        }
    }
}

impl fmt::Debug for TestCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCluster").field("folder", &self.folder()).finish_non_exhaustive()
    }
}

fn is_ready(pod: &Pod) -> bool {
    pod.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}
