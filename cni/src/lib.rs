//! cni: see ../ARCHITECTURE.md.
