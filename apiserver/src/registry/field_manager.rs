//! Field ownership of one resource's writes: who writes, what they can own, and the rules of `apimachinery`.
//!
//! Ownership is noted after defaulting and before admission, as Kubernetes' handlers do: what admission or the registry
//! itself sets (priorities, tolerations, a ClusterIP) belongs to nobody. What a subresource cannot write it cannot own,
//! either ([`Owned`]).

use apimachinery::{
    managed_fields::{self, FieldSet, Scope, Writer},
    object::Object,
    resource::ResourceInfo,
    schema::{Shared, Struct},
    status::Status,
};
use jiff::Timestamp;

use super::strategy::{Owned, Strategy};
use crate::request::RequestContext;

/// Notes who owns which fields of a resource's objects.
pub(crate) struct FieldManager {
    schema: Option<Shared<Struct>>,
    api_version: String,
    /// What can be owned through the object itself and through each subresource.
    parts: Vec<(&'static str, Part)>,
}

enum Part {
    Except(FieldSet),
    Only(FieldSet),
}

impl FieldManager {
    pub(crate) fn new(info: &'static ResourceInfo, strategy: &dyn Strategy) -> Self {
        let names = std::iter::once("").chain(info.subresources.iter().map(|sub| sub.name));
        let part = |name| match strategy.owned(name) {
            Owned::Except(paths) => {
                let mut fields = managed_fields::unowned();
                fields.union(&FieldSet::of_fields(paths));
                Part::Except(fields)
            }
            Owned::Only(paths) => Part::Only(FieldSet::of_fields(paths)),
        };
        Self {
            schema: strategy.merge_schema(),
            api_version: info.api_version(),
            parts: names.map(|name| (name, part(name))).collect(),
        }
    }

    /// Notes in `new`, defaulted, what a creation, an update or a patch has changed.
    pub(crate) fn updated(
        &self,
        context: &RequestContext,
        now: Timestamp,
        old: Option<&Object>,
        new: &mut Object,
    ) {
        if let Some(schema) = &self.schema {
            managed_fields::updated(old, new, schema, &self.writer(context, now));
        }
    }

    /// Applies a configuration; the outcome is not yet defaulted.
    ///
    /// # Errors
    /// Conflicts with other managers, or a configuration that is none.
    pub(crate) fn apply(
        &self,
        context: &RequestContext,
        now: Timestamp,
        live: Option<&Object>,
        config: &Object,
    ) -> Result<Object, Status> {
        let schema =
            self.schema.as_ref().ok_or_else(|| Status::internal("a kind without a schema"))?;
        let writer = self.writer(context, now);
        managed_fields::apply(live, config, schema, &writer, context.force)
            .map_err(managed_fields::ApplyError::into_status)
    }

    fn writer<'a>(&'a self, context: &'a RequestContext, now: Timestamp) -> Writer<'a> {
        let part = self.parts.iter().find(|(name, _)| *name == context.subresource);
        let scope = match part {
            Some((_, Part::Except(fields))) => Scope::Except(fields),
            Some((_, Part::Only(fields))) => Scope::Only(fields),
            None => Scope::All,
        };
        Writer {
            manager: &context.field_manager,
            api_version: &self.api_version,
            subresource: &context.subresource,
            scope,
            now,
        }
    }
}
