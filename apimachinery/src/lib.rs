//! apimachinery: see ../ARCHITECTURE.md.
