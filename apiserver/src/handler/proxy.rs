//! What the chain does for a proxied request: allow it, and find where it goes.
//!
//! | resource | its name | goes to |
//! |---|---|---|
//! | pods | `[scheme:]NAME[:PORT]` | the pod's address; without a port the first one that a container declares |
//! | services | `[scheme:]NAME[:PORT]`, the port by name or number | an address of its Endpoints that is a pod's, at random |
//! | nodes | `[scheme:]NAME[:PORT]` | the kubelet's own server, or another port of the node |
//!
//! Only addresses of pods and nodes can be reached, as in Kubernetes: Endpoints that somebody wrote by hand do not lead
//! out of the cluster. The connection is made by the kubelet of the node where the address is.

use std::net::IpAddr;

use apimachinery::{
    api::core::{Endpoints, Node, Pod, Service},
    object::Object,
    resource::{self, ResourceInfo},
    status::Status,
};
use proto::v1::DialStart;

use super::{Handler, check_verb};
use crate::{
    authorization::{Attributes, forbidden},
    request::RequestContext,
};

/// Where a proxied request goes.
#[derive(Debug)]
pub(crate) struct ProxyTarget {
    /// Whether the backend is spoken to over TLS.
    pub(crate) tls: bool,
    /// The backend as URLs name it: `10.244.1.2:80`.
    pub(crate) host: String,
    /// What the kubelet is asked for.
    pub(crate) start: DialStart,
    /// The Node whose kubelet it is.
    pub(crate) node: Object,
}

/// `[scheme:]name[:port]`.
#[derive(Debug, PartialEq, Eq)]
struct Id<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Id<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        let known = matches!(scheme, "" | "http" | "https");
        (known && !name.is_empty()).then_some(Self { scheme, name, port })
    }
}

impl Handler {
    /// Authorizes a proxied request by the verb that its HTTP method means ("" for OPTIONS), and finds where it goes.
    ///
    /// # Errors
    /// Forbidden, not found, a name that is none, or nobody to send it to.
    pub(crate) async fn proxy_target(
        &self,
        context: &RequestContext,
        verb: &str,
    ) -> Result<ProxyTarget, Status> {
        let attributes = Attributes::Resource {
            verb,
            group: context.resource.group,
            resource: context.resource.resource,
            subresource: &context.subresource,
            namespace: &context.namespace,
            name: &context.name,
        };
        let decision = self.authorizer.authorize(&context.user, &attributes, None).await;
        decision
            .map_err(|reason| forbidden(&context.user, &attributes, context.resource, &reason))?;
        check_verb(context)?;
        let kind = context.resource.singular;
        let id = Id::parse(&context.name).ok_or_else(|| {
            Status::bad_request(format!("invalid {kind} request {:?}", context.name))
        })?;
        let namespace = context.namespace.as_str();
        match context.resource.resource {
            "pods" => self.pod_target(namespace, &id).await,
            "services" => self.service_target(namespace, &id, &context.name).await,
            _ => self.node_target(&id).await,
        }
    }

    async fn view<T: serde::de::DeserializeOwned>(
        &self,
        info: &'static ResourceInfo,
        namespace: &str,
        name: &str,
    ) -> Result<T, Status> {
        let kv = self.store(info)?.get(namespace, name, "").await?;
        serde_json::from_slice(&kv.value).map_err(Status::internal)
    }

    async fn target(
        &self,
        node: &str,
        id: &Id<'_>,
        host: String,
        address: String,
    ) -> Result<ProxyTarget, Status> {
        let kv = self.store(&resource::NODES)?.get("", node, "").await?;
        Ok(ProxyTarget {
            tls: id.scheme == "https",
            host,
            start: DialStart { node: node.to_owned(), address },
            node: Object::from_slice(&kv.value)?,
        })
    }

    async fn pod_target(&self, namespace: &str, id: &Id<'_>) -> Result<ProxyTarget, Status> {
        let pod: Pod = self.view(&resource::PODS, namespace, id.name).await?;
        let ip = proxyable(pod.status.pod_ip.as_deref().unwrap_or_default())
            .ok_or_else(|| Status::bad_request("address not allowed"))?;
        let declared = pod.spec.containers.iter().find_map(|c| c.ports.first());
        let port = match (id.port, declared) {
            ("", Some(port)) => u16::try_from(port.container_port).ok(),
            ("", None) => Some(if id.scheme == "https" { 443 } else { 80 }),
            (port, _) => port.parse().ok(),
        };
        let port = port.filter(|port| *port > 0).ok_or_else(|| {
            Status::bad_request(format!(
                "invalid pod request {:?}",
                format!("{}:{}", id.name, id.port)
            ))
        })?;
        let address = std::net::SocketAddr::new(ip, port).to_string();
        let node = pod.spec.node_name.as_deref().unwrap_or_default();
        self.target(node, id, address.clone(), address).await
    }

