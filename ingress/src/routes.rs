//! Ingresses to a table of routes, and its lookup: pure.
//!
//! Precedence is Kubernetes' (the Ingress API's documentation): a host of its own before a wildcard before no host; in
//! each, an exact path before the longest prefix. What the rules of a host do not match is the default backend's of an
//! Ingress with rules for that host; what nobody's rules match is that of an Ingress without rules, or else of any.
//! Where two Ingresses claim the same, the older has it (then the first by name); of certificates it is the first that can
//! be used, and an Ingress claims them for hosts that its own rules name: others count where nobody has rules. A wildcard stands for one label: `*.a.example`
//! is `x.a.example`, neither `a.example` nor `x.y.a.example`.
//!
//! Prefixes match element by element: `/foo` is a prefix of `/foo`, `/foo/` and `/foo/bar`, not of `/foobar`; a slash at
//! its end means nothing. `ImplementationSpecific` is `Prefix` here. Paths are compared as they mean: dot segments
//! resolved and slashes merged, so that no way around a route leads to it.

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use apimachinery::{
    api::networking::{HTTPIngressPath, Ingress, IngressBackend, IngressClass},
    object::ObjectKey,
};

/// `spec.controller` of the classes that are served here.
pub const CONTROLLER: &str = "kube-mini.io/ingress-controller";
/// Named the class before `spec.ingressClassName` did.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// A port of a Service, as an Ingress names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BackendPort {
    /// By name.
    Name(String),
    /// By the Service's port number.
    Number(u16),
}

/// Who serves a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Backend {
    /// The Service.
    pub service: ObjectKey,
    /// Its port.
    pub port: BackendPort,
}

/// Where a match leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The Ingress that says so.
    pub ingress: ObjectKey,
    /// Who serves it; None for a `resource` backend, which nobody here knows.
    pub backend: Option<Backend>,
}

/// The paths of one host.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<String, Arc<Route>>,
    /// Without a slash at the end; `/` is "".
    prefixes: HashMap<String, Arc<Route>>,
    /// For what nothing matches.
    default: Option<Arc<Route>>,
}

/// All routes.
#[derive(Debug, Default)]
pub struct Routes {
    hosts: HashMap<String, Paths>,
    /// By what follows the `*`: `.a.example`.
    wildcards: HashMap<String, Paths>,
    any: Paths,
    default: Option<Arc<Route>>,
    /// The Secrets that hosts and wildcards (`.a.example`) with TLS may have, the first first.
    secrets: HashMap<String, Vec<ObjectKey>>,
}

/// The names of the classes that this controller serves.
#[must_use]
pub fn own_classes<'a>(classes: impl IntoIterator<Item = &'a IngressClass>) -> BTreeSet<String> {
    let own = |class: &&IngressClass| class.spec.controller.as_deref() == Some(CONTROLLER);
    classes.into_iter().filter(own).filter_map(|class| class.metadata.name.clone()).collect()
}

/// Whether an Ingress is of one of these classes.
#[must_use]
pub fn is_of_class(ingress: &Ingress, classes: &BTreeSet<String>) -> bool {
    let annotation = ingress.metadata.annotations.get(CLASS_ANNOTATION);
    ingress
        .spec
        .ingress_class_name
        .as_ref()
        .or(annotation)
        .is_some_and(|name| classes.contains(name))
}

/// Namespace and name.
#[must_use]
pub fn key_of(ingress: &Ingress) -> ObjectKey {
    let metadata = &ingress.metadata;
    ObjectKey::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

impl Routes {
    /// Merges Ingresses, all of which are to be served.
    #[must_use]
    pub fn new<'a>(ingresses: impl IntoIterator<Item = &'a Ingress>) -> Self {
        let mut sorted: Vec<&Ingress> = ingresses.into_iter().collect();
        sorted.sort_by_cached_key(|ingress| {
            (ingress.metadata.creation_timestamp.map(|time| time.0), key_of(ingress))
        });
        let mut routes = Self::default();
        sorted.iter().for_each(|ingress| routes.add(ingress));
        sorted.iter().for_each(|ingress| routes.add_tls(ingress));
        let has_rules = |ingress: &Ingress| !ingress.spec.rules.is_empty();
        sorted.sort_by_key(|ingress| has_rules(ingress));
        let default =
            |ingress: &&Ingress| Some(route_of(ingress, ingress.spec.default_backend.as_ref()?));
        routes.default = sorted.iter().find_map(default);
        routes
    }

    fn add(&mut self, ingress: &Ingress) {
        for rule in &ingress.spec.rules {
            let host = rule.host.as_deref().unwrap_or_default().to_ascii_lowercase();
            let paths = match host.strip_prefix('*') {
                Some(suffix) => self.wildcards.entry(suffix.to_owned()).or_default(),
                None if host.is_empty() => &mut self.any,
                None => self.hosts.entry(host).or_default(),
            };
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                paths.add(path, route_of(ingress, &path.backend));
            }
            if let (Some(backend), None) = (&ingress.spec.default_backend, &paths.default) {
                paths.default = Some(route_of(ingress, backend));
            }
        }
    }

    /// Notes an Ingress' Secrets; to be called in the order of precedence, when all rules are in.
    fn add_tls(&mut self, ingress: &Ingress) {
        let namespace = key_of(ingress).namespace;
        let of_rules = ingress.spec.rules.iter().filter_map(|rule| rule.host.as_deref());
        let own: BTreeSet<String> = of_rules.map(str::to_ascii_lowercase).collect();
        for tls in &ingress.spec.tls {
            let Some(secret) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) else {
                continue;
            };
            let named = tls.hosts.iter().map(|host| host.to_ascii_lowercase());
            let hosts = if tls.hosts.is_empty() { own.clone() } else { named.collect() };
            for host in hosts.into_iter().filter(|host| !host.is_empty()) {
                let suffix = host.strip_prefix('*').unwrap_or(&host).to_owned();
                let covers =
                    || wildcard_of(&host).is_some_and(|of| own.contains(&format!("*{of}")));
                let theirs = self.hosts.contains_key(&host) || self.wildcards.contains_key(&suffix);
                if own.contains(&host) || covers() || !theirs {
                    let secrets = self.secrets.entry(suffix).or_default();
                    secrets.push(ObjectKey::new(&namespace, secret));
                }
            }
        }
    }

    /// Finds where a request goes. `host` is as in the request, with or without a port.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        let host = bare_host(host);
        let path = normalized(path);
        let of_host = self.hosts.get(&*host);
        let of_wildcard = wildcard_of(&host).and_then(|suffix| self.wildcards.get(suffix));
        let candidates = [of_host, of_wildcard, Some(&self.any)];
        let found = candidates.into_iter().flatten().find_map(|paths| paths.find(&path));
        found.or(self.default.as_ref())
    }

    /// The Secrets by host, the first first; wildcards without their `*`.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &[ObjectKey])> {
        self.secrets.iter().map(|(host, secrets)| (host.as_str(), secrets.as_slice()))
    }

    /// All backends that routes lead to, each once.
    #[must_use]
    pub fn backends(&self) -> BTreeSet<&Backend> {
        let paths = self.hosts.values().chain(self.wildcards.values()).chain([&self.any]);
        let routes = paths.flat_map(|paths| {
            paths.exact.values().chain(paths.prefixes.values()).chain(&paths.default)
        });
        routes.chain(&self.default).filter_map(|route| route.backend.as_ref()).collect()
    }
}

