//! client: see ../ARCHITECTURE.md.
