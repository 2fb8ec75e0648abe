//! What is particular to one resource: the [`Strategy`], Kubernetes' `rest.RESTCreateStrategy` and its kin.
//!
//! The generic store (`registry::store`) does what all resources share: names, uid, timestamps, generation,
//! finalizers, conflicts, graceful deletion, the transaction. A strategy only defaults, validates, prepares, reads
//! and prints. All of it is pure: an object in, an object or a list of field errors out. Allocations (a ClusterIP, a
//! nodePort) are not made here: the Service registry makes them in the object's own transaction.

use apimachinery::{
    field::FieldError,
    object::Object,
    resource::ResourceInfo,
    schema::{self, Problem, Shared, Struct},
    status::Status,
};
use jiff::Timestamp;

use crate::request::UserInfo;

/// One column of a server-side Table: `metav1.TableColumnDefinition`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Heading, as kubectl prints it in upper case.
    pub name: &'static str,
    /// `string`, `integer`, …
    pub kind: &'static str,
    /// `name` for the name column, else empty.
    pub format: &'static str,
    /// What the column tells.
    pub description: &'static str,
    /// 0: always printed; 1: only with `-o wide`.
    pub priority: i32,
}

/// What a strategy may know besides the objects.
#[derive(Clone, Debug)]
pub struct StrategyContext<'a> {
    /// Wall clock of this request.
    pub now: Timestamp,
    /// The subresource written: "", "status", "scale", "ephemeralcontainers", …
    pub subresource: &'a str,
    /// The user that writes.
    pub user: &'a UserInfo,
}

/// The part of an object that a write can own.
#[derive(Clone, Copy, Debug)]
pub enum Owned {
    /// All but these fields, which the strategy sets back.
    Except(&'static [&'static [&'static str]]),
    /// Only these fields.
    Only(&'static [&'static [&'static str]]),
}

/// The particulars of one resource. Every method has a default that fits a plain object without a status.
pub trait Strategy: Send + Sync + 'static {
    /// The resource that this strategy serves.
    fn resource(&self) -> &'static ResourceInfo;

    /// Fills in Kubernetes' defaults (`SetDefaults_…`), on create, on update and after a patch.
    fn default(&self, _object: &mut Object) {}

    /// Prepares a new object: drops the status, sets what the server owns (phase Pending, generation 1 is generic).
    fn prepare_for_create(&self, _ctx: &StrategyContext<'_>, _object: &mut Object) {}

    /// Prepares a replacement: keeps status on a main write, keeps all but status on a status write.
    fn prepare_for_update(&self, _ctx: &StrategyContext<'_>, _object: &mut Object, _old: &Object) {}

    /// Validates a new object, metadata included (see `registry::meta`).
    fn validate_create(&self, ctx: &StrategyContext<'_>, object: &Object) -> Vec<FieldError>;

    /// Validates a replacement, immutable fields included.
    fn validate_update(
        &self,
        ctx: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError>;

    /// Warnings for the caller: deprecated fields, fields that have no effect here.
    fn warnings(&self, _object: &Object) -> Vec<String> {
        Vec::new()
    }

    /// True when the part that `metadata.generation` counts differs.
    fn generation_changed(&self, object: &Object, old: &Object) -> bool {
        object.get(&["spec"]) != old.get(&["spec"])
    }

    /// Whether objects of this kind carry `metadata.generation` at all; without it the field is dropped.
    fn has_generation(&self) -> bool {
        true
    }

    /// The grace period that a delete without one gets; None: deleted at once (only pods have one).
    fn default_grace_period(&self, _object: &Object) -> Option<i64> {
        None
    }

    /// Whether an update of an absent object creates it (`AllowCreateOnUpdate`).
    fn allow_create_on_update(&self) -> bool {
        false
    }

    /// Whether an update without resourceVersion is taken (`AllowUnconditionalUpdate`).
    fn allow_unconditional_update(&self) -> bool {
        true
    }

    /// The fields that a field selector may name besides metadata.name and metadata.namespace, with their values.
    fn selectable_fields(&self, _object: &Object) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The names that `selectable_fields` can give.
    fn selectable_field_names(&self) -> &[&'static str] {
        &[]
    }

    /// The Table's columns.
    fn columns(&self) -> &[Column];

    /// One object's cells, in the order of `columns`.
    fn row(&self, object: &Object, now: Timestamp) -> Vec<serde_json::Value>;

    /// Whether `on_read` ever changes anything; where not, reads share the stored bytes unparsed.
    fn converts_on_read(&self) -> bool {
        false
    }

    /// Turns the stored form into the served form; None: the stored bytes are the served form.
    fn on_read(&self, _object: &Object) -> Option<Object> {
        None
    }

    /// Turns the served form into the stored form, where they differ: what [`Strategy::on_read`] undoes.
    fn to_storage(&self, _object: &mut Object) {}

    /// The schema by which fields are owned and configurations applied.
    fn merge_schema(&self) -> Option<Shared<Struct>> {
        schema::for_kind(self.resource()).map(Shared::Static)
    }

    /// Whether the kind is defined at run time: its schema is the strategy's own, and there is no strategic merge.
    fn is_custom(&self) -> bool {
        false
    }

    /// Checks and prunes an object of a kind that is defined at run time, as decoding does with others.
    fn check_fields(&self, _object: &mut Object) -> Vec<Problem> {
        Vec::new()
    }

    /// What every request for the resource is warned of: a version that is deprecated.
    fn deprecation(&self) -> Option<&str> {
        None
    }

    /// Why nothing may be created: the kind is about to go.
    fn refuses_creation(&self) -> Option<Status> {
        None
    }

    /// What can be owned through the object itself ("") or a subresource: what [`Strategy::prepare_for_update`] does
    /// not set back (`GetResetFields`).
    fn owned(&self, subresource: &str) -> Owned {
        match (self.resource().has_status(), subresource) {
            (true, "status") => Owned::Except(&[&["spec"]]),
            (true, _) => Owned::Except(&[&["status"]]),
            (false, _) => Owned::Except(&[]),
        }
    }

    /// The object as its `scale` subresource; an error for a resource without one.
    fn to_scale(&self, _object: &Object) -> Result<Object, Status> {
        Err(Status::internal("this resource has no scale"))
    }

    /// Writes a `scale` subresource back into its object.
    #[allow(
        clippy::wrong_self_convention,
        reason = "the counterpart of to_scale; self is the kind"
    )]
    fn from_scale(&self, _object: &mut Object, _scale: &Object) -> Result<(), Status> {
        Err(Status::internal("this resource has no scale"))
    }
}
