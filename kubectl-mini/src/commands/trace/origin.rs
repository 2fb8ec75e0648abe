//! Who connects: the pod, its node and its address.

use std::time::Duration;

use apimachinery::{api::core::Pod, resource::PODS};
use cni::{probe::PodName, trace::Origin};

use super::{target::Caller, told::Party};
use crate::{
    context::Context,
    errors::CommandError,
    pods::{Order, choose},
    resources::{Item, fetch_named},
};

/// Who connects, to the tracer and to who reads.
pub(super) struct Source {
    pub(super) party: Party,
    pub(super) origin: Origin,
    /// The node that connects, and the pod on it; the host has none.
    pub(super) node: Option<(String, Option<PodName>)>,
    /// In which names are short.
    pub(super) namespace: String,
}

/// Finds who connects.
///
/// # Errors
/// There is no such pod, or it is on no node yet.
pub(super) async fn find(context: &Context, from: &Caller) -> Result<Source, CommandError> {
    let namespace = context.namespace()?;
    match from {
        Caller::Host => {
            Ok(Source { party: Party::Host, origin: Origin::Host, node: None, namespace })
        }
        Caller::Node(name) => Ok(Source {
            party: Party::Node { name: name.clone() },
            origin: Origin::Node(name.clone()),
            node: Some((name.clone(), None)),
            namespace,
        }),
        Caller::Pod(text) => {
            let pod = pod(context, &namespace, text).await?;
            of_pod(&pod, namespace)
        }
    }
}

/// The pod that a word means: itself, or the best of a workload's.
async fn pod(context: &Context, namespace: &str, text: &str) -> Result<Pod, CommandError> {
    let item = match text.split_once('/') {
        None => fetch_named(context, &PODS, namespace, text).await?,
        Some((kind, name)) => {
            let info = apimachinery::resource::resolve(kind)
                .ok_or_else(|| CommandError::NoResourceType(kind.to_owned()))?;
            fetch_named(context, info, namespace, name).await?
        }
    };
    let item: Item = item;
    let chosen =
        choose(context, &item, Order::ForExec, Duration::from_secs(1), "cannot trace from").await?;
    Ok(chosen.pod)
}

fn of_pod(pod: &Pod, namespace: String) -> Result<Source, CommandError> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let node = pod.spec.node_name.clone().filter(|node| !node.is_empty());
    let node = node.ok_or_else(|| {
        CommandError::message(format!(
            "pod {name:?} is on no node yet, so that it connects to nothing"
        ))
    })?;
    let ip = pod.status.pod_ip.as_deref().and_then(|ip| ip.parse().ok()).ok_or_else(|| {
        CommandError::message(format!(
            "pod {name:?} has no address yet, so that it connects to nothing"
        ))
    })?;
    let on_host = pod.spec.host_network == Some(true);
    let origin =
        if on_host { Origin::Node(node.clone()) } else { Origin::Pod { node: node.clone(), ip } };
    let pod = PodName { namespace: namespace.clone(), name: name.clone() };
    let party = Party::Pod { namespace: namespace.clone(), name, node: node.clone(), ip };
    Ok(Source { party, origin, node: Some((node, Some(pod))), namespace })
}
