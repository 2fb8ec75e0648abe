//! The pod's `/etc/hosts`, and the seam where cluster DNS comes in.

use std::{fmt::Write as _, io, net::IpAddr};

use async_trait::async_trait;

use super::Sandbox;

/// Resolves names that the hosts file does not know, by the pod's own network.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// Finds the addresses of `name` from inside `sandbox`.
    ///
    /// # Errors
    /// `NotFound` when the name does not exist, or what the network answered.
    async fn resolve(&self, sandbox: &Sandbox, name: &str) -> io::Result<Vec<IpAddr>>;

    /// Does the same, and tells each full name that was asked for on the way, with what came of it; the last one has
    /// decided.
    async fn steps(&self, sandbox: &Sandbox, name: &str) -> Vec<(String, io::Result<Vec<IpAddr>>)> {
        vec![(name.to_owned(), self.resolve(sandbox, name).await)]
    }
}

/// A hosts file. It is read anew for each name: lookups are rare, and every pod of a process keeps one.
#[derive(Clone, Debug, Default)]
pub struct HostsFile(Box<str>);

/// The head that kubelet writes (`pkg/kubelet/kubelet_pods.go`, `managedHostsFileContent`).
const MANAGED_HEAD: &str = "# Kubernetes-managed hosts file.\n\
    127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    fe00::0\tip6-mcastprefix\n\
    fe00::1\tip6-allnodes\n\
    fe00::2\tip6-allrouters\n";

impl HostsFile {
    /// A hosts file of this text.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Writes the file as kubelet does, with the pod's own names after the usual head.
    #[must_use]
    pub fn managed(entries: &[(IpAddr, &str)]) -> Self {
        let mut text = MANAGED_HEAD.to_owned();
        for (address, names) in entries {
            writeln!(text, "{address}\t{names}").expect("writing to a string");
        }
        Self::new(text)
    }

    /// Returns the addresses of a name, IPv4 first as the network is IPv4; empty when unknown. Lines that are no address with
    /// names name nobody; `#` begins a comment.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Vec<IpAddr> {
        let name = name.trim_end_matches('.');
        let mut found = Vec::new();
        for line in self.0.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
                continue;
            };
            if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
                found.push(address);
            }
        }
        found.sort_by_key(IpAddr::is_ipv6);
        found
    }

    /// Returns the text as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_up_names() {
        let file = HostsFile::managed(&[("10.244.1.2".parse().unwrap(), "web-1")]);
        let mut text = file.text().to_owned();
        text.push_str("10.1.1.1 a.example b # comment c\nnonsense d\n10.1.1.2\tB\n");
        let hosts = HostsFile::new(text);
        let check = |name: &str, expected: &[&str]| {
            let expected: Vec<IpAddr> = expected.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(hosts.lookup(name), expected, "{name}");
        };
        check("localhost", &["127.0.0.1", "::1"]);
        check("web-1", &["10.244.1.2"]);
        check("a.example.", &["10.1.1.1"]);
        check("b", &["10.1.1.1", "10.1.1.2"]);
        check("c", &[]);
        check("d", &[]);
    }
}
