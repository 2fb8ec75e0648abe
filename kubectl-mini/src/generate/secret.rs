//! `create secret generic`, `docker-registry` and `tls`.

use std::{collections::BTreeMap, fs};

use apimachinery::{json as go_json, object::Object, validation};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    GenerateError, Generated, error, hash, metadata, object,
    sources::{Entry, SECRET_WORDS, Sources, go_io_error},
};

const DOCKER_CONFIG_KEY: &str = ".dockerconfigjson";

/// What the flags of `create secret generic` say.
#[derive(Clone, Debug, Default)]
pub struct Generic {
    /// Its name.
    pub name: String,
    /// Of `--type`; empty: not set.
    pub secret_type: String,
    /// Where the data is.
    pub sources: Sources,
    /// Of `--append-hash`.
    pub append_hash: bool,
}

impl Generic {
    /// Makes the object.
    ///
    /// # Errors
    /// When a source cannot be read, or a key is invalid or stands twice.
    pub fn generate(&self) -> Generated {
        self.sources.check()?;
        let data = read_data(&self.sources)?;
        Ok(secret(&self.name, &self.secret_type, data, self.append_hash))
    }
}

fn read_data(sources: &Sources) -> Result<Map<String, Value>, GenerateError> {
    let mut data = Map::new();
    sources.read(SECRET_WORDS, |entry| add(&mut data, entry))?;
    Ok(data)
}

fn add(data: &mut Map<String, Value>, (key, value): Entry) -> Result<(), GenerateError> {
    let problems = validation::is_config_map_key(&key);
    if !problems.is_empty() {
        return error(format!("{key:?} is not valid key name for a Secret {}", problems.join(";")));
    }
    if data.contains_key(&key) {
        return error(format!("cannot add key {key}, another key by that name already exists"));
    }
    data.insert(key, STANDARD.encode(value).into());
    Ok(())
}

fn secret(name: &str, secret_type: &str, data: Map<String, Value>, append_hash: bool) -> Object {
    let mut secret = object(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(name, &BTreeMap::new()),
    }));
    if append_hash {
        let name = format!("{name}-{}", hash::secret(name, secret_type, &data));
        secret.set(&["metadata", "name"], name);
    }
    if !secret_type.is_empty() {
        secret.set(&["type"], secret_type);
    }
    if !data.is_empty() {
        secret.set(&["data"], data);
    }
    secret
}

/// What the flags of `create secret docker-registry` say.
#[derive(Clone, Default)]
pub struct DockerRegistry {
    /// Its name.
    pub name: String,
    /// Of `--docker-server`.
    pub server: String,
    /// Of `--docker-username`.
    pub username: String,
    /// Of `--docker-password`.
    pub password: String,
    /// Of `--docker-email`.
    pub email: String,
    /// Of `--from-file`.
    pub files: Vec<String>,
    /// Of `--append-hash`.
    pub append_hash: bool,
}

impl DockerRegistry {
    /// Makes the object.
    ///
    /// # Errors
    /// When credentials are missing, or a file cannot be read.
    pub fn generate(&self) -> Generated {
        let incomplete =
            self.username.is_empty() || self.password.is_empty() || self.server.is_empty();
        if self.files.is_empty() && incomplete {
            return error(
                "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required",
            );
        }
        let data = if self.files.is_empty() {
            Map::from_iter([(DOCKER_CONFIG_KEY.to_owned(), STANDARD.encode(self.config()).into())])
        } else {
            // A lone file stands under the key that the type demands.
            let mut files = self.files.clone();
            if let [file] = files.as_mut_slice()
                && !file.contains('=')
            {
                *file = format!("{DOCKER_CONFIG_KEY}={file}");
            }
            read_data(&Sources { files, ..Sources::default() })?
        };
        Ok(secret(&self.name, "kubernetes.io/dockerconfigjson", data, self.append_hash))
    }

    /// Docker's own configuration, its members in Go's order.
    fn config(&self) -> String {
        let text = |value: &str| go_json::to_string(&Value::from(value));
        let auth = STANDARD.encode(format!("{}:{}", self.username, self.password));
        let mut members = vec![
            format!("\"username\":{}", text(&self.username)),
            format!("\"password\":{}", text(&self.password)),
        ];
        if !self.email.is_empty() {
            members.push(format!("\"email\":{}", text(&self.email)));
        }
        members.push(format!("\"auth\":{}", text(&auth)));
        format!("{{\"auths\":{{{}:{{{}}}}}}}", text(&self.server), members.join(","))
    }
}

/// What the flags of `create secret tls` say.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Its name.
    pub name: String,
    /// Of `--cert`.
    pub cert: String,
    /// Of `--key`.
    pub key: String,
    /// Of `--append-hash`.
    pub append_hash: bool,
}

impl Tls {
    /// Makes the object.
    ///
    /// # Errors
    /// When a file is missing or holds no PEM.
    pub fn generate(&self) -> Generated {
        if self.cert.is_empty() || self.key.is_empty() {
            return error("key and cert must be specified");
        }
        let cert = read_pem_file(&self.cert)?;
        let key = read_pem_file(&self.key)?;
        check_pem(&cert, &["CERTIFICATE"], "certificate")?;
        check_pem(&key, &["PRIVATE KEY"], "key")?;
        let data = Map::from_iter([
            ("tls.crt".to_owned(), STANDARD.encode(cert).into()),
            ("tls.key".to_owned(), STANDARD.encode(key).into()),
        ]);
        Ok(secret(&self.name, "kubernetes.io/tls", data, self.append_hash))
    }
}

fn read_pem_file(path: &str) -> Result<Vec<u8>, GenerateError> {
    fs::read(path).map_err(|e| {
        GenerateError(format!("Cannot read file {path}, open {path}: {}", go_io_error(&e)))
    })
}

/// Looks for a block whose label ends with one of the kinds.
fn check_pem(bytes: &[u8], kinds: &[&str], what: &str) -> Result<(), GenerateError> {
    let text = String::from_utf8_lossy(bytes);
    let labels: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .collect();
    if labels.is_empty() {
        return error(format!("tls: failed to find any PEM data in {what} input"));
    }
    if labels.iter().any(|label| kinds.iter().any(|kind| label.ends_with(kind))) {
        return Ok(());
    }
    error(match (what, labels.as_slice()) {
        ("certificate", [label]) if label.ends_with("PRIVATE KEY") => {
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".to_owned()
        }
        ("certificate", labels) => format!(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
            labels.join(" ")
        ),
        (_, ["CERTIFICATE"]) => {
            "tls: found a certificate rather than a key in the PEM for the private key".to_owned()
        }
        (_, labels) => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
            labels.join(" ")
        ),
    })
}
