//! Containers: regular, init and ephemeral.

use apimachinery::validation::{is_dns1123_label, is_valid_port_name, is_valid_port_num};

use super::{
    at::{At, Errors},
    env, net, probe, resources, security,
    volume::{self, Volumes},
};

const ONLY_SIDECARS: &str = "may not be set for init containers without restartPolicy=Always";
const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";
const MAX_RESTART_RULES: usize = 20;

/// What the containers of a pod are checked against.
pub(crate) struct Surroundings<'a> {
    /// The pod's valid volumes.
    pub(crate) volumes: Volumes<'a>,
    /// The names of the pod's resource claims.
    pub(crate) claims: Vec<&'a str>,
    /// The pod's grace period.
    pub(crate) grace: Option<i64>,
    /// The pod's restart policy.
    pub(crate) restart_policy: &'a str,
    /// Whether the pod's users are the host's.
    pub(crate) host_users: bool,
}

/// The lists `containers`, `initContainers` and `ephemeralContainers` of a pod spec.
pub(crate) fn all(spec: &At<'_>, around: &Surroundings<'_>, errors: &mut Errors) {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let [containers, inits, ephemerals] = lists.map(|name| spec.get(name));
    regular(&containers, around, errors);
    let mut names: Vec<&str> = containers.items().map(|c| c.str("name")).collect();
    init(&inits, &mut names, around, errors);
    ephemeral(&ephemerals, &mut names, around, errors);
}

fn regular(containers: &At<'_>, around: &Surroundings<'_>, errors: &mut Errors) {
    if containers.is_empty() {
        errors.required(containers, "");
        return;
    }
    let mut names: Vec<&str> = Vec::with_capacity(containers.len());
    for container in containers.items() {
        common(&container, around, errors);
        let name = container.str("name");
        if names.contains(&name) {
            errors.duplicate(&container.get("name"));
        }
        names.push(name);
        let lifecycle = container.get("lifecycle");
        if lifecycle.is_set() {
            probe::lifecycle(&lifecycle, around.grace, errors);
        }
        probe::all(&container, around.grace, errors);
        restart_policy(&container, errors);
    }
    host_ports(containers, containers, errors);
}

fn init<'a>(
    containers: &'a At<'a>,
    names: &mut Vec<&'a str>,
    around: &Surroundings<'_>,
    errors: &mut Errors,
) {
    for container in containers.items() {
        common(&container, around, errors);
        restart_policy(&container, errors);
        let name = container.str("name");
        if names.contains(&name) {
            errors.duplicate(&container.get("name"));
        } else if !name.is_empty() {
            names.push(name);
        }
        host_ports_of(&container, containers, 0, &mut Vec::new(), errors);
        if container.str("restartPolicy") == "Always" {
            let lifecycle = container.get("lifecycle");
            if lifecycle.is_set() {
                probe::lifecycle(&lifecycle, around.grace, errors);
            }
            probe::all(&container, around.grace, errors);
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if container.has(field) {
                errors.forbidden(&container.get(field), ONLY_SIDECARS);
            }
        }
    }
}

fn ephemeral<'a>(
    containers: &'a At<'a>,
    names: &mut Vec<&'a str>,
    around: &Surroundings<'_>,
    errors: &mut Errors,
) {
    let others = names.clone();
    for container in containers.items() {
        common(&container, around, errors);
        image_is_trimmed(&container, errors);
        let name = container.str("name");
        if names.contains(&name) {
            errors.duplicate(&container.get("name"));
        } else {
            names.push(name);
        }
        let target = container.get("targetContainerName");
        if !target.is_empty() && !others.contains(&target.text()) {
            errors.not_found(&target);
        }
        for field in [
            "ports",
            "resources",
            "resizePolicy",
            "restartPolicy",
            "restartPolicyRules",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
        ] {
            let field = container.get(field);
            let empty_resources = field.map().is_some_and(serde_json::Map::is_empty);
            if field.is_set() && !empty_resources {
                errors.forbidden(&field, NOT_EPHEMERAL);
            }
        }
        for mount in container.get("volumeMounts").items() {
            for field in ["subPath", "subPathExpr"] {
                if !mount.str(field).is_empty() {
                    errors.forbidden(&mount.get(field), NOT_EPHEMERAL);
                }
            }
        }
    }
}

