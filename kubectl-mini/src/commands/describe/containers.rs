//! Describes the containers of a Pod, or of a template.

use apimachinery::{
    api::core::{
        Container, ContainerPort, ContainerState, ContainerStatus, EnvFromSource, EnvVar,
        EphemeralContainer, Pod, PodSpec, Probe, ResourceFieldSelector, ResourceRequirements,
    },
    field::go_quote,
    quantity::Quantity,
};

use super::{Text, text::or_none};

pub(super) fn write_all(pod: &Pod, text: &mut Text<'_>) {
    let Pod { spec, status, .. } = pod;
    if !spec.init_containers.is_empty() {
        let statuses = &status.init_container_statuses;
        write("Init Containers", &spec.init_containers, statuses, Some(pod), "", text);
    }
    write("Containers", &spec.containers, &status.container_statuses, Some(pod), "", text);
    if !spec.ephemeral_containers.is_empty() {
        let containers: Vec<Container> =
            spec.ephemeral_containers.iter().map(as_container).collect();
        let statuses = &status.ephemeral_container_statuses;
        write("Ephemeral Containers", &containers, statuses, Some(pod), "", text);
    }
}

pub(super) fn write_template(spec: &PodSpec, text: &mut Text<'_>) {
    if !spec.init_containers.is_empty() {
        write("Init Containers", &spec.init_containers, &[], None, "  ", text);
    }
    write("Containers", &spec.containers, &[], None, "  ", text);
}

/// What of an ephemeral container a description shows.
fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let ephemeral = ephemeral.clone();
    Container {
        name: ephemeral.name,
        image: ephemeral.image,
        command: ephemeral.command,
        args: ephemeral.args,
        ports: ephemeral.ports,
        env: ephemeral.env,
        env_from: ephemeral.env_from,
        resources: ephemeral.resources,
        volume_mounts: ephemeral.volume_mounts,
        volume_devices: ephemeral.volume_devices,
        liveness_probe: ephemeral.liveness_probe,
        readiness_probe: ephemeral.readiness_probe,
        startup_probe: ephemeral.startup_probe,
        security_context: ephemeral.security_context,
        ..Container::default()
    }
}

fn write(
    title: &str,
    containers: &[Container],
    statuses: &[ContainerStatus],
    pod: Option<&Pod>,
    indent: &str,
    text: &mut Text<'_>,
) {
    let none = if containers.is_empty() { " <none>" } else { "" };
    text.raw(&format!("{indent}{title}:{none}\n"));
    for container in containers {
        let status = statuses.iter().find(|status| status.name == container.name);
        let name_indent = if indent.is_empty() { "" } else { " " };
        text.line(1, format_args!("{name_indent}{}:", container.name));
        write_basics(container, status, text);
        write_words("Command", &container.command, text);
        write_words("Args", &container.args, text);
        if let Some(status) = status {
            write_state("State", status.state.as_ref(), text);
            if status.last_state.as_ref().is_some_and(|state| state.terminated.is_some()) {
                write_state("Last State", status.last_state.as_ref(), text);
            }
            text.field(2, "Ready", if status.ready { "True" } else { "False" });
            text.field(2, "Restart Count", status.restart_count);
        }
        if let Some(resources) = &container.resources {
            write_resources(resources, 2, text);
        }
        for (name, probe) in [
            ("Liveness", &container.liveness_probe),
            ("Readiness", &container.readiness_probe),
            ("Startup", &container.startup_probe),
        ] {
            if let Some(probe) = probe {
                text.field(2, name, describe_probe(probe));
            }
        }
        if !container.env_from.is_empty() {
            text.line(2, "Environment Variables from:");
            container.env_from.iter().for_each(|source| write_env_from(source, text));
        }
        let none = if container.env.is_empty() { "\t<none>" } else { "" };
        text.line(2, format_args!("Environment:{none}"));
        container.env.iter().for_each(|variable| write_env(variable, container, pod, text));
        write_mounts(container, text);
    }
}

fn write_basics(container: &Container, status: Option<&ContainerStatus>, text: &mut Text<'_>) {
    if let Some(status) = status {
        text.field(2, "Container ID", status.container_id.as_deref().unwrap_or_default());
    }
    text.field(2, "Image", container.image.as_deref().unwrap_or_default());
    if let Some(status) = status {
        text.field(2, "Image ID", &status.image_id);
    }
    let mut ports = |title: &str, number: fn(&ContainerPort) -> i32| {
        let ports: Vec<String> = container
            .ports
            .iter()
            .map(|port| {
                let protocol = port.protocol.as_deref().unwrap_or_default();
                format!("{}/{protocol}", number(port))
            })
            .collect();
        let plural = if ports.len() > 1 { "s" } else { "" };
        text.field(2, &format!("{title}{plural}"), or_none(Some(&ports.join(", "))));
    };
    ports("Port", |port| port.container_port);
    ports("Host Port", |port| port.host_port.unwrap_or_default());
    if let Some(profile) =
        container.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref())
    {
        text.field(2, "SeccompProfile", &profile.type_);
        if profile.type_ == "Localhost" {
            let local = profile.localhost_profile.as_deref().unwrap_or_default();
            text.field(3, "LocalhostProfile", local);
        }
    }
}