    async fn service_target(
        &self,
        namespace: &str,
        id: &Id<'_>,
        whole: &str,
    ) -> Result<ProxyTarget, Status> {
        let mut port = id.port.to_owned();
        if let Ok(number) = id.port.parse::<i64>() {
            let service: Service = self.view(&resource::SERVICES, namespace, id.name).await?;
            let declared = service.spec.ports.iter().find(|p| i64::from(p.port) == number);
            port = declared.map(|p| p.name.clone().unwrap_or_default()).ok_or_else(|| {
                Status::service_unavailable(format!(
                    "no service port {number} found for service {:?}",
                    id.name
                ))
            })?;
        }
        let nobody = |name: &str| {
            Status::service_unavailable(format!("no endpoints available for service {name:?}"))
        };
        let endpoints: Endpoints = self.view(&resource::ENDPOINTS, namespace, id.name).await?;
        if endpoints.subsets.is_empty() {
            return Err(nobody(id.name));
        }
        let mut found = candidates(&endpoints, &port);
        while !found.is_empty() {
            let drawn = self.clock().random_u64() % u64::try_from(found.len()).unwrap_or(1);
            let (ip, port, pod) = found.swap_remove(usize::try_from(drawn).unwrap_or(0));
            // What is not the address of that pod is nobody's business here.
            let Ok(pod) = self.view::<Pod>(&resource::PODS, namespace, pod).await else { continue };
            let own = pod.status.pod_ips.iter().any(|own| own.ip == ip);
            if let (true, Some(ip)) = (own, proxyable(ip)) {
                let address = std::net::SocketAddr::new(ip, port).to_string();
                let node = pod.spec.node_name.as_deref().unwrap_or_default();
                return self.target(node, id, address.clone(), address).await;
            }
        }
        Err(nobody(whole))
    }

    async fn node_target(&self, id: &Id<'_>) -> Result<ProxyTarget, Status> {
        let node: Node = self.view(&resource::NODES, "", id.name).await?;
        let known = &node.status.addresses;
        let wanted = ["InternalIP", "Hostname", "ExternalIP"];
        let address = wanted.iter().find_map(|kind| known.iter().find(|a| a.type_ == *kind));
        let ip = address
            .map(|address| address.address.clone())
            .ok_or_else(|| Status::internal("no preferred addresses found; known addresses: []"))?;
        let daemon = node.status.daemon_endpoints.and_then(|d| d.kubelet_endpoint);
        let kubelet_port = daemon.map_or(10250, |endpoint| endpoint.port).to_string();
        if id.port.is_empty() || id.port == kubelet_port {
            let mut target =
                self.target(id.name, id, format!("{ip}:{kubelet_port}"), String::new()).await?;
            // The way to the kubelet is private already.
            target.tls = false;
            return Ok(target);
        }
        let port = id.port.parse::<u16>().ok().filter(|port| *port > 0);
        let (Some(port), Some(parsed)) = (port, proxyable(&ip)) else {
            let whole = format!("{}:{}", id.name, id.port);
            return Err(Status::bad_request(format!("invalid node request {whole:?}")));
        };
        let address = std::net::SocketAddr::new(parsed, port).to_string();
        self.target(id.name, id, address.clone(), address).await
    }
}

/// The ready addresses at a port: address, number, and the pod behind it.
fn candidates<'a>(endpoints: &'a Endpoints, port: &str) -> Vec<(&'a str, u16, &'a str)> {
    let mut found = Vec::new();
    for subset in &endpoints.subsets {
        let named = |p: &&apimachinery::api::core::EndpointPort| {
            p.name.as_deref().unwrap_or_default() == port
        };
        let number = subset.ports.iter().find(named).and_then(|p| u16::try_from(p.port).ok());
        let Some(number) = number else { continue };
        for address in &subset.addresses {
            let pod = address.target_ref.as_ref().filter(|r| r.kind.as_deref() == Some("Pod"));
            if let Some(name) = pod.and_then(|pod| pod.name.as_deref()) {
                found.push((address.ip.as_str(), number, name));
            }
        }
    }
    found
}

/// An address that may be proxied to: no loopback, link-local, multicast or unspecified one.
fn proxyable(ip: &str) -> Option<IpAddr> {
    let ip: IpAddr = ip.parse().ok()?;
    let refused = ip.is_loopback()
        || ip.is_multicast()
        || ip.is_unspecified()
        || matches!(ip, IpAddr::V4(v4) if v4.is_link_local() || v4.is_broadcast())
        || matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    (!refused).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_have_a_scheme_and_a_port() {
        let check = |text: &str, expected: Option<(&str, &str, &str)>| {
            let id = Id::parse(text);
            assert_eq!(id.map(|id| (id.scheme, id.name, id.port)), expected, "{text}");
        };
        check("web", Some(("", "web", "")));
        check("web:80", Some(("", "web", "80")));
        check("https:web:", Some(("https", "web", "")));
        check("http:web:main", Some(("http", "web", "main")));
        check(":web:", Some(("", "web", "")));
        check("ftp:web:21", None);
        check(":80", None);
        check("a:b:c:d", None);
        check("", None);
    }

    #[test]
    fn only_pods_at_the_port_are_candidates() {
        let pod =
            |ip: &str, name: &str| json!({"ip": ip, "targetRef": {"kind": "Pod", "name": name}});
        let endpoints: Endpoints = serde_json::from_value(json!({"subsets": [
            {"addresses": [pod("10.244.1.2", "a"), {"ip": "10.0.0.1"}],
             "notReadyAddresses": [pod("10.244.1.3", "b")],
             "ports": [{"name": "http", "port": 80}, {"name": "tls", "port": 443}]},
            {"addresses": [pod("10.244.2.2", "c")], "ports": [{"port": 8080}]},
        ]}))
        .unwrap();
        assert_eq!(candidates(&endpoints, "tls"), [("10.244.1.2", 443, "a")]);
        assert_eq!(candidates(&endpoints, ""), [("10.244.2.2", 8080, "c")]);
        assert_eq!(candidates(&endpoints, "x"), []);
    }

    #[test]
    fn special_addresses_are_not_proxied_to() {
        for ip in ["127.0.0.1", "::1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "fe80::1", "x"] {
            assert_eq!(proxyable(ip), None, "{ip}");
        }
        assert!(proxyable("10.244.1.2").is_some());
    }
}
