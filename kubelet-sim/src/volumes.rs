//! A pod's volumes: from the specification to folders, and from those to a container's mounts. [`live`] keeps those of
//! running pods as their sources are.

pub mod live;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use apimachinery::api::core::{
    Container, DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeMount,
};
use bytes::Bytes;
use container_runtime::{
    files::{Mount, MountSource},
    volumes::{self, FileProjection},
};
use jiff::Timestamp;

use crate::{
    env::{expand, pod_field, resource_field},
    objects::Referenced,
};

/// The mode of files where neither item nor volume says one.
const DEFAULT_MODE: i32 = 0o644;

type Payload = BTreeMap<String, FileProjection>;

/// The folder of one of a pod's volumes.
#[must_use]
pub fn folder(pod_dir: &Path, volume: &str) -> PathBuf {
    pod_dir.join("volumes").join(volume)
}

/// Writes all of a pod's volumes.
///
/// # Errors
/// The message of a `FailedMount` event, after `MountVolume.SetUp failed for volume`.
pub fn set_up(
    pod: &Pod,
    pod_dir: &Path,
    referenced: &Referenced,
    host_ip: &str,
    now: Timestamp,
) -> Result<(), String> {
    let mut volumes = pod.spec.volumes.iter();
    volumes.try_for_each(|volume| set_up_one(pod, volume, pod_dir, referenced, host_ip, now))
}

/// Writes one volume, if it differs from what is there.
///
/// # Errors
/// As [`set_up`].
pub(crate) fn set_up_one(
    pod: &Pod,
    volume: &Volume,
    pod_dir: &Path,
    referenced: &Referenced,
    host_ip: &str,
    now: Timestamp,
) -> Result<(), String> {
    let folder = folder(pod_dir, &volume.name);
    let result = match payload(pod, volume, referenced, host_ip) {
        Ok(Some(payload)) => {
            volumes::write_atomically(&folder, &payload, now).map(|_| ()).map_err(|e| e.to_string())
        }
        Ok(None) => std::fs::create_dir_all(pod_dir.join("volumes"))
            .map_err(|e| e.to_string())
            .and_then(|()| volumes::prepare_empty_dir(&folder).map_err(|e| e.to_string())),
        Err(message) => Err(message),
    };
    result.map_err(|message| {
        format!("MountVolume.SetUp failed for volume {:?} : {message}", volume.name)
    })
}

/// The files of a volume; None: an emptyDir.
fn payload(
    pod: &Pod,
    volume: &Volume,
    referenced: &Referenced,
    host_ip: &str,
) -> Result<Option<Payload>, String> {
    let mut files = Payload::new();
    if volume.empty_dir.is_some() {
        return Ok(None);
    }
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let optional = source.optional == Some(true);
        add_config_map(&mut files, referenced, &source.name, &source.items, mode, optional)?;
    } else if let Some(source) = &volume.secret {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let optional = source.optional == Some(true);
        let name = source.secret_name.as_deref().unwrap_or_default();
        add_secret(&mut files, referenced, name, &source.items, mode, optional)?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        add_downward(&mut files, pod, &source.items, mode, host_ip)?;
    } else if let Some(projected) = &volume.projected {
        let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
        for source in &projected.sources {
            if let Some(map) = &source.config_map {
                let optional = map.optional == Some(true);
                add_config_map(&mut files, referenced, &map.name, &map.items, mode, optional)?;
            } else if let Some(secret) = &source.secret {
                let optional = secret.optional == Some(true);
                add_secret(&mut files, referenced, &secret.name, &secret.items, mode, optional)?;
            } else if let Some(downward) = &source.downward_api {
                add_downward(&mut files, pod, &downward.items, mode, host_ip)?;
            } else if let Some(token) = &source.service_account_token {
                let data = referenced.tokens.get(&volume.name, &token.path);
                let data = data.ok_or("failed to fetch token: there is none")?.clone();
                let mode = u32::try_from(mode).unwrap_or(0) & 0o777;
                files.insert(token.path.clone(), FileProjection { data, mode });
            } else {
                return Err("this source of a projected volume is not supported".to_owned());
            }
        }
    } else {
        return Err("this type of volume is not supported by this kubelet".to_owned());
    }
    Ok(Some(files))
}

fn add_config_map(
    files: &mut Payload,
    referenced: &Referenced,
    name: &str,
    items: &[KeyToPath],
    mode: i32,
    optional: bool,
) -> Result<(), String> {
    let Some(map) = referenced.config_maps.get(name) else {
        return if optional { Ok(()) } else { Err(format!("configmap {name:?} not found")) };
    };
    let text = map.data.iter().map(|(k, v)| (k.clone(), Bytes::from(v.clone())));
    let binary = map.binary_data.iter().map(|(k, v)| (k.clone(), Bytes::from(v.0.clone())));
    project(files, text.chain(binary).collect(), items, mode, optional)
}

