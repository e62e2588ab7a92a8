//! What must hold for every input. Each function is one fuzz target; none may panic.

use bytes::Bytes;
use unisono_proto::client::{Client, Config, Event, Output};
use unisono_proto::connection::{self, Connection, Due, Handled};
use unisono_proto::engine::{self, Admission, PayloadEncoding, Revision, Sid, Transport};
use unisono_proto::limits::Limits;
use unisono_proto::socket::{self, Packet};
use unisono_proto::value::{JsonError, from_json, from_value, to_value, write_json};
use unisono_proto::{Value, ws};

/// Frames give the same events in one piece, byte by byte and in pieces; buffers stay within the limit.
/// Input: role and limit, size of the pieces, frames.
pub(crate) fn ws_decoder(data: &[u8]) {
    let [setup, piece, frames @ ..] = data else {
        return;
    };
    let role = if setup & 1 == 0 {
        ws::Role::Server
    } else {
        ws::Role::Client
    };
    let limit = usize::from(*setup) << 3;
    let whole = ws_events(role, limit, frames, frames.len().max(1));
    assert_eq!(whole, ws_events(role, limit, frames, 1));
    assert_eq!(
        whole,
        ws_events(role, limit, frames, usize::from(*piece).max(1))
    );
}

pub(crate) type WsEvents = (Vec<ws::Event<'static>>, Option<ws::Error>);

/// The events of `frames`, handed over in pieces of `piece` bytes.
pub(crate) fn ws_events(role: ws::Role, limit: usize, frames: &[u8], piece: usize) -> WsEvents {
    let mut decoder = ws::Decoder::new(role, limit);
    let mut events = Vec::new();
    let mut frames = frames.to_vec();
    for piece in frames.chunks_mut(piece) {
        let mut input = piece;
        loop {
            match decoder.next(&mut input) {
                Ok(Some(event)) => events.push(owned(event)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next(&mut input), Err(error), "an error is final");
                    assert_eq!(decoder.buffered(), 0);
                    return (events, Some(error));
                }
            }
        }
        assert!(input.is_empty());
        assert!(decoder.buffered() <= limit + 125 + 14);
    }
    (events, None)
}

