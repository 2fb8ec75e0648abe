//! The cleaner: requests do not stay for ever.
//!
//! | a request | goes |
//! |---|---|
//! | with a certificate, approved | an hour after its approval |
//! | denied, or failed | an hour after that |
//! | on which nobody has decided | a day after it was made |
//! | whose certificate has expired | then |
//!
//! Kubernetes looks once an hour; here each request is looked at when one of these times comes.

use std::time::Duration;

use apimachinery::{
    api::certificates::CertificateSigningRequest,
    certificates::{APPROVED, DENIED, FAILED},
    object::ObjectKey,
    status::Status,
    time::Time,
};
use client::{Client, DeleteOptions, Store, controller::Action};
use component_base::{clock::Clock, tls};
use jiff::Timestamp;

use super::{certificate, has, is_issued, queue};
use crate::context::{Setup, tolerate_absence};

const WORKERS: usize = 1;
const NAME: &str = "certificate-controller";
const DECIDED: Duration = Duration::from_secs(3600);
const PENDING: Duration = Duration::from_secs(24 * 3600);
/// The longest wait between two looks: a certificate may last for years.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone)]
struct Cleaner {
    client: Client,
    clock: Clock,
    requests: Store<CertificateSigningRequest>,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = queue(setup);
    let cleaner = Cleaner {
        client: setup.client.with_field_manager(NAME),
        clock: setup.clock.clone(),
        requests: setup.informers.store(),
    };
    let requests = cleaner.requests.clone();
    let synced = async move { requests.synced().await };
    setup.run("csr-cleaner", &queue, WORKERS, synced, move |key| {
        let cleaner = cleaner.clone();
        async move { cleaner.reconcile(&key).await }
    });
}

impl Cleaner {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(request) = self.requests.get(key) else { return Ok(Action::Done) };
        let Some(ends) = ends(&request) else { return Ok(Action::Done) };
        let now = self.clock.now();
        if let Ok(left) = Duration::try_from(ends.duration_since(now))
            && !left.is_zero()
        {
            return Ok(Action::RequeueAfter(left.min(LONGEST_WAIT)));
        }
        let options = match &request.metadata.uid {
            Some(uid) => DeleteOptions::uid(uid),
            None => DeleteOptions::default(),
        };
        let deleted =
            self.client.delete::<CertificateSigningRequest>("", &key.name, &options).await;
        tolerate_absence(deleted)?;
        Ok(Action::Done)
    }
}

/// When a request has stayed long enough; None: it stays until something happens to it.
fn ends(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let after = |time: Option<Time>, stays: Duration| time?.0.checked_add(stays).ok();
    let conditions = &request.status.conditions;
    let decided = conditions.iter().filter(|condition| match condition.type_.as_str() {
        APPROVED => is_issued(request),
        DENIED | FAILED => true,
        _ => false,
    });
    let decided = decided.filter_map(|condition| after(condition.last_update_time, DECIDED));
    let open = [APPROVED, DENIED, FAILED].iter().all(|kind| !has(request, kind));
    let pending = after(request.metadata.creation_timestamp, PENDING).filter(|_| open);
    let expired = tls::not_after(certificate(request));
    decided.chain(pending).chain(expired).min()
}
