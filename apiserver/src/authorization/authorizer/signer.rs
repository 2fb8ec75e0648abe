//! Who may approve for a signer, and who may sign as one (the admission plugins CertificateApproval and
//! CertificateSigning).
//!
//! Both are rights on the resource `signers`, whose names are those of the signers: `example.com/one`, or `example.com/*`
//! for all of a domain. They are asked for besides the right to write the subresource, on the object as stored, and so
//! with the policy as it stood when the request came in.

use apimachinery::{object::Object, resource};

use super::{Attributes, Authorizer, MASTERS};
use crate::request::{RequestContext, UserInfo};

impl Authorizer {
    /// Checks that an approval or a signature is the caller's to give.
    ///
    /// # Errors
    /// It is not, in Kubernetes' words.
    pub fn check_signer(
        &self,
        context: &RequestContext,
        object: &Object,
        old: Option<&Object>,
    ) -> Result<(), String> {
        if !std::ptr::eq(context.resource, &raw const resource::CERTIFICATE_SIGNING_REQUESTS) {
            return Ok(());
        }
        let Some(old) = old else { return Ok(()) };
        let (verb, request) = match context.subresource.as_str() {
            "approval" => ("approve", object),
            "status" if answer(object) != answer(old) => ("sign", old),
            _ => return Ok(()),
        };
        let signer = request.get_str(&["spec", "signerName"]);
        if self.holds(&context.user, verb, signer) {
            return Ok(());
        }
        Err(format!("user not permitted to {verb} requests with signerName \"{signer}\""))
    }

    fn holds(&self, user: &UserInfo, verb: &str, signer: &str) -> bool {
        if user.groups.iter().any(|group| group == MASTERS) {
            return true;
        }
        let domain = signer.split('/').next().unwrap_or_default();
        let held = self.policy.load().index.rules_of(user);
        [signer, &format!("{domain}/*")].into_iter().any(|name| {
            held.allow(&Attributes::Resource {
                verb,
                group: "certificates.k8s.io",
                resource: "signers",
                subresource: "",
                namespace: "",
                name,
            })
        })
    }
}

/// What a signer writes.
fn answer(request: &Object) -> [Option<&serde_json::Value>; 2] {
    ["certificate", "conditions"].map(|field| request.get(&["status", field]))
}
