//! Defaults of pods and of the pod templates inside of workloads.
//!
//! [`template_spec`] is what both share; [`pod`] adds what Kubernetes sets only on a pod itself: requests from limits,
//! `enableServiceLinks`, host ports under the host's network.

use serde_json::{Value, json};

use super::{
    Fields, canonical_quantity, child, child_or_new, drop_zero, each, resource_list, set, set_zero,
    text,
};

/// The lists of containers of a pod spec.
const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Every volume source that Kubernetes knows: a volume without one is an emptyDir.
pub(crate) const VOLUME_SOURCES: [&str; 30] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "persistentVolumeClaim",
    "photonPersistentDisk",
    "portworxVolume",
    "projected",
    "quobyte",
    "rbd",
    "scaleIO",
    "secret",
    "storageos",
    "vsphereVolume",
];

/// The mode of files in volumes made from API objects, 0644.
const FILE_MODE: i64 = 420;

/// Defaults the spec of a pod.
pub(crate) fn pod(spec: &mut Fields) {
    template_spec(spec);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        for container in each(spec, list) {
            requests_from_limits(container);
            if host_network {
                for port in each(container, "ports") {
                    if let Some(number) = port.get("containerPort").cloned() {
                        set_zero(port, "hostPort", number);
                    }
                }
            }
        }
    }
    set(spec, "enableServiceLinks", true);
}

/// Requests that are not given are the limits.
fn requests_from_limits(container: &mut Fields) {
    let Some(resources) = child(container, "resources") else { return };
    let Some(limits) = child(resources, "limits").filter(|l| !l.is_empty()).cloned() else {
        return;
    };
    if let Some(requests) = child_or_new(resources, "requests") {
        for (name, quantity) in limits {
            set(requests, &name, quantity);
        }
    }
}

/// Defaults the `template` of a workload's spec.
pub(crate) fn template(workload_spec: &mut Fields) {
    let Some(template) = child_or_new(workload_spec, "template") else { return };
    if let Some(spec) = child_or_new(template, "spec") {
        template_spec(spec);
    }
}

/// Defaults a pod spec, wherever it stands.
fn template_spec(spec: &mut Fields) {
    set_zero(spec, "dnsPolicy", "ClusterFirst");
    set_zero(spec, "restartPolicy", "Always");
    set_zero(spec, "schedulerName", "default-scheduler");
    set(spec, "securityContext", Fields::new());
    set(spec, "terminationGracePeriodSeconds", 30);
    drop_zero(spec, &["hostNetwork", "hostPID", "hostIPC", "nodeName", "hostname", "subdomain"]);
    service_account(spec);
    resource_list(spec, "overhead");
    if let Some(resources) = child(spec, "resources") {
        resource_list(resources, "limits");
        resource_list(resources, "requests");
    }
    for list in CONTAINER_LISTS {
        each(spec, list).for_each(container);
    }
    each(spec, "volumes").for_each(volume);
}

/// `serviceAccountName` and its deprecated twin always agree; the new name wins.
pub(crate) fn service_account(spec: &mut Fields) {
    drop_zero(spec, &["serviceAccountName", "serviceAccount"]);
    let name = spec.get("serviceAccountName").or_else(|| spec.get("serviceAccount")).cloned();
    if let Some(name) = name {
        spec.insert("serviceAccount".to_owned(), name.clone());
        spec.insert("serviceAccountName".to_owned(), name);
    }
}

fn container(container: &mut Fields) {
    let policy = pull_policy(text(container, "image"));
    set_zero(container, "imagePullPolicy", policy);
    set_zero(container, "terminationMessagePath", "/dev/termination-log");
    set_zero(container, "terminationMessagePolicy", "File");
    drop_zero(container, &["stdin", "stdinOnce", "tty", "workingDir"]);
    if let Some(resources) = child_or_new(container, "resources") {
        resource_list(resources, "limits");
        resource_list(resources, "requests");
    }
    for port in each(container, "ports") {
        set_zero(port, "protocol", "TCP");
        drop_zero(port, &["hostPort", "hostIP", "name"]);
    }
    for mount in each(container, "volumeMounts") {
        drop_zero(mount, &["readOnly", "subPath", "subPathExpr"]);
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(fields) = child(container, name) {
            probe(fields);
        }
    }
    if let Some(lifecycle) = child(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(get) = child(lifecycle, name).and_then(|h| child(h, "httpGet")) {
                http_get(get);
            }
        }
    }
    for env in each(container, "env") {
        drop_zero(env, &["value"]);
        if let Some(source) = child(env, "valueFrom") {
            field_and_resource_refs(source);
            if let Some(file) = child(source, "fileKeyRef") {
                set(file, "optional", false);
            }
        }
    }
}

