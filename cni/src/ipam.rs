//! Addresses for the pods of one node, as the host-local plugin hands them out.
//!
//! The first address of the range is the network, the second the gateway, the last the broadcast; the rest are
//! handed out in order, each time starting behind the last one given and wrapping around, so that an address rests
//! as long as possible before somebody else gets it.
//!
//! The state is checkpointed (written beside, then renamed) at each change: after a node's reboot a pod that is
//! added again under the same key gets the same address. Releasing is by key and does nothing when repeated.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{cidr::Cidr, report::Addresses};

/// Why an address could not be handed out or given back.
#[derive(Debug, thiserror::Error)]
pub enum IpamError {
    /// Every address of the range is taken.
    #[error("no IP addresses available in range set: {first}-{last}")]
    Exhausted {
        /// First address for pods.
        first: IpAddr,
        /// Last address for pods.
        last: IpAddr,
    },
    /// The range has no room for a single pod.
    #[error("pod range {0} has no room for pods")]
    RangeTooSmall(Cidr),
    /// The checkpoint cannot be read.
    #[error("cannot read address checkpoint {}", path.display())]
    Read {
        /// The checkpoint file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The checkpoint cannot be written.
    #[error("cannot write address checkpoint {}", path.display())]
    Write {
        /// The checkpoint file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The checkpoint is not one, or belongs to another range.
    #[error("address checkpoint {} does not fit: {reason}", path.display())]
    Damaged {
        /// The checkpoint file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The addresses of one node's pods.
#[derive(Debug)]
pub struct Ipam {
    range: Cidr,
    state: State,
    checkpoint: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct State {
    range: Option<Cidr>,
    last_given: Option<IpAddr>,
    given: BTreeMap<String, IpAddr>,
}

impl Ipam {
    /// Starts with the state of the checkpoint file, if there is one; without a path nothing is kept.
    ///
    /// # Errors
    /// [`IpamError::RangeTooSmall`]; a checkpoint that is unreadable, damaged, or of another range while
    /// addresses of that one are still given out.
    pub fn open(range: Cidr, checkpoint: Option<PathBuf>) -> Result<Self, IpamError> {
        if range.size() < 4 {
            return Err(IpamError::RangeTooSmall(range));
        }
        let state = match &checkpoint {
            Some(path) => load(path)?,
            None => State::default(),
        };
        let fits = state.range.is_none_or(|saved| saved == range);
        if let (false, Some(path)) = (fits || state.given.is_empty(), &checkpoint) {
            let saved = state.range.map(|saved| saved.to_string()).unwrap_or_default();
            let reason = format!("it is of range {saved}, the node's is {range}");
            return Err(IpamError::Damaged { path: path.clone(), reason });
        }
        let state = if fits {
            State { range: Some(range), ..state }
        } else {
            State { range: Some(range), ..State::default() }
        };
        Ok(Self { range, state, checkpoint })
    }

    /// Returns the range that addresses come from.
    #[must_use]
    pub fn range(&self) -> Cidr {
        self.range
    }

    /// Returns the node's own address in the range, its pods' gateway.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        self.range.nth(1).expect("a range of at least 4 addresses")
    }

    /// Tells how many addresses are given out, and how many there are.
    #[must_use]
    pub fn usage(&self) -> Addresses {
        // Network, gateway and broadcast are nobody's.
        let capacity = self.range.size().saturating_sub(3);
        Addresses {
            used: u64::try_from(self.state.given.len()).unwrap_or(u64::MAX),
            capacity: u64::try_from(capacity).unwrap_or(u64::MAX),
        }
    }

    /// Returns the address of `key`, taking the next free one when it has none.
    ///
    /// # Errors
    /// [`IpamError::Exhausted`]; [`IpamError::Write`], and then nothing is given.
    pub fn allocate(&mut self, key: &str) -> Result<IpAddr, IpamError> {
        if let Some(address) = self.state.given.get(key) {
            return Ok(*address);
        }
        let taken: std::collections::HashSet<IpAddr> = self.state.given.values().copied().collect();
        let last = self.range.size() - 2;
        let before = self
            .state
            .last_given
            .and_then(|address| self.range.offset_of(address))
            .filter(|offset| (2..last).contains(offset));
        let start = before.map_or(2, |offset| offset + 1);
        // No more steps than one beyond the taken ones: a free address is found by then, or there is none.
        let steps = (last - 1).min(taken.len() as u128 + 1);
        let free = (start..=last)
            .chain(2..start)
            .take(usize::try_from(steps).unwrap_or(usize::MAX))
            .filter_map(|offset| self.range.nth(offset))
            .find(|address| !taken.contains(address));
        let Some(address) = free else {
            let at = |offset| self.range.nth(offset).expect("an offset inside the range");
            return Err(IpamError::Exhausted { first: at(2), last: at(last) });
        };
        self.change(|state| {
            state.given.insert(key.to_owned(), address);
            state.last_given = Some(address);
        })?;
        Ok(address)
    }

    /// Gives the address of `key` back and returns it; `None` when it had none.
    ///
    /// # Errors
    /// [`IpamError::Write`], and then the address stays given.
    pub fn release(&mut self, key: &str) -> Result<Option<IpAddr>, IpamError> {
        let Some(address) = self.state.given.get(key).copied() else {
            return Ok(None);
        };
        self.change(|state| {
            state.given.remove(key);
        })?;
        Ok(Some(address))
    }

    /// Returns the address that `key` holds.
    #[must_use]
    pub fn address_of(&self, key: &str) -> Option<IpAddr> {
        self.state.given.get(key).copied()
    }

    /// Gives back whatever is held by a key that `keep` does not want, and returns those keys: after a reboot, the
    /// pods that are no more.
    ///
    /// # Errors
    /// [`IpamError::Write`], and then nothing is given back.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) -> Result<Vec<String>, IpamError> {
        let gone: Vec<String> = self.state.given.keys().filter(|key| !keep(key)).cloned().collect();
        if !gone.is_empty() {
            self.change(|state| state.given.retain(|key, _| keep(key)))?;
        }
        Ok(gone)
    }

    fn change(&mut self, change: impl FnOnce(&mut State)) -> Result<(), IpamError> {
        let mut next = self.state.clone();
        change(&mut next);
        if let Some(path) = &self.checkpoint {
            save(path, &next).map_err(|source| IpamError::Write { path: path.clone(), source })?;
        }
        self.state = next;
        Ok(())
    }
}

fn load(path: &Path) -> Result<State, IpamError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| IpamError::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
        Err(source) => Err(IpamError::Read { path: path.to_owned(), source }),
    }
}

/// A process that dies midway leaves the old file; the kernel's own crash may cost the newest entries, and then no
/// pod of them runs either.
fn save(path: &Path, state: &State) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(&serde_json::to_vec(state)?)?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn hands_out_in_order_and_wraps_around() {
        let mut ipam = Ipam::open("10.244.1.0/29".parse().unwrap(), None).unwrap();
        assert_eq!(ipam.gateway(), ip("10.244.1.1"));
        for (key, expected) in [("a", "10.244.1.2"), ("b", "10.244.1.3"), ("a", "10.244.1.2")] {
            assert_eq!(ipam.allocate(key).unwrap(), ip(expected), "{key}");
        }
        assert_eq!(ipam.release("a").unwrap(), Some(ip("10.244.1.2")));
        assert_eq!(ipam.release("a").unwrap(), None);
        for (key, expected) in
            [("c", "10.244.1.4"), ("d", "10.244.1.5"), ("e", "10.244.1.6"), ("f", "10.244.1.2")]
        {
            assert_eq!(ipam.allocate(key).unwrap(), ip(expected), "{key}");
        }
        let full = ipam.allocate("g").unwrap_err();
        assert_eq!(
            full.to_string(),
            "no IP addresses available in range set: 10.244.1.2-10.244.1.6"
        );
        ipam.release("d").unwrap();
        assert_eq!(ipam.allocate("g").unwrap(), ip("10.244.1.5"));
        assert_eq!(ipam.retain(|key| key == "g").unwrap(), ["b", "c", "e", "f"]);
        assert_eq!(ipam.allocate("h").unwrap(), ip("10.244.1.6"));
        assert!(Ipam::open("10.244.1.0/31".parse().unwrap(), None).is_err());
    }

    #[test]
    fn remembers_over_a_reboot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ipam.json");
        let range = "10.244.1.0/24".parse().unwrap();
        let mut ipam = Ipam::open(range, Some(path.clone())).unwrap();
        ipam.allocate("a").unwrap();
        ipam.allocate("b").unwrap();
        drop(ipam);
        let mut ipam = Ipam::open(range, Some(path.clone())).unwrap();
        assert_eq!(ipam.address_of("a"), Some(ip("10.244.1.2")));
        assert_eq!(ipam.allocate("b").unwrap(), ip("10.244.1.3"));
        assert_eq!(ipam.allocate("c").unwrap(), ip("10.244.1.4"));
        let other = Ipam::open("10.244.2.0/24".parse().unwrap(), Some(path.clone())).unwrap_err();
        assert!(other.to_string().contains("it is of range 10.244.1.0/24"), "{other}");
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(Ipam::open(range, Some(path)).unwrap_err(), IpamError::Damaged { .. }));
    }
}
