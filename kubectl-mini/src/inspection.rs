//! Asking nodes about their networks: subresources `nodes/network` and `nodes/probe`, which Kubernetes does not have.

use apimachinery::resource::NODES;
use cni::{
    probe::{ProbeSpec, ProbeStatus},
    report::NodeReport,
};
use serde::{Deserialize, Serialize};

use crate::{context::Context, errors::CommandError};

#[derive(Deserialize)]
struct Network {
    status: NodeReport,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: &'a ProbeSpec,
}

#[derive(Deserialize)]
struct Answered {
    status: ProbeStatus,
}

/// Asks a node for its network.
///
/// # Errors
/// The server's, or that the node cannot be asked.
pub async fn report(context: &Context, node: &str) -> Result<NodeReport, CommandError> {
    let api = context.client()?.resource(&NODES).subresource("network");
    let network: Network = context.request(api.get(node)).await?.view()?;
    Ok(network.status)
}

/// Has a node try something.
///
/// # Errors
/// The server's, or that the node cannot be asked.
pub async fn probe(
    context: &Context,
    node: &str,
    spec: &ProbeSpec,
) -> Result<ProbeStatus, CommandError> {
    let asked = Asked { api_version: "kube-mini.dev/v1", kind: "NetworkProbe", spec };
    let asked = serde_json::to_vec(&asked)
        .map_err(|error| CommandError::message(format!("unable to write the probe: {error}")))?;
    let api = context.client()?.resource(&NODES).subresource("probe");
    let answered: Answered = context.request(api.create(node, asked.into())).await?.view()?;
    Ok(answered.status)
}