impl Paths {
    fn add(&mut self, path: &HTTPIngressPath, route: Arc<Route>) {
        let text = path.path.as_deref().filter(|text| !text.is_empty()).unwrap_or("/");
        if path.path_type == "Exact" {
            self.exact.entry(text.to_owned()).or_insert(route);
        } else {
            let prefix = text.trim_end_matches('/').to_owned();
            self.prefixes.entry(prefix).or_insert(route);
        }
    }

    fn find(&self, path: &str) -> Option<&Arc<Route>> {
        self.matching(path).or(self.default.as_ref())
    }

    /// The exact path, or the longest prefix: element after element is left out from the end.
    fn matching(&self, path: &str) -> Option<&Arc<Route>> {
        if let Some(route) = self.exact.get(path) {
            return Some(route);
        }
        let mut rest = path.strip_suffix('/').unwrap_or(path);
        loop {
            if let Some(route) = self.prefixes.get(rest) {
                return Some(route);
            }
            rest = &rest[..rest.rfind('/')?];
        }
    }
}

fn route_of(ingress: &Ingress, backend: &IngressBackend) -> Arc<Route> {
    let key = key_of(ingress);
    let backend = backend_of(&key.namespace, backend);
    Arc::new(Route { ingress: key, backend })
}

fn backend_of(namespace: &str, backend: &IngressBackend) -> Option<Backend> {
    let service = backend.service.as_ref()?;
    let port = service.port.as_ref()?;
    let port = match port.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => BackendPort::Name(name.to_owned()),
        None => BackendPort::Number(u16::try_from(port.number?).ok()?),
    };
    Some(Backend { service: ObjectKey::new(namespace, &service.name), port })
}

/// A host in lower case, without its port and without a dot at its end.
#[must_use]
pub fn bare_host(host: &str) -> Cow<'_, str> {
    let without_port = match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    let bare = without_port.strip_suffix('.').unwrap_or(without_port);
    if bare.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(bare.to_ascii_lowercase())
    } else {
        Cow::Borrowed(bare)
    }
}

/// What follows the first label, from its dot on.
#[must_use]
pub fn wildcard_of(host: &str) -> Option<&str> {
    host.find('.').filter(|dot| *dot > 0).map(|dot| &host[dot..])
}

/// A path without `//`, `/./` and `/../`, in whichever way their dots and slashes are written.
fn normalized(path: &str) -> Cow<'_, str> {
    let plain = path.starts_with('/')
        && !path.contains("//")
        && !path.contains("/.")
        && !path.bytes().any(|byte| byte == b'%');
    if plain {
        return Cow::Borrowed(path);
    }
    let decoded = decode_dots(path);
    let mut elements: Vec<&str> = Vec::new();
    for element in decoded.split('/') {
        match element {
            "" | "." => {}
            ".." => drop(elements.pop()),
            other => elements.push(other),
        }
    }
    let is_folder = ["/", "/.", "/.."].iter().any(|end| decoded.ends_with(end));
    let mut whole = String::with_capacity(decoded.len() + 1);
    for element in &elements {
        whole.push('/');
        whole.push_str(element);
    }
    if is_folder || whole.is_empty() {
        whole.push('/');
    }
    Cow::Owned(whole)
}

/// Decodes what needs no encoding in a path: letters, digits, `-._~`. An encoded slash stays what it is, a character.
fn decode_dots(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |offset: usize| {
            let digit = bytes.get(at + offset)?;
            u8::try_from(char::from(*digit).to_digit(16)?).ok()
        };
        let decoded = if bytes[at] == b'%' {
            hex(1).zip(hex(2)).map(|(high, low)| high * 16 + low)
        } else {
            None
        };
        match decoded {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| path.to_owned())
}
