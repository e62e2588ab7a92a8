//! unisono-client
