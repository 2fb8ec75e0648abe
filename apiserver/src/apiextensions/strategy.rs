//! One version of a defined kind (`pkg/registry/customresource`).

use std::sync::Arc;

use apimachinery::{
    field::{ErrorType, FieldError, Path},
    jsonpath::JsonPath,
    object::Object,
    resource::ResourceInfo,
    schema::{self, Problem, Shared, Struct},
    status::Status,
    structural::{Structural, default, lists, merge, prune, rules_of_cel, validate},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    columns::{Columns, read_path},
    definition::Definition,
    scale::Scale,
};
use crate::registry::{
    meta,
    strategy::{Column, Owned, Strategy, StrategyContext},
};

const STATUS: &str = "status";

/// See the module.
pub(crate) struct CustomResource {
    info: &'static ResourceInfo,
    schema: Arc<Structural>,
    /// The schema and the `apiVersion` of what is stored.
    storage_schema: Arc<Structural>,
    storage_api_version: String,
    columns: Columns,
    scale: Option<Scale>,
    selectable: Vec<(&'static str, JsonPath)>,
    selectable_names: Vec<&'static str>,
    merge_schema: Shared<Struct>,
    deprecation: Option<String>,
    terminating: bool,
}

impl CustomResource {
    /// The served versions of a definition; none where it is not served.
    pub(crate) fn all_of(definition: &Definition) -> Vec<Self> {
        let Some(stored) = definition.storage_version().filter(|_| definition.is_served()) else {
            return Vec::new();
        };
        let schema_of = |version: &Value| {
            let schema = &version["schema"]["openAPIV3Schema"];
            Structural::parse(schema).map(Arc::new).unwrap_or_else(|why| {
                tracing::error!(definition = definition.name, %why, "a stored schema is none");
                Arc::default()
            })
        };
        let storage_schema = schema_of(stored);
        let storage_api_version =
            format!("{}/{}", definition.group(), stored["name"].as_str().unwrap_or_default());
        let served = definition.versions().iter().filter(|version| version["served"] == true);
        served
            .map(|version| {
                let same = version["schema"] == stored["schema"];
                let schema = if same { storage_schema.clone() } else { schema_of(version) };
                Self::new(definition, version, schema, &storage_schema, &storage_api_version)
            })
            .collect()
    }

    fn new(
        definition: &Definition,
        version: &Value,
        schema: Arc<Structural>,
        storage_schema: &Arc<Structural>,
        storage_api_version: &str,
    ) -> Self {
        let info = definition.info(version);
        let selectable: Vec<(&'static str, JsonPath)> = version["selectableFields"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|field| {
                let path = field["jsonPath"].as_str()?;
                let name =
                    apimachinery::resource::dynamic::intern_text(path.trim_start_matches('.'));
                Some((name, read_path(path).ok()?))
            })
            .collect();
        let deprecation = (version["deprecated"] == true).then(|| {
            version["deprecationWarning"].as_str().map_or_else(
                || format!("{} {} is deprecated", info.api_version(), info.kind),
                ToOwned::to_owned,
            )
        });
        Self {
            info,
            merge_schema: merge::schema_of(&schema),
            schema,
            storage_schema: storage_schema.clone(),
            storage_api_version: storage_api_version.to_owned(),
            columns: Columns::parse(version.get("additionalPrinterColumns")),
            scale: Scale::parse(&version["subresources"]["scale"]),
            selectable_names: selectable.iter().map(|(name, _)| *name).collect(),
            selectable,
            deprecation,
            terminating: definition.is("Terminating") || definition.deleting,
        }
    }

    fn validate(&self, object: &Object, old: Option<&Object>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (name, expected) in
            [("kind", self.info.kind.to_owned()), ("apiVersion", self.info.api_version())]
        {
            if object.get_str(&[name]) != expected {
                let detail = format!("must be {expected}");
                errors.push(FieldError::invalid(&Path::new(name), object.get_str(&[name]), detail));
            }
        }
        if !errors.is_empty() {
            return errors;
        }
        match old {
            None => {
                let namespaced = self.info.namespaced;
                errors.extend(meta::validate_extension(object, namespaced, meta::dns_subdomain));
            }
            Some(old) => errors.extend(meta::validate_extension_update(object, old)),
        }
        let value = Value::Object(object.0.clone());
        let old = old.map(|old| Value::Object(old.0.clone()));
        errors.extend(validate::validate(&value, old.as_ref(), &self.schema));
        if let Some(scale) = &self.scale {
            scale.validate(object, &mut errors);
        }
        errors.extend(lists::validate(&value, &self.schema));
        if !self.schema.has_rules() {
            return errors;
        }
        // Rules are written for values that fit their schema.
        let blocking = |error: &FieldError| {
            matches!(
                error.error_type,
                ErrorType::Required
                    | ErrorType::TooLong
                    | ErrorType::TooMany
                    | ErrorType::TypeInvalid
            )
        };
        if errors.iter().any(blocking) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.push(FieldError::invalid(&Path::root(), "null", detail));
        } else {
            errors.extend(rules_of_cel::validate(&value, old.as_ref(), &self.schema));
        }
        errors
    }
}

/// Applies a function to an object as a value.
fn with_value<T>(object: &mut Object, change: impl FnOnce(&mut Value) -> T) -> T {
    let mut value = Value::Object(std::mem::take(&mut object.0));
    let outcome = change(&mut value);
    if let Value::Object(fields) = value {
        object.0 = fields;
    }
    outcome
}

