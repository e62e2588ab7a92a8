//! What emitters publish, against what `@socket.io/redis-emitter` 5.1 was recorded to publish.

use bytes::Bytes;
use unisono_cluster::classic::decode;
use unisono_cluster::{
    Adapter, Broadcast, Emission, EncodeError, Flags, Instruction, Members, SubscriptionMode,
    sharded,
};
use unisono_proto::Value;

use crate::support::{event, hex, names, str};

fn check(instruction: Instruction, recorded: &str) {
    let expected = Emission {
        channel: "socket.io-request#/#".to_owned(),
        payload: Bytes::copy_from_slice(recorded.as_bytes()),
    };
    assert_eq!(
        Emission::instruction(Adapter::Classic, "socket.io", "/", instruction),
        Ok(expected)
    );
}

#[test]
fn requests_are_written_as_recorded() {
    let members = || Members {
        rooms: names(&["a"]),
        except: names(&[]),
    };
    check(
        Instruction::Join {
            members: members(),
            rooms: names(&["b"]),
        },
        r#"{"type":2,"opts":{"rooms":["a"],"except":[]},"rooms":["b"]}"#,
    );
    check(
        Instruction::Leave {
            members: members(),
            rooms: names(&["b"]),
        },
        r#"{"type":3,"opts":{"rooms":["a"],"except":[]},"rooms":["b"]}"#,
    );
    check(
        Instruction::Disconnect {
            members: Members::default(),
            close: true,
        },
        r#"{"type":4,"opts":{"rooms":[],"except":[]},"close":true}"#,
    );
    check(
        Instruction::ServerSideEmit {
            args: vec![str("sse"), Value::Int(1), str("2")],
        },
        r#"{"uid":"emitter","type":6,"data":["sse",1,"2"]}"#,
    );
}

#[test]
fn broadcasts_say_that_no_node_sent_them() {
    let broadcast = Broadcast {
        rooms: names(&["r1"]),
        except: names(&["x"]),
        flags: Flags {
            volatile: true,
            compress: Some(false),
            ..Flags::default()
        },
        ..event(&[str("fromEmitter"), Value::Int(1)])
    };
    let emission = Emission::broadcast(Adapter::Classic, "socket.io", "/chat", &broadcast)
        .expect("it encodes");
    assert_eq!(emission.channel, "socket.io#/chat#r1#");
    let message = decode(&emission.payload).expect("it decodes");
    assert_eq!(
        (message.uid.as_str(), message.nsp.as_str()),
        ("emitter", "/chat")
    );
    assert_eq!(message.broadcast, broadcast);
    let local = Broadcast {
        flags: Flags {
            local: true,
            ..Flags::default()
        },
        ..broadcast
    };
    let refused = Emission::broadcast(Adapter::Classic, "socket.io", "/", &local);
    assert_eq!(refused, Err(EncodeError::Local));
}

/// `["emitter", {"data": ["hi"], "type": 2, "nsp": "/"}, {"flags": "", "rooms": ""}]`, as `socket.io-emitter` of PyPI packs it.
#[test]
fn empty_texts_are_no_rooms_and_no_flags() {
    let recorded = hex(
        "93 a7 656d6974746572 83 a4 64617461 91 a2 6869 a4 74797065 02 a3 6e7370 a1 2f
         82 a5 666c616773 a0 a5 726f6f6d73 a0",
    );
    let message = decode(&recorded).expect("it decodes");
    assert_eq!(message.broadcast, event(&[str("hi")]));
    // A text that is not empty would be a room for each of its letters: nobody means that.
    let mut wrong = recorded;
    wrong.pop();
    wrong.extend(hex("a1 72"));
    assert!(decode(&wrong).is_err());
}

#[test]
fn the_sharded_adapter_has_its_own_channels_and_bytes() {
    let adapter = Adapter::Sharded(SubscriptionMode::Dynamic);
    let broadcast = Broadcast {
        rooms: names(&["r1"]),
        ..event(&[str("hi")])
    };
    let emission = Emission::broadcast(adapter, "socket.io", "/", &broadcast).expect("it encodes");
    assert_eq!(emission.channel, "socket.io#/#r1#");
    let message = sharded::decode(&emission.payload).expect("it decodes");
    assert_eq!(message.uid, "emitter");
    let instruction = Instruction::Disconnect {
        members: Members::default(),
        close: false,
    };
    let emission =
        Emission::instruction(adapter, "socket.io", "/", instruction).expect("it encodes");
    assert_eq!(emission.channel, "socket.io#/#");
    let message = sharded::decode(&emission.payload).expect("it decodes");
    assert_eq!(message.uid, "emitter");
}
