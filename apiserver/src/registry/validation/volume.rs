//! Volumes of a pod, and their mounts in a container.

use apimachinery::validation::is_dns1123_label;
use serde_json::Value;

use super::{
    at::{At, Errors},
    env, resources,
};
use crate::registry::defaults::pod::VOLUME_SOURCES;

const FILE_MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];
/// The order in which Kubernetes looks at the sources: the second one found is the one too many.
const SOURCE_ORDER: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
/// Fields that must be given, for sources of which nothing else is checked.
const REQUIRED: [(&str, &[&str]); 20] = [
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("nfs", &["server", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("glusterfs", &["endpoints", "path"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("rbd", &["monitors", "image"]),
    ("cinder", &["volumeID"]),
    ("cephfs", &["monitors"]),
    ("quobyte", &["registry", "volume"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("csi", &["driver"]),
    ("ephemeral", &["volumeClaimTemplate"]),
];

/// A volume that passed, by name.
pub(crate) type Volumes<'a> = Vec<(&'a str, Option<&'a Value>)>;

/// The list `volumes`; returns the valid ones.
pub(crate) fn volumes<'a>(volumes: &'a At<'a>, errors: &mut Errors) -> Volumes<'a> {
    let mut valid: Volumes<'a> = Vec::with_capacity(volumes.len());
    for volume in volumes.items() {
        let before = errors.0.len();
        source(&volume, errors);
        let name = volume.get("name");
        if name.is_empty() {
            errors.required(&name, "");
        } else {
            errors.each(&name, is_dns1123_label(name.text()));
        }
        if valid.iter().any(|(other, _)| *other == name.text()) {
            errors.duplicate(&name);
        }
        if errors.0.len() == before {
            valid.push((volume.str("name"), volume.raw()));
        }
    }
    valid
}

fn source(volume: &At<'_>, errors: &mut Errors) {
    debug_assert_eq!(SOURCE_ORDER.len(), VOLUME_SOURCES.len());
    let mut found = false;
    // Nearly every volume has two fields: looking at what is there beats asking for thirty.
    let present = volume.map().map_or(0, |map| map.keys().filter(|k| *k != "name").count());
    if present == 1 {
        let only =
            volume.map().into_iter().flatten().map(|(k, _)| k.as_str()).find(|k| *k != "name");
        if let Some(kind) = only.filter(|kind| SOURCE_ORDER.contains(kind)) {
            one_source(kind, &volume.get(kind), errors);
            return;
        }
    }
    for kind in SOURCE_ORDER {
        let source = volume.get(kind);
        if !source.is_set() {
            continue;
        }
        if found {
            errors.forbidden(&source, "may not specify more than 1 volume type");
        } else {
            found = true;
            one_source(kind, &source, errors);
        }
    }
    if !found {
        errors.required(volume, "must specify a volume type");
    }
}

fn one_source(kind: &str, source: &At<'_>, errors: &mut Errors) {
    if let Some((_, fields)) = REQUIRED.iter().find(|(name, _)| *name == kind) {
        for name in *fields {
            let field = source.get(name);
            if !field.is_set() || field.raw().and_then(Value::as_str) == Some("") {
                errors.required(&field, "");
            }
        }
    }
    match kind {
        "emptyDir" => {
            let limit = source.get("sizeLimit");
            let negative = resources::parse(limit.raw()).is_none_or(|q| q.sign() < 0);
            if limit.is_set() && negative {
                errors.forbidden(&limit, "SizeLimit field must be a valid resource quantity");
            }
        }
        "hostPath" => {
            let path = source.get("path");
            if path.is_empty() {
                errors.required(&path, "");
                return;
            }
            no_backsteps(&path, errors);
            errors.one_of_if_set(&source.get("type"), &HOST_PATH_TYPES);
        }
        "secret" | "configMap" => {
            let name = source.get(if kind == "secret" { "secretName" } else { "name" });
            if name.is_empty() {
                errors.required(&name, "");
            }
            mode(&source.get("defaultMode"), errors);
            source.get("items").items().for_each(|item| key_to_path(&item, errors));
        }
        "downwardAPI" => {
            mode(&source.get("defaultMode"), errors);
            // Kubernetes tells mistakes in items as if there were one.
            for item in source.get("items").items() {
                downward_file(&source.with(item.raw()), errors);
            }
        }
        "projected" => {
            mode(&source.get("defaultMode"), errors);
            projected(source, errors);
        }
        "nfs" => {
            let path = source.get("path");
            if !path.text().starts_with('/') {
                errors.invalid(&path, "must be an absolute path");
            }
        }
        "image" => {
            let policy = source.get("pullPolicy");
            errors.one_of(&policy, &["Always", "IfNotPresent", "Never"]);
        }
        _ => {}
    }
}

fn mode(mode: &At<'_>, errors: &mut Errors) {
    if mode.is_set() && !(0..=0o777).contains(&mode.int()) {
        errors.invalid(mode, FILE_MODE);
    }
}

fn key_to_path(item: &At<'_>, errors: &mut Errors) {
    let (key, path) = (item.get("key"), item.get("path"));
    if key.is_empty() {
        errors.required(&key, "");
    }
    if path.is_empty() {
        errors.required(&path, "");
    }
    local_path(&path, errors);
    mode(&item.get("mode"), errors);
}

fn downward_file(file: &At<'_>, errors: &mut Errors) {
    let path = file.get("path");
    if path.is_empty() {
        errors.required(&path, "");
    }
    local_path(&path, errors);
    let (field, resource) = (file.get("fieldRef"), file.get("resourceFieldRef"));
    if field.is_set() {
        env::field_ref(&field, &env::OF_VOLUMES, errors);
        if resource.is_set() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.invalid_as(file, "resource", detail);
        }
    } else if resource.is_set() {
        env::resource_ref(&resource, true, errors);
    } else {
        errors.required(file, "one of fieldRef and resourceFieldRef is required");
    }
    mode(&file.get("mode"), errors);
}

fn projected(projected: &At<'_>, errors: &mut Errors) {
    let mut paths: Vec<&str> = Vec::new();
    let sources = projected.get("sources");
    for source in sources.items() {
        let mut count = 0;
        for name in ["secret", "configMap"] {
            let part = source.get(name);
            if !part.is_set() {
                continue;
            }
            count += 1;
            if part.str("name").is_empty() {
                errors.required(&part.get("name"), "");
            }
            for item in part.get("items").items() {
                key_to_path(&item, errors);
            }
        }
        let downward = source.get("downwardAPI");
        if downward.is_set() {
            count += 1;
            for item in downward.get("items").items() {
                downward_file(&downward.with(item.raw()), errors);
            }
        }
        let token = source.get("serviceAccountToken");
        if token.is_set() {
            count += 1;
            service_account_token(&token, projected, errors);
        }
        count += usize::from(source.has("clusterTrustBundle"))
            + usize::from(source.has("podCertificate"));
        if count > 1 {
            errors.forbidden(&source, "may not specify more than 1 volume type per source");
        }
        for (owner, path) in projected_paths(source.raw()) {
            if path.is_empty() {
                continue;
            }
            if paths.contains(&path) {
                errors.invalid_as(projected, owner, "conflicting duplicate paths");
            }
            paths.push(path);
        }
    }
}

/// The files that a projected source makes, with what Kubernetes shows when two are the same.
fn projected_paths(source: Option<&Value>) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (name, part) in source.and_then(Value::as_object).into_iter().flatten() {
        let items = part.get("items").and_then(Value::as_array).into_iter().flatten();
        for item in items {
            let path = item.get("path").and_then(Value::as_str).unwrap_or_default();
            let owner = match name.as_str() {
                "downwardAPI" => path,
                _ => part.get("name").and_then(Value::as_str).unwrap_or_default(),
            };
            found.push((owner, path));
        }
    }
    found
}

fn service_account_token(token: &At<'_>, projected: &At<'_>, errors: &mut Errors) {
    let seconds = token.get("expirationSeconds");
    if seconds.int() < 600 {
        errors.invalid(&seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds.int() > 1 << 32 {
        errors.invalid(&seconds, "may not specify a duration larger than 2^32 seconds");
    }
    // Kubernetes tells the path as the volume's own.
    let path = projected.get("path").with(token.raw().and_then(|t| t.get("path")));
    if path.is_empty() {
        errors.required(&path, "");
    } else {
        local_path(&path, errors);
    }
}

/// A path below the volume, of which no element is `..`, that does not begin with `..` either.
fn local_path(path: &At<'_>, errors: &mut Errors) {
    descending_path(path, errors);
    let text = path.text();
    if text.starts_with("..") && !text.starts_with("../") && text != ".." {
        errors.invalid(path, "must not start with '..'");
    }
}

/// A path below something.
pub(crate) fn descending_path(path: &At<'_>, errors: &mut Errors) {
    if path.text().starts_with('/') {
        errors.invalid(path, "must be a relative path");
    }
    no_backsteps(path, errors);
}

fn no_backsteps(path: &At<'_>, errors: &mut Errors) {
    if path.text().split('/').any(|element| element == "..") {
        errors.invalid(path, "must not contain '..'");
    }
}

/// The lists `volumeMounts` and `volumeDevices` of a container.
pub(crate) fn mounts(container: &At<'_>, volumes: &Volumes<'_>, errors: &mut Errors) {
    let (mounts, devices) = (container.get("volumeMounts"), container.get("volumeDevices"));
    let volume = |name: &str| volumes.iter().find(|(other, _)| *other == name).map(|(_, v)| *v);
    let taken = |list: &At<'_>, field: &str, text: &str| {
        list.list().iter().any(|entry| entry.get(field).and_then(Value::as_str) == Some(text))
    };
    let mut points: Vec<&str> = Vec::with_capacity(mounts.len());
    for mount in mounts.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        if name.is_empty() {
            errors.required(&name, "");
        }
        let source = volume(name.text());
        if source.is_none() {
            errors.not_found(&name);
        }
        if path.is_empty() {
            errors.required(&path, "");
        }
        if points.contains(&path.text()) {
            errors.invalid(&path, "must be unique");
        }
        points.push(mount.str("mountPath"));
        if taken(&devices, "name", name.text()) {
            errors.invalid(&name, "must not already exist in volumeDevices");
        }
        if taken(&devices, "devicePath", path.text()) {
            errors.invalid(&path, "must not already exist as a path in volumeDevices");
        }
        let is_image = source.flatten().is_some_and(|v| v.get("image").is_some());
        for field in ["subPath", "subPathExpr"] {
            let sub = mount.get(field);
            if sub.is_empty() {
                continue;
            }
            if is_image {
                errors.invalid(&sub, "not allowed in image volume sources");
            }
            if field == "subPathExpr" && !mount.str("subPath").is_empty() {
                errors.invalid(&sub, "subPathExpr and subPath are mutually exclusive");
            }
            // Kubernetes tells these without the index.
            descending_path(&mounts.get(field).with(sub.raw()), errors);
        }
        propagation(&mounts, &mount, container, errors);
        recursive_read_only(&mounts, &mount, errors);
    }
    check_devices(&devices, &mounts, volume, taken, errors);
}

fn propagation(mounts: &At<'_>, mount: &At<'_>, container: &At<'_>, errors: &mut Errors) {
    let given = mount.get("mountPropagation");
    let field = mounts.get("mountPropagation").with(given.raw());
    errors.one_of_if_set(&field, &["Bidirectional", "HostToContainer", "None"]);
    let privileged = container.get("securityContext").get("privileged").bool();
    if field.text() == "Bidirectional" && !privileged {
        errors.forbidden(
            &field,
            "Bidirectional mount propagation is available only to privileged containers",
        );
    }
}

fn recursive_read_only(mounts: &At<'_>, mount: &At<'_>, errors: &mut Errors) {
    let given = mount.get("recursiveReadOnly");
    let field = mounts.get("recursiveReadOnly").with(given.raw());
    errors.one_of_if_set(&field, &["Disabled", "IfPossible", "Enabled"]);
    if matches!(field.text(), "IfPossible" | "Enabled") && !mount.get("readOnly").bool() {
        errors.forbidden(&field, "may only be specified when readOnly is true");
    }
}

fn check_devices<'a>(
    devices: &At<'_>,
    mounts: &At<'_>,
    volume: impl Fn(&str) -> Option<Option<&'a Value>>,
    taken: impl Fn(&At<'_>, &str, &str) -> bool,
    errors: &mut Errors,
) {
    let (mut names, mut paths): (Vec<&str>, Vec<&str>) = Default::default();
    for device in devices.items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        if name.is_empty() {
            errors.required(&name, "");
        }
        if names.contains(&name.text()) {
            errors.invalid(&name, "must be unique");
        }
        match volume(name.text()) {
            None => errors.not_found(&name),
            Some(source) => {
                let has = |kind: &str| source.is_some_and(|v| v.get(kind).is_some());
                if !has("persistentVolumeClaim") && !has("ephemeral") {
                    errors.invalid(
                        &name,
                        "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
                    );
                }
            }
        }
        if path.is_empty() {
            errors.required(&path, "");
        }
        if paths.contains(&path.text()) {
            errors.invalid(&path, "must be unique");
        }
        if path.text().split('/').any(|element| element == "..") {
            errors.invalid(&path, "can not contain backsteps ('..')");
        } else {
            paths.push(device.str("devicePath"));
        }
        if taken(mounts, "name", name.text()) {
            errors.invalid(&name, "must not already exist in volumeMounts");
        }
        if taken(mounts, "mountPath", path.text()) {
            errors.invalid(&path, "must not already exist as a path in volumeMounts");
        }
        names.push(device.str("name"));
    }
}
