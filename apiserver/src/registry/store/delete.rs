//! Deletion: at once, gracefully, or when the finalizers are done.

use std::{collections::BTreeSet, sync::Arc};

use apimachinery::{
    field::{FieldError, Path},
    object::Object,
    resource::{self, ResourceInfo},
    status::Status,
    time::Time,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Admit, Store, check_preconditions, storage_error};
use crate::{
    apiextensions::definition,
    request::{DeleteOptions, RequestContext},
    storage::{KeyValue, Txn, TxnResult},
};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const ATTEMPTS: usize = 64;

/// The outcome of a deletion.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// The object is gone; this was the last of it.
    Gone(Object),
    /// The object is marked and stays for now.
    Marked(Object),
}

/// What a deletion has to do.
enum Step {
    /// It is under way already, and no sooner than asked for.
    Nothing(Object),
    Now(Object),
    Mark(Object),
}

impl Store {
    /// Deletes an object, or marks it for deletion.
    ///
    /// # Errors
    /// Not found, a failed precondition, invalid options, or what `admit` gives.
    pub(crate) async fn delete(
        &self,
        context: &RequestContext,
        options: &DeleteOptions,
        admit: &Admit<'_>,
    ) -> Result<Deleted, Status> {
        validate(options)?;
        let key: Arc<str> = self.key(&context.namespace, &context.name).into();
        let mut current =
            self.deps.storage.get(&key).await.map_err(|e| storage_error(self.info, &e))?;
        for _ in 0..ATTEMPTS {
            let Some(kv) = current else {
                return Err(Status::not_found(self.info, &context.name));
            };
            let mut old = self.load(&kv.value)?;
            check_preconditions(self.info, &context.preconditions, &old)?;
            admit(&mut old, None)?;
            match self.plan_deletion(old, options) {
                Step::Nothing(object) => return Ok(Deleted::Marked(object)),
                Step::Now(object) if context.dry_run => return Ok(Deleted::Gone(object)),
                Step::Mark(object) if context.dry_run => return Ok(Deleted::Marked(object)),
                Step::Now(object) => match self.delete_now(&key, kv.mod_revision, &object).await? {
                    Ok(()) => return Ok(Deleted::Gone(object)),
                    Err(newer) => current = newer,
                },
                Step::Mark(object) => match self.mark(&key, &kv, &object).await? {
                    Ok(object) => return Ok(Deleted::Marked(object)),
                    Err(newer) => current = newer,
                },
            }
        }
        Err(Status::modified(self.info, &context.name))
    }

    async fn mark(
        &self,
        key: &Arc<str>,
        kv: &KeyValue,
        object: &Object,
    ) -> Result<Result<Object, Option<Arc<KeyValue>>>, Status> {
        let txn = Txn::update(self.put(key.clone(), object), kv.mod_revision);
        match self.deps.storage.txn(txn).await.map_err(|e| storage_error(self.info, &e))? {
            TxnResult::Committed { puts, .. } => Ok(Ok(Object::from_slice(&puts[0].value)?)),
            TxnResult::Conflict { current, .. } => Ok(Err(current)),
        }
    }

