//! Who serves which slot of a Redis Cluster.

use std::collections::{BTreeMap, BTreeSet};

use redis::Value;

use crate::config::Address;
use crate::limits::MAX_CLUSTER_NODES;

/// Slots of every Redis Cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// The slots and their nodes, as one node sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots {
    /// By the last slot of the range: the first slot, and the master.
    ranges: BTreeMap<u16, (u16, Address)>,
    /// Masters and replicas, with their ids; empty where Redis gives none.
    nodes: BTreeMap<Address, String>,
    /// Slots that a node said had moved; newer than the ranges.
    moved: BTreeMap<u16, Address>,
}

impl Slots {
    /// Reads the reply of `CLUSTER SLOTS` that `asked` gave; what is not readable in it is left out.
    pub(crate) fn read(reply: Value, asked: &Address) -> Self {
        let mut slots = Self::default();
        let Value::Array(ranges) = reply else {
            return slots;
        };
        for range in ranges {
            let Value::Array(range) = range else { continue };
            let mut fields = range.into_iter();
            let (Some(first), Some(last)) =
                (slot(fields.next().as_ref()), slot(fields.next().as_ref()))
            else {
                continue;
            };
            for (at, node) in fields.enumerate() {
                let Some((node, id)) = known_node(node, asked) else {
                    continue;
                };
                // The first is the master. Where nobody knows its address the range has none: the second is a replica.
                if at == 0 {
                    slots.ranges.insert(last, (first, node.clone()));
                }
                if slots.nodes.len() < MAX_CLUSTER_NODES {
                    slots.nodes.insert(node, id);
                }
            }
        }
        slots
    }

    /// The master of a slot.
    pub(crate) fn owner(&self, slot: u16) -> Option<&Address> {
        self.moved.get(&slot).or_else(|| {
            let (_, (first, master)) = self.ranges.range(slot..).next()?;
            (*first <= slot).then_some(master)
        })
    }

    /// A node said who serves this slot now.
    pub(crate) fn note_move(&mut self, slot: u16, owner: Address) {
        if slot < SLOTS {
            self.moved.insert(slot, owner);
        }
    }

    /// The masters that serve slots, each once, in one order.
    pub(crate) fn masters(&self) -> impl Iterator<Item = &Address> {
        let masters: BTreeSet<_> = self.ranges.values().map(|(_, master)| master).collect();
        masters.into_iter()
    }

    /// Masters and replicas, each once.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Address> {
        self.nodes.keys()
    }

    /// By what name the cluster knows a node, whatever its address.
    pub(crate) fn id(&self, node: &Address) -> Option<&str> {
        self.nodes.get(node).map(String::as_str)
    }
}

