//! The names of chains: kube-proxy's, and ours for policies.

use std::net::{IpAddr, SocketAddr};

use ring::digest::{SHA256, digest};

use crate::rules::{Direction, Protocol, ServicePortName};

/// `base32.StdEncoding` of the SHA-256, the first `length` characters.
fn hash(of: &str, length: usize) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = digest(&SHA256, of.as_bytes());
    let bit = |at: usize| (digest.as_ref()[at / 8] >> (7 - at % 8)) & 1;
    let letter = |n: usize| (0..5).fold(0, |value, at| value << 1 | bit(5 * n + at));
    // 256 bits are 51 whole letters; no name has more than 16.
    (0..length.min(51)).map(|n| char::from(ALPHABET[usize::from(letter(n))])).collect()
}

/// `KUBE-SVC-…` and its kin: `portProtoHash`.
pub(super) fn port_chain(prefix: &str, name: &ServicePortName, protocol: Protocol) -> String {
    format!("{prefix}{}", hash(&format!("{name}{}", protocol.lower()), 16))
}

/// `KUBE-SEP-…`: `servicePortEndpointChainName`.
pub(super) fn endpoint_chain(
    name: &ServicePortName,
    protocol: Protocol,
    endpoint: SocketAddr,
) -> String {
    format!("KUBE-SEP-{}", hash(&format!("{name}{}{endpoint}", protocol.lower()), 16))
}

/// `HASH-namespace/name/protocol/port`: what nft chains of a Service port end with.
pub(super) fn nft_base(name: &ServicePortName, protocol: Protocol) -> String {
    let ServicePortName { namespace, name, port } = name;
    let base = format!("{namespace}/{name}/{}/{port}", protocol.lower());
    format!("{}-{base}", hash(&base, 8))
}

/// `endpoint-HASH-namespace/name/protocol/port__address/port`.
pub(super) fn nft_endpoint(
    name: &ServicePortName,
    protocol: Protocol,
    endpoint: SocketAddr,
) -> String {
    let ServicePortName { namespace, name, port } = name;
    let ip = endpoint.ip().to_string().replace(':', ".");
    let base = format!("{namespace}/{name}/{}/{port}__{ip}/{}", protocol.lower(), endpoint.port());
    format!("endpoint-{}-{base}", hash(&base, 8))
}

/// The chain of a pod that policies select.
pub(super) fn pod_chain(pod: IpAddr, direction: Direction) -> String {
    format!("KUBE-POD-{}-{}", side(direction), hash(&pod.to_string(), 16))
}

/// The chain of a policy.
pub(super) fn policy_chain(policy: &str, direction: Direction) -> String {
    format!("KUBE-NWP-{}-{}", side(direction), hash(policy, 16))
}

/// The set of addresses that a selector comes to.
pub(super) fn address_set(name: &str) -> String {
    format!("KUBE-SET-{}", hash(name, 16))
}

fn side(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "IN",
        Direction::Egress => "OUT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that kube-proxy gives: known from any cluster, and from its own tests.
    #[test]
    fn chains_have_kube_proxys_names() {
        let name = |text: &str| text.parse::<ServicePortName>().unwrap();
        let check = |made: String, expected: &str| assert_eq!(made, expected);
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        let svc = |text, protocol| port_chain("KUBE-SVC-", &name(text), protocol);
        check(svc("default/kubernetes:https", tcp), "KUBE-SVC-NPX46M4PTMTKRN6Y");
        check(svc("kube-system/kube-dns:dns", udp), "KUBE-SVC-TCOU7JCQXEZGVUNU");
        let one: SocketAddr = "10.180.0.1:80".parse().unwrap();
        check(endpoint_chain(&name("ns1/svc1:p80"), tcp, one), "KUBE-SEP-SXIVWICOYRO3J4NJ");
        check(nft_base(&name("ns1/svc1:p80"), tcp), "ULMVA6XW-ns1/svc1/tcp/p80");
        let chain = nft_endpoint(&name("ns1/svc1:p80"), tcp, one);
        check(chain, "endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80");
    }
}
