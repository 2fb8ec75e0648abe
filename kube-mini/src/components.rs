//! The table of processes: which programs make a cluster, with which arguments.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use crate::{
    config::ClusterConfig, paths::ClusterPaths, pki::TOKEN_KEY, supervisor::ComponentSpec,
};

/// What the arguments are made from.
pub struct Assembly<'a> {
    /// The folder of the programs.
    pub programs: &'a Path,
    /// The cluster's places.
    pub paths: &'a ClusterPaths,
    /// The cluster.
    pub config: &'a ClusterConfig,
    /// The first three bytes of its nodes' addresses on the host.
    pub external_network: Ipv4Addr,
    /// The lock of whoever opens node ports on 127.0.0.1; None: nobody does.
    pub loopback_lock: Option<PathBuf>,
    /// Lets pods reach addresses outside of the cluster.
    pub allow_egress: bool,
}

/// All processes, in the order in which they are started; they are ended in the reverse.
#[must_use]
pub fn table(assembly: &Assembly<'_>) -> Vec<ComponentSpec> {
    let mut specs =
        vec![assembly.api_server(), assembly.controller_manager(), assembly.scheduler()];
    for number in 1..=assembly.config.nodes {
        specs.push(assembly.kubelet(number));
        specs.push(assembly.proxy(number));
    }
    specs
}