fn common(container: &At<'_>, around: &Surroundings<'_>, errors: &mut Errors) {
    let name = container.get("name");
    if name.is_empty() {
        errors.required(&name, "");
    } else {
        errors.each(&name, is_dns1123_label(name.text()));
    }
    if container.str("image").is_empty() {
        errors.required(&container.get("image"), "");
    }
    let message_policy = container.get("terminationMessagePolicy");
    errors.one_of(&message_policy, &["File", "FallbackToLogsOnError"]);
    ports(&container.get("ports"), errors);
    env::variables(&container.get("env"), errors);
    env::sources(&container.get("envFrom"), errors);
    volume::mounts(container, &around.volumes, errors);
    errors.one_of(&container.get("imagePullPolicy"), &["Always", "IfNotPresent", "Never"]);
    resources::of_container(&container.get("resources"), &around.claims, errors);
    resize_policy(&container.get("resizePolicy"), around.restart_policy, errors);
    security::of_container(&container.get("securityContext"), around.host_users, errors);
}

/// An image name without spaces around it: of pods only, not of templates.
pub(crate) fn image_is_trimmed(container: &At<'_>, errors: &mut Errors) {
    let image = container.get("image");
    if image.text().trim() != image.text() {
        errors.invalid(&image, "must not have leading or trailing whitespace");
    }
}

fn ports(ports: &At<'_>, errors: &mut Errors) {
    let mut names: Vec<&str> = Vec::new();
    for port in ports.items() {
        let name = port.get("name");
        if !name.is_empty() {
            let messages = is_valid_port_name(name.text());
            if !messages.is_empty() {
                errors.each(&name, messages);
            } else if names.contains(&name.text()) {
                errors.duplicate(&name);
            } else {
                names.push(port.str("name"));
            }
        }
        let number = port.get("containerPort");
        if number.int() == 0 {
            errors.required(&number, "");
        } else {
            errors.each(&number, is_valid_port_num(number.int()));
        }
        let host = port.get("hostPort");
        if host.int() != 0 {
            errors.each(&host, is_valid_port_num(host.int()));
        }
        errors.one_of(&port.get("protocol"), &net::PROTOCOLS);
    }
}

/// A host port that two containers claim.
fn host_ports(containers: &At<'_>, list: &At<'_>, errors: &mut Errors) {
    let mut seen = Vec::new();
    for (index, container) in containers.items().enumerate() {
        host_ports_of(&container, list, index, &mut seen, errors);
    }
}

/// Kubernetes tells a conflict within an init container as if it were the first of the list.
fn host_ports_of(
    container: &At<'_>,
    list: &At<'_>,
    index: usize,
    seen: &mut Vec<String>,
    errors: &mut Errors,
) {
    let ports = container.get("ports");
    for (i, port) in ports.items().enumerate() {
        let number = port.get("hostPort").int();
        if number == 0 {
            continue;
        }
        let claim = format!("{}/{}/{number}", port.str("protocol"), port.str("hostIP"));
        if seen.contains(&claim) {
            let at = list.index(index);
            let ports = at.get("ports");
            let port = ports.index(i);
            errors.duplicate_as(&port.get("hostPort"), claim);
        } else {
            seen.push(claim);
        }
    }
}

fn resize_policy(policies: &At<'_>, restart_policy: &str, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for policy in policies.items() {
        let (name, restart) = (policy.str("resourceName"), policy.str("restartPolicy"));
        if seen.contains(&name) {
            errors.duplicate_as(&policy, name);
        }
        seen.push(name);
        let (name, restart_field) = (policy.get("resourceName"), policy.get("restartPolicy"));
        errors.one_of(&policies.with(name.raw()), &["cpu", "memory"]);
        let field = policies.with(restart_field.raw());
        errors.one_of(&field, &["NotRequired", "RestartContainer"]);
        if restart_policy == "Never" && restart != "NotRequired" {
            errors.invalid(&field, "must be 'NotRequired' when `restartPolicy` is 'Never'");
        }
    }
}

fn restart_policy(container: &At<'_>, errors: &mut Errors) {
    let (policy, rules) = (container.get("restartPolicy"), container.get("restartPolicyRules"));
    if !policy.is_set() {
        if !rules.is_empty() {
            errors.required(&policy, "must specify restartPolicy when restart rules are used");
        }
        return;
    }
    errors.one_of_if_set(&policy, &["Always", "Never", "OnFailure"]);
    if rules.len() > MAX_RESTART_RULES {
        errors.too_many(&rules, MAX_RESTART_RULES);
    }
    for rule in rules.items() {
        errors.one_of(&rule.get("action"), &["Restart", "RestartAllContainers"]);
        let codes = rule.get("exitCodes");
        if codes.is_set() {
            errors.one_of(&codes.get("operator"), &["In", "NotIn"]);
        } else {
            errors.required(&codes, "must be specified");
        }
    }
}
