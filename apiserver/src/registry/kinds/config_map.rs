//! ConfigMap.

use apimachinery::{
    field::FieldError, object::Object, resource, resource::ResourceInfo,
    validation::is_config_map_key,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::{
        at::{At, Errors},
        immutable_data, size_of_base64,
    },
};

/// `data` and `binaryData` together (`MaxSecretSize`).
const MAX_SIZE: usize = 1 << 20;
const COLUMNS: [Column; 3] = [
    printers::NAME,
    printers::string("Data", "The number of keys of data and binaryData."),
    printers::AGE,
];

/// See the module.
pub(super) struct ConfigMap;

impl Strategy for ConfigMap {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::CONFIG_MAPS
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
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
        immutable_data(object, old, &["data", "binaryData"], &mut errors);
        check(object, &mut errors);
        errors.0
    }

    fn generation_changed(&self, _: &Object, _: &Object) -> bool {
        false
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        vec![
            printers::name(object),
            printers::count(object, &["data", "binaryData"]),
            printers::age(object, now),
        ]
    }
}

fn check(object: &Object, errors: &mut Errors) {
    meta::check(object, true, meta::dns_subdomain, errors);
    let (data, binary) = (At::top(object, "data"), At::top(object, "binaryData"));
    let mut size = 0;
    for (key, value) in data.entries() {
        errors.each_as(&value, key, is_config_map_key(key));
        if binary.has(key) {
            errors.invalid_as(&value, key, "duplicate of key present in binaryData");
        }
        size += value.text().len();
    }
    for (key, value) in binary.entries() {
        errors.each_as(&value, key, is_config_map_key(key));
        size += size_of_base64(value.text());
    }
    if size > MAX_SIZE {
        errors.too_long(&At::value("", None), MAX_SIZE);
    }
}
