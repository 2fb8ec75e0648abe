//! Warnings: Kubernetes' own, and those for fields that are accepted though nothing acts on them.
//!
//! "Served = acted upon": a field without effect is never silent. The tables below whose names end in `FIELDS` list
//! all of them, [`WORKING_VOLUMES`] the volumes that can be mounted; whoever makes one work changes its line.

use apimachinery::{object::Object, validation::is_dns1123_label};
use serde_json::Value;

use crate::registry::validation::{at::At, resources};

/// Fields of a pod spec that have no effect here, and why.
const POD_FIELDS: [(&str, &str); 10] = [
    ("hostPID", NO_PROCESSES),
    ("hostIPC", NO_PROCESSES),
    ("hostUsers", NO_PROCESSES),
    ("shareProcessNamespace", NO_PROCESSES),
    ("securityContext", NO_PROCESSES),
    ("runtimeClassName", "there is one runtime"),
    ("imagePullSecrets", "images are never pulled"),
    ("resourceClaims", "there are no devices"),
    ("dnsConfig", "names are resolved by the pod's hosts file"),
    ("schedulingGroup", "pods are scheduled one by one"),
];
const NO_PROCESSES: &str = "containers are no processes of the host";
/// Volume sources that a node can mount; a pod with another one does not start.
const WORKING_VOLUMES: [&str; 5] = ["configMap", "downwardAPI", "emptyDir", "projected", "secret"];
/// Fields of a container that have no effect here, and why.
const CONTAINER_FIELDS: [(&str, &str); 3] = [
    ("volumeDevices", "there are no block devices"),
    ("resizePolicy", "resources cannot be changed in place"),
    ("securityContext", NO_PROCESSES),
];
/// Sources of an environment variable that give nothing here, and why.
const ENV_FIELDS: [(&str, &str); 1] = [("fileKeyRef", "variables are not read from files")];
/// Fields of a service spec that have no effect here, and why.
const SERVICE_FIELDS: [(&str, &str); 3] = [
    ("loadBalancerIP", "load balancers choose their addresses"),
    ("loadBalancerSourceRanges", "load balancers let everyone in"),
    ("loadBalancerClass", "nothing implements it"),
];

const NODE_LABELS: [(&str, &str); 5] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// The warnings for a new pod; none for one that exists: its uid shows it, and nobody reads them.
pub(crate) fn of_pod(pod: &Object) -> Vec<String> {
    let mut out = Warnings::default();
    if !pod.uid().is_empty() {
        return out.0;
    }
    out.name(pod, "the Pod's hostname");
    let (metadata, spec) = (At::top(pod, "metadata"), At::top(pod, "spec"));
    out.pod(&metadata, &spec);
    out.0
}

/// The warnings for the template of a workload.
pub(crate) fn of_template(workload: &Object) -> Vec<String> {
    let mut out = Warnings::default();
    if workload.uid().is_empty() {
        out.name(workload, "Pod names and hostnames");
    }
    let spec = At::top(workload, "spec");
    let template = spec.get("template");
    out.pod(&template.get("metadata"), &template.get("spec"));
    out.0
}

/// The warnings for fields of a service that have no effect.
pub(crate) fn of_service(spec: &At<'_>) -> Vec<String> {
    let mut out = Warnings::default();
    out.without_effect(spec, &SERVICE_FIELDS);
    out.0
}

#[derive(Default)]
struct Warnings(Vec<String>);

impl Warnings {
    fn add(&mut self, at: &At<'_>, message: &str) {
        self.0.push(format!("{}: {message}", at.path()));
    }

    /// A name that makes no good hostname.
    fn name(&mut self, object: &Object, used_in: &str) {
        let messages =
            if object.name().is_empty() { Vec::new() } else { is_dns1123_label(object.name()) };
        if !messages.is_empty() {
            self.0.push(format!(
                "metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS label is recommended: [{}]",
                messages.join(" ")
            ));
        }
    }

