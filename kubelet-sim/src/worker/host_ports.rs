//! The pod's ports on its node: `hostPort`, and on the host those of a pod with `hostNetwork`.

use std::net::{IpAddr, SocketAddr};

use client::events::EventType;
use cni::network::Sandbox;

use super::PodWorker;
use crate::node::admission::host_ports;

impl PodWorker {
    /// Opens the pod's host ports; those that the host refuses are told and do not hold the pod up.
    pub(super) fn open_host_ports(&mut self, sandbox: &Sandbox) {
        let mut refusals = Vec::new();
        for port in host_ports(&self.pod) {
            let (Ok(on_node), Ok(in_pod)) =
                (u16::try_from(port.number), u16::try_from(port.container_port))
            else {
                continue;
            };
            if port.protocol != "TCP" {
                let text = format!(
                    "host port {on_node}/{}: only TCP host ports are opened",
                    port.protocol
                );
                refusals.push(("HostPortUnsupported".to_owned(), text));
                continue;
            }
            let only: Option<IpAddr> =
                port.ip.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified());
            let to = SocketAddr::new(sandbox.ip(), in_pod);
            let (open, refused) = self.node.network.forward_port(on_node, only, to);
            self.host_ports.push(open);
            refusals.extend(refused.into_iter().map(|refused| (refused.reason, refused.message)));
        }
        for (reason, message) in refusals {
            self.node.event(&self.pod, EventType::Warning, &reason, &message);
        }
    }
}
