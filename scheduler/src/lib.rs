//! The scheduler.
pub mod framework;
pub mod plugins;
pub mod queue;
pub mod schedule_one;
pub mod snapshot;
