//! A server under attack, and somebody else who is connected to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use unisono::{IoBuilder, Stats};

use super::{Attack, Message, Row};
use crate::raw::{Frame, PATIENCE, RawSocket, open, poll, post};
use crate::server::TestServer;

/// Cheap to clone: the rows take one along.
#[derive(Clone)]
pub(crate) struct Arena {
    pub(crate) server: Arc<TestServer>,
}

impl Arena {
    pub(crate) async fn with(configure: impl FnOnce(IoBuilder) -> IoBuilder) -> Self {
        let server = Arc::new(TestServer::with(configure).await);
        Self { server }
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port
    }

    /// A polling session that has joined the main namespace and whose greeting is read.
    pub(crate) async fn joined(&self) -> String {
        let sid = open(self.port()).await;
        assert_eq!(post(self.port(), &sid, "40").await.body, "ok");
        assert!(poll(self.port(), &sid).await.body.starts_with("40{"));
        sid
    }

    /// A WebSocket that has taken over the session.
    pub(crate) async fn upgrade(&self, sid: &str) -> RawSocket {
        let query = format!("EIO=4&transport=websocket&sid={sid}");
        let mut socket = RawSocket::connect(self.port(), &query).await;
        socket.send("2probe").await;
        assert_eq!(socket.text().await, "3probe");
        socket.send("5").await;
        socket.send("42[\"message\",\"moved\"]").await;
        assert_eq!(socket.text().await, "42[\"message-back\",\"moved\"]");
        socket
    }

    /// What became of a session that had been joined. If it is there it is ended, so that nothing is left behind.
    pub(crate) async fn fate(&self, sid: &str) -> &'static str {
        let posted = post(self.port(), sid, "42[\"message\",\"still here\"]").await;
        if posted.body == "ok" {
            let polled = poll(self.port(), sid).await;
            if polled.body.ends_with("42[\"message-back\",\"still here\"]") {
                self.end(sid).await;
                return "the session stays";
            }
        }
        // Takes the farewell, unless it is gone already.
        poll(self.port(), sid).await;
        "the session ends"
    }

    /// Ends a polling session without leaving anything.
    pub(crate) async fn end(&self, sid: &str) {
        assert_eq!(post(self.port(), sid, "1").await.body, "ok");
    }
}

/// Somebody who is not to notice anything.
pub(crate) struct Bystander {
    socket: RawSocket,
    echoes: u64,
}

impl Bystander {
    pub(crate) async fn join(port: u16) -> Self {
        let socket = RawSocket::join(port).await;
        Self { socket, echoes: 0 }
    }

    /// One round trip.
    pub(crate) async fn echo(&mut self) {
        self.echoes += 1;
        let n = self.echoes;
        self.socket.send(&format!("42[\"message\",{n}]")).await;
        loop {
            match self.socket.next().await {
                Frame::Text(text) if text == "2" => self.socket.send("3").await,
                Frame::Text(text) => {
                    assert_eq!(text, format!("42[\"message-back\",{n}]"));
                    return;
                }
                other => panic!("the bystander got {other:?}"),
            }
        }
    }
}

/// What must be as before when an attack is over.
fn gauges(stats: &Stats) -> [u64; 6] {
    [
        stats.connections_polling,
        stats.connections_websocket,
        stats.sockets,
        stats.joining,
        stats.probing,
        stats.acks_pending,
    ]
}

/// Waits until `condition` holds, in real time: tests that freeze the clock wait here too.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        breathe().await;
    }
}

/// A moment of real time in which sockets are served, whatever the runtime's clock says.
pub(super) async fn breathe() {
    let moment = || std::thread::sleep(Duration::from_millis(2));
    tokio::task::spawn_blocking(moment).await.unwrap();
}

/// The refusals between two readings.
pub(crate) fn refusals(before: &Stats, after: &Stats) -> Vec<(&'static str, u64)> {
    let pairs = before.refused.iter().zip(&after.refused);
    pairs
        .map(|(before, after)| (after.0, after.1 - before.1))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Runs each row of a table against one server.
pub(crate) async fn check(arena: &Arena, rows: &[Row]) {
    let mut bystander = Bystander::join(arena.port()).await;
    let mut otherwise = Vec::new();
    for row in rows {
        let got = check_row(arena, row, &mut bystander).await;
        if got != row.got {
            otherwise.push(format!(
                "{}: {}: {got:?}, not {:?}",
                row.id, row.input, row.got
            ));
        }
        if let Attack::Messages(messages) = &row.attack {
            check_over_polling(arena, row, messages, &mut bystander).await;
        }
    }
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
}

async fn check_row(arena: &Arena, row: &Row, bystander: &mut Bystander) -> String {
    let before = arena.server.io.stats();
    let got = row.attack.run(arena).await;
    let fate = settle(arena, row, &before, got.sid, bystander).await;
    let got = got.words + &fate;
    let (reason, count) = row.counted;
    println!("{} | {} | {got} | {reason} {count}", row.id, row.input);
    got
}

/// The same packets in the body of a POST: what ends a WebSocket ends a polling session, and is counted alike.
async fn check_over_polling(
    arena: &Arena,
    row: &Row,
    messages: &[Message],
    bystander: &mut Bystander,
) {
    let before = arena.server.io.stats();
    let sid = arena.joined().await;
    let records: Vec<String> = messages.iter().map(Message::record).collect();
    let answer = post(arena.port(), &sid, &records.join("\u{1e}")).await;
    // Node says `ok` to a body that it could read, whatever the packets in it lead to.
    assert_eq!(answer.body, "ok", "{}: {}", row.id, row.input);
    let fate = settle(arena, row, &before, Some(sid), bystander).await;
    let served = row.got.ends_with("served");
    assert_eq!(fate.contains("stays"), served, "{}: {}", row.id, row.input);
}

/// Exactly what the row says is counted, the bystander is served, nothing is left behind. What became of the session, if there is one.
async fn settle(
    arena: &Arena,
    row: &Row,
    before: &Stats,
    sid: Option<String>,
    bystander: &mut Bystander,
) -> String {
    let expected = Vec::from_iter((row.counted.1 > 0).then_some(row.counted));
    let what = format!("{expected:?} for {}: {}", row.id, row.input);
    let counted = || refusals(before, &arena.server.io.stats());
    until(&what, || {
        let counted = counted();
        let is_wrong = |one: &(&str, u64)| one.0 != row.counted.0 || one.1 > row.counted.1;
        assert!(!counted.iter().any(is_wrong), "{what}, not {counted:?}");
        counted == expected
    })
    .await;
    bystander.echo().await;
    assert_eq!(counted(), expected, "{}: {}", row.id, row.input);
    // To look is to knock, and that may be counted too.
    let fate = match sid {
        Some(sid) => format!("; {}", arena.fate(&sid).await),
        None => String::new(),
    };
    let what = format!("nothing is left of {}: {}", row.id, row.input);
    until(&what, || gauges(&arena.server.io.stats()) == gauges(before)).await;
    fate
}
