//! How objects are printed.
