//! ClusterIPs and node ports: handed out in the Service's own transaction.
//!
//! # Claims
//! Every address or port in use is one key, `/registry/ranges/serviceips/10.96.0.10` or
//! `/registry/ranges/servicenodeports/30080`, whose value names the Service. A transaction that stores a Service
//! puts its new claims, each with the condition that the key is absent, and deletes the claims it gives up. So an
//! object and its claims are stored together or not at all, whatever crashes when, and two API servers on one store
//! could not hand out the same port. (Kubernetes keeps bitmaps or IPAddress objects in transactions of their own, and
//! repairs what a crash leaks.)
//!
//! # Choosing
//! Beside the claims a [`Pool`] keeps a bitmap in memory, from which a free value is picked at random; the bit is
//! taken before the transaction and given back if the transaction fails ([`Reservation`]). Dynamic picks leave the
//! first values (the *static band*, 256 addresses, 86 ports) to explicit requests until the rest is used up.
//!
//! # Start
//! [`repair`] loads the claims, compares them with the Services, and puts right what differs: nothing does, unless
//! someone wrote to the store behind our back.

mod bitmap;
mod repair;
pub(crate) mod service;

use std::{net::Ipv4Addr, sync::Arc};

use component_base::clock::Clock;
use parking_lot::Mutex;

use self::bitmap::Bitmap;

/// Where claims on addresses are stored.
pub(crate) const IP_CLAIMS: &str = "/registry/ranges/serviceips/";
/// Where claims on node ports are stored.
pub(crate) const PORT_CLAIMS: &str = "/registry/ranges/servicenodeports/";

/// A range of IPv4 addresses in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Range {
    base: u32,
    bits: u8,
}

impl Ipv4Range {
    /// Parses `10.96.0.0/12`; None when it is no range, or one too small or too large for Services (/12 to /30).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let bits: u8 = bits.parse().ok().filter(|bits| (12..=30).contains(bits))?;
        let mask = u32::MAX << (32 - bits);
        Some(Self { base: u32::from(address.parse::<Ipv4Addr>().ok()?) & mask, bits })
    }

    /// How many addresses can be handed out: all but the network's and the broadcast address.
    #[must_use]
    pub fn len(self) -> usize {
        (1_usize << (32 - self.bits)) - 2
    }

    /// False: a range has at least two addresses.
    #[must_use]
    pub fn is_empty(self) -> bool {
        false
    }

    /// The address at an offset: 0 is the first that can be handed out.
    #[must_use]
    pub fn address(self, offset: usize) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 1 + u32::try_from(offset).expect("offsets are below 2^20"))
    }

    fn offset(self, address: Ipv4Addr) -> Option<usize> {
        let offset = usize::try_from(u32::from(address).checked_sub(self.base + 1)?).ok()?;
        (offset < self.len()).then_some(offset)
    }
}

impl std::fmt::Display for Ipv4Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.bits)
    }
}

/// Why a value cannot be had; the texts are Kubernetes'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AllocationError {
    #[error("provided port is not in the valid range. The range of valid ports is {0}")]
    PortNotInRange(String),
    #[error("the provided IP ({0}) is not in the valid range. The range of valid IPs is {1}")]
    IpNotInRange(Ipv4Addr, Ipv4Range),
    #[error("provided port is already allocated")]
    PortTaken,
    #[error("provided IP is already allocated")]
    IpTaken,
    #[error("range is full")]
    Full,
}

/// The free and taken values of one range.
#[derive(Debug)]
struct Pool {
    bitmap: Mutex<Bitmap>,
}

impl Pool {
    fn new(len: usize, band: usize) -> Arc<Self> {
        Arc::new(Self { bitmap: Mutex::new(Bitmap::new(len, band)) })
    }

    /// Takes one value; None if it is taken.
    fn take(self: &Arc<Self>, offset: usize) -> Option<Reservation> {
        self.bitmap.lock().set(offset).then(|| Reservation {
            pool: self.clone(),
            offset,
            kept: false,
        })
    }

    fn take_any(self: &Arc<Self>, random: u64) -> Option<Reservation> {
        let offset = self.bitmap.lock().take_any(random)?;
        Some(Reservation { pool: self.clone(), offset, kept: false })
    }

    fn give_back(&self, offset: usize) {
        self.bitmap.lock().clear(offset);
    }
}

/// A value taken for a transaction: free again when dropped, unless kept.
#[derive(Debug)]
pub(crate) struct Reservation {
    pool: Arc<Pool>,
    offset: usize,
    kept: bool,
}

impl Reservation {
    /// The transaction is durable: the value stays taken.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.kept {
            self.pool.give_back(self.offset);
        }
    }
}

/// The address and port ranges of the cluster's Services.
#[derive(Debug)]
pub struct Allocators {
    clock: Clock,
    addresses: Ipv4Range,
    ports: (u16, u16),
    address_pool: Arc<Pool>,
    port_pool: Arc<Pool>,
}

impl Allocators {
    /// Empty ranges; [`repair`] fills in what is in use.
    #[must_use]
    pub fn new(addresses: Ipv4Range, ports: (u16, u16), clock: Clock) -> Self {
        let port_count = usize::from(ports.1 - ports.0) + 1;
        Self {
            clock,
            addresses,
            ports,
            address_pool: Pool::new(addresses.len(), band(addresses.len(), 16, 16, 256)),
            port_pool: Pool::new(port_count, band(port_count, 32, 16, 128)),
        }
    }

