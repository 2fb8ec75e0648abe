//! `pods/scheduling`: what the scheduler would do with a pod now, asked of the scheduler itself.
//!
//! The leading scheduler tells on its Lease `kube-system/kube-scheduler`, in the annotation [`ENDPOINT_ANNOTATION`], on
//! which Unix socket it explains. Its answer, a `SchedulingExplanation`, passes through as it is. Each question dials
//! anew: questions are rare, and the leader changes.

use std::{path::PathBuf, time::Duration};

use apimachinery::{object::Object, resource, status::Status};
use bytes::Bytes;
use client::wire::{from_tonic, transport_failure};
use component_base::{
    clock::Clock,
    transport::{Endpoint, channel},
};
use proto::v1::{ExplainRequest, scheduling_client::SchedulingClient};

/// Where the leading scheduler says how it is asked: `unix:///path`.
pub const ENDPOINT_ANNOTATION: &str = "kube-mini.dev/scheduler-endpoint";
/// The Lease of the leading scheduler: namespace and name.
pub(crate) const LEASE: (&str, &str) = ("kube-system", "kube-scheduler");
/// How long a scheduler may think.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket of the scheduler that holds the lease.
///
/// # Errors
/// Unavailable, when nobody holds it or the holder does not say where it listens.
pub(crate) fn socket(lease: Option<&Object>) -> Result<PathBuf, Status> {
    let lease = lease
        .filter(|lease| !lease.get_str(&["spec", "holderIdentity"]).is_empty())
        .ok_or_else(|| unavailable("no scheduler leads"))?;
    let endpoint = lease.annotation(ENDPOINT_ANNOTATION).unwrap_or_default();
    endpoint.strip_prefix("unix://").filter(|path| !path.is_empty()).map(PathBuf::from).ok_or_else(
        || unavailable(&format!("its lease does not say where it listens ({ENDPOINT_ANNOTATION})")),
    )
}

/// Asks the scheduler behind `socket` about a pod.
///
/// # Errors
/// Unavailable, when it does not answer; else its own error.
pub(crate) async fn explain(
    clock: &Clock,
    socket: PathBuf,
    namespace: &str,
    name: &str,
) -> Result<Bytes, Status> {
    let mut scheduler = SchedulingClient::new(channel(&Endpoint::Unix { path: socket }));
    let request = ExplainRequest { namespace: namespace.to_owned(), name: name.to_owned() };
    match clock.timeout(PATIENCE, scheduler.explain(request)).await {
        Ok(Ok(response)) => Ok(response.into_inner().explanation),
        Ok(Err(status)) if status.code() == tonic::Code::NotFound => {
            Err(Status::not_found(&resource::PODS, name))
        }
        Ok(Err(status)) => {
            let status = from_tonic(&status);
            Err(match transport_failure(&status) {
                Some((_, why)) => unavailable(why),
                None => status,
            })
        }
        Err(_) => Err(unavailable("it does not answer")),
    }
}

fn unavailable(why: &str) -> Status {
    Status::service_unavailable(format!("the scheduler cannot be asked: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_lease_says_where_the_scheduler_listens() {
        let check = |lease: Option<Value>, expected: Result<&str, &str>| {
            let lease = lease.map(|lease| Object::from_value(lease).unwrap());
            let found = socket(lease.as_ref());
            let found = found.map_err(|status| (status.code, status.message));
            assert_eq!(
                found,
                match expected {
                    Ok(path) => Ok(PathBuf::from(path)),
                    Err(why) => Err((503, format!("the scheduler cannot be asked: {why}"))),
                }
            );
        };
        let lease = |holder: &str, endpoint: &str| {
            Some(
                json!({"metadata": {"annotations": {ENDPOINT_ANNOTATION: endpoint}}, "spec": {"holderIdentity": holder}}),
            )
        };
        let mute = "its lease does not say where it listens (kube-mini.dev/scheduler-endpoint)";
        check(None, Err("no scheduler leads"));
        check(lease("", "unix:///run/s"), Err("no scheduler leads"));
        check(lease("a", ""), Err(mute));
        check(lease("a", "http://x"), Err(mute));
        check(lease("a", "unix:///run/s"), Ok("/run/s"));
    }
}
