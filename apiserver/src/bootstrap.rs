//! What every cluster has: stored at the first start, checked at every other.
//!
//! Everything goes through the handler chain, as an administrator's request would. What exists is left alone, but for
//! Kubernetes' reconciliation of the default roles: rules and subjects that are missing come back, unless the object
//! is annotated `rbac.authorization.kubernetes.io/autoupdate: "false"`; what somebody added stays.

use std::{net::Ipv4Addr, sync::Arc};

use apimachinery::{
    object::Object,
    resource::{self, ResourceInfo},
    status::Status,
};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use crate::{
    StartError,
    authorization::{MASTERS, bootstrap_policy},
    handler::{Handler, Reply},
    request::{Request, RequestContext, UserInfo, Verb},
};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Objects written at one time: they share the storage's groups.
const PARALLEL: usize = 64;

/// The Service by which pods reach the API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KubernetesService {
    pub(crate) cluster_ip: Ipv4Addr,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
}

/// What to do when the object exists.
#[derive(Clone, Copy)]
enum Existing {
    Keep,
    /// Add what is missing to these lists.
    Complete(&'static [&'static str]),
    /// Make these fields what they should be.
    Replace(&'static [&'static str]),
}

/// Stores what is missing.
pub(crate) async fn run(
    handler: &Arc<Handler>,
    kubernetes: &KubernetesService,
) -> Result<(), StartError> {
    let namespaces = NAMESPACES.iter().map(|name| {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        (&resource::NAMESPACES, from_json(object), Existing::Keep)
    });
    store(handler, namespaces.collect()).await?;
    let mut objects = priority_classes();
    objects.extend(bootstrap_policy::objects().into_iter().map(|(info, object)| {
        let lists: &[&str] =
            if object.get(&["roleRef"]).is_some() { &["subjects"] } else { &["rules"] };
        (info, object, Existing::Complete(lists))
    }));
    objects.extend(kubernetes.objects());
    store(handler, objects).await
}

type Wanted = (&'static ResourceInfo, Object, Existing);

async fn store(handler: &Arc<Handler>, objects: Vec<Wanted>) -> Result<(), StartError> {
    let user = Arc::new(UserInfo {
        name: "system:apiserver".to_owned(),
        groups: vec![MASTERS.to_owned()],
        ..UserInfo::default()
    });
    let ensured = objects.into_iter().map(|(info, object, existing)| {
        let (handler, user) = (handler.clone(), user.clone());
        async move {
            let what = format!("{} {}", info.kind, object.name());
            ensure(&handler, &user, info, &object, existing)
                .await
                .map_err(|status| StartError::Bootstrap { what, message: status.message })
        }
    });
    futures::stream::iter(ensured.collect::<Vec<_>>())
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await
}

async fn ensure(
    handler: &Handler,
    user: &Arc<UserInfo>,
    info: &'static ResourceInfo,
    object: &Object,
    existing: Existing,
) -> Result<(), Status> {
    let context = |verb| RequestContext {
        user: user.clone(),
        namespace: object.namespace().to_owned(),
        name: if verb == Verb::Create { String::new() } else { object.name().to_owned() },
        field_manager: "kube-apiserver".into(),
        ..RequestContext::new(verb, info)
    };
    let get = Request::Get { resource_version: String::new() };
    let found = match handler.handle(&context(Verb::Get), get).await {
        Ok(answer) => match answer.reply {
            Reply::Object { body, .. } => Object::from_slice(&body)?,
            Reply::List(_) | Reply::Watch(_) => return Ok(()),
        },
        Err(status) if status.is_not_found() => {
            handler.handle(&context(Verb::Create), Request::Create(object.to_bytes())).await?;
            return Ok(());
        }
        Err(status) => return Err(status),
    };
    let Some(updated) = reconcile(&found, object, existing) else { return Ok(()) };
    handler.handle(&context(Verb::Update), Request::Update(updated.to_bytes())).await?;
    Ok(())
}

/// What is stored, with what it lacks; None if it lacks nothing.
fn reconcile(found: &Object, wanted: &Object, existing: Existing) -> Option<Object> {
    let mut updated = found.clone();
    match existing {
        Existing::Keep => return None,
        Existing::Complete(lists) => {
            if found.annotation("rbac.authorization.kubernetes.io/autoupdate") == Some("false") {
                return None;
            }
            for list in lists {
                let mut all: Vec<Value> = found.get_list(&[list]).to_vec();
                let missing: Vec<Value> = wanted
                    .get_list(&[list])
                    .iter()
                    .filter(|item| !all.contains(item))
                    .cloned()
                    .collect();
                if !missing.is_empty() {
                    all.extend(missing);
                    updated.set(&[list], all);
                }
            }
        }
        Existing::Replace(fields) => {
            for field in fields {
                if let Some(value) = wanted.get(&[field])
                    && found.get(&[field]) != Some(value)
                {
                    updated.set(&[field], value.clone());
                }
            }
        }
    }
    (updated != *found).then_some(updated)
}

fn priority_classes() -> Vec<Wanted> {
    let class = |name: &str, value: i64, description: &str| {
        let object = json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": description,
        });
        (&resource::PRIORITY_CLASSES, from_json(object), Existing::Keep)
    };
    vec![
        class(
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        class(
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ]
}

impl KubernetesService {
    fn objects(&self) -> Vec<Wanted> {
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": self.cluster_ip.to_string(),
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": self.port}],
            },
        });
        let endpoints = json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": [{
                "addresses": [{"ip": self.address.to_string()}],
                "ports": [{"name": "https", "port": self.port, "protocol": "TCP"}],
            }],
        });
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [self.address.to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": self.port, "protocol": "TCP"}],
        });
        vec![
            (&resource::SERVICES, from_json(service), Existing::Keep),
            (&resource::ENDPOINTS, from_json(endpoints), Existing::Replace(&["subsets"])),
            (
                &resource::ENDPOINT_SLICES,
                from_json(slice),
                Existing::Replace(&["endpoints", "ports"]),
            ),
        ]
    }
}

fn from_json(value: Value) -> Object {
    Object::from_value(value).expect("a JSON object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_rules_come_back_and_others_stay() {
        let role = |rules: Value, auto: &str| {
            from_json(
                json!({"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": auto}}, "rules": rules}),
            )
        };
        let wanted = role(json!([1, 2]), "true");
        let check = |found: Object, expected: Option<Value>| {
            let rules = reconcile(&found, &wanted, Existing::Complete(&["rules"]))
                .map(|role| role.get(&["rules"]).unwrap().clone());
            assert_eq!(rules, expected);
        };
        check(role(json!([1, 2]), "true"), None);
        check(role(json!([2, 3]), "true"), Some(json!([2, 3, 1])));
        check(role(json!([]), "false"), None);
    }
}
