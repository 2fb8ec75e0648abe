//! Address ranges in CIDR notation.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// A range of addresses, such as `10.244.1.0/24`.
///
/// Host bits of the address are cleared when it is made, so equal ranges compare equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    base: IpAddr,
    prefix: u8,
}

/// Tells why a text is not a range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid CIDR address: {0}")]
pub struct InvalidCidr(pub String);

impl Cidr {
    /// Makes the range of `prefix` leading bits that contains `address`; `None` when there are not so many bits.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let (bits, width) = to_bits(address);
        let host_bits = width.checked_sub(u32::from(prefix))?;
        let base = if host_bits == 128 { 0 } else { bits >> host_bits << host_bits };
        Some(Self { base: from_bits(base, width), prefix })
    }

    /// Reports whether `address` lies in the range; families never match each other.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.base.is_ipv4() == address.is_ipv4()
            && Self::new(address, self.prefix).is_some_and(|range| range.base == self.base)
    }

    /// Returns the lowest address of the range.
    #[must_use]
    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// Returns the number of leading bits that are fixed.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Returns how many addresses the range holds, saturating.
    #[must_use]
    pub fn size(&self) -> u128 {
        let (_, width) = to_bits(self.base);
        1_u128.checked_shl(width - u32::from(self.prefix)).unwrap_or(u128::MAX)
    }

    /// Returns the address at `offset` from the base, `None` beyond the end.
    #[must_use]
    pub fn nth(&self, offset: u128) -> Option<IpAddr> {
        let (bits, width) = to_bits(self.base);
        (offset < self.size()).then(|| from_bits(bits + offset, width))
    }

    /// Returns how far `address` is from the base, `None` when it lies outside.
    #[must_use]
    pub fn offset_of(&self, address: IpAddr) -> Option<u128> {
        self.contains(address).then(|| to_bits(address).0 - to_bits(self.base).0)
    }
}

fn to_bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

fn from_bits(bits: u128, width: u32) -> IpAddr {
    if width == 32 {
        IpAddr::V4(u32::try_from(bits).expect("bits of a 32 bit address").into())
    } else {
        IpAddr::V6(bits.into())
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        text.split_once('/')
            .and_then(|(address, prefix)| Self::new(address.parse().ok()?, prefix.parse().ok()?))
            .ok_or_else(|| InvalidCidr(text.to_owned()))
    }
}

impl TryFrom<String> for Cidr {
    type Error = InvalidCidr;

    fn try_from(text: String) -> Result<Self, InvalidCidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(range: Cidr) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_contains() {
        let check = |range: &str, address: &str, expected: bool| {
            let range: Cidr = range.parse().unwrap();
            assert_eq!(range.contains(address.parse().unwrap()), expected, "{range} {address}");
        };
        check("10.244.1.0/24", "10.244.1.255", true);
        check("10.244.1.0/24", "10.244.2.0", false);
        check("10.244.1.7/24", "10.244.1.1", true);
        check("0.0.0.0/0", "8.8.8.8", true);
        check("0.0.0.0/0", "::1", false);
        check("fd00::/8", "fd12::1", true);
        check("::/0", "::1", true);
        for bad in ["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0/8", "10.0.0.0/-1"] {
            assert_eq!(bad.parse::<Cidr>(), Err(InvalidCidr(bad.to_owned())));
        }
    }

    #[test]
    fn counts_addresses() {
        let range: Cidr = "10.244.3.0/24".parse().unwrap();
        assert_eq!(range.size(), 256);
        assert_eq!(range.nth(2), Some("10.244.3.2".parse().unwrap()));
        assert_eq!(range.nth(256), None);
        assert_eq!(range.offset_of("10.244.3.9".parse().unwrap()), Some(9));
        assert_eq!(range.offset_of("10.244.4.9".parse().unwrap()), None);
        assert_eq!("::/0".parse::<Cidr>().unwrap().size(), u128::MAX);
    }
}