/// `Always` for the tag latest or none, `IfNotPresent` for any other tag or a digest.
pub(crate) fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) if tag != "latest" => "IfNotPresent",
        Some(_) => "Always",
        None if digest => "IfNotPresent",
        // What is no image name has no tag at all.
        None if image.is_empty() || image.contains(char::is_whitespace) => "IfNotPresent",
        None if image.contains(char::is_uppercase) => "IfNotPresent",
        None => "Always",
    }
}

fn probe(probe: &mut Fields) {
    set_zero(probe, "timeoutSeconds", 1);
    set_zero(probe, "periodSeconds", 10);
    set_zero(probe, "successThreshold", 1);
    set_zero(probe, "failureThreshold", 3);
    drop_zero(probe, &["initialDelaySeconds"]);
    if let Some(get) = child(probe, "httpGet") {
        http_get(get);
    }
    if let Some(grpc) = child(probe, "grpc") {
        set(grpc, "service", "");
    }
}

fn http_get(get: &mut Fields) {
    set_zero(get, "path", "/");
    set_zero(get, "scheme", "HTTP");
}

fn field_and_resource_refs(source: &mut Fields) {
    if let Some(field) = child(source, "fieldRef") {
        set_zero(field, "apiVersion", "v1");
    }
    if let Some(resource) = child(source, "resourceFieldRef") {
        set_zero(resource, "divisor", "0");
        if let Some(divisor) = resource.get_mut("divisor") {
            canonical_quantity(divisor);
        }
    }
}

fn volume(volume: &mut Fields) {
    if !volume.keys().any(|name| VOLUME_SOURCES.contains(&name.as_str())) {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for (name, fields) in volume.iter_mut() {
        if let Value::Object(fields) = fields {
            volume_source(name, fields);
        }
    }
}

fn volume_source(name: &str, source: &mut Fields) {
    match name {
        "configMap" | "secret" => set(source, "defaultMode", FILE_MODE),
        "downwardAPI" => {
            set(source, "defaultMode", FILE_MODE);
            each(source, "items").for_each(field_and_resource_refs);
        }
        "projected" => {
            set(source, "defaultMode", FILE_MODE);
            for part in each(source, "sources") {
                if let Some(token) = child(part, "serviceAccountToken") {
                    set(token, "expirationSeconds", 3600);
                }
                if let Some(downward) = child(part, "downwardAPI") {
                    each(downward, "items").for_each(field_and_resource_refs);
                }
            }
        }
        "emptyDir" => {
            drop_zero(source, &["medium"]);
            if let Some(limit) = source.get_mut("sizeLimit") {
                canonical_quantity(limit);
            }
        }
        "hostPath" => set(source, "type", ""),
        "image" => {
            let policy = pull_policy(text(source, "reference"));
            set_zero(source, "pullPolicy", policy);
        }
        "iscsi" => set_zero(source, "iscsiInterface", "default"),
        "rbd" => {
            set_zero(source, "pool", "rbd");
            set_zero(source, "user", "admin");
            set_zero(source, "keyring", "/etc/ceph/keyring");
        }
        "azureDisk" => {
            set(source, "cachingMode", "ReadWrite");
            set(source, "fsType", "ext4");
            set(source, "kind", "Shared");
            set(source, "readOnly", false);
        }
        "scaleIO" => {
            set_zero(source, "storageMode", "ThinProvisioned");
            set_zero(source, "fsType", "xfs");
        }
        "ephemeral" => {
            let claim = child(source, "volumeClaimTemplate").and_then(|t| child(t, "spec"));
            if let Some(claim) = claim {
                set(claim, "volumeMode", "Filesystem");
            }
        }
        _ => {}
    }
}
