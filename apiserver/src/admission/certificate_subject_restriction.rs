//! Nobody becomes a member of `system:masters` by a certificate for the API server's clients.

use apimachinery::{
    api::ByteString, certificates::KUBE_APISERVER_CLIENT, resource, status::Status,
};
use component_base::tls::CertificateRequest;

use super::{Operation, Review};
use crate::authorization::MASTERS;

pub(super) fn admit(review: &mut Review<'_>) -> Result<(), Status> {
    let applies = review.is(&resource::CERTIFICATE_SIGNING_REQUESTS)
        && review.operation == Operation::Create
        && review.context.subresource.is_empty()
        && review.object.get_str(&["spec", "signerName"]) == KUBE_APISERVER_CLIENT;
    if !applies {
        return Ok(());
    }
    let bytes = ByteString::decode(review.object.get_str(&["spec", "request"]));
    let request = CertificateRequest::from_pem(&bytes.unwrap_or_default().0)
        .map_err(|why| review.forbidden(format!("failed to parse CSR: {why}")))?;
    if request.subject.organizations.iter().any(|group| group == MASTERS) {
        return Err(review.forbidden(format!(
            "use of {KUBE_APISERVER_CLIENT} signer with {MASTERS} group is not allowed"
        )));
    }
    Ok(())
}
