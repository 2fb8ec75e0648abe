//! kube-proxy: see ../ARCHITECTURE.md.