fn write_words(title: &str, words: &[String], text: &mut Text<'_>) {
    if words.is_empty() {
        return;
    }
    text.line(2, format_args!("{title}:"));
    for line in words.iter().flat_map(|word| word.split('\n')) {
        text.line(3, line);
    }
}

fn write_state(title: &str, state: Option<&ContainerState>, text: &mut Text<'_>) {
    let state = state.cloned().unwrap_or_default();
    if let Some(running) = state.running {
        text.field(2, title, "Running");
        text.field(3, "Started", text.time(running.started_at));
    } else if let Some(terminated) = state.terminated {
        text.field(2, title, "Terminated");
        text.optional(3, "Reason", terminated.reason.as_deref());
        text.optional(3, "Message", terminated.message.as_deref());
        text.field(3, "Exit Code", terminated.exit_code);
        if let Some(signal) = terminated.signal.filter(|signal| *signal > 0) {
            text.field(3, "Signal", signal);
        }
        text.field(3, "Started", text.time(terminated.started_at));
        text.field(3, "Finished", text.time(terminated.finished_at));
    } else {
        text.field(2, title, "Waiting");
        text.optional(3, "Reason", state.waiting.and_then(|waiting| waiting.reason).as_deref());
    }
}

/// Limits and requests.
pub(super) fn write_resources(resources: &ResourceRequirements, level: usize, text: &mut Text<'_>) {
    for (title, quantities) in [("Limits", &resources.limits), ("Requests", &resources.requests)] {
        if !quantities.is_empty() {
            text.line(level, format_args!("{title}:"));
        }
        for (name, quantity) in quantities {
            text.field(level + 1, name, quantity);
        }
    }
}

fn describe_probe(probe: &Probe) -> String {
    let attributes = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        probe.initial_delay_seconds.unwrap_or_default(),
        probe.timeout_seconds.unwrap_or_default(),
        probe.period_seconds.unwrap_or_default(),
        probe.success_threshold.unwrap_or_default(),
        probe.failure_threshold.unwrap_or_default(),
    );
    if let Some(exec) = &probe.exec {
        format!("exec [{}] {attributes}", exec.command.join(" "))
    } else if let Some(get) = &probe.http_get {
        let scheme = get.scheme.as_deref().unwrap_or_default().to_lowercase();
        let scheme = if scheme.is_empty() { scheme } else { format!("{scheme}:") };
        let host = get.host.as_deref().unwrap_or_default();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let path = get.path.as_deref().unwrap_or_default().replace('?', "%3F").replace(' ', "%20");
        let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
        format!("http-get {scheme}//{host}:{}{slash}{path} {attributes}", get.port)
    } else if let Some(socket) = &probe.tcp_socket {
        let host = socket.host.as_deref().unwrap_or_default();
        format!("tcp-socket {host}:{} {attributes}", socket.port)
    } else if let Some(grpc) = &probe.grpc {
        let service = grpc.service.as_deref().unwrap_or_default();
        format!("grpc <pod>:{} {service} {attributes}", grpc.port)
    } else {
        format!("unknown {attributes}")
    }
}

fn write_env_from(source: &EnvFromSource, text: &mut Text<'_>) {
    let (from, name, optional) = match (&source.config_map_ref, &source.secret_ref) {
        (Some(map), _) => ("ConfigMap", map.name.as_str(), map.optional),
        (None, Some(secret)) => ("Secret", secret.name.as_str(), secret.optional),
        (None, None) => ("", "", None),
    };
    let prefix = match source.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
        Some(prefix) => format!(" with prefix '{prefix}'"),
        None => String::new(),
    };
    let optional = optional.unwrap_or_default();
    text.line(3, format_args!("{name}\t{from}{prefix}\tOptional: {optional}"));
}

fn write_env(variable: &EnvVar, container: &Container, pod: Option<&Pod>, text: &mut Text<'_>) {
    let name = &variable.name;
    let Some(source) = &variable.value_from else {
        let value = variable.value.as_deref().unwrap_or_default();
        for (index, line) in value.split('\n').enumerate() {
            if index == 0 {
                text.field(3, name, line);
            } else {
                text.line(3, format_args!("\t{line}"));
            }
        }
        return;
    };
    if let Some(field) = &source.field_ref {
        let version = field.api_version.as_deref().unwrap_or_default();
        let path = &field.field_path;
        let value = pod.map(|pod| field_of(pod, path)).unwrap_or_default();
        text.field(3, name, format_args!("{value} ({version}:{path})"));
    } else if let Some(field) = &source.resource_field_ref {
        let mut value = resource_of(field, container);
        if value == "0" && matches!(field.resource.as_str(), "limits.cpu" | "limits.memory") {
            "node allocatable".clone_into(&mut value);
        }
        text.field(3, name, format_args!("{value} ({})", field.resource));
    } else if let Some(secret) = &source.secret_key_ref {
        let optional = secret.optional.unwrap_or_default();
        text.field(
            3,
            name,
            format_args!(
                "<set to the key '{}' in secret '{}'>\tOptional: {optional}",
                secret.key, secret.name
            ),
        );
    } else if let Some(map) = &source.config_map_key_ref {
        let optional = map.optional.unwrap_or_default();
        text.field(
            3,
            name,
            format_args!(
                "<set to the key '{}' of config map '{}'>\tOptional: {optional}",
                map.key, map.name
            ),
        );
    }
}

