//! The `scale` subresource of a defined kind: a Scale read from and written to the paths that its definition names.

use apimachinery::{
    field::{FieldError, Path},
    object::Object,
    status::Status,
};
use serde_json::{Map, Value, json};

/// The paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    spec_replicas: String,
    status_replicas: String,
    selector: Option<String>,
}

impl Scale {
    /// Reads `subresources.scale`.
    pub(crate) fn parse(scale: &Value) -> Option<Self> {
        let text = |name: &str| scale[name].as_str().map(ToOwned::to_owned);
        Some(Self {
            spec_replicas: text("specReplicasPath")?,
            status_replicas: text("statusReplicasPath")?,
            selector: text("labelSelectorPath").filter(|path| !path.is_empty()),
        })
    }

    /// The replicas wished for.
    fn replicas<'o>(&self, object: &'o Object) -> Option<&'o Value> {
        object.get(&steps(&self.spec_replicas))
    }

    /// The object's Scale.
    ///
    /// # Errors
    /// When the object does not say how many replicas it wants.
    pub(crate) fn to_scale(&self, object: &Object) -> Result<Object, Status> {
        let wished = self.replicas(object).and_then(Value::as_i64).ok_or_else(|| {
            Status::internal(format!(
                "the spec replicas field {:?} does not exist",
                self.spec_replicas
            ))
        })?;
        let metadata: Map<String, Value> =
            ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]
                .into_iter()
                .filter_map(|name| {
                    Some((name.to_owned(), object.get(&["metadata", name])?.clone()))
                })
                .collect();
        let now = object.get_i64(&steps(&self.status_replicas)).unwrap_or_default();
        let mut status = json!({ "replicas": now });
        if let Some(path) = &self.selector {
            let selector = object.get_str(&steps(path));
            if !selector.is_empty() {
                status["selector"] = selector.into();
            }
        }
        let spec = if wished == 0 { json!({}) } else { json!({ "replicas": wished }) };
        Object::from_value(json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": metadata, "spec": spec, "status": status,
        }))
    }

    /// Writes a Scale back.
    pub(crate) fn write(&self, object: &mut Object, scale: &Object) {
        let replicas = scale.get_i64(&["spec", "replicas"]).unwrap_or_default();
        object.set(&steps(&self.spec_replicas), replicas);
    }

    /// The replicas are numbers that can be.
    pub(crate) fn validate(&self, object: &Object, errors: &mut Vec<FieldError>) {
        for (path, name) in
            [(&self.spec_replicas, "spec.replicas"), (&self.status_replicas, "status.replicas")]
        {
            let Some(value) = object.get(&steps(path)) else { continue };
            let at = Path::new(path.as_str());
            match value.as_i64() {
                Some(n) if n < 0 => {
                    errors.push(FieldError::invalid(&at, n, "should be a non-negative integer"));
                }
                Some(n) if n > i64::from(i32::MAX) => {
                    let detail = format!("should be less than or equal to {}", i32::MAX);
                    errors.push(FieldError::invalid(&at, n, detail));
                }
                Some(_) => {}
                None => {
                    let detail = format!("{name} must be an integer");
                    errors.push(FieldError::invalid(&at, value.clone(), detail));
                }
            }
        }
    }
}

/// `.spec.replicas` as steps.
fn steps(path: &str) -> Vec<&str> {
    path.split('.').filter(|step| !step.is_empty()).collect()
}
