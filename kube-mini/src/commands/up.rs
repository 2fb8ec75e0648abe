//! `kube-mini up`: makes a cluster, or brings it back, and waits until everything answers.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use apimachinery::{api::core::Node, time::Time};
use clap::Args;
use client::{Client, WatchEvent, WatchOptions};
use component_base::{
    clock::Clock,
    files::write_atomic,
    kubeconfig::{Kubeconfig, Overrides, update_file},
};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ClusterArgs, not_running};
use crate::{
    addons, components,
    config::{Cidr, ClusterConfig},
    output::{line, note},
    paths::{ClusterPaths, Environment},
    pki,
    supervisor::control::{Request, ask},
};

/// How long a cluster may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what cannot be waited for otherwise.
const LOOK: Duration = Duration::from_millis(10);
/// The API server's port, if it is free.
const API_PORT: u16 = 6443;
/// The ingress controller's, plain and TLS.
const INGRESS_PORTS: [u16; 2] = [8080, 8443];

/// How to make a cluster.
#[derive(Args)]
pub struct UpArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Number of nodes (3 for a new cluster).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    nodes: Option<u32>,
    /// Port of the API server (6443 if free, else any).
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    api_port: Option<u16>,
    /// Kubeconfig file that gets the cluster's context.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Run the ingress controller (on for a new cluster).
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    ingress: Option<bool>,
    /// Record requests by the audit policy in this file, in the cluster's logs/audit.log; empty: record no more.
    #[arg(long)]
    audit_policy_file: Option<PathBuf>,
    /// The pods' network (10.244.0.0/16 for a new cluster).
    #[arg(long)]
    cluster_cidr: Option<Cidr>,
}

pub(super) async fn run(args: UpArgs, environment: &Environment) -> anyhow::Result<()> {
    let clock = Clock::real();
    let begun = clock.monotonic();
    let paths = args.cluster.paths(environment)?;
    let config_file = paths.state("cluster.yaml");
    let known = if paths.exists() {
        paths.check_format()?;
        ClusterConfig::load(&config_file)?
    } else {
        None
    };
    if let Some(config) = &known {
        args.check_against(config)?;
        match ask(&paths.control_socket(), Request::Status).await {
            Ok(_) => {
                let client = admin_client(&paths)?;
                await_nodes(&client, &clock, config, None, &paths).await?;
                merge_context(&paths, &config.kubeconfig, &clock).await?;
                note(&format!("Cluster {:?} is running already.", config.name));
                return summary(&paths, config, &client).await;
            }
            Err(e) if not_running(&e) => {}
            Err(e) => return Err(e).context("ask the running cluster"),
        }
    }
    components::programs_dir()?;
    paths.create(environment.uid)?;
    paths.check_format()?;
    let config = args.configure(known, environment)?;
    args.keep_audit_policy(&paths)?;
    config.save(&config_file)?;
    note(&format!("Starting cluster {:?} with {} nodes", config.name, config.nodes));
    let admin = pki::write(&paths, &config, &clock)?;
    let mut supervisor = start_supervisor(&args.cluster, &paths)?;
    let client = Client::new(&admin.resolve(&Overrides::default())?.endpoint)
        .map_err(anyhow::Error::from)?;
    let outcome = await_nodes(&client, &clock, &config, Some(&mut supervisor), &paths).await;
    let outcome = match outcome {
        Ok(()) => {
            let addons = addons::create(&client, config.ingress_ports);
            let proxies = await_proxies(&paths, &clock, &config);
            futures::try_join!(addons, proxies).map(drop)
        }
        Err(e) => Err(e),
    };
    if let Err(e) = outcome {
        // What was started is ended: a cluster that does not come up is not left half running.
        let _ = ask(&paths.control_socket(), Request::Stop).await;
        return Err(e);
    }
    merge_context(&paths, &config.kubeconfig, &clock).await?;
    let took = clock.monotonic().saturating_sub(begun);
    note(&format!("Cluster {:?} is ready ({:.1} s).", config.name, took.as_secs_f64()));
    summary(&paths, &config, &client).await
}

impl UpArgs {
    /// A cluster keeps what it was made with.
    fn check_against(&self, config: &ClusterConfig) -> anyhow::Result<()> {
        let cidr = self.cluster_cidr.map(|cidr| cidr.to_string());
        if let Some(cidr) = cidr.filter(|cidr| *cidr != config.cluster_cidr) {
            anyhow::bail!(
                "cluster {:?} was made with --cluster-cidr {}, which cannot become {cidr}: delete it first",
                config.name,
                config.cluster_cidr
            );
        }
        if let Some(nodes) = self.nodes.filter(|nodes| *nodes != config.nodes) {
            anyhow::bail!(
                "cluster {:?} has {} nodes, which cannot become {nodes}: delete it first",
                config.name,
                config.nodes
            );
        }
        Ok(())
    }

