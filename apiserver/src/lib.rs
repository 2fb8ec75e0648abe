//! apiserver: see ../ARCHITECTURE.md.
