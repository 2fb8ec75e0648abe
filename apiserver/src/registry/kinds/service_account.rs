//! ServiceAccount.

use apimachinery::{field::FieldError, object::Object, resource, resource::ResourceInfo};
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
};

const COLUMNS: [Column; 3] = [
    printers::NAME,
    printers::string("Secrets", "The number of secrets that pods of this account may use."),
    printers::AGE,
];

/// See the module.
pub(super) struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::SERVICE_ACCOUNTS
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        meta::validate(object, true, meta::dns_subdomain)
    }

    fn validate_update(
        &self,
        _: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        errors.extend(meta::validate(object, true, meta::dns_subdomain));
        errors
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
            object.get_list(&["secrets"]).len().into(),
            printers::age(object, now),
        ]
    }
}
