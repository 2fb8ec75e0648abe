//! kube-mini: see ../ARCHITECTURE.md.