fn add_secret(
    files: &mut Payload,
    referenced: &Referenced,
    name: &str,
    items: &[KeyToPath],
    mode: i32,
    optional: bool,
) -> Result<(), String> {
    let Some(secret) = referenced.secrets.get(name) else {
        return if optional { Ok(()) } else { Err(format!("secret {name:?} not found")) };
    };
    let data = secret.data.iter().map(|(k, v)| (k.clone(), Bytes::from(v.0.clone()))).collect();
    project(files, data, items, mode, optional)
}

/// All keys, or those that the items name, at the items' paths.
fn project(
    files: &mut Payload,
    data: BTreeMap<String, Bytes>,
    items: &[KeyToPath],
    mode: i32,
    optional: bool,
) -> Result<(), String> {
    let bits = |mode: i32| u32::try_from(mode).unwrap_or(0) & 0o777;
    if items.is_empty() {
        let all = data.into_iter().map(|(k, data)| (k, FileProjection { data, mode: bits(mode) }));
        files.extend(all);
        return Ok(());
    }
    for item in items {
        match data.get(&item.key) {
            Some(content) => {
                let mode = bits(item.mode.unwrap_or(mode));
                files.insert(item.path.clone(), FileProjection { data: content.clone(), mode });
            }
            None if optional => {}
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(())
}

fn add_downward(
    files: &mut Payload,
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    mode: i32,
    host_ip: &str,
) -> Result<(), String> {
    for item in items {
        let text = if let Some(field) = &item.field_ref {
            pod_field(pod, &field.field_path, host_ip)?
        } else if let Some(resource) = &item.resource_field_ref {
            resource_field(pod, &Container::default(), resource, &BTreeMap::new())?
        } else {
            return Err(format!("{}: neither fieldRef nor resourceFieldRef", item.path));
        };
        let mode = u32::try_from(item.mode.unwrap_or(mode)).unwrap_or(0) & 0o777;
        files.insert(item.path.clone(), FileProjection { data: text.into(), mode });
    }
    Ok(())
}

/// A container's mounts.
///
/// # Errors
/// A mount names no volume of the pod.
pub fn mounts(
    pod: &Pod,
    container: &Container,
    pod_dir: &Path,
    env: &[(String, String)],
) -> Result<Vec<Mount>, String> {
    container.volume_mounts.iter().map(|mount| one_mount(pod, mount, pod_dir, env)).collect()
}

fn one_mount(
    pod: &Pod,
    mount: &VolumeMount,
    pod_dir: &Path,
    env: &[(String, String)],
) -> Result<Mount, String> {
    let volume = pod
        .spec
        .volumes
        .iter()
        .find(|v| v.name == mount.name)
        .ok_or_else(|| format!("no volume {:?} in pod", mount.name))?;
    let lookup = |name: &str| env.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
    let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
        (_, Some(expression)) if !expression.is_empty() => Some(expand(expression, &lookup)),
        (path, _) => path.clone().filter(|p| !p.is_empty()),
    };
    // Projected content belongs to the kubelet: containers read it only.
    let writable = volume.empty_dir.is_some();
    Ok(Mount {
        path: mount.mount_path.clone(),
        source: MountSource::Host { root: folder(pod_dir, &mount.name), sub_path },
        read_only: !writable || mount.read_only == Some(true),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(volumes: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"b": "2", "a": "1"}},
            "spec": {
                "volumes": volumes,
                "containers": [{"name": "c", "resources": {"limits": {"cpu": "1500m"}}}],
            },
        }))
        .unwrap()
    }

    fn referenced() -> Referenced {
        let map = json!({"data": {"a": "1", "b": "2"}, "binaryData": {"raw": "AAE="}});
        let secret = json!({"data": {"key": "c2VjcmV0"}});
        Referenced {
            config_maps: [("map".to_owned(), serde_json::from_value(map).unwrap())].into(),
            secrets: [("sec".to_owned(), serde_json::from_value(secret).unwrap())].into(),
            ..Referenced::default()
        }
    }

    /// The files of a volume as `path mode text`, or the message.
    #[track_caller]
    fn check(source: &Value, expected: Result<&[&str], &str>) {
        let mut volume = source.clone();
        volume["name"] = "v".into();
        let pod = pod(&json!([volume]));
        let made = payload(&pod, &pod.spec.volumes[0], &referenced(), "192.168.1.101");
        let made = made.map(|files| {
            let files = files.expect("not an emptyDir");
            let line = |(path, file): (&String, &FileProjection)| {
                format!("{path} {:o} {}", file.mode, String::from_utf8_lossy(&file.data))
            };
            files.iter().map(line).collect::<Vec<_>>()
        });
        let expected = expected
            .map(|lines| lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>())
            .map_err(str::to_owned);
        assert_eq!(made, expected, "{source}");
    }

    #[test]
    fn payloads_come_from_their_sources() {
        let raw = "raw 644 \0\u{1}";
        check(&json!({"configMap": {"name": "map"}}), Ok(&["a 644 1", "b 644 2", raw]));
        check(
            &json!({"configMap": {"name": "map", "defaultMode": 0o400,
                   "items": [{"key": "a", "path": "x/y"}, {"key": "b", "path": "z", "mode": 0o755}]}}),
            Ok(&["x/y 400 1", "z 755 2"]),
        );
        check(
            &json!({"configMap": {"name": "map", "items": [{"key": "no", "path": "x"}]}}),
            Err("references non-existent config key: no"),
        );
        check(
            &json!({"configMap": {"name": "map", "optional": true,
                   "items": [{"key": "no", "path": "x"}, {"key": "a", "path": "y"}]}}),
            Ok(&["y 644 1"]),
        );
        check(&json!({"configMap": {"name": "no"}}), Err("configmap \"no\" not found"));
        check(&json!({"configMap": {"name": "no", "optional": true}}), Ok(&[]));
        check(&json!({"secret": {"secretName": "sec"}}), Ok(&["key 644 secret"]));
        check(&json!({"secret": {"secretName": "no"}}), Err("secret \"no\" not found"));
        check(&json!({"secret": {"secretName": "no", "optional": true}}), Ok(&[]));
        check(
            &json!({"downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "cpu", "mode": 0o600,
                 "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"}}]}}),
            Ok(&["cpu 600 1500", "labels 644 a=\"1\"\nb=\"2\""]),
        );
        check(
            &json!({"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "spec.no"}}]}}),
            Err("unsupported fieldPath: spec.no"),
        );
        check(
            &json!({"projected": {"defaultMode": 0o440, "sources": [
                {"configMap": {"name": "map", "items": [{"key": "a", "path": "a"}]}},
                {"secret": {"name": "sec"}},
                {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}),
            Ok(&["a 440 1", "key 440 secret", "name 440 p"]),
        );
        check(
            &json!({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}),
            Err("failed to fetch token: there is none"),
        );
        check(
            &json!({"projected": {"sources": [{"clusterTrustBundle": {"path": "bundle"}}]}}),
            Err("this source of a projected volume is not supported"),
        );
        check(
            &json!({"hostPath": {"path": "/"}}),
            Err("this type of volume is not supported by this kubelet"),
        );
    }

    #[test]
    fn volumes_are_written_and_an_empty_dir_outlives_a_reboot() {
        let dir = tempfile::tempdir().unwrap();
        let pod = pod(
            &json!([{"name": "e", "emptyDir": {}}, {"name": "m", "configMap": {"name": "map"}}]),
        );
        let now = Timestamp::UNIX_EPOCH;
        set_up(&pod, dir.path(), &referenced(), "192.168.1.101", now).unwrap();
        let kept = folder(dir.path(), "e").join("kept");
        std::fs::write(&kept, "x").unwrap();
        set_up(&pod, dir.path(), &referenced(), "192.168.1.101", now).unwrap();
        assert_eq!(std::fs::read_to_string(kept).unwrap(), "x");
        assert_eq!(std::fs::read_to_string(folder(dir.path(), "m").join("b")).unwrap(), "2");
        let failed = set_up(&pod, dir.path(), &Referenced::default(), "192.168.1.101", now);
        assert_eq!(
            failed,
            Err("MountVolume.SetUp failed for volume \"m\" : configmap \"map\" not found"
                .to_owned())
        );
    }

    #[test]
    fn mounts_name_their_volume_and_only_empty_dirs_are_writable() {
        let pod = pod(
            &json!([{"name": "e", "emptyDir": {}}, {"name": "m", "configMap": {"name": "map"}}]),
        );
        let env = [("SUB".to_owned(), "deep".to_owned())];
        let check = |mount: Value, expected: Result<(&str, bool), &str>| {
            let mount: VolumeMount = serde_json::from_value(mount).unwrap();
            let made = one_mount(&pod, &mount, Path::new("/pod"), &env).map(|m| {
                let MountSource::Host { root, sub_path } = m.source else { panic!("a folder") };
                let sub = sub_path.map(|s| format!(":{s}")).unwrap_or_default();
                (format!("{}{sub}", root.display()), m.read_only)
            });
            let expected = expected.map(|(root, ro)| (root.to_owned(), ro)).map_err(str::to_owned);
            assert_eq!(made, expected);
        };
        check(json!({"name": "e", "mountPath": "/e"}), Ok(("/pod/volumes/e", false)));
        check(
            json!({"name": "e", "mountPath": "/e", "readOnly": true}),
            Ok(("/pod/volumes/e", true)),
        );
        check(json!({"name": "m", "mountPath": "/m"}), Ok(("/pod/volumes/m", true)));
        check(
            json!({"name": "m", "mountPath": "/m", "subPath": "a"}),
            Ok(("/pod/volumes/m:a", true)),
        );
        check(
            json!({"name": "e", "mountPath": "/e", "subPathExpr": "$(SUB)/x"}),
            Ok(("/pod/volumes/e:deep/x", false)),
        );
        check(json!({"name": "no", "mountPath": "/"}), Err("no volume \"no\" in pod"));
    }
}
