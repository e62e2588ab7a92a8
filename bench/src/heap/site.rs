//! From dhat's profile to a table: what holds how many bytes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What holds less than this many bytes per client is summed up.
const SMALL: f64 = 8.0;

/// Words of a frame, and what an allocation below it is. The innermost frame that has any decides; each names a type or a file that wants memory for a
/// connection.
const NAMES: [(&str, &str); 26] = [
    (
        "ArcInner<unisono::conn::Conn>",
        "Conn: ids, limits and mailbox",
    ),
    (
        "ArcInner<unisono::socket::SocketInner>",
        "SocketInner: the client in its namespace",
    ),
    ("poll_read_from_io", "hyper: read buffer"),
    ("(bytes-1.", "hyper: read buffer"),
    (
        "new<hyper::proto::h1::encode::EncodedBuf",
        "hyper: write buffer",
    ),
    ("(src/common/buf.rs", "hyper: list of buffers to write"),
    ("(http-1.", "headers and extensions of a request or answer"),
    (
        "(src/header/map.rs",
        "headers and extensions of a request or answer",
    ),
    (
        "task::core::Cell<unisono::session::Session",
        "task of the session, with its state",
    ),
    (
        "task::core::Cell<unisono::http",
        "task of the connection, with its state",
    ),
    (
        "scheduled_io::ScheduledIo",
        "tokio: readiness of the socket",
    ),
    ("time::sleep::Sleep", "tokio: timer"),
    ("oneshot::Inner", "channel to the request that waits"),
    (
        "new<unisono::serve::{impl#0}::serve::{async_fn_env",
        "state of the HTTP connection",
    ),
    ("new<unisono::", "state of the request that waits"),
    ("(src/serve/desk.rs:", "state of the request that waits"),
    ("(src/http/handover.rs:", "state of the HTTP connection"),
    ("(src/http/handshake.rs:", "the handshake's URL and headers"),
    (
        "(src/session/slots.rs:",
        "Slot: its line of events and handlers",
    ),
    ("(src/connection/mod.rs:", "namespaces of the connection"),
    (
        "(unisono-cluster/src/rooms.rs:",
        "rooms: ids, members and occupants",
    ),
    ("(unisono/src/server.rs:", "table of the sessions"),
    ("(unisono/src/conn.rs:", "queue of the mailbox"),
    ("(src/session/websocket.rs:", "queue in the task's hands"),
    ("(src/session/scratch.rs:", "read buffers, one per thread"),
    ("(proto/h1/", "hyper: the rest"),
];

/// Frames that say how something is allocated, not what for.
const MACHINERY: [&str; 10] = [
    "alloc/src",
    "dhat-",
    "src/raw",
    "src/alloc",
    "src/vec",
    "collections/",
    "ops/",
    "src/boxed",
    "src/sync.rs",
    "src/string",
];

#[derive(Default)]
struct Held {
    blocks: u64,
    bytes: u64,
    rounded: u64,
}

/// Bytes at the end of the run, the largest holder first, per client.
pub(super) fn attribute(profile: &Value, clients: usize) -> Value {
    let frames = profile["ftbl"].as_array().map_or(&[][..], Vec::as_slice);
    let mut sites: BTreeMap<String, Held> = BTreeMap::new();
    for point in profile["pps"].as_array().into_iter().flatten() {
        let (bytes, blocks) = (number(&point["eb"]), number(&point["ebk"]));
        if blocks == 0 {
            continue;
        }
        let trace = point["fs"].as_array().into_iter().flatten();
        let trace: Vec<&str> = trace
            .filter_map(|index| frames.get(index.as_u64()? as usize)?.as_str())
            .collect();
        let held = sites.entry(label(&trace)).or_default();
        held.blocks += blocks;
        held.bytes += bytes;
        held.rounded += blocks * chunk(bytes / blocks);
    }
    let per_client = |count: u64| count as f64 / clients as f64;
    let mut rest = Held::default();
    let mut rows = Vec::new();
    for (site, held) in sites {
        if per_client(held.rounded) < SMALL {
            rest.blocks += held.blocks;
            rest.bytes += held.bytes;
            rest.rounded += held.rounded;
        } else {
            rows.push((site, held));
        }
    }
    rows.sort_by_key(|(_, held)| std::cmp::Reverse((held.rounded, held.bytes)));
    rows.push(("everything smaller".to_owned(), rest));
    rows.into_iter()
        .map(|(site, held)| {
            json!({
                "site": site,
                "blocks": per_client(held.blocks),
                "bytes": per_client(held.bytes),
                "rounded": per_client(held.rounded),
            })
        })
        .collect()
}

/// What glibc takes for so many bytes: 8 bytes of its own, in steps of 16, at least 32.
fn chunk(bytes: u64) -> u64 {
    (bytes + 8).next_multiple_of(16).max(32)
}

/// What the allocation is, or else the innermost line that is no machinery.
fn label(trace: &[&str]) -> String {
    let name_of = |frame: &&str| NAMES.iter().find(|(word, _)| frame.contains(word));
    if let Some((_, name)) = trace.iter().find_map(name_of) {
        return (*name).to_owned();
    }
    let place = |frame: &str| frame.rsplit('(').next().unwrap_or("").to_owned();
    let meant = trace
        .iter()
        .find(|frame| !MACHINERY.iter().any(|part| place(frame).contains(part)));
    meant.map_or_else(
        || "unknown".to_owned(),
        |frame| place(frame).trim_end_matches(')').to_owned(),
    )
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_attributed_to_what_wanted_them() {
        let profile = json!({
            "ftbl": [
                "[root]",
                "0x1: alloc (alloc/src/alloc.rs:95:9)",
                "0x2: new<tokio::time::sleep::Sleep> (alloc/src/boxed.rs:286:19)",
                "0x3: new (src/session/mod.rs:86:21)",
                "0x4: listen (src/other.rs:7:1)",
            ],
            "pps": [
                {"eb": 1000, "ebk": 10, "fs": [1, 2, 3]},
                {"eb": 960, "ebk": 10, "fs": [1, 4]},
                {"eb": 0, "ebk": 0, "fs": [1, 3]},
            ],
        });
        let sites = attribute(&profile, 10);
        assert_eq!(
            sites[0],
            json!({"site": "tokio: timer", "blocks": 1.0, "bytes": 100.0, "rounded": 112.0})
        );
        assert_eq!(sites[1]["site"], "src/other.rs:7:1");
        assert_eq!(
            sites[2],
            json!({"site": "everything smaller", "blocks": 0.0, "bytes": 0.0, "rounded": 0.0})
        );
    }
}
