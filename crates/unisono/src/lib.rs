//! unisono