/// The slot of a key: of what stands between the first `{` and the next `}`, if that is something, else of the whole.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let tagged = &key[open + 1..];
        let close = tagged.iter().position(|&byte| byte == b'}')?;
        (close > 0).then(|| &tagged[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC16 as XMODEM has it: polynomial 0x1021, nothing reflected, begun at 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

/// `host:port` as an error of redirection names it; without a host it is that of the node that was asked.
pub(crate) fn redirection(text: &str, asked: &Address) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    endpoint(host, port.parse().ok()?, asked)
}

/// Where a node is, by what another says. One that does not know the host leaves it out: it is the host that was asked. A question mark is
/// a node that should have a name and was given none: nobody knows where it is.
fn endpoint(host: &str, port: u16, asked: &Address) -> Option<Address> {
    let host = match host {
        "" => &asked.host,
        "?" => return None,
        host => host,
    };
    let host = host.to_owned();
    Some(Address { host, port })
}

fn slot(value: Option<&Value>) -> Option<u16> {
    match value {
        Some(Value::Int(slot)) => u16::try_from(*slot).ok().filter(|&slot| slot < SLOTS),
        _ => None,
    }
}

/// Address and id of a node.
fn known_node(node: Value, asked: &Address) -> Option<(Address, String)> {
    let Value::Array(fields) = node else {
        return None;
    };
    let mut fields = fields.into_iter();
    let host = text(fields.next()?)?;
    let Value::Int(port) = fields.next()? else {
        return None;
    };
    let address = endpoint(&host, u16::try_from(port).ok()?, asked)?;
    Some((address, fields.next().and_then(text).unwrap_or_default()))
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(text) => String::from_utf8(text).ok(),
        Value::SimpleString(text) => Some(text),
        Value::Nil => Some(String::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: u16) -> Address {
        Address {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn keys_have_the_slots_that_redis_gives_them() {
        let check = |key: &str, slot| assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        check("", 0);
        check("123456789", 12_739);
        check("foo", 12_182);
        check("{foo}bar", 12_182);
        check("x{foo}{bar}", 12_182);
        check("foo{}", slot_of(b"foo{}"));
        check("socket.io#/#", 13_868);
        check("socket.io#/#r1#", 8_259);
        assert_ne!(slot_of(b"foo{}"), slot_of(b""));
    }

    fn reply(text: &str) -> Value {
        redis::parse_redis_value(text.as_bytes()).expect("well-formed")
    }

    const TWO_MASTERS: &str = "*3\r\n\
        *4\r\n:0\r\n:99\r\n*2\r\n$1\r\na\r\n:1\r\n*2\r\n$1\r\nr\r\n:9\r\n\
        *3\r\n:100\r\n:16383\r\n*2\r\n$0\r\n\r\n:2\r\n\
        *3\r\n:7\r\n:70000\r\n*2\r\n$1\r\nx\r\n:2\r\n";

    #[test]
    fn replies_are_read_and_moves_noted() {
        let asked = node("asked", 5);
        let mut slots = Slots::read(reply(TWO_MASTERS), &asked);
        assert_eq!(slots.owner(0), Some(&node("a", 1)));
        assert_eq!(slots.owner(99), Some(&node("a", 1)));
        assert_eq!(slots.owner(100), Some(&node("asked", 2)));
        assert_eq!(slots.owner(16_383), Some(&node("asked", 2)));
        assert_eq!(slots.masters().count(), 2);
        assert_eq!(slots.nodes().count(), 3);
        assert_eq!(slots.id(&node("a", 1)), Some(""));
        assert_eq!(slots.id(&node("elsewhere", 1)), None);
        slots.note_move(99, node("b", 3));
        assert_eq!(slots.owner(99), Some(&node("b", 3)));
        assert_eq!(slots.owner(98), Some(&node("a", 1)));
    }

    #[test]
    fn hosts_are_those_that_redis_means() {
        let asked = node("asked", 5);
        // Of the master and a replica of the only range: who owns it, and which nodes there are.
        let check = |master: &str, replica: &str, owner: Option<&str>, nodes: &[&str]| {
            let reply = reply(&format!(
                "*1\r\n*4\r\n:0\r\n:9\r\n*3\r\n{master}\r\n:7\r\n$1\r\nx\r\n*3\r\n{replica}\r\n:7\r\n$1\r\ny\r\n"
            ));
            let slots = Slots::read(reply, &asked);
            let owner = owner.map(|host| node(host, 7));
            assert_eq!(slots.owner(3), owner.as_ref(), "{master} {replica}");
            let nodes: Vec<_> = nodes.iter().map(|host| node(host, 7)).collect();
            let known: Vec<_> = slots.nodes().cloned().collect();
            assert_eq!(known, nodes, "{master} {replica}");
        };
        let (a, b) = ("$1\r\na", "$1\r\nb");
        check(a, b, Some("a"), &["a", "b"]);
        // An empty text and nothing at all are the host that was asked,
        check("$0\r\n", b, Some("asked"), &["asked", "b"]);
        check("$-1", b, Some("asked"), &["asked", "b"]);
        check(a, "_", Some("a"), &["a", "asked"]);
        // a question mark is nobody, and a replica is no master for that.
        check("$1\r\n?", b, None, &["b"]);
        check(a, "$1\r\n?", Some("a"), &["a"]);
        check("$1\r\n?", "$1\r\n?", None, &[]);
    }

    #[test]
    fn whatever_is_not_readable_is_left_out() {
        let asked = node("asked", 5);
        for text in [
            "+OK\r\n",
            "*1\r\n:1\r\n",
            "*1\r\n*1\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n:2\r\n",
        ] {
            assert_eq!(Slots::read(reply(text), &asked), Slots::default(), "{text}");
        }
        assert_eq!(Slots::default().owner(3), None);
        assert_eq!(redirection("h:7", &asked), Some(node("h", 7)));
        assert_eq!(redirection(":7", &asked), Some(node("asked", 7)));
        assert_eq!(redirection("h:x", &asked), None);
        assert_eq!(redirection("?:7", &asked), None);
        assert_eq!(redirection("", &asked), None);
    }
}
