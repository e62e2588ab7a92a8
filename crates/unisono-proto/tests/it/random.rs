//! The fuzz targets' properties, run on mutations of their seed corpora: a few thousand inputs per test, the same ones
//! every time.

use std::path::Path;

use crate::properties;

/// Inputs per target. Together they take well under a second.
const ROUNDS: usize = 3000;

/// Marsaglia's xorshift64: enough for choosing mutations.
pub(crate) struct Generator(u64);

impl Generator {
    pub(crate) fn new(seed: u64) -> Generator {
        Generator(seed | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// Overwrites, cuts, repeats or inserts a few bytes.
fn mutate(data: &mut Vec<u8>, generator: &mut Generator) {
    const SPICE: &[&[u8]] = &[
        b"[",
        b"{",
        b"\"",
        b"\\ud800",
        b"-",
        b"/",
        b",",
        b"9",
        b"\x1e",
        b"\x80",
        b"\xff\xff",
        b"_placeholder",
    ];
    for _ in 0..=generator.below(4) {
        let at = generator.below(data.len() + 1);
        match generator.below(5) {
            0 => data.truncate(at),
            1 if at < data.len() => data[at] ^= 1 << generator.below(8),
            2 if at < data.len() => data[at] = generator.below(256) as u8,
            3 => {
                let copy: Vec<u8> = data[at..].iter().take(64).copied().collect();
                data.splice(at..at, copy);
            }
            _ => {
                let spice = SPICE[generator.below(SPICE.len())];
                data.splice(at..at, spice.iter().copied());
            }
        }
    }
}

fn check(target: &str, property: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(&corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no seeds", corpus.display());
    let seeds: Vec<Vec<u8>> = files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();
    let mut generator = Generator::new(0x5eed);
    for seed in &seeds {
        (0..=seed.len().min(256)).for_each(|len| property(&seed[..len]));
        property(seed);
    }
    for _ in 0..ROUNDS {
        let mut data = seeds[generator.below(seeds.len())].clone();
        mutate(&mut data, &mut generator);
        property(&data);
    }
}

#[test]
fn ws_decoder() {
    check("ws_decoder", properties::ws_decoder);
}

#[test]
fn engine_payload() {
    check("engine_payload", properties::engine_payload);
}

#[test]
fn engine_payload_v3() {
    check("engine_payload_v3", properties::engine_payload_v3);
}

#[test]
fn engine_query() {
    check("engine_query", properties::engine_query);
}

#[test]
fn socket_decoder() {
    check("socket_decoder", properties::socket_decoder);
}

#[test]
fn value_json() {
    check("value_json", properties::value_json);
}

#[test]
fn client_machine() {
    check("client_machine", properties::client_machine);
}

#[test]
fn server_machine() {
    check("server_machine", properties::server_machine);
}
