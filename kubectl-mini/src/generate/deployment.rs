//! `create deployment`.

use serde_json::{Value, json};

use super::{Generated, app_labels, container_name, error, metadata, object, random_suffix};

/// What the flags of `create deployment` say.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    /// Its name, also the value of its `app` label.
    pub name: String,
    /// One container each.
    pub images: Vec<String>,
    /// What stands after `--`.
    pub command: Vec<String>,
    /// Negative: as if it were not given.
    pub replicas: i32,
    /// The first container's port.
    pub port: Option<i32>,
}

impl Deployment {
    /// Makes the object.
    ///
    /// # Errors
    /// When there are several images and a command.
    pub fn generate(&self) -> Generated {
        if self.images.len() > 1 && !self.command.is_empty() {
            return error("cannot specify multiple --image options and command");
        }
        let labels = app_labels(&self.name);
        let mut containers: Vec<Value> = self
            .images
            .iter()
            .map(|image| {
                let name = container_name(image, random_suffix);
                json!({"name": name, "image": image, "resources": {}})
            })
            .collect();
        if let Some(first) = containers.first_mut() {
            if !self.command.is_empty() {
                first["command"] = json!(self.command);
            }
            if let Some(port) = self.port.filter(|port| *port >= 0) {
                first["ports"] = json!([{"containerPort": port}]);
            }
        }
        Ok(object(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata(&self.name, &labels),
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": labels},
                "strategy": {},
                "template": {
                    "metadata": {"creationTimestamp": null, "labels": labels},
                    "spec": {"containers": containers},
                },
            },
            "status": {},
        })))
    }
}
