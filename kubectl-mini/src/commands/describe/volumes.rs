//! Describes the volumes of a Pod.

use apimachinery::api::core::{DownwardAPIVolumeSource, ProjectedVolumeSource, Volume};

use super::Text;

/// `indent` stands before the title: templates are indented.
pub(super) fn write(volumes: &[Volume], indent: &str, text: &mut Text<'_>) {
    if volumes.is_empty() {
        text.raw(&format!("{indent}Volumes:\t<none>\n"));
        return;
    }
    text.raw(&format!("{indent}Volumes:\n"));
    for volume in volumes {
        let name_indent = if indent.is_empty() { "" } else { " " };
        text.line(1, format_args!("{name_indent}{}:", volume.name));
        write_source(volume, text);
    }
}

fn write_source(volume: &Volume, text: &mut Text<'_>) {
    let mut source = |kind: &str, fields: &[(&str, String)]| {
        text.field(2, "Type", kind);
        for (name, value) in fields {
            text.field(2, name, value);
        }
    };
    let optional = |optional: Option<bool>| optional.unwrap_or_default().to_string();
    let plain = |value: &Option<String>| value.clone().unwrap_or_default();
    if let Some(path) = &volume.host_path {
        let kind = path.type_.clone().unwrap_or_else(|| "<none>".to_owned());
        source(
            "HostPath (bare host directory volume)",
            &[("Path", path.path.clone()), ("HostPathType", kind)],
        );
    } else if let Some(dir) = &volume.empty_dir {
        let limit = dir.size_limit.filter(|limit| limit.sign() > 0);
        let limit = limit.map_or_else(|| "<unset>".to_owned(), |limit| limit.to_string());
        source(
            "EmptyDir (a temporary directory that shares a pod's lifetime)",
            &[("Medium", plain(&dir.medium)), ("SizeLimit", limit)],
        );
    } else if let Some(secret) = &volume.secret {
        source(
            "Secret (a volume populated by a Secret)",
            &[("SecretName", plain(&secret.secret_name)), ("Optional", optional(secret.optional))],
        );
    } else if let Some(map) = &volume.config_map {
        source(
            "ConfigMap (a volume populated by a ConfigMap)",
            &[("Name", map.name.clone()), ("Optional", optional(map.optional))],
        );
    } else if let Some(nfs) = &volume.nfs {
        source(
            "NFS (an NFS mount that lasts the lifetime of a pod)",
            &[
                ("Server", nfs.server.clone()),
                ("Path", nfs.path.clone()),
                ("ReadOnly", optional(nfs.read_only)),
            ],
        );
    } else if let Some(claim) = &volume.persistent_volume_claim {
        source(
            "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
            &[("ClaimName", claim.claim_name.clone()), ("ReadOnly", optional(claim.read_only))],
        );
    } else if let Some(image) = &volume.image {
        source(
            "Image (a container image or OCI artifact)",
            &[("Reference", plain(&image.reference)), ("PullPolicy", plain(&image.pull_policy))],
        );
    } else if let Some(downward) = &volume.downward_api {
        write_downward(downward, text);
    } else if let Some(projected) = &volume.projected {
        write_projected(projected, text);
    } else {
        // Kinds of volumes that no node of ours mounts.
        text.line(1, "<unknown>");
    }
}

fn write_downward(downward: &DownwardAPIVolumeSource, text: &mut Text<'_>) {
    text.field(2, "Type", "DownwardAPI (a volume populated by information about the pod)");
    text.line(2, "Items:");
    for item in &downward.items {
        if let Some(field) = &item.field_ref {
            text.line(3, format_args!("{} -> {}", field.field_path, item.path));
        }
        if let Some(field) = &item.resource_field_ref {
            text.line(3, format_args!("{} -> {}", field.resource, item.path));
        }
    }
}

fn write_projected(projected: &ProjectedVolumeSource, text: &mut Text<'_>) {
    text.field(2, "Type", "Projected (a volume that contains injected data from multiple sources)");
    for source in &projected.sources {
        if let Some(secret) = &source.secret {
            text.field(2, "SecretName", &secret.name);
            text.field(2, "Optional", secret.optional.unwrap_or_default());
        } else if source.downward_api.is_some() {
            text.field(2, "DownwardAPI", true);
        } else if let Some(map) = &source.config_map {
            text.field(2, "ConfigMapName", &map.name);
            text.field(2, "Optional", map.optional.unwrap_or_default());
        } else if let Some(token) = &source.service_account_token {
            let seconds = token.expiration_seconds.unwrap_or_default();
            text.field(2, "TokenExpirationSeconds", seconds);
        }
    }
}
