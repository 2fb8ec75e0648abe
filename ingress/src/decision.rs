//! What becomes of a request: decided here for the proxy, and told by the same function to who asks why
//! (`/explain?host=…&path=…` at the port of the probes).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    directory::Snapshot,
    routes::{Backend, BackendPort, Route},
    upstreams::Upstream,
};

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// The host has TLS, and the request came without.
    Redirect,
    /// No route leads anywhere.
    NoRoute,
    /// The route's Service does not exist, or has no endpoint.
    Unavailable(Arc<Route>),
    /// It goes to one of these.
    Forward(Arc<Route>, Arc<Upstream>),
}

impl Decision {
    /// Decides about a request for a host and a path.
    #[must_use]
    pub fn of(snapshot: &Snapshot, host: &str, path: &str, tls: bool) -> Self {
        if !tls && snapshot.has_certificate(host) {
            return Self::Redirect;
        }
        let Some(route) = snapshot.routes.find(host, path) else { return Self::NoRoute };
        let upstream = route.backend.as_ref().and_then(|backend| snapshot.upstreams.get(backend));
        match upstream.filter(|upstream| !upstream.endpoints.is_empty()) {
            Some(upstream) => Self::Forward(route.clone(), upstream.clone()),
            None => Self::Unavailable(route.clone()),
        }
    }

    /// The same in JSON: the status that the client gets (200: whatever the endpoint answers), the Ingress, its backend
    /// and the endpoints.
    #[must_use]
    pub fn told(&self) -> Value {
        match self {
            Self::Redirect => json!({"status": 308}),
            Self::NoRoute => json!({"status": 404}),
            Self::Unavailable(route) => of_route(503, route, &[]),
            Self::Forward(route, upstream) => {
                let endpoints: Vec<String> =
                    upstream.endpoints.iter().map(ToString::to_string).collect();
                of_route(200, route, &endpoints)
            }
        }
    }
}

fn of_route(status: u16, route: &Route, endpoints: &[String]) -> Value {
    let backend = route.backend.as_ref().map(|Backend { service, port }| {
        let port = match port {
            BackendPort::Name(name) => name.clone(),
            BackendPort::Number(number) => number.to_string(),
        };
        json!({"service": service.to_string(), "port": port})
    });
    json!({
        "status": status, "ingress": route.ingress.to_string(), "backend": backend,
        "endpoints": endpoints,
    })
}

/// Answers the query of a request that asks why: `host`, `path`, and `tls=true`.
#[must_use]
pub fn explain(snapshot: &Snapshot, query: &str) -> Value {
    let (mut host, mut path, mut tls) = (String::new(), "/".to_owned(), false);
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "host" => host = unescaped(value),
            "path" => path = unescaped(value),
            "tls" => tls = value == "true",
            _ => {}
        }
    }
    Decision::of(snapshot, &host, &path, tls).told()
}

/// Undoes the escapes of a query.
fn unescaped(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match byte {
            b'%' => {
                let mut ahead = bytes.clone();
                match digit(ahead.next()).zip(digit(ahead.next())) {
                    Some((high, low)) => {
                        out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                        bytes = ahead;
                    }
                    None => out.push(byte),
                }
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use apimachinery::{
        api::{ByteString, core::Secret, networking::IngressClass},
        object::ObjectKey,
    };
    use component_base::tls::{CertSpec, CertificateAuthority};

    use super::*;
    use crate::{directory::Directory, routes::CONTROLLER};

    fn secret_for(host: &str) -> Secret {
        let now = "2026-05-01T12:00:00Z".parse().unwrap();
        let authority = CertificateAuthority::create("ca", now).unwrap();
        let pair = authority.issue(&CertSpec::server(host, &[host], &[]), now).unwrap();
        let part = |name: &str, pem: String| (name.to_owned(), ByteString(pem.into_bytes()));
        let data = [part("tls.crt", pair.cert_pem), part("tls.key", pair.key_pem)].into();
        Secret { data, ..Secret::default() }
    }

    #[test]
    fn a_decision_is_told() {
        let mut directory = Directory::default();
        let class = json!({"metadata": {"name": "k"}, "spec": {"controller": CONTROLLER}});
        let class: IngressClass = serde_json::from_value(class).unwrap();
        directory.classes.insert("k".into(), class);
        let backend = |name: &str| json!({"service": {"name": name, "port": {"number": 80}}});
        let path = |path: &str, name: &str| json!({"path": path, "pathType": "Prefix", "backend": backend(name)});
        let ingress = json!({
            "metadata": {"name": "i", "namespace": "default"},
            "spec": {"ingressClassName": "k", "tls": [{"hosts": ["s.local"], "secretName": "s"}], "rules": [
                {"host": "w.local", "http": {"paths": [path("/", "web"), path("/a b", "none")]}}]},
        });
        let key = ObjectKey::new("default", "i");
        directory.ingresses.insert(key, serde_json::from_value(ingress).unwrap());
        let service = json!({"spec": {"ports": [{"port": 80}]}});
        let key = ObjectKey::new("default", "web");
        directory.services.set_service(key.clone(), &serde_json::from_value(service).unwrap());
        let slice = json!({"addressType": "IPv4", "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "", "port": 8080}], "endpoints": [{"addresses": ["10.244.1.2"]}]});
        directory.services.set_slice(&key, &serde_json::from_value(slice).unwrap());
        directory.set_secret(ObjectKey::new("default", "s"), &secret_for("s.local"));
        directory.touch_routes();
        let (snapshot, _) = directory.publish().expect("there is news");
        let check = |query: &str, expected: Value| assert_eq!(explain(&snapshot, query), expected);
        let leads = |status: u16, name: &str, endpoints: &[&str]| {
            json!({"status": status, "ingress": "default/i", "endpoints": endpoints,
                "backend": {"service": format!("default/{name}"), "port": "80"}})
        };
        check("host=w.local&path=%2Fx", leads(200, "web", &["10.244.1.2:8080"]));
        check("host=w.local&path=/a%20b", leads(503, "none", &[]));
        check("host=other.local&path=/", json!({"status": 404}));
        check("host=s.local", json!({"status": 308}));
        check("host=s.local&tls=true", json!({"status": 404}));
        check("", json!({"status": 404}));
    }
}
