//! `apply --server-side`: the server merges, and keeps who owns which field.
//!
//! An object that was applied by the client before has its fields owned by the manager of that time, as updates. They are
//! handed over to the applying manager after the first apply, and the object is applied once more, so that what the
//! manifest does not name any more goes. The annotation of the client's apply gets an owner of its own meanwhile, so
//! that it stays.

use std::collections::BTreeSet;

use apimachinery::{object::Object, status::Status};
use client::Patch;
use serde_json::{Map, Value, json};

use crate::{
    changing::{DryRun, LAST_APPLIED, Place, Writer},
    context::Context,
    errors::CommandError,
};

/// kubectl's manager of fields that are applied by the server.
pub(crate) const MANAGER: &str = "kubectl";
/// Who owns the annotation of the client's apply from then on.
const ANNOTATION_MANAGER: &str = "kubectl-last-applied";
/// How often a hand-over that lost a race is made anew.
const TRIES: usize = 5;

const RESOLUTIONS: &str = "
Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
* If you intend to manage all of these fields, please re-run the apply
  command with the `--force-conflicts` flag.
* If you do not intend to manage all of the fields, please edit your
  manifest to remove references to the fields that should keep their
  current managers.
* You may co-own fields by updating your manifest to match the existing
  value; in this case, you'll become the manager if the other manager(s)
  stop managing the field (remove it from their configuration).
See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts";

/// How objects are applied.
pub(super) struct ServerSide<'a> {
    pub(super) context: &'a Context,
    pub(super) writer: &'a Writer<'a>,
    pub(super) manager: &'a str,
    pub(super) dry_run: DryRun,
    pub(super) force: bool,
}

impl ServerSide<'_> {
    /// Applies one manifest, and gives the object as it is now.
    pub(super) async fn apply(
        &self,
        place: Place<'_>,
        manifest: Object,
    ) -> Result<Object, CommandError> {
        let patch = Patch::Apply { object: manifest.into_value(), force: self.force };
        let applied = self.writer.patch(place, &patch).await;
        let mut object = applied.map_err(|error| match error.status() {
            Some(status) if status.is_conflict() => {
                CommandError::message(format!("{}{RESOLUTIONS}", status.message))
            }
            _ => error,
        })?;
        if let Err(error) = self.keep_annotation(place, &mut object).await {
            self.warn("failed to migrate kubectl.kubernetes.io/last-applied-configuration for Server-Side Apply", &error)?;
        }
        match self.hand_over(place, &mut object).await {
            Err(error) => {
                self.warn("server rejected managed fields migration to Server-Side Apply", &error)?;
            }
            Ok(true) => match self.writer.patch(place, &patch).await {
                Ok(applied) => object = applied,
                Err(error) => self.warn(
                    "failed to re-apply configuration after performing Server-Side Apply migration",
                    &error,
                )?,
            },
            Ok(false) => {}
        }
        if object.deletion_timestamp().is_some() {
            self.context.print_err(&format!(
                "Warning: Detected changes to resource {} which is currently being deleted.\n",
                object.name()
            ))?;
        }
        Ok(object)
    }

    fn warn(&self, what: &str, error: &CommandError) -> Result<(), CommandError> {
        self.context.print_err(&format!(
            "Warning: {what}. This is non-fatal and will be retried next time you apply. Error: {error}\n"
        ))
    }

    /// Gives the annotation of the client's apply an owner that no later apply takes it from.
    async fn keep_annotation(
        &self,
        place: Place<'_>,
        object: &mut Object,
    ) -> Result<(), CommandError> {
        if self.manager != MANAGER {
            return Ok(());
        }
        let Some(text) = object.annotation(LAST_APPLIED).map(str::to_owned) else { return Ok(()) };
        if !owners(object, "Apply").is_empty() {
            return Ok(());
        }
        let mut metadata = json!({"name": object.name(), "annotations": {LAST_APPLIED: text}});
        if !object.namespace().is_empty() {
            metadata["namespace"] = object.namespace().into();
        }
        let bare = json!({
            "apiVersion": object.api_version(), "kind": object.kind(), "metadata": metadata,
        });
        let writer = Writer::new(self.context, ANNOTATION_MANAGER, self.dry_run)?;
        let patch = Patch::Apply { object: bare, force: false };
        *object = writer.patch(place, &patch).await?;
        Ok(())
    }

    /// Makes this manager the owner of what the client's apply owned. Whether there was anything.
    async fn hand_over(&self, place: Place<'_>, object: &mut Object) -> Result<bool, CommandError> {
        let former = owners(object, "Update");
        for _ in 0..TRIES {
            let entries = managed_fields(object);
            let upgraded = upgraded(entries.clone(), &former, self.manager);
            if upgraded == entries {
                return Ok(false);
            }
            let patch = Patch::Json(json!([
                {"op": "replace", "path": "/metadata/managedFields", "value": upgraded},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": object.resource_version()},
            ]));
            match self.writer.patch(place, &patch).await {
                Ok(patched) => {
                    *object = patched;
                    return Ok(true);
                }
                Err(error) if !error.status().is_some_and(Status::is_conflict) => {
                    return Err(error);
                }
                Err(_) => {
                    let client = self.context.client()?;
                    let get = client.get_object(place.info, place.namespace, place.name);
                    *object = self.context.request(get).await?;
                }
            }
        }
        Err(CommandError::message("the object keeps changing"))
    }
}

