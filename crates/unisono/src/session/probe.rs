//! A WebSocket that wants to take over a polling session: it must answer `2probe` / `3probe` / `5` first.
//!
//! Until the `5` the session belongs to polling; if the probe fails, only this WebSocket closes.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Interval, interval_at, timeout};
use unisono_proto::engine;
use unisono_proto::ws::Event;

use super::scratch::with_scratch;
use super::websocket::WebSocket;
use super::{MAX_STEPS, give_way};
use crate::conn::{Conn, PollingMail};
use crate::outgoing::Outgoing;
use crate::server::Server;
use crate::stats::Refusal;

/// How often a probe looks whether its session is still there. As often the waiting GET is released with a noop once the probe is answered,
/// as Node does: the client can only pause polling between two GETs.
const TICK: Duration = Duration::from_millis(100);

/// A WebSocket that has finished its probe.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) socket: WebSocket,
}

/// Counts a probe in `Stats::probing` for as long as it goes on, also when its task is dropped.
struct Probing(Arc<Server>);

impl Probing {
    fn begin(server: Arc<Server>) -> Self {
        server.counters.probing.fetch_add(1, Relaxed);
        Self(server)
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.counters.probing.fetch_sub(1, Relaxed);
    }
}

/// Runs the probe and hands the WebSocket over. The caller has already set `upgrading`.
pub(crate) async fn probe(server: Arc<Server>, conn: Arc<Conn>, mut socket: WebSocket) {
    let probing = Probing::begin(server.clone());
    let outcome = timeout(server.config.upgrade_timeout, run(&conn, &mut socket)).await;
    let succeeded = matches!(outcome, Ok(Ok(())));
    conn.with(|mail| {
        if let Some(polling) = &mut mail.polling {
            if succeeded {
                polling.candidate = Some(Box::new(Candidate { socket }));
            } else {
                polling.upgrading = false;
                polling.release = false;
            }
        }
    });
    if !succeeded {
        server.counters.refuse(Refusal::Upgrade);
        tracing::debug!(sid = ?conn.sid, "upgrade failed; the session goes on with polling");
    }
    drop(probing);
}

async fn run(conn: &Conn, socket: &mut WebSocket) -> io::Result<()> {
    let mut ticks = interval_at(Instant::now(), TICK);
    // The client speaks first, but only after the head of the 101.
    poll_fn(|cx| socket.poll_write(cx)).await?;
    let first = next_text_of(conn, socket, &mut ticks, |_| {}).await?;
    if !matches!(engine::decode(&first), Ok(engine::Packet::Ping(text)) if text == "probe") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    socket.hands.push_back(Outgoing::raw(&["3probe"]));
    poll_fn(|cx| socket.poll_write(cx)).await?;
    // The client stops polling as soon as its waiting GET is answered.
    ticks.reset_immediately();
    let release = |mail: &mut PollingMail| mail.release = true;
    let second = next_text_of(conn, socket, &mut ticks, release).await?;
    match engine::decode(&second) {
        Ok(engine::Packet::Upgrade) => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The next text message, while the session lives; `at_tick` is done to its mail meanwhile.
async fn next_text_of(
    conn: &Conn,
    socket: &mut WebSocket,
    ticks: &mut Interval,
    at_tick: impl Fn(&mut PollingMail),
) -> io::Result<String> {
    loop {
        tokio::select! {
            text = next_text(socket) => return text,
            _ = ticks.tick() => {
                // One that ends stays for as long as its client may be told.
                if conn.with(|mail| mail.polling.as_deref_mut().map(&at_tick)).is_none() {
                    return Err(io::ErrorKind::NotConnected.into());
                }
            }
        }
    }
}

/// The next text message. What was read behind it stays in `unread`. Safe to drop and call again.
async fn next_text(socket: &mut WebSocket) -> io::Result<String> {
    poll_fn(|cx| {
        for _ in 0..MAX_STEPS {
            let mut unread = std::mem::take(&mut socket.unread);
            let mut input = unread.rest();
            while let Some(event) = socket
                .decoder
                .next(&mut input)
                .map_err(|_| io::ErrorKind::InvalidData)?
            {
                match event {
                    Event::Text(text) => {
                        let text = text.into_owned();
                        let left = input.len();
                        unread.keep_last(left);
                        socket.unread = unread;
                        return Poll::Ready(Ok(text));
                    }
                    Event::Ping(payload) => {
                        // Of several that cannot leave, the latest is enough (RFC 6455, section 5.5.3).
                        socket.hands.truncate(1);
                        socket.hands.push_back(Outgoing::pong(&payload));
                    }
                    Event::Pong(_) => {}
                    Event::Binary(_) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                    Event::Close(code) => {
                        // As far as it leaves at once: nobody waits for the answer to a farewell.
                        socket.hands.push_back(Outgoing::close_frame(code));
                        let _ = socket.poll_write(cx);
                        return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                    }
                }
            }
            if !socket.hands.is_empty()
                && let Poll::Ready(Err(error)) = socket.poll_write(cx)
            {
                return Poll::Ready(Err(error));
            }
            let read = with_scratch(|buffer| match socket.poll_read(cx, buffer) {
                Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(n)) => Poll::Ready(Ok(buffer[..n].to_vec())),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            });
            match read {
                Poll::Ready(Ok(bytes)) => socket.unread = bytes.into(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        // Pings without end, or one long message.
        give_way(cx);
        Poll::Pending
    })
    .await
}
