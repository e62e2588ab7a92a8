//! unisono-proto
