//! container-runtime: see ../ARCHITECTURE.md.