    fn without_effect(&mut self, fields: &At<'_>, table: &[(&str, &str)]) {
        let Some(map) = fields.map() else { return };
        for (name, why) in table {
            let effective = |value: &Value| match value {
                Value::Null | Value::Bool(false) => false,
                Value::Array(list) => !list.is_empty(),
                Value::Object(map) => !map.is_empty(),
                _ => true,
            };
            if map.get(*name).is_some_and(effective) {
                self.add(&fields.get(name), &format!("has no effect in kube-mini: {why}"));
            }
        }
    }

    fn pod(&mut self, metadata: &At<'_>, spec: &At<'_>) {
        self.node_labels(spec);
        self.annotations(metadata, spec);
        self.volumes(&spec.get("volumes"));
        for (list, name) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
            self.duplicates(&spec.get(list), name);
        }
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for container in spec.get(list).items() {
                self.container(&container, metadata);
            }
        }
        self.ports(spec);
        let grace = spec.get("terminationGracePeriodSeconds");
        if grace.int() < 0 {
            self.add(&grace, "must be >= 0; negative values are invalid and will be treated as 1");
        }
        self.affinity(&spec.get("affinity"));
        self.without_effect(spec, &POD_FIELDS);
    }

    fn node_labels(&mut self, spec: &At<'_>) {
        let message = |label: &str| {
            let (_, stable) = NODE_LABELS.iter().find(|(old, _)| *old == label)?;
            let since = if label.starts_with("beta.kubernetes.io/instance")
                || label.starts_with("failure")
            {
                "v1.17"
            } else {
                "v1.14"
            };
            Some(format!("deprecated since {since}; use \"{stable}\" instead"))
        };
        for (key, entry) in spec.get("nodeSelector").entries() {
            if let Some(message) = message(key) {
                self.add(&entry, &message);
            }
        }
        for constraint in spec.get("topologySpreadConstraints").items() {
            let key = constraint.get("topologyKey");
            if let Some(message) = message(key.text()) {
                self.add(&key, &format!("{} is {message}", key.text()));
            }
            if !constraint.has("labelSelector") {
                self.add(
                    &constraint.get("labelSelector"),
                    "a null labelSelector results in matching no pod",
                );
            }
        }
        let affinity = spec.get("affinity");
        let node = affinity.get("nodeAffinity");
        let required = node.get("requiredDuringSchedulingIgnoredDuringExecution");
        for term in required.get("nodeSelectorTerms").items() {
            for expression in term.get("matchExpressions").items() {
                let key = expression.get("key");
                if let Some(message) = message(key.text()) {
                    self.add(&key, &format!("{} is {message}", key.text()));
                }
            }
        }
    }

    fn annotations(&mut self, metadata: &At<'_>, spec: &At<'_>) {
        let annotations = metadata.get("annotations");
        if annotations.is_empty() {
            return;
        }
        for (key, message) in ANNOTATIONS {
            if annotations.has(key) {
                self.add(&annotations.key(key), message);
            }
        }
        if annotations.has(SECCOMP_POD) && !spec.get("securityContext").has("seccompProfile") {
            self.add(
                &annotations.key(SECCOMP_POD),
                "non-functional in v1.27+; use the \"seccompProfile\" field instead",
            );
        }
    }

    fn volumes(&mut self, volumes: &At<'_>) {
        for volume in volumes.items() {
            for (name, source) in volume.entries().filter(|(name, _)| *name != "name") {
                let source = volume.get(name).with(source.raw());
                if let Some((_, message)) = VOLUMES.iter().find(|(old, _)| *old == name) {
                    self.add(&source, message);
                } else if !WORKING_VOLUMES.contains(&name) {
                    self.add(
                        &source,
                        "cannot be mounted in kube-mini: a pod with this volume does not start",
                    );
                }
            }
        }
    }

    fn duplicates(&mut self, list: &At<'_>, name: &str) {
        let mut seen: Vec<&str> = Vec::new();
        for entry in list.items() {
            let text = entry.str(name);
            if seen.contains(&text) {
                self.add(&entry.get(name), &format!("duplicate {name} {text:?}"));
            }
            if text.is_empty() && name == "name" {
                self.add(&entry.get(name), "invalid empty name \"\"");
            }
            seen.push(text);
        }
    }

    fn container(&mut self, container: &At<'_>, metadata: &At<'_>) {
        let annotations = metadata.get("annotations");
        if !annotations.is_empty() && !container.get("securityContext").has("seccompProfile") {
            let key = format!("{SECCOMP_CONTAINER}{}", container.str("name"));
            if annotations.has(&key) {
                self.add(
                    &annotations.key(&key),
                    "non-functional in v1.27+; use the \"seccompProfile\" field instead",
                );
            }
        }
        let own = container.get("resources");
        for name in ["memory", "ephemeral-storage"] {
            for list in ["limits", "requests"] {
                let list = own.get(list);
                let field = list.key(name);
                let fraction =
                    resources::parse(field.raw()).filter(|q| q.milli_value() % 1000 != 0);
                if let Some(quantity) = fraction {
                    self.add(
                        &field,
                        &format!(
                            "fractional byte value \"{quantity}\" is invalid, must be an integer"
                        ),
                    );
                }
            }
        }
        self.environment(&container.get("env"));
        self.without_effect(container, &CONTAINER_FIELDS);
    }

    /// A variable that is set twice, and not out of its own earlier value.
    fn environment(&mut self, env: &At<'_>) {
        let mut seen: Vec<&str> = Vec::new();
        for variable in env.items() {
            let source = variable.get("valueFrom");
            self.without_effect(&source, &ENV_FIELDS);
            let (name, value) = (variable.str("name"), variable.str("value"));
            if !seen.contains(&name) {
                seen.push(name);
                continue;
            }
            let reference = format!("$({name})");
            if variable.has("valueFrom") || value == reference || !value.contains(&reference) {
                self.add(
                    &variable,
                    &format!(
                        "hides previous definition of {name:?}, which may be dropped when using apply"
                    ),
                );
            }
        }
    }

    fn ports(&mut self, spec: &At<'_>) {
        let mut seen: Vec<(i64, String, String, i64, String)> = Vec::new();
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            let containers = spec.get(list);
            for container in containers.items() {
                for port in container.get("ports").items() {
                    let number = |name: &str| port.get(name).int();
                    let text = |name: &str| port.str(name).to_owned();
                    let (own, host) = (number("containerPort"), number("hostPort"));
                    let (protocol, ip) = (text("protocol"), text("hostIP"));
                    for (other, other_protocol, other_ip, other_host, path) in &seen {
                        if (*other, other_protocol) != (own, &protocol) {
                            continue;
                        }
                        let any_ip = ip.is_empty() || other_ip.is_empty();
                        let overlaps =
                            host == 0 || *other_host == 0 || (any_ip && *other_host == host);
                        let what = if *other_ip == ip && *other_host == host {
                            "duplicate"
                        } else if overlaps {
                            "overlapping"
                        } else {
                            continue;
                        };
                        self.add(&port, &format!("{what} port definition with {path}"));
                    }
                    seen.push((own, protocol, ip, host, port.path().to_string()));
                }
            }
        }
    }

    fn affinity(&mut self, affinity: &At<'_>) {
        for name in ["podAffinity", "podAntiAffinity"] {
            let pods = affinity.get(name);
            for term in pods.get("requiredDuringSchedulingIgnoredDuringExecution").items() {
                if !term.has("labelSelector") {
                    self.add(
                        &term.get("labelSelector"),
                        "a null labelSelector results in matching no pod",
                    );
                }
            }
        }
    }
}
