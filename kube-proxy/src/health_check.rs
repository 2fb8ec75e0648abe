//! `healthCheckNodePort`: tells load balancers whether this node has endpoints of a Service whose
//! `externalTrafficPolicy` is `Local`. The answer is kube-proxy's own, to the character.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use apimachinery::object::ObjectKey;
use axum::{
    Router,
    http::{HeaderName, StatusCode, header},
    response::IntoResponse as _,
};
use component_base::{
    shutdown::Shutdown,
    transport::{self, Listener},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::compile::{HealthCheck, Problem};

const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// The open ports.
pub(crate) struct HealthChecks {
    open: BTreeMap<SocketAddr, Open>,
    /// Whether the node has the rules that it should have.
    healthy: Arc<AtomicBool>,
    shutdown: Shutdown,
}

struct Open {
    service: ObjectKey,
    endpoints: Arc<AtomicUsize>,
    _serving: DropGuard,
}

impl HealthChecks {
    pub(crate) fn new(healthy: Arc<AtomicBool>, shutdown: Shutdown) -> Self {
        Self { open: BTreeMap::new(), healthy, shutdown }
    }

    /// Opens and closes until what is wanted is open at these addresses; returns what the host refused.
    pub(crate) fn update(
        &mut self,
        addresses: &[IpAddr],
        wanted: &BTreeMap<ObjectKey, HealthCheck>,
    ) -> Vec<Problem> {
        let wanted: BTreeMap<SocketAddr, (&ObjectKey, usize)> = wanted
            .iter()
            .flat_map(|(service, check)| {
                let at = |ip: &IpAddr| SocketAddr::new(*ip, check.port);
                addresses.iter().map(at).map(move |address| (address, (service, check.endpoints)))
            })
            .collect();
        self.open.retain(|address, open| {
            wanted.get(address).is_some_and(|(service, _)| **service == open.service)
        });
        let mut problems = vec![];
        for (address, (service, endpoints)) in wanted {
            if let Some(open) = self.open.get(&address) {
                open.endpoints.store(endpoints, Ordering::Relaxed);
                continue;
            }
            match Listener::bind_plain(address) {
                Ok(listener) => {
                    let open = self.serve(listener, service, endpoints);
                    self.open.insert(address, open);
                }
                Err(error) => problems.push(Problem {
                    service: service.clone(),
                    reason: "FailedToStartServiceHealthcheck".into(),
                    message: format!(
                        "node failed to start healthcheck {:?} on port {}: {error}",
                        service.to_string(),
                        address.port()
                    ),
                }),
            }
        }
        problems
    }

    fn serve(&self, listener: Listener, service: &ObjectKey, endpoints: usize) -> Open {
        let count = Arc::new(AtomicUsize::new(endpoints));
        let (name, endpoints, healthy) = (service.clone(), count.clone(), self.healthy.clone());
        let answer = move || {
            let count = endpoints.load(Ordering::Relaxed);
            let healthy = healthy.load(Ordering::Relaxed);
            let (status, body) = answer(&name, count, healthy);
            async move {
                let headers = [
                    (header::CONTENT_TYPE, "application/json".to_owned()),
                    (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
                    (WEIGHT, count.to_string()),
                ];
                (status, headers, body).into_response()
            }
        };
        let end = CancellationToken::new();
        let serving = transport::serve(listener, Router::new().fallback(answer), end.clone());
        let all = self.shutdown.token().clone();
        self.shutdown.spawn("health check", async move {
            all.run_until_cancelled(serving).await;
        });
        Open { service: service.clone(), endpoints: count, _serving: end.drop_guard() }
    }
}

fn answer(service: &ObjectKey, endpoints: usize, healthy: bool) -> (StatusCode, String) {
    let ok = endpoints > 0 && healthy;
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": {:?},\n\t\t\"name\": {:?}\n\t}},\n\t\"localEndpoints\": {endpoints},\n\t\"serviceProxyHealthy\": {healthy}\n}}",
        service.namespace, service.name
    );
    (if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, body)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use component_base::clock::Clock;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    async fn ask(to: SocketAddr) -> Option<String> {
        let mut stream = TcpStream::connect(to).await.ok()?;
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text)
    }

    #[tokio::test]
    async fn tells_of_local_endpoints() {
        let healthy = Arc::new(AtomicBool::new(true));
        let shutdown = Shutdown::new();
        let mut checks = HealthChecks::new(Arc::clone(&healthy), shutdown.clone());
        let service = ObjectKey::new("default", "web");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let want = |endpoints| {
            BTreeMap::from([(service.clone(), HealthCheck { port: free.port(), endpoints })])
        };
        let body = |count, healthy| {
            format!(
                "{{\n\t\"service\": {{\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t}},\n\t\"localEndpoints\": {count},\n\t\"serviceProxyHealthy\": {healthy}\n}}"
            )
        };
        for (endpoints, well, status) in [
            (2, true, "200 OK"),
            (0, true, "503 Service Unavailable"),
            (2, false, "503 Service Unavailable"),
        ] {
            healthy.store(well, Ordering::Relaxed);
            assert_eq!(checks.update(&[free.ip()], &want(endpoints)), []);
            let told = ask(free).await.unwrap();
            assert!(told.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{told}");
            assert!(
                told.contains(&format!("x-load-balancing-endpoint-weight: {endpoints}\r\n")),
                "{told}"
            );
            assert!(told.ends_with(&format!("\r\n\r\n{}", body(endpoints, well))), "{told}");
        }
        assert_eq!(checks.update(&[free.ip()], &BTreeMap::new()), []);
        let clock = Clock::real();
        let gone = async {
            while ask(free).await.is_some() {
                clock.sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(clock.timeout(Duration::from_secs(10), gone).await.is_ok());
        let holder = std::net::TcpListener::bind(free).unwrap();
        let refused = checks.update(&[free.ip()], &want(1));
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].reason, "FailedToStartServiceHealthcheck");
        drop(holder);
        shutdown.cancel();
        shutdown.wait(Duration::from_secs(10)).await.unwrap();
    }
}