    /// Copies the audit policy to where the API server finds it at every start.
    fn keep_audit_policy(&self, paths: &ClusterPaths) -> anyhow::Result<()> {
        let Some(file) = self.audit_policy_file.as_deref() else { return Ok(()) };
        if file == Path::new("") {
            return Ok(());
        }
        let policy = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        write_atomic(&paths.state(components::AUDIT_POLICY), &policy, 0o600)?;
        Ok(())
    }

    fn configure(
        &self,
        known: Option<ClusterConfig>,
        environment: &Environment,
    ) -> anyhow::Result<ClusterConfig> {
        let kubeconfig = match (&self.kubeconfig, &known) {
            (None, Some(config)) => config.kubeconfig.clone(),
            (chosen, _) => environment.kubeconfig(chosen.as_deref())?,
        };
        let cidr = self.cluster_cidr.map_or_else(|| "10.244.0.0/16".to_owned(), |c| c.to_string());
        let mut config = known.unwrap_or_else(|| ClusterConfig {
            name: self.cluster.name.clone(),
            nodes: self.nodes.unwrap_or(3),
            api_port: 0,
            cluster_cidr: cidr,
            address_slice: preferred_slice(&self.cluster.name),
            ingress_ports: self.ingress.unwrap_or(true).then_some(INGRESS_PORTS),
            audit: false,
            kubeconfig: kubeconfig.clone(),
        });
        if let Some(file) = &self.audit_policy_file {
            config.audit = file != Path::new("");
        }
        config.kubeconfig = kubeconfig;
        config.ingress_ports = match (self.ingress, config.ingress_ports) {
            (Some(false), _) | (None, None) => None,
            (_, remembered) => Some(free_ports(remembered.unwrap_or(INGRESS_PORTS))?),
        };
        let capacity =
            config.cluster_cidr.parse::<Cidr>().map_err(anyhow::Error::msg)?.node_capacity();
        anyhow::ensure!(
            config.nodes < capacity.max(2),
            "{} has room for {} nodes: choose a larger --cluster-cidr",
            config.cluster_cidr,
            capacity - 1
        );
        config.api_port = self.port(config.api_port)?;
        Ok(config)
    }

    /// The chosen port must be free; a remembered or the usual one is taken if it is, else any.
    fn port(&self, remembered: u16) -> anyhow::Result<u16> {
        let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        if let Some(port) = self.api_port {
            free(port).with_context(|| format!("port {port} of --api-port cannot be used"))?;
            return Ok(port);
        }
        let wanted = if remembered == 0 { API_PORT } else { remembered };
        let listener = free(wanted).or_else(|_| free(0))?;
        Ok(listener.local_addr()?.port())
    }
}

/// These ports if they are free, else the usual ones or the next after them, else any.
fn free_ports(wanted: [u16; 2]) -> std::io::Result<[u16; 2]> {
    // Held until both are chosen, so that they are two.
    let mut held = Vec::new();
    for (wanted, usual) in wanted.into_iter().zip(INGRESS_PORTS) {
        let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let mut near = (usual..usual + 10).map(free).filter_map(Result::ok);
        held.push(free(wanted).or_else(|error| near.next().ok_or(error)).or_else(|_| free(0))?);
    }
    let ports = [held[0].local_addr()?.port(), held[1].local_addr()?.port()];
    Ok(ports)
}

/// Clusters of different names start their search for a free address slice at different places; the usual name at the
/// first, so that its addresses are easy to type: 127.1.0.N.
fn preferred_slice(name: &str) -> u32 {
    if name == "kube-mini" {
        return 0;
    }
    name.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())) % 60_000
        + 256
}

fn start_supervisor(args: &ClusterArgs, paths: &ClusterPaths) -> anyhow::Result<Child> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(paths.log("supervisor"))
        .context("open the supervisor's log")?;
    let root = paths.state.parent().unwrap_or(&paths.state);
    Command::new(std::env::current_exe()?)
        .arg("supervise")
        .args(["--name", &args.name])
        .arg("--state-dir")
        .arg(root)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start the supervisor")
}

fn admin_client(paths: &ClusterPaths) -> anyhow::Result<Client> {
    let config: Kubeconfig = component_base::kubeconfig::load_file(&paths.state("kubeconfig"))?;
    Ok(Client::new(&config.resolve(&Overrides::default())?.endpoint)?)
}

