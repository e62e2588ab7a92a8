//! The client's side of long-polling, as a stock client does it between events: a GET is always held, and everything goes through one connection.

use super::client::{Kind, Line, Step};
use crate::wire;

/// Between the records of a payload (Engine.IO 4).
const SEPARATOR: u8 = 0x1e;

pub(super) struct Polling {
    sid: String,
    awaits: Awaits,
    /// Holds a GET; else the session is abandoned as soon as it has joined.
    polls: bool,
    /// The namespace has answered.
    joined: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Awaits {
    /// The answer to the handshake.
    Open,
    /// The answer to a POST; a GET follows.
    Post,
    /// The answer to the GET that is held.
    Poll,
}

impl Polling {
    pub(super) fn new(polls: bool) -> Self {
        Self {
            sid: String::new(),
            awaits: Awaits::Open,
            polls,
            joined: false,
        }
    }

    pub(super) fn sid(&self) -> Option<&str> {
        (!self.sid.is_empty()).then_some(&*self.sid)
    }

    /// Takes whole responses from the front of `input`: how many bytes, and what to do next.
    pub(super) fn consume(
        &mut self,
        input: &[u8],
        line: &mut Line,
        notice: &mut dyn FnMut(Kind),
    ) -> (usize, Step) {
        let mut used = 0;
        while let Some(response) = wire::next_response(&input[used..]) {
            used += response.length;
            if response.status != 200 || !self.on_response(response.body, line, notice) {
                return (used, Step::End);
            }
        }
        (used, Step::Read)
    }

    fn on_response(&mut self, body: &[u8], line: &mut Line, notice: &mut dyn FnMut(Kind)) -> bool {
        match self.awaits {
            Awaits::Open => {
                let open: Option<serde_json::Value> = body
                    .strip_prefix(b"0")
                    .and_then(|json| serde_json::from_slice(json).ok());
                let Some(sid) = open.as_ref().and_then(|open| open["sid"].as_str()) else {
                    return false;
                };
                self.sid = sid.to_owned();
                self.post("40", line)
            }
            Awaits::Post if self.polls => self.poll(line),
            Awaits::Post => {
                notice(Kind::Ready);
                true
            }
            Awaits::Poll => {
                let mut pong = false;
                for record in body.split(|byte| *byte == SEPARATOR) {
                    match record {
                        [b'2'] => pong = true,
                        [b'4', b'0', ..] if !self.joined => {
                            self.joined = true;
                            notice(Kind::Ready);
                        }
                        [b'1'] | [b'4', b'4', ..] => return false,
                        _ => {}
                    }
                }
                if pong {
                    self.post("3", line)
                } else {
                    self.poll(line)
                }
            }
        }
    }

    fn post(&mut self, body: &str, line: &mut Line) -> bool {
        self.awaits = Awaits::Post;
        let request = wire::post_request(&line.host, &self.sid, body);
        line.write(&request)
    }

    fn poll(&mut self, line: &mut Line) -> bool {
        self.awaits = Awaits::Poll;
        let request = wire::poll_request(&line.host, &self.sid);
        line.write(&request)
    }
}