/// The address of the cluster's DNS.
pub const CLUSTER_DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The audit policy, in the cluster's state.
pub const AUDIT_POLICY: &str = "audit-policy.yaml";
/// Where the host's name servers stand: with systemd-resolved the usual file names only that one, on the loopback.
const HOST_RESOLV_CONF: &[&str] = &["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];

/// The programs that a cluster needs.
pub const PROGRAMS: &[&str] =
    &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet-sim", "kube-proxy"];

impl Assembly<'_> {
    fn spec(&self, name: &str, program: &str, args: Vec<(&str, String)>) -> ComponentSpec {
        let mut flat: Vec<String> =
            args.into_iter().map(|(flag, value)| format!("--{flag}={value}")).collect();
        // The supervisor's pipe is the standard input.
        flat.push("--lifeline-fd=0".into());
        ComponentSpec {
            name: name.to_owned(),
            program: self.programs.join(program),
            args: flat,
            log: self.paths.log(name),
        }
    }

    fn pki(&self, file: &str) -> String {
        show(&self.paths.state("pki").join(file))
    }

    fn run(&self, file: &str) -> String {
        show(&self.paths.run.join(file))
    }

    /// The file by which a component that was killed hands its lease on. In the state folder: the lease survives with it.
    fn identity(&self, component: &str) -> String {
        show(&self.paths.state(&format!("{component}.identity")))
    }

    fn api_server(&self) -> ComponentSpec {
        let mut spec = self.spec(
            "kube-apiserver",
            "kube-apiserver",
            vec![
                ("data-dir", show(&self.paths.state("db"))),
                ("bind-address", "127.0.0.1".into()),
                ("secure-port", self.config.api_port.to_string()),
                ("client-ca-file", self.pki("ca.crt")),
                ("service-account-signing-key-file", self.pki(TOKEN_KEY)),
                ("tls-cert-file", self.pki("apiserver.crt")),
                ("tls-private-key-file", self.pki("apiserver.key")),
                ("kubelet-client-certificate", self.pki("apiserver-kubelet-client.crt")),
                ("kubelet-client-key", self.pki("apiserver-kubelet-client.key")),
            ],
        );
        if self.config.audit {
            let policy = show(&self.paths.state(AUDIT_POLICY));
            spec.args.push(format!("--audit-policy-file={policy}"));
            spec.args.push(format!("--audit-log-path={}", show(&self.paths.log("audit"))));
            // Ten files of 100 MB, so that a cluster left running does not fill the disk.
            spec.args
                .extend(["--audit-log-maxsize=100", "--audit-log-maxbackup=10"].map(Into::into));
        }
        spec
    }

    fn controller_manager(&self) -> ComponentSpec {
        self.spec(
            "kube-controller-manager",
            "kube-controller-manager",
            vec![
                ("kubeconfig", self.pki("controller-manager.kubeconfig")),
                ("cluster-cidr", self.config.cluster_cidr.clone()),
                ("external-network", self.external_network.to_string()),
                ("root-ca-file", self.pki("ca.crt")),
                ("cluster-signing-cert-file", self.pki("ca.crt")),
                ("cluster-signing-key-file", self.pki("ca.key")),
                ("health-socket", self.run("kube-controller-manager.sock")),
                ("leader-elect-identity-file", self.identity("kube-controller-manager")),
            ],
        )
    }

    fn scheduler(&self) -> ComponentSpec {
        self.spec(
            "kube-scheduler",
            "kube-scheduler",
            vec![
                ("kubeconfig", self.pki("scheduler.kubeconfig")),
                ("health-socket", self.run("kube-scheduler.sock")),
                ("endpoint-socket", self.run("scheduling.sock")),
                ("leader-elect-identity-file", self.identity("kube-scheduler")),
            ],
        )
    }

    fn kubelet(&self, number: u32) -> ComponentSpec {
        let mut spec = self.spec(
            &format!("kubelet-node-{number}"),
            "kubelet-sim",
            vec![
                ("kubeconfig-dir", show(&self.paths.state("pki"))),
                ("nodes", number.to_string()),
                ("state-dir", show(&self.paths.state("nodes"))),
                ("run-dir", show(&self.paths.run)),
                ("external-network", self.external_network.to_string()),
                ("cluster-name", self.config.name.clone()),
                ("api-server", format!("127.0.0.1:{}", self.config.api_port)),
                ("cluster-cidr", self.config.cluster_cidr.clone()),
                ("cluster-dns", CLUSTER_DNS.to_string()),
                ("coredns-client-certificate", self.pki("coredns.crt")),
                ("coredns-client-key", self.pki("coredns.key")),
                ("ingress-client-certificate", self.pki("ingress.crt")),
                ("ingress-client-key", self.pki("ingress.key")),
                ("certificate-authority", self.pki("ca.crt")),
                ("health-socket", self.run(&format!("kubelet-{number}-health.sock"))),
            ],
        );
        if let Some(lock) = &self.loopback_lock {
            spec.args.push(format!("--loopback-lock={}", show(lock)));
        }
        if self.allow_egress {
            spec.args.push("--allow-egress".into());
            // Who may not leave the cluster has nobody to ask outside.
            let file = HOST_RESOLV_CONF.iter().map(Path::new).find(|path| path.is_file());
            spec.args.extend(file.map(|path| format!("--resolv-conf={}", show(path))));
        }
        spec
    }

    fn proxy(&self, number: u32) -> ComponentSpec {
        let node = format!("node-{number}");
        self.spec(
            &format!("kube-proxy-{node}"),
            "kube-proxy",
            vec![
                ("kubeconfig", self.pki("proxy.kubeconfig")),
                ("node-name", node.clone()),
                ("node-socket", self.run(&format!("net/{node}-rules.sock"))),
                ("cache-file", show(&self.paths.state("nodes").join(format!("{node}-rules.json")))),
                ("health-socket", self.run(&format!("proxy-{number}.sock"))),
            ],
        )
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// The folder of this program: the others lie beside it, and are never looked for on PATH.
///
/// # Errors
/// A program is missing.
pub fn programs_dir() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let dir = own.parent().unwrap_or(Path::new("/")).to_owned();
    for program in PROGRAMS {
        anyhow::ensure!(
            dir.join(program).is_file(),
            "{program} is not beside kube-mini in {}: build all programs with `make build`",
            dir.display()
        );
    }
    Ok(dir)
}
