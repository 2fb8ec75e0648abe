//! `/etc/resolv.conf` of pods, as the kubelet's `pkg/kubelet/network/dns` makes it; [`Names::of`] is pure.
//!
//! | `dnsPolicy` | servers | search |
//! |---|---|---|
//! | `ClusterFirst` | the cluster's | `NS.svc.DOMAIN svc.DOMAIN DOMAIN`, then the node's |
//! | `ClusterFirst` on the host's network, `Default` | the node's | the node's |
//! | `ClusterFirstWithHostNet` | as `ClusterFirst` | |
//! | `None` | none | none |
//!
//! `dnsConfig` adds to all of them. What is beyond the limits of a resolver is left out and told in an event.

use std::{fmt, sync::Arc};

use apimachinery::api::core::{Pod, PodDNSConfig};
use client::events::EventType;
use cni::network::{Resolver, Sandbox};

use crate::node::NodeContext;

#[cfg(test)]
mod tests;

/// `validation.MaxDNSNameservers`.
const MAX_SERVERS: usize = 3;
/// `validation.MaxDNSSearchPaths`.
const MAX_SEARCHES: usize = 32;
/// `validation.MaxDNSSearchListChars`.
const MAX_SEARCH_CHARS: usize = 2048;
/// `defaultDNSOptions`.
const CLUSTER_OPTIONS: &[&str] = &["ndots:5"];

/// Makes of a pod's `/etc/resolv.conf` what resolves by it.
pub type MakeResolver = Arc<dyn Fn(&str) -> Arc<dyn Resolver> + Send + Sync>;

/// How the pods of a kubelet find names.
#[derive(Clone)]
pub struct Names {
    /// The cluster's DNS servers (`--cluster-dns`).
    pub cluster_dns: Vec<String>,
    /// The cluster's domain (`--cluster-domain`).
    pub domain: String,
    /// The node's own `/etc/resolv.conf` (`--resolv-conf`).
    pub node: ResolvConf,
    /// What resolves.
    pub resolver: MakeResolver,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("cluster_dns", &self.cluster_dns).finish_non_exhaustive()
    }
}

/// What a `/etc/resolv.conf` says, word for word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// `nameserver` lines.
    pub servers: Vec<String>,
    /// The last `search` line.
    pub searches: Vec<String>,
    /// The last `options` line.
    pub options: Vec<String>,
}

/// An event about a pod: reason and message.
pub type Warning = (&'static str, String);

impl ResolvConf {
    /// Reads a file as the kubelet does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => conf.servers.extend(words.next()),
                Some("search") => conf.searches = words.collect(),
                Some("options") => conf.options = words.collect(),
                _ => {}
            }
        }
        conf
    }

    /// `appendDNSConfig`.
    fn add(&mut self, more: &PodDNSConfig) {
        append(&mut self.servers, &more.nameservers);
        append(&mut self.searches, &more.searches);
        for option in &more.options {
            let name = option.name.as_deref().unwrap_or_default();
            let text = match option.value.as_deref() {
                None | Some("") => name.to_owned(),
                Some(value) => format!("{name}:{value}"),
            };
            let same = |known: &&mut String| known.split(':').next() == Some(name);
            match self.options.iter_mut().find(same) {
                Some(known) => *known = text,
                None => self.options.push(text),
            }
        }
    }

    /// `formDNSConfigFitsLimits`.
    fn fit(&mut self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.servers.len() > MAX_SERVERS {
            self.servers.truncate(MAX_SERVERS);
            warnings.push((
                "DNSConfigForming",
                format!(
                    "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
                    self.servers.join(" ")
                ),
            ));
        }
        let before = self.searches.len();
        self.searches.truncate(MAX_SEARCHES);
        while self.searches.join(" ").len() > MAX_SEARCH_CHARS {
            self.searches.pop();
        }
        if self.searches.len() < before {
            warnings.push((
                "DNSConfigForming",
                format!(
                    "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
                    self.searches.join(" ")
                ),
            ));
        }
        warnings
    }
}

/// As containerd writes it.
impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.searches.is_empty() {
            writeln!(f, "search {}", self.searches.join(" "))?;
        }
        for server in &self.servers {
            writeln!(f, "nameserver {server}")?;
        }
        if self.options.is_empty() {
            Ok(())
        } else {
            writeln!(f, "options {}", self.options.join(" "))
        }
    }
}

impl Names {
    /// What stands in a pod's `/etc/resolv.conf`, and what its owner should know.
    #[must_use]
    pub fn of(&self, pod: &Pod) -> (ResolvConf, Vec<Warning>) {
        let policy = pod.spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
        let on_host = pod.spec.host_network == Some(true);
        let mut warnings = Vec::new();
        let mut conf = match policy {
            "None" => ResolvConf::default(),
            "ClusterFirstWithHostNet" => self.cluster_first(pod, policy, &mut warnings),
            "ClusterFirst" if !on_host => self.cluster_first(pod, policy, &mut warnings),
            _ => self.node.clone(),
        };
        if let Some(more) = &pod.spec.dns_config {
            conf.add(more);
        }
        warnings.extend(conf.fit());
        (conf, warnings)
    }

    fn cluster_first(&self, pod: &Pod, policy: &str, warnings: &mut Vec<Warning>) -> ResolvConf {
        if self.cluster_dns.is_empty() {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            warnings.push((
                "MissingClusterDNS",
                format!(
                    "pod: \"{name}_{namespace}({uid})\". kubelet does not have ClusterDNS IP configured and cannot create Pod using {policy:?} policy. Falling back to \"Default\" policy."
                ),
            ));
            return self.node.clone();
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let domain = &self.domain;
        let mut searches = Vec::new();
        if !domain.is_empty() {
            let own =
                [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
            append(&mut searches, &own);
        }
        append(&mut searches, &self.node.searches);
        ResolvConf {
            servers: self.cluster_dns.clone(),
            searches,
            options: CLUSTER_OPTIONS.iter().map(|option| (*option).to_owned()).collect(),
        }
    }
}

/// Gives a pod its `/etc/resolv.conf`, and what resolves by it.
pub fn set_resolver(node: &NodeContext, pod: &Pod, sandbox: &Sandbox) {
    let Some(names) = &node.names else { return };
    let (conf, warnings) = names.of(pod);
    for (reason, message) in warnings {
        node.event(pod, EventType::Warning, reason, &message);
    }
    let text = conf.to_string();
    let resolver = (names.resolver)(&text);
    sandbox.set_resolver(text, resolver);
}

/// Adds what is not there yet.
fn append(list: &mut Vec<String>, more: &[String]) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}
