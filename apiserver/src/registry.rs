//! The resources that the server keeps: one [`strategy::Strategy`] each, on one generic store.

pub mod strategy;
