//! What a Service says to the network.

use std::{collections::BTreeMap, net::IpAddr};

use apimachinery::api::core::Service;
use cni::{
    cidr::Cidr,
    rules::{Protocol, ServiceRule, TrafficPolicy},
};

/// Another proxy serves the Service (`corev1.LabelServiceProxyName`).
const SERVICE_PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// `corev1.DefaultClientIPServiceAffinitySeconds`.
const DEFAULT_AFFINITY_SECONDS: u32 = 10_800;

/// A Service's rules by port name, without endpoints.
#[derive(Debug)]
pub(super) struct ServicePorts {
    pub(super) uid: Option<String>,
    pub(super) rules: BTreeMap<String, ServiceRule>,
    /// `healthCheckNodePort`, where it is served.
    pub(super) health_check: Option<u16>,
    /// Ports of protocols that are not carried.
    pub(super) unsupported: Vec<(i32, String)>,
}

impl ServicePorts {
    /// Reads a Service; `None` for one that is not this proxy's.
    pub(super) fn of(service: &Service) -> Option<Self> {
        let spec = &service.spec;
        let type_ = spec.type_.as_deref().unwrap_or("ClusterIP");
        let headless = matches!(spec.cluster_ip.as_deref(), None | Some("" | "None"));
        if type_ == "ExternalName"
            || headless
            || service.metadata.labels.contains_key(SERVICE_PROXY_NAME)
        {
            return None;
        }
        let cluster_ips = match &spec.cluster_ips[..] {
            [] => addresses(&spec.cluster_ip),
            ips => addresses(ips),
        };
        let opens_node_ports = matches!(type_, "NodePort" | "LoadBalancer");
        let balancer = &service.status.load_balancer;
        let ingress = balancer.iter().flat_map(|status| &status.ingress);
        let vip = ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
        let load_balancer_ips = if type_ == "LoadBalancer" {
            addresses(vip.filter_map(|i| i.ip.as_ref()))
        } else {
            vec![]
        };
        // Ranges of the other family say nothing about this one, as in Kubernetes' kube-proxy.
        let source_ranges: Vec<Cidr> = spec
            .load_balancer_source_ranges
            .iter()
            .filter_map(|range| range.trim().parse().ok())
            .filter(|range: &Cidr| range.base().is_ipv4())
            .collect();
        let number = |port: i32| u16::try_from(port).ok().filter(|port| *port != 0);
        let checked =
            type_ == "LoadBalancer" && spec.external_traffic_policy.as_deref() == Some("Local");
        let mut ports = Self {
            uid: service.metadata.uid.clone(),
            rules: BTreeMap::new(),
            health_check: spec.health_check_node_port.filter(|_| checked).and_then(number),
            unsupported: vec![],
        };
        for port in &spec.ports {
            let protocol = match port.protocol.as_deref() {
                None | Some("TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some(other) => {
                    ports.unsupported.push((port.port, other.to_owned()));
                    continue;
                }
            };
            let Some(own_port) = number(port.port) else { continue };
            let rule = ServiceRule {
                protocol,
                cluster_ips: cluster_ips.clone(),
                port: own_port,
                node_port: port.node_port.filter(|_| opens_node_ports).and_then(number),
                external_ips: addresses(&spec.external_ips),
                load_balancer_ips: load_balancer_ips.clone(),
                source_ranges: source_ranges.clone(),
                affinity_seconds: affinity(service),
                internal_policy: policy(spec.internal_traffic_policy.as_deref()),
                external_policy: policy(spec.external_traffic_policy.as_deref()),
                endpoints: vec![],
            };
            ports.rules.insert(port.name.clone().unwrap_or_default(), rule);
        }
        Some(ports)
    }
}

fn addresses<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<IpAddr> {
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

fn policy(text: Option<&str>) -> TrafficPolicy {
    if text == Some("Local") { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

fn affinity(service: &Service) -> Option<u32> {
    if service.spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = service.spec.session_affinity_config.as_ref();
    let seconds = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    Some(
        seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(DEFAULT_AFFINITY_SECONDS),
    )
}
