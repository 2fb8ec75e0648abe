//! What a cluster is made of: told by `up` the first time, remembered in `cluster.yaml`.

use std::{fs, io, net::Ipv4Addr, path::Path};

use serde::{Deserialize, Serialize};

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The network's address.
    pub network: Ipv4Addr,
    /// The length of its prefix in bits.
    pub prefix: u8,
}

impl std::str::FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid CIDR {text:?}: write it like 10.244.0.0/16");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let network: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if prefix > 24 {
            return Err(format!("CIDR {text:?} is too small: every node needs a /24 of it"));
        }
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        if u32::from(network) & !mask != 0 {
            return Err(format!("CIDR {text:?} has bits set beyond its prefix"));
        }
        Ok(Self { network, prefix })
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl Cidr {
    /// How many nodes' /24 it holds.
    #[must_use]
    pub fn node_capacity(self) -> u32 {
        1 << (24 - self.prefix)
    }
}

/// `cluster.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterConfig {
    /// The cluster's name.
    pub name: String,
    /// How many nodes it has.
    pub nodes: u32,
    /// The port that the API server listens on.
    pub api_port: u16,
    /// The pods' network.
    pub cluster_cidr: String,
    /// The number of the address slice that it had last.
    pub address_slice: u32,
    /// The ports of the ingress controller on localhost: plain HTTP and TLS; None: the cluster has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_ports: Option<[u16; 2]>,
    /// Requests are recorded, by the policy in `audit-policy.yaml` beside this file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audit: bool,
    /// The kubeconfig file that the context was merged into.
    pub kubeconfig: std::path::PathBuf,
}

impl ClusterConfig {
    /// Reads the remembered configuration; None: there is none yet.
    ///
    /// # Errors
    /// The file cannot be read, or is not ours.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => serde_yaml::from_str(&text).map(Some).map_err(|e| {
                io::Error::other(format!(
                    "{}: {e}: mend it, or remove the cluster with `kube-mini delete`",
                    path.display()
                ))
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Remembers the configuration.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let text = serde_yaml::to_string(self).map_err(io::Error::other)?;
        component_base::files::write_atomic(path, text.as_bytes(), component_base::files::PRIVATE)
    }

    /// The names of the nodes.
    pub fn node_names(&self) -> impl Iterator<Item = String> + use<> {
        (1..=self.nodes).map(|n| format!("node-{n}"))
    }
}

/// Checks a cluster's name: it becomes a folder, a context and a part of certificates.
///
/// # Errors
/// The rule that it breaks.
pub fn check_name(name: &str) -> Result<String, String> {
    let fine = !name.is_empty()
        && name.len() <= 40
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fine {
        Ok(name.to_owned())
    } else {
        Err("a cluster's name has at most 40 lower case letters, digits and inner dashes".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cidrs_are_checked() {
        let check = |text: &str, expected: Result<u32, &str>| {
            let result = text.parse::<Cidr>().map(Cidr::node_capacity);
            match expected {
                Ok(nodes) => assert_eq!(result, Ok(nodes), "{text}"),
                Err(part) => assert!(result.as_ref().unwrap_err().contains(part), "{result:?}"),
            }
        };
        check("10.244.0.0/16", Ok(256));
        check("10.0.0.0/8", Ok(65536));
        check("10.244.0.0/24", Ok(1));
        check("10.244.0.0/25", Err("too small"));
        check("10.244.1.0/16", Err("beyond its prefix"));
        check("10.244.0.0", Err("write it like"));
        check("fd00::/64", Err("write it like"));
    }

    #[test]
    fn names_are_checked() {
        let check = |name: &str, fine| assert_eq!(check_name(name).is_ok(), fine, "{name:?}");
        check("kube-mini", true);
        check("a", true);
        check("", false);
        check("../x", false);
        check("Upper", false);
        check("-a", false);
        check(&"a".repeat(41), false);
    }
}
