//! unisono-test
