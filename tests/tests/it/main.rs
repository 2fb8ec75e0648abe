//! The integration tests: what the whole system does, on real components.

mod harness;
