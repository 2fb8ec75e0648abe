//! `create service` and `expose`.

use std::collections::BTreeMap;

use apimachinery::{object::Object, validation};
use serde_json::{Value, json};

use super::{GenerateError, Generated, app_labels, error, metadata, object, parse_labels};

/// The kind of a service: `spec.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// `create service clusterip`.
    #[default]
    ClusterIp,
    /// `create service nodeport`.
    NodePort,
    /// `create service loadbalancer`.
    LoadBalancer,
    /// `create service externalname`.
    ExternalName,
}

impl ServiceType {
    /// As in `spec.type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::ExternalName => "ExternalName",
        }
    }
}

/// What the flags of `create service` say.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Its name; it selects pods by `app=NAME`.
    pub name: String,
    /// Which of the four.
    pub service_type: ServiceType,
    /// `PORT` or `PORT:TARGET`, of `--tcp`.
    pub tcp: Vec<String>,
    /// Of `--clusterip`.
    pub cluster_ip: String,
    /// Of `--node-port`; 0: any.
    pub node_port: i32,
    /// Of `--external-name`.
    pub external_name: String,
}

impl Service {
    /// Makes the object.
    ///
    /// # Errors
    /// When ports are missing or malformed, or the external name is no DNS name.
    pub fn generate(&self) -> Generated {
        let headless = self.cluster_ip == "None";
        let external = self.service_type == ServiceType::ExternalName;
        if self.tcp.is_empty() && !headless && !external {
            return error("at least one tcp port specifier must be provided");
        }
        if external && !validation::is_dns1123_subdomain(&self.external_name).is_empty() {
            return error(format!("invalid service external name {}", self.external_name));
        }
        let mut ports = Vec::new();
        for spec in &self.tcp {
            let (port, target) = parse_ports(spec)?;
            let name = spec.replace(':', "-");
            let mut entry =
                json!({"name": name, "port": port, "protocol": "TCP", "targetPort": target});
            if self.node_port != 0 {
                entry["nodePort"] = self.node_port.into();
            }
            ports.push(entry);
        }
        let labels = app_labels(&self.name);
        let mut service = object(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(&self.name, &labels),
            "spec": {"selector": labels, "type": self.service_type.as_str()},
            "status": {"loadBalancer": {}},
        }));
        if !ports.is_empty() {
            service.set(&["spec", "ports"], ports);
        }
        if !self.cluster_ip.is_empty() {
            service.set(&["spec", "clusterIP"], self.cluster_ip.as_str());
        }
        if external {
            service.set(&["spec", "externalName"], self.external_name.as_str());
        }
        Ok(service)
    }
}

/// Reads `PORT` or `PORT:TARGET`.
fn parse_ports(spec: &str) -> Result<(i64, Value), GenerateError> {
    let mut parts = spec.splitn(2, ':');
    let port = parts.next().unwrap_or_default();
    let number = parse_port(port)?;
    let Some(target) = parts.next() else { return Ok((number, number.into())) };
    if let Ok(target) = target.parse::<i64>() {
        first_problem(&validation::is_valid_port_num(target))?;
        return Ok((number, target.into()));
    }
    first_problem(&validation::is_valid_port_name(target))?;
    Ok((number, target.into()))
}

fn first_problem(problems: &[String]) -> Result<(), GenerateError> {
    if problems.is_empty() { Ok(()) } else { error(problems.join(",")) }
}

/// Go's `strconv.ParseUint(port, 10, 16)`.
fn parse_port(text: &str) -> Result<i64, GenerateError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) => Ok(port.into()),
        Err(_) if digits => {
            error(format!("strconv.ParseUint: parsing {text:?}: value out of range"))
        }
        Err(_) => error(format!("strconv.ParseUint: parsing {text:?}: invalid syntax")),
    }
}

/// What `expose` makes its service of: flags, and what was found out about the exposed object.
#[derive(Clone, Debug, Default)]
pub struct Exposed {
    /// Of `--name`, or the object's.
    pub name: String,
    /// `a=b,c=d`.
    pub selector: String,
    /// `a=b,c=d`; may be empty.
    pub labels: String,
    /// Comma list of numbers; empty for a headless service without ports.
    pub ports: String,
    /// Of `--protocol`.
    pub protocol: String,
    /// Protocols by port, of the object.
    pub protocols: BTreeMap<String, Vec<String>>,
    /// Of `--target-port`.
    pub target_port: String,
    /// Of `--type`.
    pub service_type: String,
    /// Of `--external-ip`.
    pub external_ip: String,
    /// Of `--load-balancer-ip`.
    pub load_balancer_ip: String,
    /// Of `--session-affinity`.
    pub session_affinity: String,
    /// Of `--cluster-ip`.
    pub cluster_ip: String,
}

