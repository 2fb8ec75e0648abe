//! Which endpoints serve which traffic: kube-proxy's `CategorizeEndpoints`.

use super::{Endpoint, ServiceRule, TrafficPolicy};

/// Where traffic to a Service comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// From a pod or node to the ClusterIP.
    Internal,
    /// From outside the cluster to a node port, an external address or a load balancer.
    External,
    /// From a pod or node to one of those: kube-proxy takes the short way, to any endpoint of the cluster.
    ExternalFromInside,
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
    /// Returns the endpoints that serve `traffic` entering by `node`: the ready ones, or else those that still
    /// serve while they terminate.
    #[must_use]
    pub fn reachable(&self, traffic: Traffic, node: &str) -> Reachable<'_> {
        let policy = match traffic {
            Traffic::Internal => self.internal_policy,
            Traffic::External => self.external_policy,
            Traffic::ExternalFromInside => TrafficPolicy::Cluster,
        };
        let everywhere = usable(&self.endpoints, |_| true);
        if everywhere.is_empty() {
            return Reachable::Nobody;
        }
        if policy == TrafficPolicy::Cluster {
            return Reachable::Endpoints(everywhere);
        }
        let local = usable(&self.endpoints, |endpoint| endpoint.node.as_deref() == Some(node));
        if local.is_empty() { Reachable::NoneLocal } else { Reachable::Endpoints(local) }
    }
}

fn usable(endpoints: &[Endpoint], among: impl Fn(&Endpoint) -> bool) -> Vec<&Endpoint> {
    let pick = |usable: fn(&Endpoint) -> bool| -> Vec<&Endpoint> {
        endpoints.iter().filter(|endpoint| among(endpoint) && usable(endpoint)).collect()
    };
    let ready = pick(|endpoint| endpoint.ready);
    if ready.is_empty() { pick(|endpoint| endpoint.serving && endpoint.terminating) } else { ready }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Protocol;

    /// Endpoints are written `node state…`; states: ready, ending (serving and terminating), dead.
    fn rule(policy: TrafficPolicy, endpoints: &[(&str, &str)]) -> ServiceRule {
        let endpoints = endpoints.iter().zip(1_u8..).map(|((node, state), n)| Endpoint {
            address: ([10, 244, 0, n], 80).into(),
            node: Some((*node).to_owned()),
            ready: *state == "ready",
            serving: *state != "dead",
            terminating: *state != "ready",
        });
        ServiceRule {
            protocol: Protocol::Tcp,
            cluster_ips: vec![],
            port: 80,
            node_port: None,
            external_ips: vec![],
            load_balancer_ips: vec![],
            affinity_seconds: None,
            internal_policy: policy,
            external_policy: TrafficPolicy::Cluster,
            endpoints: endpoints.collect(),
        }
    }

    #[test]
    fn categorizes() {
        use TrafficPolicy::{Cluster, Local};
        let check = |policy, endpoints: &[(&str, &str)], expected: Result<&[u8], Reachable<'_>>| {
            let rule = rule(policy, endpoints);
            let actual = rule.reachable(Traffic::Internal, "a");
            match (expected, actual) {
                (Ok(numbers), Reachable::Endpoints(found)) => {
                    let expected: Vec<_> =
                        numbers.iter().map(|n| ([10, 244, 0, *n], 80).into()).collect();
                    assert_eq!(found.iter().map(|e| e.address).collect::<Vec<_>>(), expected);
                }
                (Err(expected), actual) => assert_eq!(actual, expected, "{endpoints:?}"),
                (expected, actual) => panic!("{endpoints:?}: {actual:?} instead of {expected:?}"),
            }
        };
        check(Cluster, &[], Err(Reachable::Nobody));
        check(Cluster, &[("a", "ready"), ("b", "ready"), ("b", "ending")], Ok(&[1, 2]));
        check(Cluster, &[("a", "ending"), ("b", "dead")], Ok(&[1]));
        check(Cluster, &[("a", "dead")], Err(Reachable::Nobody));
        check(Local, &[("b", "ready")], Err(Reachable::NoneLocal));
        check(Local, &[("b", "dead")], Err(Reachable::Nobody));
        check(Local, &[("b", "ready"), ("a", "ready")], Ok(&[2]));
        check(Local, &[("b", "ready"), ("a", "ending"), ("a", "dead")], Ok(&[2]));
        let external = rule(Local, &[("b", "ready")]);
        assert!(matches!(external.reachable(Traffic::External, "a"), Reachable::Endpoints(_)));
    }
}
