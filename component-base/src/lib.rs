//! component-base: see ../ARCHITECTURE.md.