/// Waits until the API answers and every node is Ready.
async fn await_nodes(
    client: &Client,
    clock: &Clock,
    config: &ClusterConfig,
    mut supervisor: Option<&mut Child>,
    paths: &ClusterPaths,
) -> anyhow::Result<()> {
    let deadline = clock.monotonic() + PATIENCE;
    // A status that a node wrote before it was stopped says nothing about now.
    let since = supervisor.as_ref().map(|_| Time(clock.now()).truncated());
    let mut seen = "the API server does not answer yet".to_owned();
    loop {
        if let Some(supervisor) = supervisor.as_deref_mut()
            && let Some(status) = supervisor.try_wait()?
        {
            anyhow::bail!("the supervisor ended with {status}:\n{}", tail(paths, "supervisor"));
        }
        let left = deadline.saturating_sub(clock.monotonic());
        if left.is_zero() {
            anyhow::bail!(
                "the cluster did not come up in {} s: {seen}\n`kube-mini status` and `kube-mini logs COMPONENT` tell more",
                PATIENCE.as_secs()
            );
        }
        match client.watch::<Node>("", &WatchOptions::default()).await {
            Ok(stream) => {
                let following = follow_nodes(stream, config, since.as_ref(), &mut seen);
                if let Ok(true) = clock.timeout(left, following).await {
                    return Ok(());
                }
            }
            Err(_) => clock.sleep(LOOK).await,
        }
    }
}

/// True: all nodes are Ready; false: the watch ended.
async fn follow_nodes(
    mut stream: client::WatchStream<Node>,
    config: &ClusterConfig,
    since: Option<&Time>,
    seen: &mut String,
) -> bool {
    let wanted: Vec<String> = config.node_names().collect();
    let mut ready = std::collections::BTreeSet::new();
    while let Some(Ok(event)) = stream.next().await {
        if let WatchEvent::Added(node) | WatchEvent::Modified(node) = event {
            let name = node.metadata.name.clone().unwrap_or_default();
            let fresh = |heartbeat: Option<&Time>| since.is_none_or(|s| heartbeat >= Some(s));
            let fine = node.spec.pod_cidr.is_some()
                && node.status.conditions.iter().any(|c| {
                    c.type_ == "Ready"
                        && c.status == "True"
                        && fresh(c.last_heartbeat_time.as_ref())
                });
            if fine {
                ready.insert(name);
            } else {
                ready.remove(&name);
            }
        }
        let missing: Vec<&str> =
            wanted.iter().filter(|n| !ready.contains(*n)).map(String::as_str).collect();
        if missing.is_empty() {
            return true;
        }
        *seen = format!("not Ready: {}", missing.join(", "));
    }
    false
}

/// Waits until every kube-proxy has programmed its node.
async fn await_proxies(
    paths: &ClusterPaths,
    clock: &Clock,
    config: &ClusterConfig,
) -> anyhow::Result<()> {
    let deadline = clock.monotonic() + PATIENCE;
    for number in 1..=config.nodes {
        let socket = paths.run.join(format!("proxy-{number}.sock"));
        while !is_ready(&socket).await {
            anyhow::ensure!(
                clock.monotonic() < deadline,
                "kube-proxy of node-{number} did not get ready: `kube-mini logs kube-proxy-node-{number}` tells more"
            );
            clock.sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Whether a component answers `ok` to `/readyz` on its health socket.
async fn is_ready(socket: &std::path::Path) -> bool {
    let ask = async {
        let mut stream = tokio::net::UnixStream::connect(socket).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask.await.unwrap_or(false)
}

/// The last lines of a component's log.
fn tail(paths: &ClusterPaths, component: &str) -> String {
    let text = fs::read_to_string(paths.log(component)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

async fn merge_context(
    paths: &ClusterPaths,
    into: &std::path::Path,
    clock: &Clock,
) -> anyhow::Result<()> {
    let own = component_base::kubeconfig::load_file(&paths.state("kubeconfig"))?;
    update_file(into, clock, |file| file.merge(own)).await?;
    Ok(())
}

async fn summary(
    paths: &ClusterPaths,
    config: &ClusterConfig,
    client: &Client,
) -> anyhow::Result<()> {
    let nodes = client.list::<Node>("", &client::ListOptions::default()).await?;
    line(&format!("API server:  https://127.0.0.1:{}", config.api_port));
    for node in &nodes.items {
        let address = |type_: &str| {
            node.status
                .addresses
                .iter()
                .find(|a| a.type_ == type_)
                .map_or("-", |a| a.address.as_str())
        };
        line(&format!(
            "{:<12} {}  (in the cluster {}, pods {})",
            format!("{}:", node.metadata.name.as_deref().unwrap_or_default()),
            address("ExternalIP"),
            address("InternalIP"),
            node.spec.pod_cidr.as_deref().unwrap_or("-"),
        ));
    }
    if let Some([plain, tls]) = config.ingress_ports {
        let urls = format!("http://127.0.0.1:{plain} and https://127.0.0.1:{tls}");
        line(&format!("Ingress:     {urls}"));
    }
    line(&format!("State:       {}", paths.state.display()));
    line(&format!("Kubeconfig:  {} (context {:?})", config.kubeconfig.display(), config.name));
    Ok(())
}
