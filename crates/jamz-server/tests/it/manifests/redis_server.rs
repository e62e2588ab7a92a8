//! How Redis is started: nothing is evicted, nothing grows past the container.

use super::Problems;
use super::bundle::{Bundle, Object, list, text};

const MIB: u64 = 1024 * 1024;

/// Largest message on the bus. Redis must be able to hold two of them for one slow pod, or a large playlist would cut off every pod at once.
const BUS_MESSAGE_BYTES: u64 = 16 * MIB;

/// Share of the container's memory that the data may take; the rest is for copy-on-write while the append-only file is rewritten.
const DATA_PERCENT: u64 = 75;

pub(super) fn rules(bundle: &Bundle, problems: &mut Problems) {
    let Some(redis) = bundle.get("StatefulSet", "redis") else {
        return problems.0.push("there is no StatefulSet redis".to_owned());
    };
    problems.unless(option(redis, "--maxmemory-policy") == "noeviction", || {
        format!("{}: sessions could be evicted", redis.title())
    });
    problems.unless(option(redis, "--appendonly") == "yes", || {
        format!("{}: a restart would lose the sessions", redis.title())
    });
    let limit = bytes(text(&redis.containers()[0], "/resources/limits/memory"));
    let data = bytes(option(redis, "--maxmemory"));
    problems.unless(data > 0 && data * 100 <= limit * DATA_PERCENT, || {
        format!(
            "{}: maxmemory {data} is not below {DATA_PERCENT} % of the container's {limit}",
            redis.title()
        )
    });
    buffers(redis, data, problems);
}

/// `pubsub <hard> <soft> <seconds>`: room for two messages, and all pods together stay within the memory.
fn buffers(redis: &Object, data: u64, problems: &mut Problems) {
    let words: Vec<&str> = option(redis, "--client-output-buffer-limit")
        .split(' ')
        .collect();
    let hard = match words[..] {
        ["pubsub", hard, _soft, _seconds] => bytes(hard),
        _ => 0,
    };
    problems.unless(hard >= 2 * BUS_MESSAGE_BYTES, || {
        format!(
            "{}: the pub/sub output buffer is too small for the largest message",
            redis.title()
        )
    });
    problems.unless(hard * 4 <= data, || {
        format!("{}: four slow pods would fill the memory", redis.title())
    });
}

/// The word after an option of the command line; empty when it is not given.
fn option<'a>(redis: &'a Object, name: &str) -> &'a str {
    let command = list(&redis.containers()[0], "/command");
    command
        .iter()
        .position(|word| word == name)
        .and_then(|index| command.get(index + 1))
        .and_then(|word| word.as_str())
        .unwrap_or_default()
}

/// `160mb` of Redis and `256Mi` of Kubernetes, both of them powers of two; 0 for anything else.
fn bytes(size: &str) -> u64 {
    let number = size.strip_suffix("mb").or_else(|| size.strip_suffix("Mi"));
    number
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
        * MIB
}
