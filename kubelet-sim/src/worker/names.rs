//! A pod's host name and hosts file (pure). Follows `GeneratePodHostNameAndDomain` and `managedHostsFileContent`.

use apimachinery::api::core::Pod;

/// The longest name a kernel takes.
const LONGEST: usize = 64;

/// The short name, and the domain behind it.
fn names(pod: &Pod) -> (String, Option<String>) {
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    if let Some(name) = given(&pod.spec.hostname_override) {
        return (name, None);
    }
    let own = given(&pod.spec.hostname).or_else(|| pod.metadata.name.clone());
    let mut host = own.unwrap_or_default();
    host.truncate(63);
    let host = host.trim_end_matches(['-', '.']).to_owned();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let domain = given(&pod.spec.subdomain);
    (host, domain.map(|subdomain| format!("{subdomain}.{namespace}.svc.cluster.local")))
}

/// What `hostname` says in the pod's containers.
///
/// # Errors
/// The whole name is asked for, and too long.
pub(super) fn hostname(pod: &Pod, node: &str) -> Result<String, String> {
    if pod.spec.host_network == Some(true) {
        return Ok(node.to_owned());
    }
    match names(pod) {
        (host, Some(domain)) if pod.spec.set_hostname_as_fqdn == Some(true) => {
            let whole = format!("{host}.{domain}");
            if whole.len() <= LONGEST {
                return Ok(whole);
            }
            Err(format!(
                "Failed to construct FQDN from pod hostname and cluster domain, FQDN {whole} is too long ({LONGEST} characters is the max, {} characters requested)",
                whole.len()
            ))
        }
        (host, _) => Ok(host),
    }
}

/// `/etc/hosts` as the kubelet manages it.
pub(super) fn hosts_file(pod: &Pod, ip: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    match names(pod) {
        (host, Some(domain)) => text.push_str(&format!("{ip}\t{host}.{domain}\t{host}\n")),
        (host, None) => text.push_str(&format!("{ip}\t{host}\n")),
    }
    if !pod.spec.host_aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in &pod.spec.host_aliases {
            text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.join("\t")));
        }
    }
    text
}
