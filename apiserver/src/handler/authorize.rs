//! The chain's first step.

use std::sync::Arc;

use apimachinery::{fields, status::Status};

use super::{Handler, check_verb, review::is_review};
use crate::{
    audit::Record,
    authentication::Impersonation,
    authorization::{Attributes, forbidden},
    request::{Request, RequestContext, UserInfo},
};

impl Handler {
    /// Allows the request, or refuses it in Kubernetes' words.
    pub(super) async fn authorize(
        &self,
        context: &RequestContext,
        request: &Request,
    ) -> Result<(), Status> {
        let selector = match request {
            Request::List(options)
            | Request::Watch(options)
            | Request::DeleteCollection(options, _) => {
                fields::Selector::parse(&options.field_selector).ok()
            }
            _ => None,
        };
        let mut attributes = Attributes::of(context);
        // One object by field selector is one object.
        if let Attributes::Resource { name, .. } = &mut attributes
            && name.is_empty()
            && let Some(exact) =
                selector.as_ref().and_then(|s| s.requires_exact_match("metadata.name"))
        {
            *name = exact;
        }
        let decision =
            self.authorizer.authorize(&context.user, &attributes, selector.as_ref()).await;
        self.record(context.audit.as_deref(), &context.user, &attributes, &decision);
        decision.map_err(|reason| forbidden(&context.user, &attributes, context.resource, &reason))
    }

    /// What the chain will refuse whatever the body says: asked by a face before it reads one.
    ///
    /// # Errors
    /// Forbidden, not found, or a verb that the resource does not have.
    pub async fn allow(&self, context: &RequestContext) -> Result<(), Status> {
        if !is_review(context.resource) {
            self.store(context.resource)?;
        }
        let attributes = Attributes::of(context);
        let decision = self.authorizer.authorize(&context.user, &attributes, None).await;
        self.record(context.audit.as_deref(), &context.user, &attributes, &decision);
        decision
            .map_err(|reason| forbidden(&context.user, &attributes, context.resource, &reason))?;
        check_verb(context)
    }

    /// Records what was decided, and why.
    fn record(
        &self,
        record: Option<&Record>,
        user: &UserInfo,
        attributes: &Attributes<'_>,
        decision: &Result<(), String>,
    ) {
        let Some(record) = record.filter(|record| record.is_told()) else { return };
        match decision {
            Ok(()) => record.decided(true, self.authorizer.reason(user, attributes)),
            Err(reason) => record.decided(false, reason.clone()),
        }
    }

    /// The user that a request acts as, if the real one may impersonate all that is wanted.
    ///
    /// # Errors
    /// Forbidden, or a bad request without a user to act as.
    pub async fn impersonate(
        &self,
        user: &UserInfo,
        wanted: Impersonation,
    ) -> Result<Arc<UserInfo>, Status> {
        if wanted.user.is_empty() {
            return Err(Status::bad_request(
                "groups, uid or extra are to be impersonated without impersonating a user",
            ));
        }
        for right in wanted.rights() {
            let attributes = Attributes::Resource {
                verb: "impersonate",
                group: right.info.group,
                resource: right.info.resource,
                subresource: right.subresource,
                namespace: right.namespace,
                name: right.name,
            };
            self.authorizer
                .authorize(user, &attributes, None)
                .await
                .map_err(|reason| forbidden(user, &attributes, right.info, &reason))?;
        }
        Ok(Arc::new(wanted.into_user()))
    }

    /// Allows a request for a path that is no resource.
    ///
    /// # Errors
    /// Forbidden.
    pub(crate) async fn authorize_path(
        &self,
        user: &UserInfo,
        verb: &str,
        path: &str,
        record: Option<&Record>,
    ) -> Result<(), Status> {
        let attributes = Attributes::Path { verb, path };
        let decision = self.authorizer.authorize(user, &attributes, None).await;
        self.record(record, user, &attributes, &decision);
        decision
            .map_err(|reason| forbidden(user, &attributes, &apimachinery::resource::PODS, &reason))
    }
}
