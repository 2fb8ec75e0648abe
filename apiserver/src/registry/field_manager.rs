//! Field ownership of one resource's writes: who writes, what they can own, and the rules of `apimachinery`.
//!
//! Ownership is noted after defaulting and before admission, as Kubernetes' handlers do: what admission or the registry
//! itself sets (priorities, tolerations, a ClusterIP) belongs to nobody. What a subresource cannot write it cannot own,
//! either ([`Owned`]).

use std::{collections::HashMap, sync::Arc};

use apimachinery::{
    managed_fields::{self, FieldSet, Scope, Writer},
    object::Object,
    resource::ResourceInfo,
    schema::{Shared, Struct},
    status::Status,
};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::strategy::{Owned, Strategy};
use crate::request::RequestContext;

/// Notes who owns which fields of a resource's objects.
pub(crate) struct FieldManager {
    schema: Option<Shared<Struct>>,
    api_version: String,
    /// What can be owned through the object itself and through each subresource.
    parts: Vec<(&'static str, Part)>,
    /// Whether objects are stored as they are, so that their owners can be written beside them.
    plain: bool,
    creators: Creators,
}

/// A new object's `managedFields`, as they are stored: written when the object is, for they are most of its small maps.
#[derive(Debug)]
pub(crate) struct Owners(pub(crate) String);

/// What was written about the creators of objects, by the objects' shapes: objects of one template have one.
#[derive(Default)]
struct Creators(Mutex<HashMap<Shape, Creator>>);

/// See [`managed_fields::shape_of`].
type Shape = Box<[u8]>;
/// The text of an entry but for its time; None: nothing is owned.
type Creator = Option<Arc<str>>;

impl Creators {
    /// Shapes that are kept, of each kind; and how long they may be.
    const MOST: usize = 64;
    const LONGEST: usize = 4 << 10;

    /// The known text, or the made one.
    fn get(&self, shape: Vec<u8>, make: impl FnOnce() -> Option<String>) -> Creator {
        if let Some(known) = self.0.lock().get(shape.as_slice()) {
            return known.clone();
        }
        let made: Creator = make().map(Into::into);
        if shape.len() <= Self::LONGEST {
            let mut known = self.0.lock();
            if known.len() >= Self::MOST {
                known.clear();
            }
            known.insert(shape.into(), made.clone());
        }
        made
    }
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
            plain: !strategy.is_custom() && !strategy.converts_on_read(),
            creators: Creators::default(),
        }
    }

    /// Who owns what of a new object, defaulted: beside it, or noted in it where that cannot be.
    pub(crate) fn created(
        &self,
        context: &RequestContext,
        now: Timestamp,
        new: &mut Object,
    ) -> Option<Owners> {
        let schema = self.schema.as_ref()?;
        let writer = self.writer(context, now);
        let shape = managed_fields::shape_of(new, schema, &writer).filter(|_| self.plain);
        let Some(shape) = shape else {
            managed_fields::updated(None, new, schema, &writer);
            return None;
        };
        let creator = || {
            let mut text = managed_fields::creator(new, schema, &writer)?.to_string();
            // Its time comes last.
            text.pop();
            Some(text)
        };
        let creator = self.creators.get(shape, creator)?;
        Some(Owners(format!("[{creator},\"time\":\"{}\"}}]", managed_fields::time_of(&writer))))
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
