//! A pod runs under an account of its namespace, whose token its containers find in the place where clients look for it.
//!
//! ```text
//! /var/run/secrets/kubernetes.io/serviceaccount/{token,ca.crt,namespace}
//! ```
//! is a projected volume `kube-api-access-xxxxx` of every new pod, unless the pod, or else its account, says
//! `automountServiceAccountToken: false`. A container that mounts something else there keeps it. Ephemeral containers get
//! no mount, as in Kubernetes (`plugin/pkg/admission/serviceaccount`).

use apimachinery::{object::Object, status::Status};
use serde_json::{Value, json};

use super::{Operation, Review};

pub(super) const DEFAULT: &str = "default";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Where clients look for the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How the volume's name begins.
const VOLUME: &str = "kube-api-access-";
/// An hour, and what tells the token of every pod from others of an hour.
const SECONDS: i64 = 3607;

/// The account that a new pod asks for.
pub(super) fn name_of(pod: &Object) -> &str {
    [pod.get_str(&["spec", "serviceAccountName"]), pod.get_str(&["spec", "serviceAccount"])]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or(DEFAULT)
}

pub(super) fn admit(review: &mut Review<'_>) -> Result<(), Status> {
    if !review.is_pod() || review.operation != Operation::Create {
        return Ok(());
    }
    if review.object.annotation(MIRROR).is_some() {
        return check_mirror(review);
    }
    let name = name_of(review.object).to_owned();
    let Some(account) = &review.facts.service_account else {
        return Err(review.forbidden(format!(
            "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
            review.context.namespace
        )));
    };
    if mounts_token(review.object, account) {
        mount_token(review.object, &review.facts.random_suffix);
    }
    if review.object.get_list(&["spec", "imagePullSecrets"]).is_empty()
        && let Some(secrets) = account.get(&["imagePullSecrets"]).cloned()
    {
        review.object.set(&["spec", "imagePullSecrets"], secrets);
    }
    review.object.set(&["spec", "serviceAccount"], name.as_str());
    review.object.set(&["spec", "serviceAccountName"], name);
    Ok(())
}

/// A mirror pod tells of one that no account stands for.
fn check_mirror(review: &Review<'_>) -> Result<(), Status> {
    if !review.object.get_str(&["spec", "serviceAccountName"]).is_empty() {
        return Err(review.forbidden("a mirror pod may not reference service accounts"));
    }
    let sources = |volume: &Value| {
        volume.pointer("/projected/sources").and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let volumes = review.object.get_list(&["spec", "volumes"]);
    if volumes.iter().flat_map(sources).any(|s| s.get("serviceAccountToken").is_some()) {
        let why = "a mirror pod may not use ServiceAccountToken volume projections";
        return Err(review.forbidden(why));
    }
    Ok(())
}

/// What the pod says counts, else what its account says.
fn mounts_token(pod: &Object, account: &Object) -> bool {
    let asked = |value: Option<&Value>| value.and_then(Value::as_bool);
    asked(pod.get(&["spec", "automountServiceAccountToken"]))
        .or_else(|| asked(account.get(&["automountServiceAccountToken"])))
        .unwrap_or(true)
}

/// Mounts the account's volume into all containers that have nothing there; adds it where one needs it and it is not
/// there already, as in a pod that was made from another.
fn mount_token(pod: &mut Object, suffix: &str) {
    let volumes = pod.get_list(&["spec", "volumes"]).iter();
    let known = volumes.filter_map(|v| v.get("name")?.as_str()).find(|n| n.starts_with(VOLUME));
    let found = known.map(str::to_owned);
    let name = found.clone().unwrap_or_else(|| format!("{VOLUME}{suffix}"));
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        let mut containers = pod.get_list(&["spec", list]).to_vec();
        let mut changed = false;
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            if mounts.is_null() {
                *mounts = json!([]);
            }
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            mounts.push(json!({"mountPath": MOUNT_PATH, "name": name, "readOnly": true}));
            changed = true;
        }
        if changed {
            pod.set(&["spec", list], containers);
            needed = true;
        }
    }
    if needed && found.is_none() {
        let mut volumes = pod.get_list(&["spec", "volumes"]).to_vec();
        volumes.push(json!({"name": name, "projected": projected()}));
        pod.set(&["spec", "volumes"], volumes);
    }
}

/// What the volume holds.
fn projected() -> Value {
    let namespace = json!({"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}});
    json!({
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(pod: Value) -> Object {
        let mut pod = Object::from_value(pod).unwrap();
        mount_token(&mut pod, "xxxxx");
        pod
    }

    /// The mounts of all containers as `container:volume@path`.
    fn mounts(pod: &Object) -> Vec<String> {
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let containers = lists.iter().flat_map(|list| pod.get_list(&["spec", list]));
        let mounts = containers.flat_map(|container| {
            let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
            mounts.into_iter().map(|mount| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                format!("{}:{}", text(&container["name"]), text(&mount["name"]))
            })
        });
        mounts.collect()
    }

    #[test]
    fn every_container_finds_the_token() {
        let pod = mounted(json!({"spec": {
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a", "volumeMounts": null},
                           {"name": "b", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }}));
        let token = "kube-api-access-xxxxx";
        let expected =
            [format!("i:{token}"), format!("a:{token}"), "b:v".to_owned(), format!("b:{token}")];
        assert_eq!(mounts(&pod), expected);
        let volumes = pod.get_list(&["spec", "volumes"]);
        assert_eq!(volumes.len(), 2);
        assert_eq!(
            volumes[1],
            json!({"name": token, "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
                {"downwardAPI": {"items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                                            "path": "namespace"}]}}]}})
        );
        assert_eq!(
            pod.get_list(&["spec", "containers"])[0]["volumeMounts"],
            json!([{"mountPath": MOUNT_PATH, "name": token, "readOnly": true}])
        );
    }

    #[test]
    fn what_is_mounted_there_already_stays() {
        let own = json!([{"name": "v", "mountPath": MOUNT_PATH}]);
        let pod = mounted(json!({"spec": {"containers": [{"name": "a", "volumeMounts": own}]}}));
        assert_eq!(mounts(&pod), ["a:v"]);
        assert_eq!(pod.get_list(&["spec", "volumes"]).len(), 0);
        // One made from another pod has the volume, perhaps without all mounts.
        let pod = mounted(json!({"spec": {
            "containers": [{"name": "a"}],
            "volumes": [{"name": "kube-api-access-abcde", "projected": {}}],
        }}));
        assert_eq!(mounts(&pod), ["a:kube-api-access-abcde"]);
        assert_eq!(pod.get_list(&["spec", "volumes"]).len(), 1);
    }

    #[test]
    fn the_pod_has_the_last_word() {
        let check = |pod: Value, account: Value, expected: bool| {
            let pod = Object::from_value(json!({"spec": pod})).unwrap();
            let account = Object::from_value(account).unwrap();
            assert_eq!(mounts_token(&pod, &account), expected);
        };
        let (on, off) = (
            json!({"automountServiceAccountToken": true}),
            json!({"automountServiceAccountToken": false}),
        );
        check(json!({}), json!({}), true);
        check(json!({}), off.clone(), false);
        check(on, off.clone(), true);
        check(off, json!({"automountServiceAccountToken": true}), false);
    }
}
