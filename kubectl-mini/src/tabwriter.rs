//! Go's tabwriter.
