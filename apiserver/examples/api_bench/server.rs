//! The server under test, as a process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context, Result};
use component_base::{
    clock::Clock,
    tls::{CertSpec, CertificateAuthority, KeyPair},
    transport::{Endpoint, TlsEndpoint},
};

pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    pub(crate) ca_pem: String,
    pub(crate) admin: KeyPair,
}

impl Server {
    pub(crate) async fn start(clock: &Clock) -> Result<Self> {
        let own = std::env::current_exe()?;
        let release = own.parent().and_then(Path::parent).context("a target directory")?;
        let dir = release.join("../api-bench");
        // Nothing there yet is as good as nothing there any more.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        let now = clock.now();
        let ca = CertificateAuthority::create("kubernetes", now)?;
        let serving =
            ca.issue(&CertSpec::server("kube-apiserver", &[], &["127.0.0.1".parse()?]), now)?;
        let admin = ca.issue(&CertSpec::client("admin", &["system:masters"]), now)?;
        let file = |name: &str, text: &str| -> Result<PathBuf> {
            let path = dir.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        let address_file = dir.join("address");
        let process = Command::new(release.join("kube-apiserver"))
            .arg("--secure-port=0")
            .arg("--address-file")
            .arg(&address_file)
            .arg("--data-dir")
            .arg(dir.join("db"))
            .arg("--client-ca-file")
            .arg(file("ca.crt", ca.cert_pem())?)
            .arg("--tls-cert-file")
            .arg(file("server.crt", &serving.cert_pem)?)
            .arg("--tls-private-key-file")
            .arg(file("server.key", &serving.key_pem)?)
            .spawn()
            .context("start the kube-apiserver beside this program")?;
        let mut server =
            Self { process, address: String::new(), ca_pem: ca.cert_pem().to_owned(), admin };
        for _ in 0..5000 {
            if let Ok(address) = fs::read_to_string(&address_file) {
                server.address = address;
                break;
            }
            clock.sleep(Duration::from_millis(1)).await;
        }
        super::RawClient::connect(&server, "/readyz").await?.get().await?;
        Ok(server)
    }

    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        Ok(Endpoint::Tls(TlsEndpoint::new(&self.address, &self.ca_pem, Some(&self.admin))?))
    }

    /// Processor time that the server has used, in microseconds: the figure that other processes disturb least.
    pub(crate) fn cpu_micros(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()));
        let stat = stat.unwrap_or_default();
        // The second field is the name in parentheses; user and system time are the 14th and 15th, in hundredths.
        let fields = stat.rsplit(") ").next().unwrap_or("").split(' ');
        let ticks: f64 =
            fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        ticks * 10_000.0
    }

    pub(crate) fn resident_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let line = status.unwrap_or_default();
        let kib: Option<f64> = line
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
        kib.unwrap_or(0.0) / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is ours, and at its end anyway.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
