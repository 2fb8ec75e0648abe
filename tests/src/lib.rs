//! tests: see ../ARCHITECTURE.md.