fn managed_fields(object: &Object) -> Vec<Value> {
    object.get_list(&["metadata", "managedFields"]).to_vec()
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The managers that own the annotation by operations of this sort.
fn owners(object: &Object, operation: &str) -> BTreeSet<String> {
    let annotation = format!("f:{LAST_APPLIED}");
    let owns = |entry: &&Value| {
        let fields = &entry["fieldsV1"]["f:metadata"]["f:annotations"];
        text(entry, "operation") == operation && fields.get(&annotation).is_some()
    };
    let entries = object.get_list(&["metadata", "managedFields"]).iter();
    entries.filter(owns).map(|entry| text(entry, "manager").to_owned()).collect()
}

/// The entries with those of the former managers, by update, joined into the applying manager's.
fn upgraded(mut entries: Vec<Value>, former: &BTreeSet<String>, manager: &str) -> Vec<Value> {
    let is = |entry: &Value, name: &str, operation: &str| {
        text(entry, "manager") == name
            && text(entry, "operation") == operation
            && text(entry, "subresource").is_empty()
    };
    for name in former {
        let applying = entries.iter().position(|entry| is(entry, manager, "Apply"));
        let Some(into) =
            applying.or_else(|| entries.iter().position(|entry| is(entry, name, "Update")))
        else {
            continue;
        };
        let version = text(&entries[into], "apiVersion").to_owned();
        let own = entries
            .iter()
            .find(|entry| is(entry, name, "Update") && text(entry, "apiVersion") == version)
            .map(|entry| entry["fieldsV1"].clone());
        entries[into]["operation"] = "Apply".into();
        entries[into]["manager"] = manager.into();
        if let Some(own) = own {
            join(&mut entries[into]["fieldsV1"], own);
        }
        entries.retain(|entry| !is(entry, name, "Update"));
    }
    entries
}

/// The union of two sets of fields.
fn join(into: &mut Value, other: Value) {
    let Value::Object(other) = other else { return };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    if let Value::Object(into) = into {
        for (key, value) in other {
            match into.get_mut(&key) {
                Some(known) => join(known, value),
                None => {
                    into.insert(key, value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_fields_become_the_appliers() {
        let annotation = json!({"f:annotations": {format!("f:{LAST_APPLIED}"): {}}});
        let update = json!({"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
            "fieldsV1": {"f:metadata": annotation, "f:data": {"f:a": {}, "f:b": {}}}});
        let other =
            json!({"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsV1": {}});
        let apply = json!({"manager": "kubectl", "operation": "Apply", "apiVersion": "v1",
            "fieldsV1": {"f:data": {"f:a": {}}}});
        let object = |entries: Value| {
            Object::from_value(json!({"metadata": {"managedFields": entries}})).unwrap()
        };
        let both = object(json!([apply, update, other]));
        let former = owners(&both, "Update");
        assert_eq!(former.iter().collect::<Vec<_>>(), ["kubectl-client-side-apply"]);
        let joined = upgraded(managed_fields(&both), &former, "kubectl");
        assert_eq!(joined.len(), 2);
        assert_eq!(joined[0]["fieldsV1"]["f:data"], json!({"f:a": {}, "f:b": {}}));
        assert!(joined[0]["fieldsV1"]["f:metadata"].is_object());
        // Without an entry of its own it takes over the client's.
        let alone = upgraded(managed_fields(&object(json!([update, other]))), &former, "kubectl");
        assert_eq!(
            (text(&alone[0], "manager"), text(&alone[0], "operation")),
            ("kubectl", "Apply")
        );
        // And where there is nothing to take over, nothing changes.
        let none = managed_fields(&object(json!([apply, other])));
        assert_eq!(upgraded(none.clone(), &BTreeSet::new(), "kubectl"), none);
    }
}