fn owned(event: ws::Event<'_>) -> ws::Event<'static> {
    match event {
        ws::Event::Text(text) => ws::Event::Text(text.into_owned().into()),
        ws::Event::Binary(data) => ws::Event::Binary(data.into_owned().into()),
        ws::Event::Ping(data) => ws::Event::Ping(data.into_owned().into()),
        ws::Event::Pong(data) => ws::Event::Pong(data.into_owned().into()),
        ws::Event::Close(code) => ws::Event::Close(code),
    }
}

/// What is decoded is decoded again from its encoding. Input: a polling body.
pub(crate) fn engine_payload(data: &[u8]) {
    let Ok(body) = str::from_utf8(data) else {
        return;
    };
    let packets: Result<Vec<_>, _> = engine::Payload::new(body).collect();
    if let Ok(packets) = packets {
        let mut encoded = String::new();
        engine::encode_payload(&packets, &mut encoded);
        let again: Result<Vec<_>, _> = engine::Payload::new(&encoded).collect();
        assert_eq!(again.as_ref(), Ok(&packets));
    }
    if let Ok(engine::Packet::Open(data)) = engine::decode(body)
        && let Ok(open) = engine::Open::from_json(&data)
    {
        assert_eq!(engine::Open::from_json(&open.to_json()), Ok(open));
    }
}

/// The same for revision 3: what is decoded is decoded again from its encoding, as text and as binary, and an error is the last.
/// Input: the encoding, a polling body.
pub(crate) fn engine_payload_v3(data: &[u8]) {
    let [encoding, body @ ..] = data else { return };
    let encodings = [PayloadEncoding::V3Text, PayloadEncoding::V3Binary];
    let mut payload = engine::Payload::with(encodings[usize::from(encoding % 2)], body);
    let mut packets = Vec::new();
    for packet in payload.by_ref() {
        packets.push(packet);
    }
    assert_eq!(payload.next(), None);
    assert!(packets.len() <= body.len() / 2 + 1);
    let whole: Result<Vec<_>, _> = packets.iter().cloned().collect();
    let Ok(whole) = whole else {
        let last = packets.len() - 1;
        assert!(packets[..last].iter().all(Result::is_ok));
        return;
    };
    for encoding in encodings {
        let mut encoded = Vec::new();
        engine::v3::encode_payload(&whole, encoding, &mut encoded);
        // No packets are no body, which is no payload.
        if !whole.is_empty() {
            let again: Result<Vec<_>, _> = engine::Payload::with(encoding, &encoded).collect();
            assert_eq!(again.as_ref(), Ok(&whole));
        }
    }
}

/// Any query is admitted or refused with a body that is JSON. Input: flags, a query.
pub(crate) fn engine_query(data: &[u8]) {
    let [flags, query @ ..] = data else { return };
    let Ok(text) = str::from_utf8(query) else {
        return;
    };
    let query = engine::parse_query(text);
    let method = [
        engine::Method::Get,
        engine::Method::Post,
        engine::Method::Other,
    ][usize::from(flags % 3)];
    let enabled = [Transport::Polling, Transport::WebSocket];
    let v3 = flags & 32 != 0;
    let revision = if v3 { Revision::V3 } else { Revision::V4 };
    let transport = enabled[usize::from(flags >> 3 & 1)];
    let current = |_: &Sid| (flags & 4 != 0).then_some((transport, revision));
    let admission = engine::check(&query, method, flags & 16 != 0, &enabled, current)
        .and_then(|admission| admission.check_version(&query, v3));
    match admission {
        Ok(Admission::Handshake(_)) => assert!(v3 || query.eio.as_deref() == Some("4")),
        Ok(_) => assert_eq!(query.revision(), revision),
        Err(rejection) => {
            let body: serde_json::Value = serde_json::from_str(&rejection.body()).unwrap();
            assert_eq!(body["code"], rejection.code());
        }
    }
}

/// What is decoded can be encoded, and that encoding is stable. Input: messages, each ended by 0xff; those that begin
/// with `!` are binary.
pub(crate) fn socket_decoder(data: &[u8]) {
    let mut decoder = socket::Decoder::new(Limits::default());
    let mut held = 0;
    for message in data.split(|byte| *byte == 0xff) {
        held += message.len();
        let packet = match (message.strip_prefix(b"!"), str::from_utf8(message)) {
            (Some(binary), _) => decoder.binary(Bytes::copy_from_slice(binary)),
            (None, Ok(text)) => decoder.text(text),
            (None, Err(_)) => continue,
        };
        assert!(decoder.pending_bytes() <= held);
        match packet {
            Ok(Some(Packet::Event { args, .. })) if args.is_empty() => {}
            Ok(Some(packet)) => stable(&packet),
            Ok(None) => {}
            Err(_) => assert_eq!(decoder.pending_bytes(), 0),
        }
    }
}

fn stable(packet: &Packet) {
    let encoded = socket::encode(packet).unwrap();
    let mut decoder = socket::Decoder::default();
    let mut again = decoder.text(&encoded.text).unwrap();
    for attachment in &encoded.attachments {
        assert_eq!(again, None);
        again = decoder.binary(attachment.clone()).unwrap();
    }
    // Not the packet itself: `1.0` is written, and then read, as `1`.
    assert_eq!(socket::encode(&again.unwrap()).unwrap(), encoded);
}

/// Texts are taken exactly when serde_json takes them, within the limits; writing is stable, and serde agrees.
/// Input: the number of attachments, a text.
pub(crate) fn value_json(data: &[u8]) {
    let [attachments, text @ ..] = data else {
        return;
    };
    let Ok(text) = str::from_utf8(text) else {
        return;
    };
    let attachments: Vec<Bytes> = (0..attachments % 4).map(|i| Bytes::from(vec![i])).collect();
    let judge = serde_json::from_str::<serde_json::Value>(text);
    match from_json(text, &attachments) {
        Ok(value) => {
            let half_pair = || text.to_lowercase().contains("\\ud");
            let too_large = || {
                judge
                    .as_ref()
                    .unwrap_err()
                    .to_string()
                    .contains("out of range")
            };
            assert!(judge.is_ok() || half_pair() || too_large(), "{judge:?}");
            let written = rewritten(&value);
            assert_eq!(
                rewritten(&from_json(&written.0, &written.1).unwrap()),
                written
            );
            if !text.contains("e") {
                assert_eq!(to_value(&value).as_ref(), Ok(&value));
                assert_eq!(from_value::<Value>(value.clone()), Ok(value));
            }
        }
        Err(JsonError::Syntax { at }) => {
            assert!(judge.is_err(), "refused at {at}");
            assert!(at <= text.len());
        }
        Err(JsonError::Placeholder) => assert!(!attachments.is_empty()),
        Err(JsonError::TooDeep | JsonError::TooManyValues) => {}
    }
}

fn rewritten(value: &Value) -> (String, Vec<Bytes>) {
    let (mut text, mut attachments) = (String::new(), Vec::new());
    write_json(value, &mut text, &mut attachments).unwrap();
    (text, attachments)
}

/// Any order of inputs and commands leaves a client that says at most once that it is closed, and nothing after.
/// Input: steps, each ended by 0xff: `!` binary, `@` time passes, `+` connect, `>` emit with ack, `-` disconnect,
/// `.` transport closed, anything else a text message.
pub(crate) fn client_machine(data: &[u8]) {
    let mut client = Client::new(Config::default());
    let mut now_ms = 0;
    let mut closed = false;
    client.handle_timeout(now_ms);
    for step in data.split(|byte| *byte == 0xff) {
        let Ok(text) = str::from_utf8(step) else {
            continue;
        };
        let mut chars = text.chars();
        let kind = chars.next();
        let rest = chars.as_str();
        match kind {
            Some('!') => client.handle_binary(Bytes::copy_from_slice(rest.as_bytes())),
            Some('@') => {
                now_ms += rest.len() as u64 * 1000;
                client.handle_timeout(now_ms);
                assert!(
                    client
                        .deadline_ms()
                        .is_none_or(|deadline| deadline > now_ms)
                );
            }
            Some('+') => drop(client.connect(rest, None)),
            Some('>') => drop(client.emit_with_ack(rest, &["e".into()])),
            Some('-') => drop(client.disconnect(rest)),
            Some('.') => client.handle_transport_closed(),
            _ => client.handle_text(text, now_ms),
        }
        while let Some(output) = client.poll_output() {
            assert!(!closed, "nothing follows the end: {output:?}");
            if let Output::Event(Event::Closed(_)) = output {
                assert_eq!(client.poll_output(), Some(Output::Close));
                closed = true;
            }
        }
        assert_eq!(closed, client.is_closed());
        assert_eq!(closed, client.deadline_ms().is_none());
    }
}

/// Limits so small that a few steps reach them.
const SMALL: connection::Config = connection::Config {
    ping_interval_ms: 2_000,
    ping_timeout_ms: 1_000,
    connect_timeout_ms: 5_000,
    max_payload: 256,
    max_pending: 128,
    max_namespaces: 3,
};

/// Any order of packets, time and decisions leaves a session whose memberships are few and live, whose deadline lies ahead, and which holds
/// no more than it may. Input: steps, each ended by 0xff: `!` binary, `@` time passes, `+` accept a namespace, `-` leave one, `^` reading is
/// resumed and what was accepted has settled, anything else an Engine.IO packet.
pub(crate) fn server_machine(data: &[u8]) {
    machine_of(Revision::V4, data);
    machine_of(Revision::V3, data);
}

fn machine_of(revision: Revision, data: &[u8]) {
    let mut machine = Connection::new(&SMALL, revision, 0);
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut asked: Vec<String> = Vec::new();
    let mut now_ms = 0;
    for step in data.split(|byte| *byte == 0xff) {
        let Ok(text) = str::from_utf8(step) else {
            continue;
        };
        let mut chars = text.chars();
        let kind = chars.next();
        let rest = chars.as_str();
        let handled = match kind {
            Some('!') => {
                machine.handle_packet(engine::Packet::Binary(rest.as_bytes().into()), now_ms)
            }
            Some('@') => {
                now_ms += rest.len() as u64 * 500;
                if time_passes(&mut machine, now_ms) {
                    return;
                }
                Ok(Handled::Nothing)
            }
            Some('+') => {
                let known = joined.iter().any(|(_, nsp)| nsp == rest);
                let member = machine.accept(rest);
                let was_asked = asked.iter().position(|nsp| nsp == rest);
                assert_eq!(member.is_some(), was_asked.is_some() || known);
                if let (Some(member), Some(at)) = (member, was_asked) {
                    joined.push((member, asked.swap_remove(at)));
                }
                Ok(Handled::Nothing)
            }
            Some('-') => {
                if let Some(member) = machine.find(rest) {
                    machine.leave(member);
                }
                joined.retain(|(_, nsp)| nsp != rest);
                asked.retain(|nsp| nsp != rest);
                assert_eq!(machine.find(rest), None);
                Ok(Handled::Nothing)
            }
            Some('^') => {
                machine.handle_reading_resumed(now_ms);
                machine.settle();
                Ok(Handled::Nothing)
            }
            _ => match engine::decode(text) {
                Ok(packet) => machine.handle_packet(packet, now_ms),
                Err(_) => return,
            },
        };
        let is_member = |member: usize| joined.iter().any(|(live, _)| *live == member);
        match handled {
            Ok(Handled::Nothing | Handled::Ping { .. }) => {}
            Ok(Handled::Connect { nsp, auth, again }) => {
                let before = asked.len() + joined.len();
                asked.retain(|other| *other != nsp);
                joined.retain(|(_, other)| *other != nsp);
                assert_eq!(asked.len() + joined.len() + usize::from(again), before);
                assert!(nsp.starts_with('/') && machine.find(&nsp).is_some());
                assert!(matches!(auth, None | Some(Value::Map(_))));
                asked.push(nsp);
            }
            Ok(Handled::Event { member, .. } | Handled::Ack { member, .. }) => {
                assert!(is_member(member));
            }
            Ok(Handled::Leave { member }) => {
                assert!(is_member(member));
                joined.retain(|(live, _)| *live != member);
            }
            Ok(Handled::Close) | Err(_) => return,
        }
        assert!(joined.len() + asked.len() <= SMALL.max_namespaces);
        for (member, nsp) in &joined {
            assert_eq!(machine.find(nsp), Some(*member));
        }
        assert!(machine.pending_bytes() <= SMALL.max_pending.max(data.len()));
    }
}

/// `true` when the session ends.
fn time_passes(machine: &mut Connection, now_ms: u64) -> bool {
    // A ping and nothing more can be due at a time.
    for _ in 0..2 {
        match machine.handle_timeout(now_ms) {
            Due::Nothing => {
                assert!(machine.next_deadline() > now_ms);
                return false;
            }
            Due::Ping | Due::Pong => {}
            Due::Close(_) => return true,
        }
    }
    panic!("there is always something due");
}
