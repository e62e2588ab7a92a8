#![no_main]

#[path = "../../crates/unisono-cluster/tests/it/properties.rs"]
#[allow(dead_code, reason = "each target uses one of them")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::bus_sharded(data));
