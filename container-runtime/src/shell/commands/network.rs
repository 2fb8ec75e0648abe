//! `ip`, `getent`: what the pod's network looks like.

use std::fmt::Write;
use std::io;
use std::net::IpAddr;

use super::{Outcome, fail};
use crate::program::ContainerContext;

pub(super) async fn ip(context: ContainerContext) -> Outcome {
    let words: Vec<&str> = context.args[1..]
        .iter()
        .map(String::as_str)
        .filter(|word| !matches!(*word, "-4" | "show" | "list" | "ls"))
        .collect();
    if words.contains(&"-6") {
        return Ok(0);
    }
    let object = words.first().copied().unwrap_or_default();
    let device = words.iter().skip(1).find(|word| **word != "dev").copied();
    let is = |name: &str| !object.is_empty() && name.starts_with(object);
    let text = if is("address") {
        links(&context, device, true)
    } else if is("link") {
        links(&context, device, false)
    } else if is("route") {
        routes(&context)
    } else {
        return fail(&context, 1, "ip: usage: ip [address|link|route]").await;
    };
    match text {
        Some(text) => {
            context.stdout.write_all(text).await?;
            Ok(0)
        }
        None => {
            let device = device.unwrap_or_default();
            fail(&context, 1, format!("ip: can't find device '{device}'")).await
        }
    }
}

/// `None` when the device that was asked for is not there.
fn links(context: &ContainerContext, device: Option<&str>, addresses: bool) -> Option<String> {
    let mut text = String::new();
    for interface in context.network.interfaces() {
        if device.is_some_and(|device| device != interface.name) {
            continue;
        }
        let (name, index, mtu) = (&interface.name, interface.index, interface.mtu);
        let mac = |bytes: [u8; 6]| bytes.map(|byte| format!("{byte:02x}")).join(":");
        let loopback = name == "lo";
        let (peer, flags, queue, kind) = match loopback {
            true => (String::new(), "LOOPBACK,UP,LOWER_UP", "state UNKNOWN", "loopback"),
            false => (
                format!("@if{}", index + 5),
                "BROADCAST,MULTICAST,UP,LOWER_UP",
                "state UP",
                "ether",
            ),
        };
        let broadcast = if loopback { "00:00:00:00:00:00" } else { "ff:ff:ff:ff:ff:ff" };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{index}: {name}{peer}: <{flags}> mtu {mtu} qdisc noqueue {queue} qlen 1000\n    link/{kind} {} brd {broadcast}\n",
            mac(interface.mac),
        );
        for (address, prefix) in interface.addresses.iter().filter(|_| addresses) {
            let family = if address.is_ipv4() { "inet" } else { "inet6" };
            let broadcast = match (address, loopback) {
                (IpAddr::V4(v4), false) => {
                    let host = u32::MAX.checked_shr(u32::from(*prefix)).unwrap_or(0);
                    format!(" brd {}", std::net::Ipv4Addr::from(u32::from(*v4) | host))
                }
                _ => String::new(),
            };
            let scope = if loopback { "host" } else { "global" };
            let _ = write!(
                text,
                "    {family} {address}/{prefix}{broadcast} scope {scope} {name}\n       valid_lft forever preferred_lft forever\n"
            );
        }
    }
    (!text.is_empty() || device.is_none()).then_some(text)
}

/// The bridge of the node is the first address of its pod range, as with the bridge plugin.
fn routes(context: &ContainerContext) -> Option<String> {
    let mut text = String::new();
    for interface in context.network.interfaces().iter().filter(|interface| interface.name != "lo")
    {
        for (address, prefix) in &interface.addresses {
            let IpAddr::V4(address) = address else { continue };
            let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
            let network = u32::from(*address) & mask;
            let gateway = std::net::Ipv4Addr::from(network + 1);
            let network = std::net::Ipv4Addr::from(network);
            let name = &interface.name;
            let _ = write!(
                text,
                "default via {gateway} dev {name} \n{network}/{prefix} dev {name} scope link  src {address} \n"
            );
        }
    }
    Some(text)
}

/// Why a name could not be resolved, in `tool`'s words; the network's hint stays when there is no DNS.
pub(super) fn hint(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (this cluster") {
        Some(start) => text[start..].to_owned(),
        None => String::new(),
    }
}

pub(super) async fn getent(context: ContainerContext) -> Outcome {
    let [_, database, keys @ ..] = context.args.as_slice() else {
        return fail(&context, 1, "getent: usage: getent DATABASE [KEY]...").await;
    };
    match (database.as_str(), keys) {
        ("hosts" | "ahosts" | "ahostsv4", [name, ..]) => {
            match context.network.resolve(name).await {
                Ok(addresses) => {
                    for address in addresses.iter().take(if database == "hosts" { 1 } else { 64 }) {
                        let text = address.to_string();
                        context.stdout.write_all(format!("{text:<15} {name}\n")).await?;
                    }
                    Ok(0)
                }
                Err(error) => {
                    let hint = hint(&error);
                    if !hint.is_empty() {
                        return fail(&context, 2, format!("getent: {name}: not found{hint}")).await;
                    }
                    Ok(2)
                }
            }
        }
        ("hosts", []) => {
            context.stdout.write_all(context.network.hosts_file()).await?;
            Ok(0)
        }
        ("passwd" | "group", _) => {
            let text =
                context.files.read_to_string(&format!("/etc/{database}")).unwrap_or_default();
            let lines = text.lines().filter(|line| {
                keys.is_empty() || keys.iter().any(|key| line.starts_with(&format!("{key}:")))
            });
            let lines: String = lines.flat_map(|line| [line, "\n"]).collect();
            let found = !lines.is_empty();
            context.stdout.write_all(lines).await?;
            Ok(if found { 0 } else { 2 })
        }
        (other, _) => fail(&context, 1, format!("getent: unknown database: {other}")).await,
    }
}
