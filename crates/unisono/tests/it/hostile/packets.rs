//! Socket.IO packets, over WebSocket and over long-polling alike.

use super::arena::check;
use super::attack::outcome;
use super::websocket::frame;
use super::{Arena, Attack, Got, HARMLESS, Message, Row, row};
use crate::raw::{RawSocket, post};
use crate::server::namespace;

use Attack::{Early, Messages, Own};
use Message::{Binary as B, Long, Text as T};

const PACKET: (&str, u64) = ("packet", 1);
const PLACEHOLDER: &str = "451-[\"message\",{\"_placeholder\":true,\"num\":0}]";

#[rustfmt::skip]
pub(super) const PACKETS: &[Row] = &[
    row("CVE-2026-33151", "an event with 999,999 attachments", "close", PACKET, Messages(&[T("45999999-[\"message\",{\"_placeholder\":true,\"num\":0}]"), B(b"x")])),
    row("CVE-2026-33151", "11 attachments, one too many", "close", PACKET, Messages(&[T("4511-[\"message\",{\"_placeholder\":true,\"num\":0}]")])),
    row("CVE-2026-69185", "0 attachments, then bytes without end", "close", PACKET, Messages(&[T("450-[\"message\"]"), B(b"x"), B(b"x"), B(b"x")])),
    row("CVE-2026-48804", "an attachment is owed, then a text", "close", PACKET, Messages(&[T(PLACEHOLDER), T("3"), T("42[\"message\",1]")])),
    row("CVE-2026-48804", "attachments before CONNECT", "close", PACKET, Early(&[T(PLACEHOLDER), B(b"x")])),
    row("CVE-2026-48804", "attachments for a namespace that was not joined", "close", PACKET, Messages(&[T("451-/custom,[\"message\",{\"_placeholder\":true,\"num\":0}]"), B(b"x")])),
    row("CVE-2026-48804", "one attachment of two, then pongs and nothing else", "close", PACKET, Messages(&[T("452-[\"message\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]"), B(b"x"), T("3"), T("3")])),
    row("CVE-2022-2421", "`\"num\":\"splice\"`", "close", PACKET, Messages(&[T("451-[\"message\",{\"_placeholder\":true,\"num\":\"splice\"}]"), B(b"x")])),
    row("CVE-2022-2421", "`\"num\":-1`", "close", PACKET, Messages(&[T("451-[\"message\",{\"_placeholder\":true,\"num\":-1}]"), B(b"x")])),
    row("CVE-2022-2421", "`\"num\":1.5`", "close", PACKET, Messages(&[T("451-[\"message\",{\"_placeholder\":true,\"num\":1.5}]"), B(b"x")])),
    row("CVE-2022-2421", "`\"num\":1e9`", "close", PACKET, Messages(&[T("451-[\"message\",{\"_placeholder\":true,\"num\":1e9}]"), B(b"x")])),
    row("CVE-2022-2421", "no `num`", "close", PACKET, Messages(&[T("451-[\"message\",{\"_placeholder\":true}]"), B(b"x")])),
    row("CVE-2022-2421", "`num` twice; the last one counts", "close", PACKET, Messages(&[T("451-[\"message\",{\"_placeholder\":true,\"num\":0,\"num\":7}]"), B(b"x")])),
    row("CVE-2022-2421", "two placeholders of one attachment", "close", PACKET, Messages(&[T("451-[\"message\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":0}]"), B(b"x")])),
    row("CVE-2022-2421", "an attachment that no placeholder names", "42[\"message-back\",1], served", HARMLESS, Messages(&[T("451-[\"message\",1]"), B(b"x")])),
    row("CVE-2022-2421", "a placeholder in a packet without attachments is a map", "42[\"message-back\",{\"_placeholder\":true,\"num\":0}], served", HARMLESS, Messages(&[T("42[\"message\",{\"_placeholder\":true,\"num\":0}]")])),
    row("CVE-2023-32695", "an event named `{\"toString\":\"foo\"}`", "close", PACKET, Messages(&[T("42[{\"toString\":\"foo\"}]")])),
    row("CVE-2023-32695", "an event named `true`", "close", PACKET, Messages(&[T("42[true,\"x\"]")])),
    row("CVE-2023-32695", "an event named `null`", "close", PACKET, Messages(&[T("42[null]")])),
    row("CVE-2023-32695", "an event without a name", "close", PACKET, Messages(&[T("42[]")])),
    row("CVE-2023-32695", "an event that is a map", "close", PACKET, Messages(&[T("42{}")])),
    row("CVE-2023-32695", "an event named 7: nobody handles it", "served", HARMLESS, Messages(&[T("42[7,\"x\"]")])),
    row("CVE-2024-38355", "an event named `error`: an event like any other", "served", HARMLESS, Messages(&[T("42[\"error\"]")])),
    row("CVE-2024-38355", "an event named `connect`", "close", PACKET, Messages(&[T("42[\"connect\"]")])),
    row("CVE-2024-38355", "an event named `connect_error`", "close", PACKET, Messages(&[T("42[\"connect_error\"]")])),
    row("CVE-2024-38355", "an event named `disconnect`", "close", PACKET, Messages(&[T("42[\"disconnect\"]")])),
    row("CVE-2024-38355", "an event named `disconnecting`", "close", PACKET, Messages(&[T("42[\"disconnecting\"]")])),
    row("CVE-2024-38355", "an event named `newListener`", "close", PACKET, Messages(&[T("42[\"newListener\"]")])),
    row("CVE-2024-38355", "an event named `removeListener`", "close", PACKET, Messages(&[T("42[\"removeListener\"]")])),
    row("CVE-2024-38355", "the same with an attachment", "close", PACKET, Messages(&[T("451-[\"disconnect\",{\"_placeholder\":true,\"num\":0}]"), B(b"x")])),
    row("CVE-2020-36049", "an ack id of 900,000 digits", "close", PACKET, Messages(&[Long("42", "2", "", 900_000)])),
    row("CVE-2020-36049", "900,000 digits as the number of attachments", "close", PACKET, Messages(&[Long("45", "9", "-[\"message\"]", 900_000)])),
    row("CVE-2020-36049", "a number of 900,000 digits", "close", PACKET, Messages(&[Long("42[\"connect\",", "7", "]", 900_000)])),
    row("Totodore/socketioxide#357", "`45` without `-`", "close", PACKET, Messages(&[T("45")])),
    row("Totodore/socketioxide#357", "`45[\"x\"]`", "close", PACKET, Messages(&[T("45[\"x\"]")])),
    row("Totodore/socketioxide#357", "`46`", "close", PACKET, Messages(&[T("46")])),
    row("Totodore/socketioxide#357", "CONNECT, then `5` as a packet", "served", HARMLESS, Messages(&[T("5")])),
    row("zishang520/socket.io 80fe0b9", "CONNECT with `null`", "close", PACKET, Early(&[T("40null")])),
    row("zishang520/socket.io 80fe0b9", "DISCONNECT with `null`", "close", PACKET, Messages(&[T("41null")])),
    row("zishang520/socket.io 80fe0b9", "EVENT with `null`", "close", PACKET, Messages(&[T("42null")])),
    row("zishang520/socket.io 80fe0b9", "ACK with `null`", "close", PACKET, Messages(&[T("431null")])),
    row("zishang520/socket.io 80fe0b9", "CONNECT_ERROR with `null`", "close", PACKET, Messages(&[T("44null")])),
    row("zishang520/socket.io 80fe0b9", "BINARY_EVENT with `null`", "close", PACKET, Messages(&[T("451-null")])),
    row("zishang520/socket.io 80fe0b9", "BINARY_ACK with `null`", "close", PACKET, Messages(&[T("461-1null")])),
    row("zishang520/socket.io 80fe0b9", "EVENT and ACK with nothing at all mean nothing", "served", HARMLESS, Messages(&[T("42"), T("43")])),
    row("derived", "attachments `5-`", "close", PACKET, Messages(&[T("45-[\"x\"]")])),
    row("derived", "attachments `5 1-`", "close", PACKET, Messages(&[T("45 1-[\"x\"]")])),
    row("derived", "attachments `51e1-`", "close", PACKET, Messages(&[T("451e1-[\"x\"]")])),
    row("derived", "attachments `50x5-`", "close", PACKET, Messages(&[T("450x5-[\"x\"]")])),
    row("derived", "attachments `5+3-`", "close", PACKET, Messages(&[T("45+3-[\"x\"]")])),
    row("derived", "attachments `5٣-`, a digit that is not ASCII", "close", PACKET, Messages(&[T("45٣-[\"x\"]")])),
    row("derived", "bytes that no packet announced", "close", PACKET, Messages(&[B(b"x")])),
    row("derived", "100,000 placeholders of one attachment", "close", PACKET, Messages(&[Long("451-[\"message\"", ",{\"_placeholder\":true,\"num\":0}", "]", 990_000), B(b"x")])),
    row("derived", "arrays nested a million times", "close", PACKET, Messages(&[Long("42[\"message\",", "[", "", 1_000_000)])),
    row("derived", "maps nested 150,000 times", "close", PACKET, Messages(&[Long("42[\"message\",", "{\"a\":", "", 900_000)])),
    row("derived", "half a million zeros and one", "close", PACKET, Messages(&[Long("42[\"connect\"", ",0", "]", 999_999)])),
    row("derived", "the same key 90,000 times", "42[\"message-back\",{\"a\":1}], served", HARMLESS, Messages(&[Long("42[\"message\",{", "\"a\":2,", "\"a\":1}]", 540_000)])),
    row("derived", "`__proto__` and `constructor` as keys are keys", "42[\"message-back\",{\"__proto__\":1,\"constructor\":2}], served", HARMLESS, Messages(&[T("42[\"message\",{\"__proto__\":1,\"constructor\":2}]")])),
    row("derived", "lone surrogates become U+FFFD", "42[\"message-back\",\"\u{fffd}x\u{fffd}\"], served", HARMLESS, Messages(&[T("42[\"message\",\"\\ud83dx\\udc00\"]")])),
    row("derived", "an ack id of 2^53, the last exact one", "439007199254740992[1], served", HARMLESS, Messages(&[T("429007199254740992[\"message-with-ack\",1]")])),
    row("derived", "an ack id of 2^53 + 1", "close", PACKET, Messages(&[T("429007199254740993[\"message-with-ack\",1]")])),
    row("derived", "an ack id twice: two answers", "437[1], 437[2], served", HARMLESS, Messages(&[T("427[\"message-with-ack\",1]"), T("427[\"message-with-ack\",2]")])),
    row("derived", "acks that were never asked for", "served", HARMLESS, Messages(&[T("430[]"), T("439007199254740992[1]"), T("43[]"), T("461-5[{\"_placeholder\":true,\"num\":0}]"), B(b"x")])),
    row("derived", "an ack from a namespace that was not joined", "close", PACKET, Messages(&[T("43/custom,0[]")])),
    row("derived", "a namespace of 512 bytes", "44/nnnnnnnnnnnnnnnnnnnnnnnn…, served", ("namespace", 1), Messages(&[Long("40/", "n", ",", 515)])),
    row("derived", "a namespace of 513 bytes", "close", PACKET, Messages(&[Long("40/", "n", ",", 516)])),
    row("derived", "a namespace of a million bytes", "close", PACKET, Messages(&[Long("42/", "n", "", 1_000_000)])),
    row("derived", "a namespace with a query is another namespace", "44/custom?a=1,{\"message\":\"Invalid namespace\"}, served", ("namespace", 1), Messages(&[T("40/custom?a=1,")])),
    row("derived", "credentials of 64 KiB and more", "close", PACKET, Early(&[Long("40{\"token\":\"", "t", "\"}", 65_538)])),
    row("derived", "credentials that are an array", "close", PACKET, Early(&[T("40[]")])),
    row("derived", "CONNECT twice, with the answer between", "close", PACKET, Messages(&[T("40")])),
    row("derived", "CONNECT twice before the answer, as stock clients may", "joined, joined, served", HARMLESS, Own(|arena| Box::pin(asked_twice(arena)))),
    row("derived", "EVENT before CONNECT", "close", PACKET, Early(&[T("42[\"message\",1]")])),
    row("derived", "ACK before CONNECT", "close", PACKET, Early(&[T("430[]")])),
    row("derived", "DISCONNECT before CONNECT", "close", PACKET, Early(&[T("41")])),
    row("derived", "Engine.IO pongs and noops before CONNECT", "joined, served", HARMLESS, Early(&[T("3"), T("6"), T("5")])),
    row("derived", "CONNECT_ERROR from a client", "close", PACKET, Messages(&[T("44{\"message\":\"no\"}")])),
    row("derived", "DISCONNECT, then EVENT", "close", PACKET, Messages(&[T("41"), T("42[\"message\",1]")])),
    row("derived", "DISCONNECT twice", "close", PACKET, Messages(&[T("41"), T("41")])),
    row("derived", "DISCONNECT and CONNECT again", "joined, served", HARMLESS, Messages(&[T("41"), T("40")])),
    row("derived", "an event that panics its handler", "served", ("panic", 1), Messages(&[T("42[\"panic\"]")])),
    row("derived", "JSON with a comma too many", "close", PACKET, Messages(&[T("42[\"message\",]")])),
    row("derived", "JSON with something behind it", "close", PACKET, Messages(&[T("42[\"message\"]x")])),
    row("derived", "`1e999` is infinite, and sent on as null", "42[\"message-back\",null], served", HARMLESS, Messages(&[T("42[\"message\",1e999]")])),
    row("derived", "`NaN`", "close", PACKET, Messages(&[T("42[\"message\",NaN]")])),
];

/// What takes two connections, or something to compare with.
#[rustfmt::skip]
pub(super) const OTHERS: &[Row] = &[
    row("derived", "101 namespaces, one too many", "close", PACKET, Own(|arena| Box::pin(namespaces(arena)))),
    row("derived", "an ack from another socket of the same event id", "the first gets its answer, the second none", HARMLESS, Own(|arena| Box::pin(foreign_ack(arena)))),
    row("derived: recovery", "CONNECT with `pid` and `offset` of somebody else: not offered, ignored", "another sid, no pid", HARMLESS, Own(|arena| Box::pin(foreign_pid(arena)))),
    row("derived", "attachments of ten times the limit together", "close", PACKET, Own(|arena| Box::pin(large_attachments(arena)))),
    row("CVE-2026-48804", "one attachment of two, then the client goes", "nothing", HARMLESS, Own(|arena| Box::pin(owing(arena)))),
    row("CVE-2026-48804", "the same over long-polling", "200 ok; the session ends", HARMLESS, Own(|arena| Box::pin(owing_over_polling(arena)))),
    row("CVE-2017-16031", "20,000 session ids: their bits are even, and no two begin alike", "chance", HARMLESS, Own(|arena| Box::pin(randomness(arena)))),
];

#[tokio::test]
async fn packets() {
    check(&Arena::with(|io| io).await, PACKETS).await;
}

#[tokio::test]
async fn others() {
    let many = (2..=101).map(|n| namespace(&format!("/many-{n}")));
    let arena = Arena::with(|io| many.fold(io, unisono::IoBuilder::namespace)).await;
    check(&arena, OTHERS).await;
}

/// Joins the main namespace; the socket's id.
async fn join_with(port: u16, auth: &str) -> (RawSocket, String) {
    let mut socket = RawSocket::connect(port, "EIO=4&transport=websocket").await;
    assert!(socket.text().await.starts_with("0{"));
    socket.send(&format!("40{auth}")).await;
    let answer = socket.text().await;
    assert!(socket.text().await.starts_with("42[\"auth\""));
    let id = answer.strip_prefix("40{\"sid\":\"");
    let id = id.and_then(|rest| rest.strip_suffix("\"}"));
    let id = id.expect("a sid and nothing else").to_owned();
    (socket, id)
}

async fn namespaces(arena: Arena) -> Got {
    let mut socket = RawSocket::join(arena.port()).await;
    for n in 2..=100 {
        socket.send(&format!("40/many-{n},")).await;
        assert!(socket.text().await.starts_with(&format!("40/many-{n},")));
        assert!(socket.text().await.starts_with(&format!("42/many-{n},")));
    }
    socket.send("40/many-101,").await;
    outcome(&mut socket).await.into()
}

async fn foreign_ack(arena: Arena) -> Got {
    let (mut asked, id) = join_with(arena.port(), "").await;
    let (mut other, _) = join_with(arena.port(), "").await;
    let socket = arena.server.io.of("/").unwrap().local_socket(&id).unwrap();
    let answer = tokio::spawn(socket.emit_with_ack("question", &(), crate::raw::PATIENCE));
    assert_eq!(asked.text().await, "420[\"question\"]");
    assert_eq!(arena.server.io.stats().acks_pending, 1);
    other.send("430[\"forged\"]").await;
    assert_eq!(outcome(&mut other).await, "served");
    asked.send("430[\"mine\"]").await;
    assert_eq!(answer.await.unwrap().unwrap(), ["mine".into()]);
    "the first gets its answer, the second none".into()
}

async fn asked_twice(arena: Arena) -> Got {
    let mut socket = RawSocket::connect(arena.port(), "EIO=4&transport=websocket").await;
    assert!(socket.text().await.starts_with("0{"));
    // In one segment: the server has answered neither when it reads the second.
    socket.send_raw(&frame(0x81, b"40").repeat(2)).await;
    outcome(&mut socket).await.into()
}

async fn foreign_pid(arena: Arena) -> Got {
    let (_one, id) = join_with(arena.port(), "").await;
    for offset in ["0-0", "99999999999999-9", "x", ""] {
        let auth = format!("{{\"pid\":\"{id}\",\"offset\":\"{offset}\"}}");
        let (_, other) = join_with(arena.port(), &auth).await;
        assert_ne!(other, id);
    }
    "another sid, no pid".into()
}

async fn large_attachments(arena: Arena) -> Got {
    let mut socket = RawSocket::join(arena.port()).await;
    let placeholders: String = (0..10)
        .map(|n| format!(",{{\"_placeholder\":true,\"num\":{n}}}"))
        .collect();
    socket
        .send(&format!("4510-[\"unheard\"{placeholders}]"))
        .await;
    for _ in 0..10 {
        socket
            .send_frame(unisono_proto::ws::Opcode::Binary, &[7; 999_999])
            .await;
    }
    outcome(&mut socket).await.into()
}

const TWO: &str =
    "452-[\"message\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";

async fn owing(arena: Arena) -> Got {
    let mut socket = RawSocket::join(arena.port()).await;
    socket.send(TWO).await;
    socket
        .send_frame(unisono_proto::ws::Opcode::Binary, b"one")
        .await;
    "nothing".into()
}

async fn owing_over_polling(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let body = format!("{TWO}\u{1e}bAQID");
    assert_eq!(post(arena.port(), &sid, &body).await.body, "ok");
    let answer = post(arena.port(), &sid, "1").await;
    Got::on(super::attack::in_words(&answer), sid)
}

const IDS: usize = 20_000;

/// Socket ids and session ids come from one source; of the former a client can have as many as it likes.
async fn randomness(arena: Arena) -> Got {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut socket = RawSocket::join(arena.port()).await;
    let again = [frame(0x81, b"41"), frame(0x81, b"40")]
        .concat()
        .repeat(100);
    let mut ids = Vec::with_capacity(IDS);
    while ids.len() < IDS {
        socket.send_raw(&again).await;
        let all = ids.len() + 100;
        while ids.len() < all {
            // Between the answers are the greetings of those that were still there.
            let answer = socket.text().await;
            ids.extend(
                answer
                    .strip_prefix("40{\"sid\":\"")
                    .map(|rest| rest[..20].to_owned()),
            );
        }
    }
    let value = |c: u8| ALPHABET.iter().position(|&a| a == c).expect("base64url") as u64;
    let values: Vec<Vec<u64>> = ids
        .iter()
        .map(|id| id.bytes().map(value).collect())
        .collect();
    // 120 bits each, half of them set: the deviation of a million coins, five times over.
    let bits = (IDS * 120) as f64;
    let ones: u32 = values.iter().flatten().map(|v| v.count_ones()).sum();
    assert!(
        (f64::from(ones) - bits / 2.0).abs() < 2.5 * bits.sqrt(),
        "{ones} ones"
    );
    // Neighbours differ in half of their bits too.
    let pairs = values.windows(2).flat_map(|two| two[0].iter().zip(&two[1]));
    let flips: u32 = pairs.map(|(one, two)| (one ^ two).count_ones()).sum();
    assert!(
        (f64::from(flips) - bits / 2.0).abs() < 2.5 * bits.sqrt(),
        "{flips} flips"
    );
    for place in 0..20 {
        let mut counts = [0f64; 64];
        values
            .iter()
            .for_each(|id| counts[id[place] as usize] += 1.0);
        let expected = IDS as f64 / 64.0;
        let chi: f64 = counts
            .iter()
            .map(|n| (n - expected).powi(2) / expected)
            .sum();
        // 63 degrees of freedom: beyond 150 once in a billion.
        assert!(chi < 150.0, "character {place} is not even: {chi}");
    }
    // 60 bits in common happen once in billions of runs.
    let beginnings: std::collections::HashSet<&str> = ids.iter().map(|id| &id[..10]).collect();
    assert_eq!(beginnings.len(), IDS);
    "chance".into()
}
