//! The resources that the server keeps: one [`strategy::Strategy`] each, on one generic store.

pub mod allocators;
pub mod cacher;
mod conditions;
pub(crate) mod decode;
mod defaults;
mod encode;
pub(crate) mod eviction;
pub(crate) mod field_manager;
pub(crate) mod generated;
mod json;
pub mod kinds;
pub(crate) mod meta;
pub(crate) mod output;
pub(crate) mod patch;
pub(crate) mod printers;
pub(crate) mod selection;
pub(crate) mod store;
pub mod strategy;
pub(crate) mod subresources;
mod validation;
mod warnings;

pub(crate) use self::store::prefix_of as store_prefix;
