//! Secret: `stringData` becomes `data`; some types demand keys.

use apimachinery::{
    field::FieldError, object::Object, resource, resource::ResourceInfo,
    validation::is_config_map_key,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::{
    defaults::{self, Fields},
    meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::{
        at::{At, Errors},
        immutable_data, size_of_base64,
    },
};

const MAX_SIZE: usize = 1 << 20;
const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const COLUMNS: [Column; 4] = [
    printers::NAME,
    printers::string("Type", "Used to facilitate programmatic handling of secret data."),
    printers::string("Data", "The number of keys of data."),
    printers::AGE,
];

/// See the module.
pub(super) struct Secret;

impl Strategy for Secret {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::SECRETS
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        defaults::set_zero(&mut object.0, "type", "Opaque");
        let Some(Value::Object(texts)) = object.0.remove("stringData") else { return };
        if let Some(data) = defaults::child_or_new(&mut object.0, "data") {
            for (key, text) in texts {
                let encoded = BASE64_STANDARD.encode(text.as_str().unwrap_or_default());
                data.insert(key, encoded.into());
            }
        }
        if object.0.get("data").and_then(Value::as_object).is_some_and(Fields::is_empty) {
            object.0.remove("data");
        }
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        check(object, &mut errors);
        errors.0
    }

    fn validate_update(
        &self,
        _: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check_update(object, old, &mut errors);
        errors.immutable(&At::top(object, "type"), &At::top(old, "type"));
        immutable_data(object, old, &["data"], &mut errors);
        check(object, &mut errors);
        errors.0
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        vec![("type", object.get_str(&["type"]).to_owned())]
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        vec![
            printers::name(object),
            object.get_str(&["type"]).into(),
            printers::count(object, &["data"]),
            printers::age(object, now),
        ]
    }
}

fn check(object: &Object, errors: &mut Errors) {
    meta::check(object, true, meta::dns_subdomain, errors);
    let data = At::top(object, "data");
    let mut size = 0;
    for (key, value) in data.entries() {
        errors.each_as(&value, key, is_config_map_key(key));
        size += size_of_base64(value.text());
    }
    if size > MAX_SIZE {
        errors.too_long(&data, MAX_SIZE);
    }
    match object.get_str(&["type"]) {
        "kubernetes.io/service-account-token"
            if object.annotation(SERVICE_ACCOUNT_NAME).is_none_or(str::is_empty) =>
        {
            let metadata = At::top(object, "metadata");
            let annotations = metadata.get("annotations");
            errors.required(&annotations.key(SERVICE_ACCOUNT_NAME), "");
        }
        "kubernetes.io/dockercfg" => json_key(&data, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => json_key(&data, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if !data.has("username") && !data.has("password") => {
            errors.required(&data.key("username"), "");
            errors.required(&data.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if data.str("ssh-privatekey").is_empty() => {
            errors.required(&data.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if !data.has(key) {
                    errors.required(&data.key(key), "");
                }
            }
        }
        _ => {}
    }
}

/// A key that must be there and hold a JSON object.
fn json_key(data: &At<'_>, key: &str, errors: &mut Errors) {
    let value = data.key(key);
    if !value.is_set() {
        errors.required(&value, "");
        return;
    }
    let bytes = BASE64_STANDARD.decode(value.text()).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<Fields>(&bytes) {
        errors.invalid_as(&value, "<secret contents redacted>", go_json_error(&bytes, &error));
    }
}

/// What Go's encoding/json says to a text that is no JSON object.
fn go_json_error(bytes: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            apimachinery::object::json_type(&value)
        ),
        Err(_) => {
            let text = String::from_utf8_lossy(bytes);
            let first = text.trim_start().chars().next().unwrap_or_default();
            match first {
                '{' | '[' => error.to_string(),
                first => {
                    format!("invalid character '{first}' looking for beginning of value")
                }
            }
        }
    }
}
