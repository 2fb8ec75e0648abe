//! kubectl-mini: see ../ARCHITECTURE.md.
