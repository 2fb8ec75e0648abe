//! `run`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{GenerateError, Generated, error, object, parse_labels, sources::is_variable_name};

/// What the flags of `run` say.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Name of the pod and its container.
    pub name: String,
    /// Of `--image`.
    pub image: String,
    /// Of `--image-pull-policy`.
    pub image_pull_policy: String,
    /// Of `--port`.
    pub port: String,
    /// Of `--labels`; empty: `run=NAME`.
    pub labels: String,
    /// Of `--annotations`.
    pub annotations: Vec<String>,
    /// Of `--env`.
    pub env: Vec<String>,
    /// What follows the name.
    pub args: Vec<String>,
    /// Whether that is the command.
    pub command: bool,
    /// Of `--restart`; empty: `Always`.
    pub restart: String,
    /// Of `--stdin`.
    pub stdin: bool,
    /// Of `--leave-stdin-open`.
    pub leave_stdin_open: bool,
    /// Of `--tty`.
    pub tty: bool,
    /// Of `--privileged`.
    pub privileged: bool,
}

impl Run {
    /// Makes the pod.
    ///
    /// # Errors
    /// When labels, annotations, variables or the port cannot be read.
    pub fn generate(&self) -> Generated {
        let env = self.env.iter().map(|text| variable(text)).collect::<Result<Vec<_>, _>>()?;
        let labels = self.pod_labels()?;
        let mut container = json!({"name": self.name, "image": self.image, "resources": {}});
        if self.stdin {
            container["stdin"] = true.into();
            if !self.leave_stdin_open {
                container["stdinOnce"] = true.into();
            }
        }
        if self.tty {
            container["tty"] = true.into();
        }
        if !self.args.is_empty() {
            container[if self.command { "command" } else { "args" }] = json!(self.args);
        }
        if !env.is_empty() {
            container["env"] = env.into();
        }
        if !self.image_pull_policy.is_empty() {
            container["imagePullPolicy"] = self.image_pull_policy.as_str().into();
        }
        if !self.port.is_empty() {
            container["ports"] = json!([{"containerPort": parse_port(&self.port)?}]);
        }
        if self.privileged {
            container["securityContext"] = json!({"privileged": true});
        }
        let restart = if self.restart.is_empty() { "Always" } else { &self.restart };
        let mut metadata = json!({"creationTimestamp": null, "labels": labels, "name": self.name});
        let annotations = self.pod_annotations()?;
        if !annotations.is_empty() {
            metadata["annotations"] = annotations.into();
        }
        Ok(object(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {
                "containers": [container],
                "dnsPolicy": "ClusterFirst",
                "restartPolicy": restart,
            },
            "status": {},
        })))
    }

    fn pod_labels(&self) -> Result<BTreeMap<String, String>, GenerateError> {
        match self.labels.as_str() {
            "" => Ok(BTreeMap::from([("run".to_owned(), self.name.clone())])),
            labels => parse_labels(labels),
        }
    }

    fn pod_annotations(&self) -> Result<Map<String, Value>, GenerateError> {
        let mut annotations = Map::new();
        for text in &self.annotations {
            match text.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    annotations.insert(key.to_owned(), value.into());
                }
                _ => return error(format!("invalid annotations format: {text}")),
            }
        }
        Ok(annotations)
    }
}

fn variable(text: &str) -> Result<Value, GenerateError> {
    match text.split_once('=') {
        Some((name, value)) if is_variable_name(name) => {
            // Go leaves an empty value out.
            Ok(if value.is_empty() {
                json!({"name": name})
            } else {
                json!({"name": name, "value": value})
            })
        }
        _ => error(format!("invalid env: {text}")),
    }
}

fn parse_port(text: &str) -> Result<i64, GenerateError> {
    match text.parse::<i64>() {
        Ok(port) => Ok(port),
        Err(_) => error(format!("strconv.Atoi: parsing {text:?}: invalid syntax")),
    }
}
