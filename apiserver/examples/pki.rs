//! Writes what an API server and its administrator need to know each other into a directory: certificates and a kubeconfig.
//!
//! `cargo run -p apiserver --example pki -- DIR PORT`, then `kube-apiserver --client-ca-file DIR/ca.crt …`.

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use component_base::{
    clock::Clock,
    tls::{CertSpec, CertificateAuthority},
};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().unwrap_or_else(|| ".".to_owned()));
    let port = args.next().unwrap_or_else(|| "6443".to_owned());
    fs::create_dir_all(&dir)?;
    let now = Clock::real().now();
    let ca = CertificateAuthority::create("kubernetes", now)?;
    fs::write(dir.join("ca.crt"), ca.cert_pem())?;
    let server =
        CertSpec::server("kube-apiserver", &["localhost", "kubernetes"], &["127.0.0.1".parse()?]);
    let pair = ca.issue(&server, now)?;
    fs::write(dir.join("server.crt"), &pair.cert_pem)?;
    fs::write(dir.join("server.key"), &pair.key_pem)?;
    let users: [(&str, &str, &[&str]); 3] = [
        ("admin", "kubernetes-admin", &["system:masters"]),
        ("node-1", "system:node:node-1", &["system:nodes"]),
        ("nobody", "ann", &[]),
    ];
    for (file, user, groups) in users {
        let pair = ca.issue(&CertSpec::client(user, groups), now)?;
        fs::write(dir.join(format!("{file}.crt")), &pair.cert_pem)?;
        fs::write(dir.join(format!("{file}.key")), &pair.key_pem)?;
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: c, user: u}}\nclusters:\n- name: c\n  cluster:\n    server: https://127.0.0.1:{port}\n    certificate-authority-data: {}\nusers:\n- name: u\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
            STANDARD.encode(ca.cert_pem()),
            STANDARD.encode(&pair.cert_pem),
            STANDARD.encode(&pair.key_pem),
        );
        fs::write(dir.join(format!("{file}.kubeconfig")), config)?;
    }
    Ok(())
}
