//! Typed serde views of the API's kinds, one module per group.
//!
//! An object is its JSON ([`Object`]); a view is what code reads it through. Views hold every field
//! of Kubernetes v1.36, accept `null` wherever absent is accepted, and ignore what they do not
//! know, so **never write a view back over an object that you did not make**: change the object.
//!
//! Lists and maps are plain collections (absent is empty, as in Go); other optional fields are
//! `Option` (boxed where large and rare); `metadata`, `spec` and `status` of objects and templates
//! are plain structs; `apiVersion` and `kind` are not fields, [`Resource::INFO`] knows them. All
//! modules below are generated from k8s-openapi by `apimachinery/generator`.

pub mod apps;
pub mod authentication;
pub mod authorization;
pub mod autoscaling;
pub mod batch;
mod byte_string;
pub mod certificates;
pub mod coordination;
pub mod core;
pub mod discovery;
pub mod events;
pub mod meta;
pub mod networking;
pub mod policy;
pub mod rbac;
pub mod scheduling;
pub mod storage;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use self::byte_string::ByteString;
use crate::object::Object;
use crate::resource::ResourceInfo;

/// A typed view of a kind that has an entry in the resource table.
pub trait Resource: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The kind's entry in the resource table.
    const INFO: &'static ResourceInfo;

    /// The object's metadata.
    fn metadata(&self) -> &meta::ObjectMeta;

    /// The object's metadata, to change it.
    fn metadata_mut(&mut self) -> &mut meta::ObjectMeta;

    /// Returns the whole object: the view's JSON with `apiVersion` and `kind`.
    fn to_object(&self) -> Object {
        let value = serde_json::to_value(self).expect("views are JSON: their map keys are strings");
        let Value::Object(mut fields) = value else {
            unreachable!("a view is a struct, and a struct is a JSON object")
        };
        fields.insert("apiVersion".to_owned(), Self::INFO.api_version().into());
        fields.insert("kind".to_owned(), Self::INFO.kind.into());
        Object(fields)
    }
}

/// Reads `null` as the type's default.
fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a list, `null` as an empty one. It takes no more room than it needs: a pod's first container would bring room for
/// three more, and there are tens of thousands of pods in memory.
fn null_as_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let mut list = Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default();
    list.shrink_to_fit();
    Ok(list)
}

/// Tells whether a part of an object holds nothing and is left out of its JSON.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn views_read_null_as_absent_and_write_what_they_read() {
        let read = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": null, "creationTimestamp": null},
            "spec": {
                "containers": [{
                    "name": "c", "env": null, "command": ["x"],
                    "ports": [{"containerPort": 80, "hostIP": "1.2.3.4"}],
                    "resources": {"limits": {"cpu": "1"}},
                    "livenessProbe": {"httpGet": {"port": "http"}},
                }],
                "setHostnameAsFQDN": true, "nodeSelector": null, "volumes": null,
            },
            "status": null,
        });
        let pod: core::Pod = serde_json::from_value(read).unwrap();
        assert_eq!(pod.spec.containers[0].ports[0].host_ip.as_deref(), Some("1.2.3.4"));
        assert_eq!(pod.status, core::PodStatus::default());
        assert_eq!(
            Value::Object(pod.to_object().0),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "a"},
                "spec": {
                    "containers": [{
                        "name": "c", "command": ["x"],
                        "ports": [{"containerPort": 80, "hostIP": "1.2.3.4"}],
                        "resources": {"limits": {"cpu": "1"}},
                        "livenessProbe": {"httpGet": {"port": "http"}},
                    }],
                    "setHostnameAsFQDN": true,
                },
            })
        );
    }

    #[test]
    fn views_agree_with_the_schema_table() {
        fn check<T: Resource + Default>() {
            let schema = crate::schema::for_kind(T::INFO).unwrap();
            let object = T::default().to_object();
            let value = Value::Object(object.0);
            assert_eq!(crate::schema::check(&value, schema), [], "{value}");
        }
        check::<apps::Deployment>();
        check::<autoscaling::HorizontalPodAutoscaler>();
        check::<batch::CronJob>();
        check::<coordination::Lease>();
        check::<core::Event>();
        check::<core::Pod>();
        check::<core::Secret>();
        check::<core::Service>();
        check::<discovery::EndpointSlice>();
        check::<events::Event>();
        check::<networking::NetworkPolicy>();
        check::<rbac::ClusterRoleBinding>();
    }

    #[test]
    fn bytes_are_base64() {
        let secret: core::Secret =
            serde_json::from_value(json!({"data": {"a": "aGVs\nbG8=", "b": null}})).unwrap();
        assert_eq!(secret.data["a"], ByteString::from("hello"));
        assert_eq!(serde_json::to_value(&secret.data).unwrap(), json!({"a": "aGVsbG8=", "b": ""}));
        assert_eq!(format!("{:?}", secret.data["a"]), "ByteString(5 bytes)");
    }
}