/// The metadata that a variable may be set to; kubectl shows no other field.
fn field_of(pod: &Pod, path: &str) -> String {
    let metadata = &pod.metadata;
    let listed = |map: &std::collections::BTreeMap<String, String>| {
        let lines: Vec<String> =
            map.iter().map(|(key, value)| format!("{key}={}", go_quote(value))).collect();
        lines.join("\n")
    };
    match path {
        "metadata.name" => metadata.name.clone().unwrap_or_default(),
        "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
        "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
        "metadata.labels" => listed(&metadata.labels),
        "metadata.annotations" => listed(&metadata.annotations),
        _ => String::new(),
    }
}

/// A limit or request, in units of the divisor, rounded up.
fn resource_of(field: &ResourceFieldSelector, container: &Container) -> String {
    let resources = container.resources.clone().unwrap_or_default();
    let (quantities, name) = match field.resource.split_once('.') {
        Some(("limits", name)) => (resources.limits, name),
        Some(("requests", name)) => (resources.requests, name),
        _ => return String::new(),
    };
    let quantity = quantities.get(name).copied().unwrap_or(Quantity::ZERO);
    let divisor = field.divisor.filter(|divisor| !divisor.is_zero());
    let (value, unit) = if name == "cpu" {
        (quantity.milli_value(), divisor.map_or(1000, Quantity::milli_value))
    } else {
        (quantity.value(), divisor.map_or(1, Quantity::value))
    };
    (value + unit - 1).div_euclid(unit.max(1)).to_string()
}

fn write_mounts(container: &Container, text: &mut Text<'_>) {
    let none = if container.volume_mounts.is_empty() { "\t<none>" } else { "" };
    text.line(2, format_args!("Mounts:{none}"));
    let mut mounts: Vec<_> = container.volume_mounts.iter().collect();
    mounts.sort_by_key(|mount| &mount.mount_path);
    for mount in mounts {
        let mut flags = if mount.read_only == Some(true) { "ro" } else { "rw" }.to_owned();
        if let Some(path) = mount.sub_path.as_deref().filter(|path| !path.is_empty()) {
            flags += &format!(",path={}", go_quote(path));
        }
        text.line(3, format_args!("{} from {} ({flags})", mount.mount_path, mount.name));
    }
    if !container.volume_devices.is_empty() {
        text.line(2, format_args!("Devices:{none}"));
        let mut devices: Vec<_> = container.volume_devices.iter().collect();
        devices.sort_by_key(|device| &device.device_path);
        for device in devices {
            text.line(3, format_args!("{} from {}", device.device_path, device.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn probes_are_one_line() {
        let check = |json: serde_json::Value, expected: &str| {
            let probe: Probe = serde_json::from_value(json).unwrap();
            let expected =
                format!("{expected} delay=0s timeout=1s period=2s #success=1 #failure=3");
            let probe = Probe {
                timeout_seconds: Some(1),
                period_seconds: Some(2),
                success_threshold: Some(1),
                failure_threshold: Some(3),
                ..probe
            };
            assert_eq!(describe_probe(&probe), expected);
        };
        check(json!({ "exec": { "command": ["cat", "/x"] } }), "exec [cat /x]");
        check(
            json!({ "httpGet": { "scheme": "HTTP", "port": "http", "path": "/a" } }),
            "http-get http://:http/a",
        );
        check(json!({ "tcpSocket": { "port": 80 } }), "tcp-socket :80");
        check(json!({ "grpc": { "port": 80, "service": "" } }), "grpc <pod>:80 ");
        check(json!({}), "unknown");
    }

    #[test]
    fn resources_are_counted_in_divisors() {
        let container: Container = serde_json::from_value(json!({
            "name": "c", "resources": { "limits": { "cpu": "250m", "memory": "64Mi" } },
        }))
        .unwrap();
        let check = |resource: &str, divisor: &str, expected: &str| {
            let field = serde_json::from_value(json!({ "resource": resource, "divisor": divisor }));
            assert_eq!(resource_of(&field.unwrap(), &container), expected);
        };
        check("limits.cpu", "0", "1");
        check("limits.cpu", "1m", "250");
        check("limits.memory", "1Mi", "64");
        check("requests.cpu", "1", "0");
    }
}
