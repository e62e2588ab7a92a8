//! What must hold for every input. Each function is one fuzz target; none may panic.

use unisono_cluster::classic::{
    decode, decode_answer, decode_request, encode, encode_answer, encode_request, encode_template,
};
use unisono_cluster::limits::{MAX_ATTACHMENTS, MAX_DEPTH};
use unisono_cluster::sharded;
use unisono_cluster::{
    Adapter, DecodeError, EncodeError, Members, Node, RequestBody, SubscriptionMode,
};
use unisono_proto::Value;

/// A message from the bus is refused, or what it says can be said again, and that is stable; a node takes it or ignores it. Input: a message.
pub(crate) fn bus_message(data: &[u8]) {
    let decoded = decode(data);
    let mut node = Node::new("me0000", "socket.io", "/");
    for channel in ["socket.io#/#", "socket.io#/#room#", "socket.io#/other#", ""] {
        let _ = node.handle_message(channel, data, &|room| room == "room", 0);
    }
    let Ok(message) = decoded else { return };
    assert!(matches!(
        message.broadcast.args.first(),
        Some(Value::Str(_) | Value::Int(_) | Value::Float(_))
    ));
    let (depth, attachments) = shape(&message.broadcast.args);
    assert!(depth <= MAX_DEPTH && attachments <= MAX_ATTACHMENTS);
    let local = message.broadcast.flags.local;
    let Ok(bytes) = encode(&message.uid, &message.nsp, &message.broadcast) else {
        assert!(local, "{message:?}");
        return;
    };
    let again = decode(&bytes).expect("what was encoded is decoded");
    // Not the message itself: `1.0` is written, and then read, as `1`.
    let bytes_again =
        encode(&again.uid, &again.nsp, &again.broadcast).expect("it was encoded before");
    assert_eq!(bytes_again, bytes);
    for end in [0, bytes.len() / 2, bytes.len() - 1] {
        assert_eq!(decode(&bytes[..end]).err(), Some(DecodeError::Truncated));
    }
}

/// A template that is filled is the message with that revision, in the argument and in the extension. Input: a revision of four bytes, a
/// message.
pub(crate) fn bus_template(data: &[u8]) {
    let Some((revision, bytes)) = data.split_first_chunk::<4>() else {
        return;
    };
    let revision = u32::from_be_bytes(*revision);
    let Ok(message) = decode(bytes) else { return };
    let mut broadcast = message.broadcast;
    broadcast.extension.get_or_insert_default();
    let template = encode_template("p", &message.uid, &message.nsp, &broadcast, "revision");
    let is_map = matches!(broadcast.args.last(), Some(Value::Map(_)));
    let template = match template {
        Ok(template) => template,
        Err(error) => {
            let expected = broadcast.flags.local || !is_map || error == EncodeError::TooDeep;
            assert!(expected, "{error}: {broadcast:?}");
            return;
        }
    };
    let filled = decode(&template.fill(revision)).expect("a filled template is a message");
    assert_eq!((filled.uid, filled.nsp), (message.uid, message.nsp));
    let extension = filled.broadcast.extension.expect("a template has one");
    assert_eq!(extension.revision, Some(revision));
    assert_eq!(extension.seq, template.seq);
    let Some(Value::Map(pairs)) = filled.broadcast.args.last() else {
        panic!("the last argument is the map");
    };
    let revisions: Vec<&Value> = pairs
        .iter()
        .filter(|(key, _)| key == "revision")
        .map(|(_, value)| value)
        .collect();
    assert_eq!(revisions, [&Value::Int(revision.into())]);
    assert_eq!(filled.broadcast.rooms, broadcast.rooms);
}

