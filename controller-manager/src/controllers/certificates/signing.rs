//! The signer: approved requests get a certificate of the cluster's authority, or the condition Failed.
//!
//! A certificate lasts as long as was asked for, at least ten minutes, at most `--cluster-signing-duration`, and not longer
//! than the authority. It begins five minutes in the past; one of eight hours and more ends five minutes earlier, too.
//! Certificates live in real time, also where the cluster's clock is another one.

use std::{sync::Arc, time::Duration};

use apimachinery::{
    api::{ByteString, certificates::CertificateSigningRequest},
    certificates::{FAILED, Usage, usage},
    object::ObjectKey,
    status::Status,
};
use client::{Client, Store, controller::Action};
use component_base::{
    clock::Clock,
    tls::{CertificateAuthority, CertificateRequest, Terms},
};
use jiff::Timestamp;

use super::{condition, has, is_approved, is_issued, queue, rules::SIGNERS};
use crate::context::{Setup, tolerate_absence};

const WORKERS: usize = 5;
const NAME: &str = "certificate-controller";
const BACKDATE: Duration = Duration::from_secs(5 * 60);
/// A certificate that lasts less ends when it says.
const SHORT: Duration = Duration::from_secs(8 * 3600);
/// Twice the time by which certificates begin earlier.
const SHORTEST: Duration = Duration::from_secs(10 * 60);

#[derive(Clone)]
struct Controller {
    client: Client,
    clock: Clock,
    requests: Store<CertificateSigningRequest>,
    authority: Arc<CertificateAuthority>,
    longest: Duration,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let Some(key_pair) = &setup.options.cluster_signing else {
        tracing::info!("no --cluster-signing-cert-file and key: nothing is signed");
        return;
    };
    let authority = match CertificateAuthority::load(key_pair.clone()) {
        Ok(authority) => Arc::new(authority),
        Err(error) => {
            tracing::error!(%error, "nothing is signed");
            return;
        }
    };
    let queue = queue(setup);
    let controller = Controller {
        client: setup.client.with_field_manager(NAME),
        clock: setup.clock.clone(),
        requests: setup.informers.store(),
        authority,
        longest: setup.options.cluster_signing_duration,
    };
    let requests = controller.requests.clone();
    let synced = async move { requests.synced().await };
    setup.run("csr-signing", &queue, WORKERS, synced, move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(&key).await }
    });
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(request) = self.requests.get(key) else { return Ok(Action::Done) };
        if is_issued(&request) || !is_approved(&request) || has(&request, FAILED) {
            return Ok(Action::Done);
        }
        let signer = SIGNERS.iter().find(|(name, _)| *name == request.spec.signer_name);
        let Some((_, refuses)) = signer else { return Ok(Action::Done) };
        // The server has read it before.
        let Ok(asked) = CertificateRequest::from_pem(&request.spec.request.0) else {
            return Ok(Action::Done);
        };
        let mut answered = (*request).clone();
        match refuses(&asked, &request.spec.usages) {
            Err(why) => {
                let now = self.clock.now();
                let failed = condition(FAILED, "SignerValidationFailure", &why, now);
                answered.status.conditions.push(failed);
            }
            Ok(()) => {
                let terms = terms(&request, self.longest, Clock::real().now());
                let signed = self.authority.sign(&asked, &terms);
                let signed = signed.map_err(|error| {
                    Status::internal(format!("error auto signing csr: {error}"))
                })?;
                answered.status.certificate = Some(ByteString::from(signed.into_bytes()));
            }
        }
        tolerate_absence(self.client.update_subresource(&answered, "status").await)?;
        Ok(Action::Done)
    }
}

/// What the signer grants.
fn terms(request: &CertificateSigningRequest, longest: Duration, now: Timestamp) -> Terms {
    let asked = request.spec.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let lasts = asked.map_or(longest, |seconds| {
        let asked = Duration::from_secs(seconds);
        if asked > longest { longest } else { asked.max(SHORTEST) }
    });
    let ends = if lasts < SHORT { lasts } else { lasts.saturating_sub(BACKDATE) };
    let mut usages: Vec<Usage> =
        request.spec.usages.iter().filter_map(|name| usage(name)).collect();
    usages.sort_unstable();
    usages.dedup();
    let mut terms = Terms {
        key_usages: Vec::new(),
        extended_key_usages: Vec::new(),
        not_before: now.checked_sub(BACKDATE).unwrap_or(now),
        not_after: now.checked_add(ends).unwrap_or(now),
    };
    for usage in usages {
        match usage {
            Usage::Key(bit) => terms.key_usages.push(bit),
            Usage::Extended(oid) => terms.extended_key_usages.push(oid),
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use apimachinery::api::certificates::CertificateSigningRequestSpec;

    use super::*;

    #[test]
    fn certificates_last_as_asked_within_bounds() {
        let now: Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
        let year = Duration::from_secs(365 * 24 * 3600);
        let check = |asked: Option<i64>, expected: i64| {
            let spec = CertificateSigningRequestSpec {
                expiration_seconds: asked.map(|seconds| seconds.try_into().unwrap()),
                usages: ["server auth", "signing", "client auth", "digital signature"]
                    .map(str::to_owned)
                    .to_vec(),
                ..CertificateSigningRequestSpec::default()
            };
            let request =
                CertificateSigningRequest { spec, ..CertificateSigningRequest::default() };
            let terms = terms(&request, year, now);
            assert_eq!(terms.not_after.as_second() - now.as_second(), expected, "{asked:?}");
            assert_eq!(now.as_second() - terms.not_before.as_second(), 300);
            assert_eq!(terms.key_usages, [0]);
            assert_eq!(terms.extended_key_usages.len(), 2);
            assert!(terms.extended_key_usages.is_sorted());
        };
        check(None, 365 * 24 * 3600 - 300);
        check(Some(600), 600);
        check(Some(60), 600);
        check(Some(7 * 3600), 7 * 3600);
        check(Some(9 * 3600), 9 * 3600 - 300);
        check(Some(1_000_000_000), 365 * 24 * 3600 - 300);
    }
}
