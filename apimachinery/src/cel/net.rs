//! Kubernetes' URLs, IP addresses and CIDRs.

use std::{fmt, net::IpAddr};

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub(super) scheme: String,
    /// With port.
    pub(super) host: String,
    pub(super) path: String,
    /// As it is written.
    query: String,
}

impl Url {
    /// Reads an absolute URL, or an absolute path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !crate::structural::is_of_format("uri", text) {
            return None;
        }
        let (scheme, rest) = if text.starts_with('/') { ("", text) } else { text.split_once(':')? };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                (&rest[..end], &rest[end..])
            }
            None if rest.starts_with('/') => ("", rest),
            None => return None,
        };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let port = host.rsplit_once(':').filter(|(before, _)| {
            !before.contains(':') || (before.starts_with('[') && before.ends_with(']'))
        });
        if port.is_some_and(|(_, port)| !port.bytes().all(|b| b.is_ascii_digit())) {
            return None;
        }
        Some(Self {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
        })
    }

    /// Names with their values, in order.
    pub(super) fn query(&self) -> impl Iterator<Item = (String, String)> {
        self.query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescaped(name), unescaped(value))
        })
    }

    /// How long it is, in bytes.
    pub(super) fn size(&self) -> usize {
        self.scheme.len() + self.host.len() + self.path.len() + self.query.len()
    }

    /// The host without its port and brackets.
    pub(super) fn hostname(&self) -> &str {
        let (host, _) = self.split();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(super) fn port(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        if self.host.ends_with(']') {
            return (&self.host, "");
        }
        self.host.rsplit_once(':').unwrap_or((&self.host, ""))
    }
}

fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = (*byte == b'%')
            .then(|| {
                let hex = text.get(at + 1..at + 3)?;
                u8::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+'))
            })
            .flatten();
        match (code, byte) {
            (Some(code), _) => {
                out.push(code);
                at += 2;
            }
            (None, b'+') => out.push(b' '),
            (None, byte) => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads an address as Kubernetes does: no zones, no IPv4 within IPv6.
pub(super) fn parse_ip(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => None,
        address => Some(address),
    }
}

/// An address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub(super) address: IpAddr,
    pub(super) length: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Cidr {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, digits) = text.split_once('/')?;
        let address = parse_ip(address)?;
        let good = !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits.len() == 1 || !digits.starts_with('0'));
        let length: u8 = good.then(|| digits.parse().ok()).flatten()?;
        (length <= bits_of(address)).then_some(Self { address, length })
    }

    /// The range's first address.
    pub(super) fn masked(self) -> Self {
        let address = match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V4((u32::from(v4) & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V6((u128::from(v6) & mask).into())
            }
        };
        Self { address, length: self.length }
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        bits_of(self.address) == bits_of(address)
            && self.masked().address == Self { address, length: self.length }.masked().address
    }

    pub(super) fn contains_range(self, other: Self) -> bool {
        other.length >= self.length && self.contains(other.address)
    }
}

fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
