//! Which endpoints serve which traffic: kube-proxy's `CategorizeEndpoints`.

use serde::{Deserialize, Serialize};

use super::{Endpoint, Hints, ServiceRule, TrafficPolicy};

/// Where traffic to a Service comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Traffic {
    /// From a pod or node to the ClusterIP.
    Internal,
    /// From outside the cluster to a node port, an external address or a load balancer.
    External,
    /// From a pod or node to one of those: kube-proxy takes the short way, to any endpoint of the cluster.
    ExternalFromInside,
}

/// By which node traffic enters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// The node's name.
    pub node: &'a str,
    /// Its zone, if it is in one.
    pub zone: Option<&'a str>,
}

/// Who can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reachable<'a> {
    /// One of these, none better than the other.
    Endpoints(Vec<&'a Endpoint>),
    /// Endpoints exist, but none where the `Local` policy looks: the packet is dropped, the caller times out.
    NoneLocal,
    /// No endpoint at all: the caller is refused.
    Nobody,
}

impl ServiceRule {
    /// Returns the endpoints that serve `traffic` entering by `place`: the ready ones, or else those that still
    /// serve while they terminate. Policy `Cluster` heeds the hints of ready ones; `Local` knows no hints.
    #[must_use]
    pub fn reachable(&self, traffic: Traffic, place: Place<'_>) -> Reachable<'_> {
        let policy = match traffic {
            Traffic::Internal => self.internal_policy,
            Traffic::External => self.external_policy,
            Traffic::ExternalFromInside => TrafficPolicy::Cluster,
        };
        if policy == TrafficPolicy::Cluster {
            let meant = Preference::of(&self.endpoints, place);
            let found =
                usable(&self.endpoints, |_| true, |endpoint| meant.includes(endpoint, place));
            return if found.is_empty() { Reachable::Nobody } else { Reachable::Endpoints(found) };
        }
        let is_local = |endpoint: &Endpoint| endpoint.node.as_deref() == Some(place.node);
        let local = usable(&self.endpoints, is_local, |_| true);
        if !local.is_empty() {
            return Reachable::Endpoints(local);
        }
        let anywhere =
            self.endpoints.iter().any(|endpoint| endpoint.ready || is_last_resort(endpoint));
        if anywhere { Reachable::NoneLocal } else { Reachable::Nobody }
    }
}

/// What the hints of the ready endpoints come to, seen from one place: kube-proxy's `topologyModeFromHints`. Hints
/// count only when every ready endpoint has some and one of them is meant for this place.
#[derive(Clone, Copy)]
enum Preference {
    Everywhere,
    SameNode,
    SameZone,
}

impl Preference {
    fn of(endpoints: &[Endpoint], place: Place<'_>) -> Self {
        let hints = || {
            let ready = endpoints.iter().filter(|endpoint| endpoint.ready);
            ready.map(|endpoint| endpoint.hints.as_deref())
        };
        let agreed = |names: fn(&Hints) -> &[String], own: Option<&str>| {
            let mut any = false;
            let all = hints().all(|hints| {
                let names = hints.map(names).unwrap_or_default();
                any |= own.is_some_and(|own| names.iter().any(|name| name == own));
                !names.is_empty()
            });
            all && any
        };
        if agreed(|hints| &hints.nodes, Some(place.node)) {
            Self::SameNode
        } else if agreed(|hints| &hints.zones, place.zone) {
            Self::SameZone
        } else {
            Self::Everywhere
        }
    }

    fn includes(self, endpoint: &Endpoint, place: Place<'_>) -> bool {
        let has = |names: fn(&Hints) -> &[String], own: Option<&str>| {
            let names = endpoint.hints.as_deref().map(names).unwrap_or_default();
            own.is_some_and(|own| names.iter().any(|name| name == own))
        };
        match self {
            Self::Everywhere => true,
            Self::SameNode => has(|hints| &hints.nodes, Some(place.node)),
            Self::SameZone => has(|hints| &hints.zones, place.zone),
        }
    }
}

/// On its way out, but passing its probe: better than nobody.
fn is_last_resort(endpoint: &Endpoint) -> bool {
    endpoint.serving && endpoint.terminating
}

/// The ready ones that are preferred, or else the last resort; both only `among` some.
fn usable(
    endpoints: &[Endpoint],
    among: impl Fn(&Endpoint) -> bool,
    preferred: impl Fn(&Endpoint) -> bool,
) -> Vec<&Endpoint> {
    let pick = |wanted: &dyn Fn(&Endpoint) -> bool| -> Vec<&Endpoint> {
        endpoints.iter().filter(|endpoint| among(endpoint) && wanted(endpoint)).collect()
    };
    let ready = pick(&|endpoint| endpoint.ready && preferred(endpoint));
    if ready.is_empty() { pick(&is_last_resort) } else { ready }
}

#[cfg(test)]
mod tests;
