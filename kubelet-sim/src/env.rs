//! A container's environment and arguments, resolved: a pure function over what was fetched before.
//!
//! In this order, later ones winning: the Services of the namespace (`enableServiceLinks`) and always those of the
//! `kubernetes` Service, then `envFrom`, then `env` with its references. `$(NAME)` refers to what stands before it;
//! `$$` is a dollar sign; an unknown name stays as it is. Follows `makeEnvironmentVariables` and
//! `third_party/forked/golang/expansion`.

use std::collections::BTreeMap;

use apimachinery::{
    api::core::{ConfigMap, Container, EnvVarSource, Pod, ResourceFieldSelector, Secret, Service},
    quantity::Quantity,
};

/// What a container's environment may refer to.
pub struct Sources<'a> {
    /// The pod, its address filled in.
    pub pod: &'a Pod,
    /// ConfigMaps by name; those that do not exist are missing.
    pub config_maps: &'a BTreeMap<String, ConfigMap>,
    /// Secrets by name.
    pub secrets: &'a BTreeMap<String, Secret>,
    /// The Services of the pod's namespace, and `default/kubernetes`.
    pub services: &'a [Service],
    /// The node's InternalIP.
    pub host_ip: &'a str,
    /// What the node can give, for limits that are not set.
    pub allocatable: &'a BTreeMap<String, Quantity>,
}

/// Replaces `$(NAME)` by what `lookup` knows.
#[must_use]
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some(name_on) = rest.strip_prefix('(')
            && let Some(end) = name_on.find(')')
        {
            let name = &name_on[..end];
            match lookup(name) {
                Some(value) => result.push_str(&value),
                None => {
                    result.push_str("$(");
                    result.push_str(name);
                    result.push(')');
                }
            }
            rest = &name_on[end + 1..];
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    result
}

/// Resolves the environment.
///
/// # Errors
/// The message of a `CreateContainerConfigError`.
pub fn environment(
    container: &Container,
    sources: &Sources<'_>,
) -> Result<Vec<(String, String)>, String> {
    let mut env: Vec<(String, String)> = service_links(sources);
    for from in &container.env_from {
        let prefix = from.prefix.as_deref().unwrap_or("");
        if let Some(reference) = &from.config_map_ref {
            let name = reference.name.as_str();
            match sources.config_maps.get(name) {
                Some(map) => {
                    for (key, value) in &map.data {
                        set(&mut env, format!("{prefix}{key}"), value.clone());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("configmap {name:?} not found")),
            }
        }
        if let Some(reference) = &from.secret_ref {
            let name = reference.name.as_str();
            match sources.secrets.get(name) {
                Some(secret) => {
                    for (key, value) in &secret.data {
                        let text = String::from_utf8_lossy(&value.0).into_owned();
                        set(&mut env, format!("{prefix}{key}"), text);
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("secret {name:?} not found")),
            }
        }
    }
    for var in &container.env {
        let value = match (&var.value, &var.value_from) {
            (_, Some(source)) => match referenced(source, container, sources)? {
                Some(value) => value,
                None => continue,
            },
            (Some(value), None) => expand(value, &|name| find(&env, name)),
            (None, None) => String::new(),
        };
        set(&mut env, var.name.clone(), value);
    }
    Ok(env)
}

fn find(env: &[(String, String)], name: &str) -> Option<String> {
    env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
}

fn set(env: &mut Vec<(String, String)>, name: String, value: String) {
    match env.iter_mut().find(|(key, _)| *key == name) {
        Some(slot) => slot.1 = value,
        None => env.push((name, value)),
    }
}

/// The value that a reference leads to; None: it is optional and leads nowhere.
fn referenced(
    source: &EnvVarSource,
    container: &Container,
    sources: &Sources<'_>,
) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        return pod_field(sources.pod, &field.field_path, sources.host_ip).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_field(sources.pod, container, resource, sources.allocatable).map(Some);
    }
    let namespace = sources.pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(key) = &source.config_map_key_ref {
        let name = key.name.as_str();
        let optional = key.optional == Some(true);
        let Some(map) = sources.config_maps.get(name) else {
            return if optional { Ok(None) } else { Err(format!("configmap {name:?} not found")) };
        };
        return match map.data.get(&key.key) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {} in ConfigMap {namespace}/{name}", key.key)),
        };
    }
    if let Some(key) = &source.secret_key_ref {
        let name = key.name.as_str();
        let optional = key.optional == Some(true);
        let Some(secret) = sources.secrets.get(name) else {
            return if optional { Ok(None) } else { Err(format!("secret {name:?} not found")) };
        };
        return match secret.data.get(&key.key) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {} in Secret {namespace}/{name}", key.key)),
        };
    }
    Err("env var has an unsupported valueFrom".to_owned())
}

