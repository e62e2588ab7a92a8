//! The fuzz targets' properties, run on mutations of their seed corpora: a few thousand inputs per test, the same ones every time.

use std::path::Path;

use crate::properties;

/// Inputs per target. Together they take less than a second.
const ROUNDS: usize = 3000;

/// Most mutations of one input.
const MUTATIONS: usize = 4;

fn check(target: &str, property: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(&corpus)
        .expect("the corpus is readable")
        .map(|entry| entry.expect("the corpus is readable").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no seeds", corpus.display());
    let seeds: Vec<Vec<u8>> = files
        .iter()
        .map(|file| std::fs::read(file).expect("the corpus is readable"))
        .collect();
    for seed in &seeds {
        (0..=seed.len().min(256)).for_each(|len| property(&seed[..len]));
        property(seed);
    }
    let mut random = fastrand::Rng::with_seed(0x5eed);
    for _ in 0..ROUNDS {
        let mut data = random.choice(&seeds).expect("there are seeds").clone();
        for _ in 0..random.usize(1..=MUTATIONS) {
            mutate(&mut data, &mut random);
        }
        property(&data);
    }
}

/// Overwrites, cuts, repeats or inserts.
fn mutate(data: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(0..=data.len());
    match random.u8(0..5) {
        0 => data.truncate(at),
        1 if at < data.len() => data[at] ^= 1 << random.u8(0..8),
        2 if at < data.len() => data[at] = random.u8(..),
        3 => {
            let copy: Vec<u8> = data[at..].iter().take(64).copied().collect();
            data.splice(at..at, copy);
        }
        _ => {
            // First bytes of every kind of value.
            let spice = [
                0x80, 0x90, 0xa0, 0xc0, 0xc4, 0xc7, 0xca, 0xcf, 0xd6, 0xdd, 0xdf,
            ];
            data.insert(at, *random.choice(&spice).expect("there is some"));
        }
    }
}

#[test]
fn bus_message() {
    check("bus_message", properties::bus_message);
}

#[test]
fn bus_template() {
    check("bus_template", properties::bus_template);
}

#[test]
fn bus_request() {
    check("bus_request", properties::bus_request);
}

#[test]
fn bus_sharded() {
    check("bus_sharded", properties::bus_sharded);
}

#[test]
fn the_seeds_are_messages() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/bus_message");
    let mut refused = Vec::new();
    for entry in std::fs::read_dir(corpus).expect("the corpus is readable") {
        let path = entry.expect("the corpus is readable").path();
        if unisono_cluster::classic::decode(&std::fs::read(&path).expect("the corpus is readable"))
            .is_err()
        {
            refused.push(path.file_name().expect("the corpus is readable").to_owned());
        }
    }
    // A length that is not there.
    assert_eq!(refused, ["huge"]);
}
