//! `/etc/resolv.conf`, as resolv.conf(5) has it and as the kubelet writes it.

use std::{fmt, net::IpAddr, time::Duration};

use hickory_proto::rr::Name;

/// Servers beyond these are not asked.
const MAX_NAMESERVERS: usize = 3;

/// What a pod is told of name servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// Whom to ask, in this order.
    pub nameservers: Vec<IpAddr>,
    /// Domains under which short names are looked for.
    pub search: Vec<String>,
    /// So many dots make a name that is tried as it stands first.
    pub ndots: u8,
    /// For one server to answer.
    pub timeout: Duration,
    /// How often all servers are asked.
    pub attempts: u8,
    /// Options that mean nothing to us, as they were written.
    pub other_options: Vec<String>,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            other_options: Vec::new(),
        }
    }
}

impl ResolvConf {
    /// What a kubelet writes for `dnsPolicy: ClusterFirst`.
    #[must_use]
    pub fn cluster_first(nameserver: IpAddr, namespace: &str, domain: &str) -> Self {
        Self {
            nameservers: vec![nameserver],
            search: vec![
                format!("{namespace}.svc.{domain}"),
                format!("svc.{domain}"),
                domain.to_owned(),
            ],
            ndots: 5,
            ..Self::default()
        }
    }

    /// Reads a file; lines and options that are no such thing are left out, as libc does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if conf.nameservers.len() < MAX_NAMESERVERS => {
                    conf.nameservers
                        .extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                // The last of them counts.
                Some("search") => conf.search = words.map(str::to_owned).collect(),
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        // The limits are libc's.
        match (name, value.parse::<u8>()) {
            ("ndots", Ok(number)) => self.ndots = number.min(15),
            ("timeout", Ok(number)) => {
                self.timeout = Duration::from_secs(number.clamp(1, 30).into());
            }
            ("attempts", Ok(number)) => self.attempts = number.clamp(1, 5),
            _ => self.other_options.push(word.to_owned()),
        }
    }

    /// The full names to try, in this order. What is no name has none.
    pub(crate) fn candidates(&self, name: &str) -> Vec<Name> {
        let Ok(relative) = Name::from_ascii(name) else { return Vec::new() };
        if relative.is_root() || name.is_empty() {
            return Vec::new();
        }
        let mut absolute = relative.clone();
        absolute.set_fqdn(true);
        if relative.is_fqdn() {
            return vec![absolute];
        }
        let under_search = self.search.iter().filter_map(|domain| {
            let mut domain = Name::from_ascii(domain).ok()?;
            domain.set_fqdn(true);
            relative.clone().append_domain(&domain).ok()
        });
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let mut candidates: Vec<Name> = under_search.collect();
        let place = if dots >= usize::from(self.ndots) { 0 } else { candidates.len() };
        candidates.insert(place, absolute);
        candidates
    }
}

/// As the kubelet writes it.
impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.search.is_empty() {
            writeln!(f, "search {}", self.search.join(" "))?;
        }
        for server in &self.nameservers {
            writeln!(f, "nameserver {server}")?;
        }
        let usual = Self::default();
        let mut options = Vec::new();
        if self.ndots != usual.ndots {
            options.push(format!("ndots:{}", self.ndots));
        }
        if self.timeout != usual.timeout {
            options.push(format!("timeout:{}", self.timeout.as_secs()));
        }
        if self.attempts != usual.attempts {
            options.push(format!("attempts:{}", self.attempts));
        }
        options.extend(self.other_options.iter().cloned());
        if options.is_empty() { Ok(()) } else { writeln!(f, "options {}", options.join(" ")) }
    }
}