/// A field of the downward API.
///
/// # Errors
/// The field is not one of those that Kubernetes supports.
pub fn pod_field(pod: &Pod, path: &str, host_ip: &str) -> Result<String, String> {
    let metadata = &pod.metadata;
    let subscript = |prefix: &str| {
        path.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix("['"))
            .and_then(|rest| rest.strip_suffix("']"))
    };
    if let Some(key) = subscript("metadata.labels") {
        return Ok(metadata.labels.get(key).cloned().unwrap_or_default());
    }
    if let Some(key) = subscript("metadata.annotations") {
        return Ok(metadata.annotations.get(key).cloned().unwrap_or_default());
    }
    let lines = |map: &BTreeMap<String, String>| {
        let lines: Vec<String> = map.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
        lines.join("\n")
    };
    let value = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "metadata.labels" => Some(lines(&metadata.labels)),
        "metadata.annotations" => Some(lines(&metadata.annotations)),
        "spec.nodeName" => pod.spec.node_name.clone(),
        "spec.serviceAccountName" => pod.spec.service_account_name.clone(),
        "status.hostIP" | "status.hostIPs" => Some(host_ip.to_owned()),
        "status.podIP" | "status.podIPs" => pod.status.pod_ip.clone(),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    };
    Ok(value.unwrap_or_default())
}

/// A container's request or limit, in units of the divisor, rounded up.
///
/// # Errors
/// The container or the resource is not known.
pub fn resource_field(
    pod: &Pod,
    container: &Container,
    field: &ResourceFieldSelector,
    allocatable: &BTreeMap<String, Quantity>,
) -> Result<String, String> {
    let named = field.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match named {
        None => container,
        Some(name) => pod
            .spec
            .containers
            .iter()
            .chain(&pod.spec.init_containers)
            .find(|c| c.name == name)
            .ok_or_else(|| format!("container {name} not found"))?,
    };
    let (kind, resource) = field
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", field.resource))?;
    let resources = container.resources.clone().unwrap_or_default();
    let amount = match kind {
        "requests" => resources.requests.get(resource).copied(),
        "limits" => resources.limits.get(resource).or_else(|| allocatable.get(resource)).copied(),
        _ => return Err(format!("unsupported container resource : {}", field.resource)),
    };
    let amount = amount.unwrap_or_default();
    let divisor = field.divisor.unwrap_or_default();
    let (value, unit) = if resource == "cpu" {
        (amount.milli_value(), divisor.milli_value())
    } else {
        (amount.value(), divisor.value())
    };
    let unit = match unit {
        0 if resource == "cpu" => 1000,
        0 => 1,
        unit => unit,
    };
    Ok(((value + unit - 1) / unit).to_string())
}

/// `WEB_SERVICE_HOST`, `WEB_PORT_80_TCP_ADDR` and their kin, as Docker links made them.
fn service_links(sources: &Sources<'_>) -> Vec<(String, String)> {
    let links = sources.pod.spec.enable_service_links != Some(false);
    let mut env = Vec::new();
    for service in sources.services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let kubernetes =
            name == "kubernetes" && service.metadata.namespace.as_deref() == Some("default");
        let own = service.metadata.namespace == sources.pod.metadata.namespace;
        if !(kubernetes || links && own) {
            continue;
        }
        let Some(ip) =
            service.spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None")
        else {
            continue;
        };
        let upper = name.to_uppercase().replace('-', "_");
        let Some(first) = service.spec.ports.first() else { continue };
        env.push((format!("{upper}_SERVICE_HOST"), ip.to_owned()));
        env.push((format!("{upper}_SERVICE_PORT"), first.port.to_string()));
        for port in &service.spec.ports {
            if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
                let port_upper = port_name.to_uppercase().replace('-', "_");
                env.push((format!("{upper}_SERVICE_PORT_{port_upper}"), port.port.to_string()));
            }
        }
        for (at, port) in service.spec.ports.iter().enumerate() {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let url = format!("{}://{ip}:{}", protocol.to_lowercase(), port.port);
            let prefix = format!("{upper}_PORT_{}_{protocol}", port.port);
            if at == 0 {
                env.push((format!("{upper}_PORT"), url.clone()));
            }
            env.push((prefix.clone(), url));
            env.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
            env.push((format!("{prefix}_PORT"), port.port.to_string()));
            env.push((format!("{prefix}_ADDR"), ip.to_owned()));
        }
    }
    env
}