impl Exposed {
    /// Makes the service.
    ///
    /// # Errors
    /// When selector, labels, a port or the affinity cannot be read.
    pub fn generate(&self) -> Generated {
        let selector = parse_labels(&self.selector)?;
        let labels = match self.labels.as_str() {
            "" => BTreeMap::new(),
            labels => parse_labels(labels)?,
        };
        let mut service = object(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(&self.name, &labels),
            "spec": {"selector": selector},
            "status": {"loadBalancer": {}},
        }));
        let ports = self.service_ports()?;
        if !ports.is_empty() {
            service.set(&["spec", "ports"], ports);
        }
        if !self.external_ip.is_empty() {
            service.set(&["spec", "externalIPs"], json!([self.external_ip]));
        }
        let mut set = |field: &str, value: &str| {
            if !value.is_empty() {
                service.set(&["spec", field], value);
            }
        };
        set("type", &self.service_type);
        set(
            "loadBalancerIP",
            if self.service_type == "LoadBalancer" { &self.load_balancer_ip } else { "" },
        );
        set("clusterIP", &self.cluster_ip);
        match self.session_affinity.as_str() {
            "" => {}
            "None" | "ClientIP" => set("sessionAffinity", &self.session_affinity),
            other => return error(format!("unknown session affinity: {other}")),
        }
        Ok(service)
    }

    fn service_ports(&self) -> Result<Vec<Value>, GenerateError> {
        let numbers: Vec<&str> = self.ports.split(',').filter(|port| !port.is_empty()).collect();
        let mut ports: Vec<Value> = Vec::new();
        for (i, text) in numbers.iter().enumerate() {
            let port = parse_int(text)?;
            // Several ports need names; kubectl numbers them.
            let name = if numbers.len() > 1 { format!("port-{}", i + 1) } else { String::new() };
            let protocols = match (&self.protocol[..], self.protocols.get(*text)) {
                ("", None) => vec!["TCP".to_owned()],
                ("", Some(protocols)) => protocols.clone(),
                (protocol, _) => vec![protocol.to_owned()],
            };
            for protocol in &protocols {
                let name = if protocols.len() > 1 {
                    format!("port-{}-{}", i + 1, protocol.to_lowercase())
                } else {
                    name.clone()
                };
                let mut entry = json!({"port": port, "protocol": protocol});
                if !name.is_empty() {
                    entry["name"] = name.into();
                }
                entry["targetPort"] = match self.target_port.as_str() {
                    "" => port.into(),
                    target => target.parse::<i32>().map_or_else(|_| target.into(), Value::from),
                };
                ports.push(entry);
            }
        }
        Ok(ports)
    }
}

/// Go's `strconv.Atoi`.
fn parse_int(text: &str) -> Result<i64, GenerateError> {
    text.parse()
        .map_err(|_| GenerateError(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))
}

/// The selector of an object's pods, as `--selector` would have it.
///
/// # Errors
/// When the object has none, or one that a service cannot have.
pub fn selector_of(object: &Object) -> Result<String, GenerateError> {
    match object.kind() {
        "Pod" if object.labels().next().is_none() => {
            error("the pod has no labels and cannot be exposed")
        }
        "Pod" => Ok(join(object.labels())),
        "Service" | "ReplicationController" => {
            let selector = object.get(&["spec", "selector"]).and_then(Value::as_object);
            match selector {
                Some(selector) if !selector.is_empty() => {
                    Ok(join(selector.iter().filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))))
                }
                _ => error("the service has no pod selector set"),
            }
        }
        kind => {
            let expressions = object.get_list(&["spec", "selector", "matchExpressions"]);
            if !expressions.is_empty() {
                let expressions: Vec<String> = expressions.iter().map(go_requirement).collect();
                return error(format!(
                    "couldn't convert expressions - \"[{}]\" to map-based selector format",
                    expressions.join(" ")
                ));
            }
            let labels =
                object.get(&["spec", "selector", "matchLabels"]).and_then(Value::as_object);
            match labels {
                Some(labels) => {
                    Ok(join(labels.iter().filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))))
                }
                None => error(format!(
                    "invalid {}: no selectors, therefore cannot be exposed",
                    kind.to_lowercase()
                )),
            }
        }
    }
}

/// How Go prints a LabelSelectorRequirement with `%+v`.
fn go_requirement(requirement: &Value) -> String {
    let text = |field: &str| requirement.get(field).and_then(Value::as_str).unwrap_or_default();
    let values: Vec<&str> = requirement
        .get("values")
        .and_then(Value::as_array)
        .map(|values| values.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    format!("{{Key:{} Operator:{} Values:[{}]}}", text("key"), text("operator"), values.join(" "))
}

/// `a=b,c=d`.
pub fn join<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The ports that an object's pods (or a service) have, with their protocols.
#[must_use]
pub fn ports_of(object: &Object) -> Vec<(String, String)> {
    let (ports, number) = match object.kind() {
        "Service" => (object.get_list(&["spec", "ports"]).iter().collect(), "port"),
        "Pod" => (container_ports(object.get_list(&["spec", "containers"])), "containerPort"),
        _ => (
            container_ports(object.get_list(&["spec", "template", "spec", "containers"])),
            "containerPort",
        ),
    };
    ports
        .into_iter()
        .map(|port: &Value| {
            let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
            (port.get(number).map(Value::to_string).unwrap_or_default(), protocol.to_owned())
        })
        .collect()
}

fn container_ports(containers: &[Value]) -> Vec<&Value> {
    containers.iter().filter_map(|container| container.get("ports")?.as_array()).flatten().collect()
}
