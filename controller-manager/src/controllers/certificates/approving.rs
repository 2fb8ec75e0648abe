//! The approver: a kubelet gets its client certificate, if whoever asks for it may.
//!
//! What is asked for by a SubjectAccessReview is whether the user may create `certificatesigningrequests/selfnodeclient`
//! (the certificate that it has already, anew) or `…/nodeclient` (that of any node).

use apimachinery::{
    api::{
        authorization::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
        certificates::CertificateSigningRequest,
    },
    certificates::{APPROVED, DENIED, KUBE_APISERVER_CLIENT_KUBELET},
    object::ObjectKey,
    status::Status,
};
use client::{Client, Store, controller::Action};
use component_base::{clock::Clock, tls::CertificateRequest};

use super::{condition, has, is_issued, queue, rules};
use crate::context::{Setup, tolerate_absence};

const WORKERS: usize = 5;
const NAME: &str = "certificate-controller";

/// What a request may be recognized as.
struct Recognizer {
    recognizes: fn(&CertificateSigningRequest, &CertificateRequest) -> bool,
    /// The subresource that the user must be allowed to create.
    right: &'static str,
    message: &'static str,
}

const RECOGNIZERS: [Recognizer; 2] = [
    Recognizer {
        recognizes: is_own_client,
        right: "selfnodeclient",
        message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
    },
    Recognizer {
        recognizes: is_client,
        right: "nodeclient",
        message: "Auto approving kubelet client certificate after SubjectAccessReview.",
    },
];

fn is_client(request: &CertificateSigningRequest, asked: &CertificateRequest) -> bool {
    request.spec.signer_name == KUBE_APISERVER_CLIENT_KUBELET
        && rules::kubelet_client(asked, &request.spec.usages).is_ok()
}

fn is_own_client(request: &CertificateSigningRequest, asked: &CertificateRequest) -> bool {
    is_client(request, asked)
        && request.spec.username.as_deref() == Some(asked.subject.common_name.as_str())
}

#[derive(Clone)]
struct Approver {
    client: Client,
    clock: Clock,
    requests: Store<CertificateSigningRequest>,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = queue(setup);
    let approver = Approver {
        client: setup.client.with_field_manager(NAME),
        clock: setup.clock.clone(),
        requests: setup.informers.store(),
    };
    let requests = approver.requests.clone();
    let synced = async move { requests.synced().await };
    setup.run("csr-approving", &queue, WORKERS, synced, move |key| {
        let approver = approver.clone();
        async move { approver.reconcile(&key).await }
    });
}

impl Approver {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(request) = self.requests.get(key) else { return Ok(Action::Done) };
        if is_issued(&request) || has(&request, APPROVED) || has(&request, DENIED) {
            return Ok(Action::Done);
        }
        // The server has read it before.
        let Ok(asked) = CertificateRequest::from_pem(&request.spec.request.0) else {
            return Ok(Action::Done);
        };
        for recognizer in RECOGNIZERS.iter().filter(|r| (r.recognizes)(&request, &asked)) {
            if self.may(&request, recognizer.right).await? {
                self.approve(&request, recognizer.message).await?;
                return Ok(Action::Done);
            }
            tracing::info!(%key, right = recognizer.right, "recognized, but not allowed");
        }
        Ok(Action::Done)
    }

    async fn may(&self, request: &CertificateSigningRequest, right: &str) -> Result<bool, Status> {
        let text = |text: &str| Some(text.to_owned());
        let asked = ResourceAttributes {
            group: text("certificates.k8s.io"),
            resource: text("certificatesigningrequests"),
            verb: text("create"),
            subresource: text(right),
            version: text("*"),
            ..ResourceAttributes::default()
        };
        let spec = &request.spec;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(asked),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        Ok(self.client.create(&review).await?.status.allowed)
    }

    async fn approve(
        &self,
        request: &CertificateSigningRequest,
        message: &str,
    ) -> Result<(), Status> {
        let mut approved = request.clone();
        let condition = condition(APPROVED, "AutoApproved", message, self.clock.now());
        approved.status.conditions.push(condition);
        tolerate_absence(self.client.update_subresource(&approved, "approval").await)
    }
}
