//! scheduler: see ../ARCHITECTURE.md.