    /// `rest.BeforeDelete` and the finalizers of garbage collection, as one decision.
    fn plan_deletion(&self, mut object: Object, options: &DeleteOptions) -> Step {
        let finalizers_changed = set_gc_finalizers(&mut object, &options.propagation_policy);
        if std::ptr::eq(self.info, &raw const resource::CUSTOM_RESOURCE_DEFINITIONS)
            && object.deletion_timestamp().is_none()
        {
            // Its objects go first.
            definition::mark_for_deletion(&mut object, self.now());
        }
        let pending =
            object.finalizers().next().is_some() || !spec_finalizers(self.info, &object).is_empty();
        let grace = self.grace_period(&object, options);

        if let Some(deletion) = object.deletion_timestamp() {
            let old_grace =
                object.get_i64(&["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0);
            return match grace {
                // Asked again for less grace: the end comes sooner.
                Some(grace) if options.grace_period_seconds.is_some() && grace < old_grace => {
                    if grace == 0 && !pending {
                        return Step::Now(object);
                    }
                    let end = deletion.0.checked_sub(SignedDuration::from_secs(old_grace - grace));
                    mark(&mut object, Time(end.unwrap_or(deletion.0)), grace);
                    Step::Mark(object)
                }
                // What was deleted with grace needs none any more: a pod that has ended.
                None if !pending => Step::Now(object),
                _ if !pending && old_grace == 0 => Step::Now(object),
                _ if finalizers_changed => Step::Mark(object),
                _ => Step::Nothing(object),
            };
        }
        let grace = grace.unwrap_or(0);
        if grace == 0 && !pending {
            return Step::Now(object);
        }
        let now = self.now().0;
        let end = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
        mark(&mut object, Time(end), grace);
        if object.generation() > 0 {
            let next = object.generation() + 1;
            object.metadata_mut().insert("generation".into(), next.into());
        }
        if std::ptr::eq(self.info, &raw const resource::NAMESPACES) {
            object.set(&["status", "phase"], "Terminating");
        }
        Step::Mark(object)
    }

    /// The seconds of grace; None for a resource that knows none.
    fn grace_period(&self, object: &Object, options: &DeleteOptions) -> Option<i64> {
        let default = self.strategy.default_grace_period(object)?;
        let period = options.grace_period_seconds.unwrap_or(default);
        Some(if period < 0 { 1 } else { period })
    }
}

fn mark(object: &mut Object, end: Time, grace: i64) {
    let metadata = object.metadata_mut();
    metadata.insert("deletionTimestamp".into(), end.truncated().to_string().into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
}

/// A namespace has finalizers of its own, in its spec.
pub(super) fn spec_finalizers<'o>(info: &ResourceInfo, object: &'o Object) -> &'o [Value] {
    if std::ptr::eq(info, &raw const resource::NAMESPACES) {
        object.get_list(&["spec", "finalizers"])
    } else {
        &[]
    }
}

/// The finalizers that the propagation policy asks for; whether they changed.
fn set_gc_finalizers(object: &mut Object, policy: &str) -> bool {
    if policy.is_empty() {
        return false;
    }
    let before: BTreeSet<String> = object.finalizers().map(ToOwned::to_owned).collect();
    let mut after: Vec<String> = object
        .finalizers()
        .filter(|finalizer| *finalizer != ORPHAN && *finalizer != FOREGROUND)
        .map(ToOwned::to_owned)
        .collect();
    match policy {
        "Orphan" => after.push(ORPHAN.to_owned()),
        "Foreground" => after.push(FOREGROUND.to_owned()),
        _ => {}
    }
    let changed = before != after.iter().cloned().collect();
    if changed && after.is_empty() {
        object.metadata_mut().remove("finalizers");
    } else if changed {
        object.metadata_mut().insert("finalizers".into(), json!(after));
    }
    changed
}

fn validate(options: &DeleteOptions) -> Result<(), Status> {
    let policy = options.propagation_policy.as_str();
    if matches!(policy, "" | "Orphan" | "Background" | "Foreground") {
        return Ok(());
    }
    let supported = ["Foreground", "Background", "Orphan", "nil"];
    let error = FieldError::not_supported(&Path::new("propagationPolicy"), policy, &supported);
    Err(Status::invalid(&super::read::DELETE_OPTIONS, "", vec![error]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_become_finalizers() {
        let check = |before: Value, policy: &str, after: Value| {
            let mut object =
                Object::from_value(json!({"metadata": {"finalizers": before}})).unwrap();
            let changed = set_gc_finalizers(&mut object, policy);
            let now = object.get(&["metadata", "finalizers"]).cloned().unwrap_or(json!([]));
            assert_eq!(now, after, "{policy}");
            assert_eq!(changed, before != after, "{policy}");
        };
        check(json!(["a"]), "", json!(["a"]));
        check(json!(["a"]), "Orphan", json!(["a", "orphan"]));
        check(json!(["a", "orphan"]), "Foreground", json!(["a", "foregroundDeletion"]));
        check(json!(["foregroundDeletion"]), "Background", json!([]));
        check(json!([]), "Background", json!([]));
    }
}
