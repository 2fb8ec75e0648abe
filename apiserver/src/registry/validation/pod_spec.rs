//! The pod spec, of a pod or inside of a template.

use apimachinery::validation::{
    is_dns1123_label, is_dns1123_subdomain, is_in_range, is_qualified_name, is_valid_ip,
};
use serde_json::Value;

use super::{
    at::{At, Errors},
    container::{self, Surroundings},
    labels, resources, scheduling, security, volume,
};
use crate::registry::meta::{self, dns_subdomain};

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod spec; `is_pod` when it is a pod's own and not a template's.
pub(crate) fn check(spec: &At<'_>, is_pod: bool, errors: &mut Errors) {
    let grace = spec.get("terminationGracePeriodSeconds");
    if !grace.is_set() {
        errors.required(&grace, "");
    }
    let volumes_field = spec.get("volumes");
    let host_users = spec.get("hostUsers");
    let around = Surroundings {
        volumes: volume::volumes(&volumes_field, errors),
        claims: spec
            .raw()
            .and_then(|s| s.get("resourceClaims"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|claim| claim.get("name").and_then(Value::as_str))
            .collect(),
        grace: grace.is_set().then(|| grace.int()),
        restart_policy: spec.str("restartPolicy"),
        host_users: !host_users.is_set() || host_users.bool(),
    };
    resource_claims(&spec.get("resourceClaims"), errors);
    container::all(spec, &around, errors);
    let pod_resources = spec.get("resources");
    if pod_resources.is_set() {
        resources::of_pod(&pod_resources, errors);
    }
    host_network_ports(spec, is_pod, errors);
    errors.one_of(&spec.get("restartPolicy"), &["Always", "OnFailure", "Never"]);
    errors.one_of(
        &spec.get("dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
    labels::check(&spec.get("nodeSelector"), errors);
    security::of_pod(spec, errors);
    scheduling::affinity(&spec.get("affinity"), errors);
    dns_config(spec, errors);
    for gate in spec.get("readinessGates").items() {
        let condition = gate.get("conditionType");
        errors.each(&condition, is_qualified_name(condition.text()));
    }
    scheduling_gates(&spec.get("schedulingGates"), errors);
    scheduling::topology_spread(&spec.get("topologySpreadConstraints"), errors);
    host_users_deps(spec, &around, errors);
    names(spec, errors);
    scheduling::tolerations(&spec.get("tolerations"), errors);
    host_aliases(&spec.get("hostAliases"), errors);
    for name in ["priorityClassName", "runtimeClassName"] {
        let field = spec.get(name);
        if !field.is_empty() {
            errors.each(&field, dns_subdomain(field.text(), false));
        }
    }
    let preemption = spec.get("preemptionPolicy");
    if preemption.is_set() {
        errors.one_of(&preemption, &["PreemptLowerPriority", "Never"]);
    }
    resources::overhead(&spec.get("overhead"), errors);
    security::os(spec, errors);
}

/// What holds of pods but not of templates (`validatePodMetadataAndSpec`).
pub(crate) fn only_for_pods(spec: &At<'_>, errors: &mut Errors) {
    if spec.str("serviceAccountName").is_empty() {
        for volume in spec.get("volumes").items() {
            let projected = volume.get("projected");
            for source in projected.get("sources").items() {
                let token = source.get("serviceAccountToken");
                if token.is_set() {
                    errors.forbidden(
                        &token,
                        "must not be specified when serviceAccountName is not set",
                    );
                }
            }
        }
    }
    for list in ["containers", "initContainers"] {
        spec.get(list).items().for_each(|c| container::image_is_trimmed(&c, errors));
    }
}

/// A `template`, against the selector of its owner.
pub(crate) fn template(template: &At<'_>, owner: &str, selector: &At<'_>, errors: &mut Errors) {
    let metadata = template.get("metadata");
    let template_labels = metadata.get("labels");
    let selects_all = selector.is_set() && labels::is_empty(selector);
    match labels::matches(selector, &template_labels) {
        Err(labels::BrokenSelector) => {
            errors.invalid(selector, "invalid label selector");
            return;
        }
        Ok(false) if !selects_all => {
            let shown = template_labels.raw().cloned().unwrap_or(Value::Null);
            let detail = "`selector` does not match template `labels`";
            errors.invalid_as(&template_labels, shown, detail);
        }
        Ok(_) => {}
    }
    // Kubernetes tells these without "metadata".
    labels::check(&template.get("labels").with(template_labels.raw()), errors);
    let given = metadata.get("annotations");
    let annotations = template.get("annotations");
    let annotations = annotations.with(given.raw());
    meta::annotations(&annotations, errors);
    let spec = template.get("spec");
    pod_annotations(&annotations, &spec, errors);
    check(&spec, false, errors);
    let ephemerals = spec.get("ephemeralContainers");
    if !ephemerals.is_empty() {
        errors.forbidden(&ephemerals, "ephemeral containers not allowed in pod template");
    }
    let restart = spec.get("restartPolicy");
    if restart.text() != "Always" {
        errors.not_supported(&restart, &["Always"]);
    }
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.is_set() {
        errors.forbidden(&deadline, format!("activeDeadlineSeconds in {owner} is not Supported"));
    }
}

/// Annotations that mean something for pods.
pub(crate) fn pod_annotations(annotations: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let mirror = annotations.key(MIRROR);
    if mirror.is_set() && spec.str("nodeName").is_empty() {
        errors.invalid(&mirror, "must set spec.nodeName if mirror pod annotation is set");
    }
    let cost = annotations.key(DELETION_COST);
    if cost.is_set() && !is_int32(cost.text()) {
        errors.invalid(&cost, "must be a 32bit integer");
    }
}

/// A number as Kubernetes reads it here: no plus sign, no leading zeros.
fn is_int32(text: &str) -> bool {
    text.parse::<i32>().is_ok_and(|number| number.to_string() == text)
}

fn resource_claims(claims: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for claim in claims.items() {
        let name = claim.get("name");
        if name.is_empty() {
            errors.required(&name, "");
        } else if seen.contains(&name.text()) {
            errors.duplicate(&name);
        } else {
            errors.each(&name, is_dns1123_label(name.text()));
            seen.push(claim.str("name"));
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"].map(|n| claim.get(n));
        match sources.iter().filter(|s| s.is_set()).count() {
            0 => errors.invalid(
                &claim,
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            ),
            1 => {}
            _ => errors.invalid(
                &claim,
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ),
        }
        for source in sources.iter().filter(|s| s.is_set()) {
            errors.each(source, dns_subdomain(source.text(), false));
        }
    }
}

fn host_network_ports(spec: &At<'_>, is_pod: bool, errors: &mut Errors) {
    if !spec.get("hostNetwork").bool() {
        return;
    }
    for container in spec.get("containers").items() {
        for port in container.get("ports").items() {
            let (host, own) = (port.get("hostPort"), port.get("containerPort"));
            if (is_pod || host.int() != 0) && host.int() != own.int() {
                errors.invalid_as(
                    &host,
                    host.int(),
                    "must match `containerPort` when `hostNetwork` is true",
                );
            }
        }
    }
}

fn dns_config(spec: &At<'_>, errors: &mut Errors) {
    let config = spec.get("dnsConfig");
    let servers = config.get("nameservers");
    if spec.str("dnsPolicy") == "None" {
        if !config.is_set() {
            errors.required(&config, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            errors.required(
                &servers,
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            );
            return;
        }
    }
    if servers.len() > MAX_NAMESERVERS {
        errors.invalid(&servers, format!("must not have more than {MAX_NAMESERVERS} nameservers"));
    }
    for server in servers.items() {
        errors.each(&server, is_valid_ip(server.text()));
    }
    let searches = config.get("searches");
    if searches.len() > MAX_SEARCHES {
        errors.invalid(&searches, format!("must not have more than {MAX_SEARCHES} search paths"));
    }
    let chars: usize = searches.items().map(|s| s.len() + 1).sum();
    if chars > MAX_SEARCH_CHARS + 1 {
        errors.invalid(
            &searches,
            format!(
                "must not have more than {MAX_SEARCH_CHARS} characters (including spaces) in the search list"
            ),
        );
    }
    for search in searches.items() {
        let name = search.text();
        let name = if name == "." { continue } else { name.strip_suffix('.').unwrap_or(name) };
        // Underscores are allowed here, unlike in names of objects, at a label's start too.
        let plain = format!(".{name}").replace("._", ".x").replace('_', "-");
        errors.each_as(&search, name, is_dns1123_subdomain(&plain[1..]));
    }
    for option in config.get("options").items() {
        if option.str("name").is_empty() {
            errors.required(&option, "must not be empty");
        }
    }
}

fn scheduling_gates(gates: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for gate in gates.items() {
        let name = gate.str("name");
        errors.each_as(&gate, name, is_qualified_name(name));
        if seen.contains(&name) {
            errors.duplicate_as(&gate, name);
        }
        seen.push(name);
    }
}

fn host_users_deps(spec: &At<'_>, around: &Surroundings<'_>, errors: &mut Errors) {
    if around.host_users {
        return;
    }
    for (field, told) in
        [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")]
    {
        if spec.get(field).bool() {
            errors.forbidden(&spec.get(told), "when `pod.Spec.HostUsers` is false");
        }
    }
}

fn names(spec: &At<'_>, errors: &mut Errors) {
    for name in ["serviceAccountName", "nodeName"] {
        let field = spec.get(name);
        if !field.is_empty() {
            errors.each(&field, dns_subdomain(field.text(), false));
        }
    }
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.is_set() {
        errors.each(&deadline, is_in_range(deadline.int(), 1, i64::from(i32::MAX)));
    }
    for name in ["hostname", "subdomain"] {
        let field = spec.get(name);
        if !field.is_empty() {
            errors.each(&field, is_dns1123_label(field.text()));
        }
    }
    let hostname = spec.get("hostnameOverride");
    if hostname.is_set() {
        errors.each(&hostname, is_dns1123_subdomain(hostname.text()));
    }
}

fn host_aliases(aliases: &At<'_>, errors: &mut Errors) {
    for alias in aliases.items() {
        let ip = alias.get("ip");
        errors.each(&ip, is_valid_ip(ip.text()));
        for hostname in alias.get("hostnames").items() {
            errors.each(&hostname, is_dns1123_subdomain(hostname.text()));
        }
    }
}