/// A request or an answer is refused, or what it says can be said again, and that is stable; a node that has asked takes it or ignores it,
/// and its requests end with their time. Input: a message of the channels of requests and answers.
pub(crate) fn bus_request(data: &[u8]) {
    let mut node = Node::new("me0000", "socket.io", "/");
    ask_everything(&mut node);
    for channel in [
        "socket.io-request#/#",
        "socket.io-response#/#",
        "socket.io-response#/#me0000#",
    ] {
        let _ = node.handle_message(channel, data, &|_| true, 0);
    }
    assert!(node.handle_request_timeout(1_000).len() <= 4);
    assert_eq!(node.next_deadline(), None);
    if let Ok(request) = decode_request(data)
        && let Ok(bytes) = encode_request("/", &request)
    {
        let again = decode_request(&bytes).expect("what was encoded is decoded");
        let bytes_again = encode_request("/", &again).expect("it was encoded before");
        assert_eq!(bytes_again, bytes);
    }
    if let Ok(answer) = decode_answer(data)
        && let Ok(bytes) = encode_answer(answer)
    {
        let again = decode_answer(&bytes).expect("what was encoded is decoded");
        let bytes_again = encode_answer(again).expect("it was encoded before");
        assert_eq!(bytes_again, bytes);
    }
}

/// The same of a message of the sharded adapter, whatever it is. Input: a message.
pub(crate) fn bus_sharded(data: &[u8]) {
    const UID: &str = "ada00000000000a1";
    let adapter = Adapter::Sharded(SubscriptionMode::Dynamic);
    let mut node = Node::new(UID, "socket.io", "/").speaking(adapter);
    ask_everything(&mut node);
    for channel in [
        "socket.io#/#",
        "socket.io#/#room#",
        "socket.io#/#ada00000000000a1#",
        "socket.io#/other#",
        "",
    ] {
        let _ = node.handle_message(channel, data, &|room| room == "room", 0);
    }
    assert!(node.handle_request_timeout(1_000).len() <= 4);
    assert_eq!(node.next_deadline(), None);
    let Ok(message) = sharded::decode(data) else {
        return;
    };
    if let sharded::Body::Broadcast(broadcast) = &message.body {
        let (depth, attachments) = shape(&broadcast.args);
        assert!(depth <= MAX_DEPTH && attachments <= MAX_ATTACHMENTS);
    }
    let Some(bytes) = say_again(&message) else {
        return;
    };
    let again = sharded::decode(&bytes).expect("what was encoded is decoded");
    assert_eq!(say_again(&again).expect("it was encoded before"), bytes);
    for end in [0, bytes.len() / 2, bytes.len() - 1] {
        assert!(sharded::decode(&bytes[..end]).is_err());
    }
}

/// Unless it is what is never said.
fn say_again(message: &sharded::Message) -> Option<bytes::Bytes> {
    let (uid, nsp) = (message.uid.as_str(), message.nsp.as_str());
    let said = match &message.body {
        sharded::Body::Broadcast(broadcast) => sharded::encode(uid, nsp, broadcast),
        sharded::Body::Request(request) => sharded::encode_request(nsp, request),
        sharded::Body::Answer(answer) => sharded::encode_answer(uid, nsp, answer),
    };
    said.ok()
}

fn ask_everything(node: &mut Node) {
    let fetch = RequestBody::Fetch {
        members: Members::default(),
    };
    let emit = RequestBody::ServerSideEmit {
        args: vec![Value::Str("e".to_owned())],
    };
    let broadcast = RequestBody::Broadcast(unisono_cluster::Broadcast {
        args: vec![Value::Str("e".to_owned())],
        ..Default::default()
    });
    for body in [fetch, RequestBody::AllRooms, emit, broadcast] {
        let (id, ..) = node.ask(body, 1_000, 0).expect("nothing is pending");
        assert_eq!(node.expect_nodes(&id, 2), None);
    }
}

/// How deep the values are nested, and how many byte strings are in them.
fn shape(values: &[Value]) -> (usize, usize) {
    let inner: Vec<(usize, usize)> = values
        .iter()
        .map(|value| match value {
            Value::Array(items) => shape(items),
            Value::Map(pairs) => shape(
                &pairs
                    .iter()
                    .map(|(_, value)| value.clone())
                    .collect::<Vec<_>>(),
            ),
            Value::Bin(_) => (0, 1),
            _ => (0, 0),
        })
        .collect();
    let depth = inner.iter().map(|(depth, _)| depth + 1).max().unwrap_or(0);
    (depth, inner.iter().map(|(_, count)| count).sum())
}
