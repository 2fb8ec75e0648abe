//! A cluster's processes below a temporary directory, started one by one, and what they use.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use client::Client;
use component_base::{
    clock::Clock,
    kubeconfig::{Kubeconfig, Overrides},
    tls::{self, CertSpec, CertificateAuthority, KeyPair},
};
use kube_mini::{config::ClusterConfig, paths::ClusterPaths, pki};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http::{Http, Target};

/// How the measuring is done.
pub(crate) struct Lab {
    pub(crate) clock: Clock,
    pub(crate) programs: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) idle: Duration,
}

impl Lab {
    /// A folder that is gone when it is dropped.
    pub(crate) fn temp(&self) -> anyhow::Result<TempDir> {
        Ok(tempfile::Builder::new().prefix("run-").tempdir_in(&self.dir)?)
    }
}

/// One cluster without nodes. Its processes end when it is dropped.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) target: Target,
    pub(crate) kubeconfig: PathBuf,
    admin: Kubeconfig,
    programs: PathBuf,
    paths: ClusterPaths,
    processes: BTreeMap<&'static str, Child>,
    nodes: usize,
    _dir: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.processes.values_mut() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl World {
    /// Makes certificates; starts nothing.
    pub(crate) fn new(lab: &Lab) -> anyhow::Result<Self> {
        Self::sized(lab, 1)
    }

    fn sized(lab: &Lab, nodes: usize) -> anyhow::Result<Self> {
        let dir = lab.temp()?;
        let paths =
            ClusterPaths { state: dir.path().join("state"), run: dir.path().join("run/bench") };
        paths.create(rustix::process::getuid().as_raw())?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = ClusterConfig {
            name: "bench".to_owned(),
            nodes: u32::try_from(nodes)?,
            api_port: port,
            cluster_cidr: "10.240.0.0/12".to_owned(),
            address_slice: 0,
            ingress_ports: None,
            audit: false,
            kubeconfig: dir.path().join("kubeconfig"),
        };
        let admin = pki::write(&paths, &config, &lab.clock)?;
        let authority = CertificateAuthority::load(KeyPair {
            cert_pem: fs::read_to_string(paths.state("pki/ca.crt"))?,
            key_pem: fs::read_to_string(paths.state("pki/ca.key"))?,
        })?;
        let spec = CertSpec::client("kubernetes-admin", &["system:masters"]);
        let pair = authority.issue(&spec, lab.clock.now())?;
        let mut tls = (*tls::client_config(authority.cert_pem(), Some(&pair))?).clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            clock: lab.clock.clone(),
            target: Target { port, tls: Arc::new(tls) },
            kubeconfig: paths.state("kubeconfig"),
            admin,
            programs: lab.programs.clone(),
            paths,
            processes: BTreeMap::new(),
            nodes,
            _dir: dir,
        })
    }

    /// A cluster with an API server that answers, and the account that pods need.
    pub(crate) async fn with_api(lab: &Lab) -> anyhow::Result<Self> {
        Self::with_nodes(lab, 1).await
    }

    /// The same, with certificates for so many kubelets.
    pub(crate) async fn with_nodes(lab: &Lab, nodes: usize) -> anyhow::Result<Self> {
        let mut world = Self::sized(lab, nodes)?;
        world.start_api().await?;
        let account =
            br#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}"#;
        let path = "/api/v1/namespaces/default/serviceaccounts";
        let response = world.http().await?.post(path, account).await?;
        anyhow::ensure!(response.code == 201, "{}", response.text());
        Ok(world)
    }

    fn spawn(&mut self, name: &'static str, args: &[String]) -> anyhow::Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.paths.log(name))?;
        let child = Command::new(self.programs.join(name))
            .args(args)
            .arg("--lifeline-fd=0")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        self.processes.insert(name, child);
        Ok(())
    }

    /// Starts the API server. Returns the time from its start to its first answer about an object.
    pub(crate) async fn start_api(&mut self) -> anyhow::Result<Duration> {
        let pki = |file: &str| self.paths.state("pki").join(file).display().to_string();
        let args = [
            format!("--data-dir={}", self.paths.state("db").display()),
            format!("--secure-port={}", self.target.port),
            format!("--client-ca-file={}", pki("ca.crt")),
            format!("--tls-cert-file={}", pki("apiserver.crt")),
            format!("--tls-private-key-file={}", pki("apiserver.key")),
        ];
        let begun = self.clock.monotonic();
        self.spawn("kube-apiserver", &args)?;
        loop {
            let waited = self.clock.monotonic().saturating_sub(begun);
            anyhow::ensure!(waited < Duration::from_secs(30), "kube-apiserver does not answer");
            if let Ok(mut http) = Http::connect(&self.target).await
                && let Ok(response) = http.get("/api/v1/namespaces/kube-system").await
                && response.code == 200
            {
                return Ok(self.clock.monotonic().saturating_sub(begun));
            }
            self.clock.sleep(Duration::from_millis(1)).await;
        }
    }

    /// Starts the scheduler.
    pub(crate) fn start_scheduler(&mut self) -> anyhow::Result<()> {
        let kubeconfig = self.paths.state("pki/scheduler.kubeconfig");
        self.spawn("kube-scheduler", &[format!("--kubeconfig={}", kubeconfig.display())])
    }

    /// Starts the controllers, with room for 4,096 nodes.
    pub(crate) fn start_controllers(&mut self) -> anyhow::Result<()> {
        let kubeconfig = self.paths.state("pki/controller-manager.kubeconfig");
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        // Pods that are given a token wait for the authority's certificate.
        let authority = format!("--root-ca-file={}", self.paths.state("pki/ca.crt").display());
        let args = [kubeconfig, authority, "--cluster-cidr=10.240.0.0/12".to_owned()];
        self.spawn("kube-controller-manager", &args)
    }

    /// Starts one kubelet-sim with all nodes.
    pub(crate) fn start_kubelet(&mut self) -> anyhow::Result<()> {
        let folder = |path: PathBuf| path.display().to_string();
        let args = [
            format!("--kubeconfig-dir={}", folder(self.paths.state("pki"))),
            format!("--nodes=1..{}", self.nodes),
            format!("--state-dir={}", folder(self.paths.state("nodes"))),
            format!("--run-dir={}", folder(self.paths.run.clone())),
            "--cluster-cidr=10.240.0.0/12".to_owned(),
        ];
        self.spawn("kubelet-sim", &args)
    }

    /// Ends a process in order.
    pub(crate) fn stop(&mut self, name: &'static str) -> anyhow::Result<()> {
        let mut child = self.processes.remove(name).context("it was not started")?;
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        let status = child.wait()?;
        anyhow::ensure!(status.success(), "{name} ended with {status}");
        Ok(())
    }

    /// A process' id.
    pub(crate) fn pid(&self, name: &'static str) -> anyhow::Result<u32> {
        self.processes.get(name).map(Child::id).context("it was not started")
    }

    /// A process' memory in MiB, shared pages divided among their users.
    pub(crate) fn pss(&self, name: &'static str) -> anyhow::Result<f64> {
        pss(self.pid(name)?)
    }

    /// The size of the database in MiB.
    pub(crate) fn store_size(&self) -> anyhow::Result<f64> {
        let mut bytes = 0;
        let mut folders = vec![self.paths.state("db")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else {
                    bytes += metadata.len();
                }
            }
        }
        Ok(bytes as f64 / f64::from(1 << 20))
    }

    /// A connection that speaks REST.
    pub(crate) async fn http(&self) -> anyhow::Result<Http> {
        Http::connect(&self.target).await
    }

    /// A client that speaks gRPC, on a connection of its own.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&self.admin.resolve(&Overrides::default())?.endpoint)?)
    }
}

/// The proportional set size of a process in MiB.
pub(crate) fn pss(pid: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// CPU time that a process has used. Linux tells it in hundredths of a second, whatever its own tick.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> =
        stat.rsplit_once(')').context("no stat")?.1.split_ascii_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}