/// Replaces `$(NAME)` in a container's command or arguments.
#[must_use]
pub fn expand_all(texts: &[String], env: &[(String, String)]) -> Vec<String> {
    texts.iter().map(|text| expand(text, &|name| find(env, name))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn references_are_expanded_as_kubernetes_does() {
        let check = |text: &str, expected: &str| {
            let lookup = |name: &str| (name == "A").then(|| "x".to_owned());
            assert_eq!(expand(text, &lookup), expected, "{text}");
        };
        check("$(A)-$(A)", "x-x");
        check("$(B)", "$(B)");
        check("$$(A)", "$(A)");
        check("$$$(A)", "$x");
        check("$A $", "$A $");
        check("$(A", "$(A");
        check("$(A)$(B)$$", "x$(B)$");
    }

    fn resolve(container: Value) -> Result<Vec<(String, String)>, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "web"}},
            "spec": {"nodeName": "node-1", "serviceAccountName": "default"},
            "status": {"podIP": "10.244.1.2"},
        }))
        .unwrap();
        let config: ConfigMap =
            serde_json::from_value(json!({"data": {"k": "v", "other": "o"}})).unwrap();
        let secret: Secret = serde_json::from_value(json!({"data": {"pw": "c2VjcmV0"}})).unwrap();
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "my-web", "namespace": "n"},
            "spec": {"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
        }))
        .unwrap();
        let container: Container = serde_json::from_value(container).unwrap();
        environment(
            &container,
            &Sources {
                pod: &pod,
                config_maps: &[("cfg".to_owned(), config)].into(),
                secrets: &[("sec".to_owned(), secret)].into(),
                services: &[service],
                host_ip: "192.168.1.101",
                allocatable: &BTreeMap::from([("cpu".to_owned(), "8".parse().unwrap())]),
            },
        )
    }

    #[test]
    fn every_source_gives_its_value() {
        let check = |var: Value, expected: Result<&str, &str>| {
            let env = resolve(json!({"name": "c", "env": [{"name": "BASE", "value": "b"}, var]}));
            let last = env.map(|env| env.last().map(|(_, v)| v.clone()).unwrap_or_default());
            assert_eq!(last, expected.map(str::to_owned).map_err(str::to_owned), "{var}");
        };
        let from = |source: Value| json!({"name": "X", "valueFrom": source});
        let field = |path: &str| from(json!({"fieldRef": {"fieldPath": path}}));
        check(json!({"name": "X", "value": "$(BASE)!"}), Ok("b!"));
        check(json!({"name": "X", "value": "$(MY_WEB_SERVICE_HOST)"}), Ok("10.96.0.7"));
        check(json!({"name": "X", "value": "$(MY_WEB_PORT_80_TCP)"}), Ok("tcp://10.96.0.7:80"));
        check(json!({"name": "X", "value": "$(MY_WEB_SERVICE_PORT_HTTP)"}), Ok("80"));
        check(field("metadata.name"), Ok("p"));
        check(field("metadata.labels['app']"), Ok("web"));
        check(field("metadata.labels"), Ok("app=\"web\""));
        check(field("status.podIP"), Ok("10.244.1.2"));
        check(field("status.hostIP"), Ok("192.168.1.101"));
        check(field("spec.nodeName"), Ok("node-1"));
        check(field("spec.hostname"), Err("unsupported fieldPath: spec.hostname"));
        check(from(json!({"configMapKeyRef": {"name": "cfg", "key": "k"}})), Ok("v"));
        check(
            from(json!({"configMapKeyRef": {"name": "cfg", "key": "z"}})),
            Err("couldn't find key z in ConfigMap n/cfg"),
        );
        check(
            from(json!({"configMapKeyRef": {"name": "no", "key": "k"}})),
            Err("configmap \"no\" not found"),
        );
        check(
            from(json!({"configMapKeyRef": {"name": "no", "key": "k", "optional": true}})),
            Ok("b"),
        );
        check(from(json!({"secretKeyRef": {"name": "sec", "key": "pw"}})), Ok("secret"));
        check(
            from(json!({"secretKeyRef": {"name": "no", "key": "pw"}})),
            Err("secret \"no\" not found"),
        );
        check(from(json!({"resourceFieldRef": {"resource": "limits.cpu"}})), Ok("8"));
    }

    #[test]
    fn env_from_takes_all_keys_with_a_prefix() {
        let env = resolve(json!({"name": "c", "envFrom": [
            {"prefix": "P_", "configMapRef": {"name": "cfg"}},
            {"secretRef": {"name": "sec"}},
            {"secretRef": {"name": "absent", "optional": true}},
        ]}))
        .unwrap();
        for (key, value) in [("P_k", "v"), ("P_other", "o"), ("pw", "secret")] {
            assert_eq!(find(&env, key).as_deref(), Some(value), "{key}");
        }
        let missing =
            resolve(json!({"name": "c", "envFrom": [{"configMapRef": {"name": "absent"}}]}));
        assert_eq!(missing, Err("configmap \"absent\" not found".to_owned()));
    }
}