    /// The range of Service addresses.
    #[must_use]
    pub fn addresses(&self) -> Ipv4Range {
        self.addresses
    }

    fn port_range(&self) -> String {
        format!("{}-{}", self.ports.0, self.ports.1)
    }

    fn take_address(&self, address: Ipv4Addr) -> Result<Reservation, AllocationError> {
        let offset = self
            .addresses
            .offset(address)
            .ok_or(AllocationError::IpNotInRange(address, self.addresses))?;
        self.address_pool.take(offset).ok_or(AllocationError::IpTaken)
    }

    fn take_any_address(&self) -> Result<(Ipv4Addr, Reservation), AllocationError> {
        let reservation =
            self.address_pool.take_any(self.clock.random_u64()).ok_or(AllocationError::Full)?;
        Ok((self.addresses.address(reservation.offset), reservation))
    }

    fn take_port(&self, port: u16) -> Result<Reservation, AllocationError> {
        let (first, last) = self.ports;
        if port < first || port > last {
            return Err(AllocationError::PortNotInRange(self.port_range()));
        }
        self.port_pool.take(usize::from(port - first)).ok_or(AllocationError::PortTaken)
    }

    fn take_any_port(&self) -> Result<(u16, Reservation), AllocationError> {
        let reservation =
            self.port_pool.take_any(self.clock.random_u64()).ok_or(AllocationError::Full)?;
        let offset = u16::try_from(reservation.offset).expect("ports are below 2^16");
        Ok((self.ports.0 + offset, reservation))
    }

    /// Frees the value of a claim that is no longer stored.
    fn release(&self, claim: service::Claim) {
        match claim {
            service::Claim::Address(address) => {
                if let Some(offset) = self.addresses.offset(address) {
                    self.address_pool.give_back(offset);
                }
            }
            service::Claim::Port(port) => {
                if let Some(offset) = port.checked_sub(self.ports.0) {
                    self.port_pool.give_back(usize::from(offset));
                }
            }
        }
    }
}

/// The length of the static band: `clamp(len / divisor, least, most)`, and none in a range too small for one
/// (KEP-3070, KEP-3668).
fn band(len: usize, divisor: usize, least: usize, most: usize) -> usize {
    if len <= least { 0 } else { (len / divisor).clamp(least, most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_kubernetes() {
        let range = Ipv4Range::parse("10.96.0.0/12").unwrap();
        assert_eq!(range.to_string(), "10.96.0.0/12");
        assert_eq!(range.address(0), Ipv4Addr::new(10, 96, 0, 1));
        assert_eq!(range.offset(Ipv4Addr::new(10, 96, 0, 0)), None);
        assert_eq!(range.offset(Ipv4Addr::new(10, 111, 255, 255)), None);
        assert_eq!(range.offset(Ipv4Addr::new(10, 111, 255, 254)), Some(range.len() - 1));
        for bad in ["10.96.0.0", "10.96.0.0/33", "10.96.0.0/8", "x/12", "10.0.0.0/31"] {
            assert_eq!(Ipv4Range::parse(bad), None, "{bad}");
        }
        // The documented bands: 256 addresses of a /12, 86 of the 2768 ports.
        assert_eq!(band(range.len(), 16, 16, 256), 256);
        assert_eq!(band(2768, 32, 16, 128), 86);
        assert_eq!(band(14, 16, 16, 256), 0);
    }

    #[test]
    fn there_is_room_for_many_services() {
        let range = Ipv4Range::parse("10.96.0.0/12").unwrap();
        let allocators = Allocators::new(range, (30000, 32767), Clock::real());
        let mut addresses = std::collections::BTreeSet::new();
        for _ in 0..20_000 {
            let (address, reservation) = allocators.take_any_address().unwrap();
            reservation.keep();
            assert!(addresses.insert(address) && address >= range.address(256), "{address}");
        }
        for _ in 0..2768 {
            allocators.take_any_port().unwrap().1.keep();
        }
        assert_eq!(allocators.take_any_port().unwrap_err().to_string(), "range is full");
    }

    #[test]
    fn values_are_unique_and_come_back() {
        let allocators = Allocators::new(
            Ipv4Range::parse("10.0.0.0/29").unwrap(),
            (30000, 30002),
            Clock::real(),
        );
        let taken: Vec<_> = (0..6).map(|_| allocators.take_any_address().unwrap()).collect();
        let mut addresses: Vec<_> = taken.iter().map(|(address, _)| *address).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 6);
        assert_eq!(allocators.take_any_address().unwrap_err(), AllocationError::Full);
        assert_eq!(allocators.take_address(addresses[3]).unwrap_err(), AllocationError::IpTaken);
        drop(taken);
        allocators.take_address(addresses[3]).unwrap().keep();
        assert_eq!(
            allocators.take_address(addresses[3]).unwrap_err().to_string(),
            "provided IP is already allocated"
        );
        assert_eq!(
            allocators.take_port(30003).unwrap_err().to_string(),
            "provided port is not in the valid range. The range of valid ports is 30000-30002"
        );
        assert_eq!(
            allocators.take_address(Ipv4Addr::new(1, 2, 3, 4)).unwrap_err().to_string(),
            "the provided IP (1.2.3.4) is not in the valid range. The range of valid IPs is 10.0.0.0/29"
        );
    }
}
