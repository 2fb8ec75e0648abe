//! `create ingress`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Generated, error, metadata, object};

/// What the flags say.
#[derive(Clone, Debug, Default)]
pub struct Ingress {
    /// Its name.
    pub name: String,
    /// Its class; empty: the default one.
    pub class: String,
    /// `service:port`; empty: none.
    pub default_backend: String,
    /// `key=value` each.
    pub annotations: Vec<String>,
    /// `host/path=service:port[,tls[=secret]]` each.
    pub rules: Vec<String>,
}

/// One rule, taken apart.
struct Rule<'a> {
    host: &'a str,
    path: &'a str,
    backend: Value,
    /// The Secret; empty: the controller's own certificate.
    tls: Option<&'a str>,
}

impl Ingress {
    /// Makes the object.
    ///
    /// # Errors
    /// kubectl's messages.
    pub fn generate(&self) -> Generated {
        if self.default_backend.is_empty() && self.rules.is_empty() {
            return error(
                "not enough information provided: every ingress has to either specify a default-backend (which catches all traffic) or a list of rules (which catch specific paths)",
            );
        }
        let rules = self.rules.iter().map(|text| match Rule::parse(text) {
            Some(rule) => Ok(rule),
            None => error(format!(
                "rule {text} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]"
            )),
        });
        let rules: Vec<Rule<'_>> = rules.collect::<Result<_, _>>()?;
        let annotations = self.annotations()?;
        let mut spec = Map::new();
        if !self.default_backend.is_empty() {
            let Some(backend) = backend(&self.default_backend) else {
                return error("default-backend should be in format servicename:serviceport");
            };
            spec.insert("defaultBackend".to_owned(), backend);
        }
        if !self.class.is_empty() {
            spec.insert("ingressClassName".to_owned(), self.class.as_str().into());
        }
        for (name, list) in [("rules", hosts(&rules)), ("tls", certificates(&rules))] {
            if !list.is_empty() {
                spec.insert(name.to_owned(), list.into());
            }
        }
        let mut ingress = object(json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": metadata(&self.name, &BTreeMap::new()),
            "spec": spec,
            "status": { "loadBalancer": {} },
        }));
        if !annotations.is_empty() {
            ingress.set(&["metadata", "annotations"], annotations);
        }
        Ok(ingress)
    }

    fn annotations(&self) -> Result<Map<String, Value>, super::GenerateError> {
        let pairs = self.annotations.iter().map(|text| match text.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.into())),
            None => {
                error(format!("annotation {text} is invalid and should be in format key=[value]"))
            }
        });
        pairs.collect()
    }
}

impl<'a> Rule<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(',').collect();
        let (place, service) = parts[0].split_once('=')?;
        let slash = place.find('/')?;
        let (host, path) = place.split_at(slash);
        if !host.bytes().all(|byte| is_word(byte) || matches!(byte, b'*' | b'.')) {
            return None;
        }
        let (name, port) = service.split_once(':')?;
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(is_word);
        if !is_name(name) || !is_name(port) {
            return None;
        }
        // As in kubectl, whatever comes after the only comma asks for TLS.
        let tls = match parts.as_slice() {
            [_, tls] => Some(tls.split_once('=').map_or("", |(_, secret)| secret)),
            _ => None,
        };
        Some(Self { host, path, backend: backend(service)?, tls })
    }

    fn path(&self) -> Value {
        let (path, path_type) = match self.path.strip_suffix('*') {
            Some(path) => (path, "Prefix"),
            None => (self.path, "Exact"),
        };
        json!({ "backend": self.backend, "path": path, "pathType": path_type })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// `service:port`, by number or by name.
fn backend(text: &str) -> Option<Value> {
    let (name, port) = text.split_once(':')?;
    if port.contains(':') {
        return None;
    }
    let port = match port.parse::<i32>() {
        Ok(number) => json!({ "number": number }),
        Err(_) => json!({ "name": port }),
    };
    Some(json!({ "service": { "name": name, "port": port } }))
}

/// The rules by their hosts, in the order in which these were first named.
fn hosts(rules: &[Rule<'_>]) -> Vec<Value> {
    let mut hosts: Vec<(&str, Vec<Value>)> = Vec::new();
    for rule in rules {
        match hosts.iter_mut().find(|(host, _)| *host == rule.host) {
            Some((_, paths)) => paths.push(rule.path()),
            None => hosts.push((rule.host, vec![rule.path()])),
        }
    }
    let rule = |(host, paths): (&str, Vec<Value>)| match host {
        "" => json!({ "http": { "paths": paths } }),
        host => json!({ "host": host, "http": { "paths": paths } }),
    };
    hosts.into_iter().map(rule).collect()
}

/// The hosts by their Secrets.
fn certificates(rules: &[Rule<'_>]) -> Vec<Value> {
    let mut secrets: Vec<(&str, Vec<&str>)> = Vec::new();
    for rule in rules {
        let Some(secret) = rule.tls else { continue };
        if !secrets.iter().any(|(other, _)| *other == secret) {
            secrets.push((secret, Vec::new()));
        }
        let (_, hosts) = secrets.iter_mut().find(|(other, _)| *other == secret).expect("just made");
        if !rule.host.is_empty() && !hosts.contains(&rule.host) {
            hosts.push(rule.host);
        }
    }
    let entry = |(secret, hosts): (&str, Vec<&str>)| {
        let mut entry = Map::new();
        if !hosts.is_empty() {
            entry.insert("hosts".to_owned(), json!(hosts));
        }
        if !secret.is_empty() {
            entry.insert("secretName".to_owned(), secret.into());
        }
        Value::Object(entry)
    };
    secrets.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(rules: &[&str]) -> Result<Value, String> {
        let rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
        let ingress = Ingress { name: "x".to_owned(), rules, ..Ingress::default() };
        let made = ingress.generate().map_err(|error| error.0)?;
        Ok(made.get(&["spec"]).cloned().unwrap_or_default())
    }

    #[test]
    fn rules_are_gathered_by_host_and_secret() {
        let port =
            |number: i32| json!({ "service": { "name": "s", "port": { "number": number } } });
        assert_eq!(
            spec(&["a.com/x*=s:80,tls=one", "/y=s:81", "a.com/z=s:82", "b.com/=s:83,tls=one"]),
            Ok(json!({
                "rules": [
                    { "host": "a.com", "http": { "paths": [
                        { "backend": port(80), "path": "/x", "pathType": "Prefix" },
                        { "backend": port(82), "path": "/z", "pathType": "Exact" },
                    ] } },
                    { "http": { "paths": [{ "backend": port(81), "path": "/y", "pathType": "Exact" }] } },
                    { "host": "b.com", "http": { "paths": [
                        { "backend": port(83), "path": "/", "pathType": "Exact" },
                    ] } },
                ],
                "tls": [{ "hosts": ["a.com", "b.com"], "secretName": "one" }],
            }))
        );
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for bad in ["foo", "foo.com/=svc", "a b/=svc:80", "/=s.x:80", "foo.com/a=b=svc:80", "/=:80"]
        {
            let expected = format!(
                "rule {bad} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]"
            );
            assert_eq!(spec(&[bad]), Err(expected));
        }
    }
}
