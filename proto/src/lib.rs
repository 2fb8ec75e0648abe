//! proto: see ../ARCHITECTURE.md.
