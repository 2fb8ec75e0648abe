//! Objects live in namespaces that are there to stay.

use apimachinery::{
    resource,
    status::{Status, StatusCause},
};

use super::{Operation, Review};

/// Namespaces that the cluster cannot be without.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) fn admit(review: &mut Review<'_>) -> Result<(), Status> {
    match review.operation {
        Operation::Delete => {
            if review.is(&resource::NAMESPACES) && IMMORTAL.contains(&review.context.name.as_str())
            {
                return Err(review.forbidden("this namespace may not be deleted"));
            }
            Ok(())
        }
        Operation::Create if review.context.resource.namespaced => {
            let name = &review.context.namespace;
            let Some(namespace) = &review.facts.namespace else {
                return Err(Status::not_found(&resource::NAMESPACES, name));
            };
            if namespace.deletion_timestamp().is_none()
                && namespace.get_str(&["status", "phase"]) != "Terminating"
            {
                return Ok(());
            }
            let mut status = review.forbidden(format!(
                "unable to create new content in namespace {name} because it is being terminated"
            ));
            status.details.get_or_insert_default().causes.push(StatusCause {
                reason: "NamespaceTerminating".into(),
                message: format!("namespace {name} is being terminated"),
                field: "metadata.namespace".into(),
            });
            Err(status)
        }
        Operation::Create | Operation::Update => Ok(()),
    }
}
