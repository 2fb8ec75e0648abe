//! Which objects a list or watch wants: label and field selectors, parsed and checked once.
//!
//! Selection reads as little of a stored object as it can. A selector on `metadata.name` or `metadata.namespace` is
//! answered from the key, labels by a parse that skips everything else; only other fields need the whole object. A
//! selector on exactly the indexed field (a pod's `spec.nodeName`) becomes the storage's own index and costs nothing.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use apimachinery::{
    field::go_quote,
    fields,
    labels::{self, Labels},
    object::Object,
    resource::{self, ResourceInfo},
    status::Status,
};
use serde::Deserialize;

use super::strategy::Strategy;
use crate::{request::ListOptions, storage::KeyValue};

/// The field by whose value a resource's objects are indexed in the storage.
pub(crate) fn indexed_field(info: &'static ResourceInfo) -> Option<&'static str> {
    std::ptr::eq(info, &raw const resource::PODS).then_some("spec.nodeName")
}

/// The value of the indexed field, if the object has one.
pub(crate) fn index_of(info: &'static ResourceInfo, object: &Object) -> Option<Arc<str>> {
    indexed_field(info)?;
    let node = object.get_str(&["spec", "nodeName"]);
    (!node.is_empty()).then(|| node.into())
}

/// The parsed selectors of one request.
#[derive(Clone)]
pub(crate) struct Selection {
    strategy: Arc<dyn Strategy>,
    labels: Option<labels::Selector>,
    /// Conditions on `metadata.name` and `metadata.namespace`: field, equal, value.
    key_fields: Vec<fields::Requirement>,
    fields: Option<fields::Selector>,
    /// The index that selects by itself.
    index: Option<Arc<str>>,
}

impl Selection {
    /// Parses the selectors of a request.
    ///
    /// # Errors
    /// Bad request, in Kubernetes' words, for a selector that is none or that names a field it may not.
    pub(crate) fn parse(
        strategy: &Arc<dyn Strategy>,
        options: &ListOptions,
    ) -> Result<Self, Status> {
        let info = strategy.resource();
        let mut selection = Self {
            strategy: strategy.clone(),
            labels: None,
            key_fields: Vec::new(),
            fields: None,
            index: None,
        };
        if !options.label_selector.is_empty() {
            let selector = labels::Selector::parse(&options.label_selector)
                .map_err(|error| Status::bad_request(error.to_string()))?;
            selection.labels = (!selector.is_everything()).then_some(selector);
        }
        if options.field_selector.is_empty() {
            return Ok(selection);
        }
        let selector = fields::Selector::parse(&options.field_selector)
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let mut others = 0;
        for requirement in selector.requirements() {
            match requirement.field.as_str() {
                "metadata.name" => selection.key_fields.push(requirement.clone()),
                "metadata.namespace" if info.namespaced => {
                    selection.key_fields.push(requirement.clone());
                }
                field if strategy.selectable_field_names().contains(&field) => {
                    if requirement.equal
                        && !requirement.value.is_empty()
                        && Some(field) == indexed_field(info)
                        && selection.index.is_none()
                    {
                        selection.index = Some(requirement.value.as_str().into());
                    } else {
                        others += 1;
                    }
                }
                field => return Err(unsupported_field(&**strategy, field)),
            }
        }
        selection.fields = (others > 0).then_some(selector);
        Ok(selection)
    }

    /// The storage index that this selection asks for.
    pub(crate) fn index(&self) -> Option<&Arc<str>> {
        self.index.as_ref()
    }

    /// Whether every object is selected that the storage gives.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_none() && self.key_fields.is_empty() && self.fields.is_none()
    }

    /// Whether the caller gave any selector.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_everything() && self.index.is_none()
    }

    /// Whether a stored object is selected. The storage's index is the caller's business, unless `with_index`.
    pub(crate) fn matches(&self, kv: &KeyValue, with_index: bool) -> bool {
        if with_index && self.index.is_some() && self.index != kv.index {
            return false;
        }
        if !self.key_fields.is_empty() {
            let (namespace, name) = namespace_and_name(self.strategy.resource(), &kv.key);
            let matches = self.key_fields.iter().all(|requirement| {
                let value = if requirement.field == "metadata.name" { name } else { namespace };
                (value == requirement.value) == requirement.equal
            });
            if !matches {
                return false;
            }
        }
        if let Some(selector) = &self.labels
            && !selector.matches(&ObjectLabels::read(&kv.value))
        {
            return false;
        }
        let Some(selector) = &self.fields else { return true };
        let Ok(object) = Object::from_slice(&kv.value) else { return false };
        let object = self.strategy.on_read(&object).unwrap_or(object);
        let fields = self.strategy.selectable_fields(&object);
        selector.matches(|field| match field {
            "metadata.name" => object.name(),
            "metadata.namespace" => object.namespace(),
            _ => fields.iter().find(|(name, _)| *name == field).map_or("", |(_, value)| value),
        })
    }
}

fn unsupported_field(strategy: &dyn Strategy, field: &str) -> Status {
    // Kinds with fields of their own word it differently from those with none.
    if strategy.selectable_field_names().is_empty() {
        Status::bad_request(format!(
            "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            go_quote(field)
        ))
    } else {
        Status::bad_request(format!("field label not supported: {field}"))
    }
}

/// The namespace and name in a key: the last one or two segments.
pub(crate) fn namespace_and_name<'k>(info: &ResourceInfo, key: &'k str) -> (&'k str, &'k str) {
    let (rest, name) = key.rsplit_once('/').unwrap_or(("", key));
    if !info.namespaced {
        return ("", name);
    }
    (rest.rsplit_once('/').map_or(rest, |(_, namespace)| namespace), name)
}

/// The labels of a stored object, the rest of it skipped.
#[derive(Deserialize, Default)]
struct ObjectLabels<'a> {
    #[serde(borrow, default)]
    metadata: LabelledMeta<'a>,
}

#[derive(Deserialize, Default)]
struct LabelledMeta<'a> {
    #[serde(borrow, default)]
    labels: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
}

impl<'a> ObjectLabels<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }
}

impl Labels for ObjectLabels<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(AsRef::as_ref)
    }
}
