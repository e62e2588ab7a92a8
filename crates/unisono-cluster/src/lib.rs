//! unisono-cluster
