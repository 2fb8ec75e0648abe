//! The controllers of CertificateSigningRequests: one approves kubelets' requests, one signs what is approved, one cleans up.
//!
//! | module | does |
//! |---|---|
//! | [`approving`] | approves client certificates of kubelets, whose owners may have them by a SubjectAccessReview |
//! | [`signing`] | signs for the four signers of `kubernetes.io` with the cluster's authority |
//! | [`cleaner`] | deletes what was decided an hour ago, what nobody decided on in a day, and what has expired |
//! | [`rules`] | which requests each signer takes (pure) |
//!
//! Follows `pkg/controller/certificates` of Kubernetes.

pub mod approving;
pub mod cleaner;
pub mod rules;
pub mod signing;

use apimachinery::{
    api::certificates::{CertificateSigningRequest, CertificateSigningRequestCondition},
    certificates::{APPROVED, DENIED},
    object::ObjectKey,
    time::Time,
};
use client::WorkQueue;
use jiff::Timestamp;

use crate::context::{Setup, key_of};

/// Whether a request has the condition, whatever it says.
fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    request.status.conditions.iter().any(|condition| condition.type_ == kind)
}

/// Whether a request may be signed: approved, and not denied besides.
fn is_approved(request: &CertificateSigningRequest) -> bool {
    has(request, APPROVED) && !has(request, DENIED)
}

/// Whether there is a certificate.
fn is_issued(request: &CertificateSigningRequest) -> bool {
    !certificate(request).is_empty()
}

fn certificate(request: &CertificateSigningRequest) -> &[u8] {
    request.status.certificate.as_ref().map(|bytes| bytes.0.as_slice()).unwrap_or_default()
}

/// A condition that holds.
fn condition(
    kind: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(now)),
        ..CertificateSigningRequestCondition::default()
    }
}

/// A queue of all requests that come or change.
fn queue(setup: &mut Setup<'_>) -> WorkQueue<ObjectKey> {
    let queue = setup.queue::<ObjectKey>();
    let keys = queue.clone();
    setup.informers.on_change::<CertificateSigningRequest, _>(move |delta| {
        if let (_, Some(request)) = delta.old_and_new() {
            keys.add(key_of(&request.metadata));
        }
    });
    queue
}
