//! kubelet-sim: see ../ARCHITECTURE.md.
