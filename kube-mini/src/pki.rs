//! The cluster's certificates: who gets which.
//!
//! | file in `pki` | user, group | for |
//! |---|---|---|
//! | `ca` | | signs all others, and by the controller manager what CertificateSigningRequests ask for |
//! | `apiserver` | | the API server's own certificate |
//! | `apiserver-kubelet-client` | `kube-apiserver-kubelet-client`, `system:masters` | the API server to kubelets |
//! | `sa.key` | | signs the tokens of ServiceAccounts |
//! | `scheduler.kubeconfig` | `system:kube-scheduler` | the scheduler |
//! | `controller-manager.kubeconfig` | `system:kube-controller-manager` | the controller manager |
//! | `node-N.kubeconfig` | `system:node:node-N`, `system:nodes` | that node's kubelet |
//! | `proxy.kubeconfig` | `system:kube-proxy` | every kube-proxy |
//! | `coredns` | `system:serviceaccount:kube-system:coredns`, `system:serviceaccounts` | the cluster's DNS, in the place of its token |
//! | `ingress` | `system:serviceaccount:ingress:ingress-kube-mini`, `system:serviceaccounts` | the ingress controller, in the place of its token |
//! | `../kubeconfig` | `kubernetes-admin`, `system:masters` | the user |
//!
//! The authority is made once, and so is the key of tokens, which outlive the API server's process. Everything else is made anew at each `up`: it costs a millisecond each, and a certificate
//! never outlives its year unnoticed.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use component_base::{
    clock::Clock,
    files,
    kubeconfig::{Cluster, Kubeconfig, User},
    tls::{self, CertSpec, CertificateAuthority, KeyPair},
};

use crate::{config::ClusterConfig, paths::ClusterPaths};

/// The names of the API server besides localhost.
const API_NAMES: &[&str] = &[
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
];
/// Its addresses: on the host, as a Service, as the control plane's node.
const API_ADDRESSES: &[Ipv4Addr] =
    &[Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 96, 0, 1), Ipv4Addr::new(192, 168, 1, 100)];

/// The file of the key that signs tokens.
pub const TOKEN_KEY: &str = "sa.key";

/// Who the cluster's DNS is to the API server: its ServiceAccount.
pub const COREDNS_USER: &str = "system:serviceaccount:kube-system:coredns";
/// Its group. A certificate has room for one: that of its namespace, which a token would have too, is left out.
pub const COREDNS_GROUPS: &[&str] = &["system:serviceaccounts"];

/// Who the ingress controller is to the API server: its ServiceAccount.
pub const INGRESS_USER: &str = "system:serviceaccount:ingress:ingress-kube-mini";

/// Writes all certificates and kubeconfigs, and gives the administrator's.
///
/// # Errors
/// A file cannot be written, or the kept authority is damaged.
pub fn write(
    paths: &ClusterPaths,
    config: &ClusterConfig,
    clock: &Clock,
) -> anyhow::Result<Kubeconfig> {
    let dir = paths.state("pki");
    let authority = authority(&dir, clock)?;
    create_token_key(&dir.join(TOKEN_KEY))?;
    let addresses: Vec<IpAddr> = API_ADDRESSES.iter().copied().map(Into::into).collect();
    let serving = CertSpec::server("kube-apiserver", API_NAMES, &addresses);
    store(&dir, "apiserver", &authority.issue(&serving, clock.now())?)?;
    let kubelet_client = CertSpec::client("kube-apiserver-kubelet-client", &["system:masters"]);
    store(&dir, "apiserver-kubelet-client", &authority.issue(&kubelet_client, clock.now())?)?;

    for (file, user) in [("coredns", COREDNS_USER), ("ingress", INGRESS_USER)] {
        let spec = CertSpec::client(user, COREDNS_GROUPS);
        store(&dir, file, &authority.issue(&spec, clock.now())?)?;
    }

    let server = format!("https://127.0.0.1:{}", config.api_port);
    let kubeconfig = |user: &str, groups: &[&str]| -> anyhow::Result<Kubeconfig> {
        let pair = authority.issue(&CertSpec::client(user, groups), clock.now())?;
        let cluster = Cluster::with_authority(&server, authority.cert_pem());
        Ok(Kubeconfig::single(&config.name, cluster, User::with_certificate(&pair)))
    };
    let mut users = vec![
        ("scheduler".to_owned(), "system:kube-scheduler".to_owned(), None),
        ("controller-manager".to_owned(), "system:kube-controller-manager".to_owned(), None),
        ("proxy".to_owned(), "system:kube-proxy".to_owned(), None),
    ];
    for node in config.node_names() {
        let user = format!("system:node:{node}");
        users.push((node, user, Some("system:nodes")));
    }
    for (file, user, group) in users {
        let groups: Vec<&str> = group.into_iter().collect();
        save(&dir.join(format!("{file}.kubeconfig")), &kubeconfig(&user, &groups)?)?;
    }
    let admin = kubeconfig("kubernetes-admin", &["system:masters"])?;
    save(&paths.state("kubeconfig"), &admin)?;
    Ok(admin)
}

fn authority(dir: &Path, clock: &Clock) -> anyhow::Result<CertificateAuthority> {
    let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    match (fs::read_to_string(&certificate), fs::read_to_string(&key)) {
        (Ok(cert_pem), Ok(key_pem)) => {
            Ok(CertificateAuthority::load(KeyPair { cert_pem, key_pem })?)
        }
        (Err(a), Err(b)) if [&a, &b].iter().all(|e| e.kind() == io::ErrorKind::NotFound) => {
            let authority = CertificateAuthority::create("kubernetes", clock.now())?;
            store(dir, "ca", authority.key_pair())?;
            Ok(authority)
        }
        _ => anyhow::bail!(
            "{} and {} cannot both be read: the cluster's authority is damaged; `kube-mini delete` removes the cluster",
            certificate.display(),
            key.display()
        ),
    }
}

/// Makes the key of tokens where there is none yet.
fn create_token_key(path: &Path) -> anyhow::Result<()> {
    if !path.try_exists()? {
        write_private(path, tls::create_signing_key("service account tokens")?.as_bytes())?;
    }
    Ok(())
}

fn store(dir: &Path, name: &str, pair: &KeyPair) -> io::Result<()> {
    write_private(&dir.join(format!("{name}.key")), pair.key_pem.as_bytes())?;
    write_private(&dir.join(format!("{name}.crt")), pair.cert_pem.as_bytes())
}

fn save(path: &Path, kubeconfig: &Kubeconfig) -> anyhow::Result<()> {
    let mut file = kubeconfig.clone();
    for (field, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        file.other.insert(field.to_owned(), value.into());
    }
    Ok(write_private(path, serde_yaml::to_string(&file)?.as_bytes())?)
}

fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    files::write_atomic(path, contents, files::PRIVATE)
}