/// Checks the metadata as decoding into Go's type does, and drops what is unknown in it.
fn check_metadata(object: &mut Object) -> Vec<Problem> {
    let Some(metadata) = object.0.get_mut("metadata") else { return Vec::new() };
    let wrapped = json!({ "metadata": metadata.take() });
    let problems: Vec<Problem> = schema::check(&wrapped["metadata"], schema::object_meta())
        .into_iter()
        .map(|problem| match problem {
            Problem::UnknownField { path } => {
                Problem::UnknownField { path: format!("metadata.{path}") }
            }
            Problem::Undecodable(message) => Problem::Undecodable(message),
        })
        .collect();
    if let Value::Object(mut fields) = wrapped {
        *metadata = fields.remove("metadata").unwrap_or_default();
    }
    if problems.iter().any(Problem::is_strict) {
        schema::prune(metadata, schema::object_meta());
    }
    problems
}

impl Strategy for CustomResource {
    fn resource(&self) -> &'static ResourceInfo {
        self.info
    }

    fn default(&self, object: &mut Object) {
        with_value(object, |value| {
            default::drop_nulls(value, &self.schema);
            default::default(value, &self.schema);
        });
    }

    fn prepare_for_create(&self, _: &StrategyContext<'_>, object: &mut Object) {
        if self.info.has_status() {
            object.0.remove(STATUS);
        }
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Object, old: &Object) {
        if !self.info.has_status() {
            return;
        }
        if ctx.subresource != STATUS {
            match old.0.get(STATUS) {
                Some(status) => object.0.insert(STATUS.into(), status.clone()),
                None => object.0.remove(STATUS),
            };
            return;
        }
        // Only the status and who owns it.
        let status = object.0.remove(STATUS);
        let owners = object.metadata_mut().remove("managedFields");
        *object = old.clone();
        match status {
            Some(status) => object.0.insert(STATUS.into(), status),
            None => object.0.remove(STATUS),
        };
        match owners {
            Some(owners) => object.metadata_mut().insert("managedFields".into(), owners),
            None => object.metadata_mut().remove("managedFields"),
        };
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        self.validate(object, None)
    }

    fn validate_update(
        &self,
        _: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError> {
        self.validate(object, Some(old))
    }

    /// Everything counts but the metadata, and the status where it has a subresource.
    fn generation_changed(&self, object: &Object, old: &Object) -> bool {
        let counts = |name: &str| name != "metadata" && !(name == STATUS && self.info.has_status());
        let part = |object: &Object| -> Vec<(String, Value)> {
            let fields = object.0.iter().filter(|(name, _)| counts(name));
            fields.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        part(object) != part(old)
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let data = Value::Object(object.0.clone());
        let text = |path: &JsonPath| path.execute(&data).unwrap_or_default();
        self.selectable.iter().map(|(name, path)| (*name, text(path))).collect()
    }

    fn selectable_field_names(&self) -> &[&'static str] {
        &self.selectable_names
    }

    fn columns(&self) -> &[Column] {
        &self.columns.columns
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        self.columns.row(object, now)
    }

    fn converts_on_read(&self) -> bool {
        true
    }

    /// What is stored may be older than its schema.
    fn on_read(&self, object: &Object) -> Option<Object> {
        let mut served = object.clone();
        with_value(&mut served, |value| {
            prune::prune(value, &self.storage_schema);
            default::default(value, &self.storage_schema);
            if !Arc::ptr_eq(&self.schema, &self.storage_schema) {
                prune::prune(value, &self.schema);
            }
        });
        served.0.insert("apiVersion".into(), self.info.api_version().into());
        Some(served)
    }

    fn to_storage(&self, object: &mut Object) {
        object.0.insert("apiVersion".into(), self.storage_api_version.as_str().into());
    }

    fn merge_schema(&self) -> Option<Shared<Struct>> {
        Some(self.merge_schema.clone())
    }

    fn is_custom(&self) -> bool {
        true
    }

    fn check_fields(&self, object: &mut Object) -> Vec<Problem> {
        let mut problems = check_metadata(object);
        let unknown = with_value(object, |value| prune::prune(value, &self.schema));
        problems.extend(unknown.into_iter().map(|path| Problem::UnknownField { path }));
        problems
    }

    fn deprecation(&self) -> Option<&str> {
        self.deprecation.as_deref()
    }

    fn refuses_creation(&self) -> Option<Status> {
        self.terminating.then(|| {
            let mut status = Status::method_not_allowed(self.info, "create");
            status.message =
                "create not allowed while custom resource definition is terminating".to_owned();
            status
        })
    }

    fn owned(&self, subresource: &str) -> Owned {
        match (self.info.has_status(), subresource) {
            (true, STATUS) => Owned::Except(&[&["metadata"], &["spec"]]),
            (true, _) => Owned::Except(&[&[STATUS]]),
            (false, _) => Owned::Except(&[]),
        }
    }

    fn to_scale(&self, object: &Object) -> Result<Object, Status> {
        self.scale.as_ref().ok_or_else(Status::resource_not_found)?.to_scale(object)
    }

    fn from_scale(&self, object: &mut Object, scale: &Object) -> Result<(), Status> {
        let paths = self.scale.as_ref().ok_or_else(Status::resource_not_found)?;
        paths.write(object, scale);
        Ok(())
    }
}
