//! controller-manager: see ../ARCHITECTURE.md.
