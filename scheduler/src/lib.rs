//! The scheduler.
pub mod framework;
pub mod plugins;
pub mod preemption;
pub mod queue;
pub mod schedule_one;
pub mod scheduler;
pub mod snapshot;
