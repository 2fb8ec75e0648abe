//! Server-side apply: a patch that says all that its manager wants, and nothing else.
//!
//! The fields' fate is decided in `apimachinery::managed_fields`. An object that is not there is created, which is
//! another right than patching.

use std::sync::Arc;

use apimachinery::{
    field::{FieldError, Path},
    object::Object,
    resource::ResourceInfo,
    status::Status,
};
use parking_lot::Mutex;

use super::{Handler, Reply, write::check_name};
use crate::{
    registry::{
        decode, patch,
        store::{New, Store, Stored},
    },
    request::{Request, RequestContext, Verb, pseudo_resource},
};

/// How errors about the options of a patch name them.
static PATCH_OPTIONS: ResourceInfo = pseudo_resource("meta.k8s.io", "PatchOptions", "");
/// How often an apply starts again because the object came or went meanwhile.
const ATTEMPTS: usize = 8;

/// Checks what the options of a patch say against its type (`ValidatePatchOptions`).
///
/// # Errors
/// Invalid, in Kubernetes' words.
pub(super) fn check_options(context: &RequestContext, is_apply: bool) -> Result<(), Status> {
    let error = if is_apply && !context.manager_given {
        FieldError::required(&Path::new("fieldManager"), "is required for apply patch")
    } else if !is_apply && context.force {
        FieldError::forbidden(&Path::new("force"), "may not be specified for non-apply patch")
    } else {
        return Ok(());
    };
    Err(Status::invalid(&PATCH_OPTIONS, "", vec![error]))
}

impl Handler {
    pub(super) async fn apply(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        body: &[u8],
        warnings: &mut Vec<String>,
    ) -> Result<Reply, Status> {
        let config = patch::parse_apply(body, context.field_validation, warnings)?;
        let is_scale = context.subresource == "scale";
        let config = if is_scale { of_scale(store, &config)? } else { config };
        if config.kind() != store.info.kind {
            return Err(Status::bad_request(format!(
                "invalid object type: {}, Kind={}",
                config.api_version(),
                config.kind()
            )));
        }
        let stored = self.apply_config(store, context, &config, warnings).await?;
        let body = if is_scale {
            store.strategy.to_scale(&store.load(&stored.bytes)?)?.to_bytes()
        } else {
            self.shaper(store, context).object(&stored.bytes)?
        };
        Ok(Reply::Object { body, created: stored.created })
    }

    async fn apply_config(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        config: &Object,
        warnings: &mut Vec<String>,
    ) -> Result<Stored, Status> {
        let collected = Mutex::new(Vec::new());
        let make = |live: Option<&Object>| {
            let now = self.deps.clock.now();
            let mut object = store.fields.apply(context, now, live, config)?;
            let shown = |object: &Object| serde_json::Value::Object(object.0.clone()).to_string();
            let (validation, mut found) = (context.field_validation, Vec::new());
            let (info, custom) = (store.info, store.custom());
            decode::check_patched(info, custom, &mut object, &shown, validation, &mut found)?;
            check_name(context, &mut object)?;
            store.strategy.default(&mut object);
            found.extend(store.strategy.warnings(&object));
            *collected.lock() = found;
            Ok::<_, Status>(object)
        };
        let transform = |old: &Object| {
            let mut object = make(Some(old))?;
            self.admit_update(context, &mut object, old)?;
            Ok(object)
        };
        for _ in 0..ATTEMPTS {
            match store.update(context, &transform).await {
                Err(status) if status.is_not_found() && context.subresource.is_empty() => {}
                outcome => {
                    warnings.append(&mut collected.lock());
                    return outcome;
                }
            }
            // Creating is another right than patching.
            let create = RequestContext { verb: Verb::Create, ..context.clone() };
            self.authorize(&create, &Request::Create(bytes::Bytes::new())).await?;
            let new = New { object: make(None)?, owners: None };
            match self.create_object(store, &create, new, warnings).await {
                Err(status) if status.is_already_exists() => {}
                outcome => return outcome,
            }
        }
        Err(Status::modified(store.info, &context.name))
    }
}

/// The configuration of an object that wants what a Scale says.
fn of_scale(store: &Store, scale: &Object) -> Result<Object, Status> {
    let info = store.info;
    if (scale.api_version(), scale.kind()) != ("autoscaling/v1", "Scale") {
        return Err(Status::bad_request(format!(
            "invalid object type: {}, Kind={}",
            scale.api_version(),
            scale.kind()
        )));
    }
    let mut config = Object::default();
    config.set(&["apiVersion"], info.api_version());
    config.set(&["kind"], info.kind);
    if let Some(metadata) = scale.get(&["metadata"]) {
        config.set(&["metadata"], metadata.clone());
    }
    // Defined kinds have their replicas where their definition says.
    if scale.get(&["spec", "replicas"]).is_some() {
        store.strategy.from_scale(&mut config, scale)?;
    }
    Ok(config)
}
