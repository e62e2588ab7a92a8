//! A WebSocket that wants to take over a polling session: it must answer `2probe` / `3probe` / `5` first.
//!
//! Until the `5` the session belongs to polling; if the probe fails, only this WebSocket closes.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, interval_at, timeout};
use unisono_proto::engine;
use unisono_proto::ws::Event;

use super::scratch::with_scratch;
use super::websocket::{WebSocket, Written};
use crate::conn::Conn;
use crate::outgoing::Outgoing;
use crate::server::Server;
use crate::stats::Refusal;

/// How often the waiting GET is released with a noop while a probe is under way, as Node does: the client can only pause polling
/// between two GETs.
const RELEASE_INTERVAL: Duration = Duration::from_millis(100);

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
        tracing::debug!(sid = %conn.sid, "upgrade failed; the session goes on with polling");
    }
    drop(probing);
}

async fn run(conn: &Conn, socket: &mut WebSocket) -> io::Result<()> {
    let mut written = Written::default();
    // The client speaks first, but only after the head of the 101.
    poll_fn(|cx| socket.poll_write(cx, &mut written)).await?;
    let first = next_text(socket).await?;
    if !matches!(engine::decode(&first), Ok(engine::Packet::Ping(text)) if text == "probe") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    socket.hands.push_back(Outgoing::raw("3probe"));
    poll_fn(|cx| socket.poll_write(cx, &mut written)).await?;
    let mut ticks = interval_at(Instant::now(), RELEASE_INTERVAL);
    loop {
        tokio::select! {
            text = next_text(socket) => {
                return match engine::decode(&text?) {
                    Ok(engine::Packet::Upgrade) => Ok(()),
                    _ => Err(io::ErrorKind::InvalidData.into()),
                };
            }
            _ = ticks.tick() => {
                if conn.is_closed() {
                    return Err(io::ErrorKind::NotConnected.into());
                }
                conn.with(|mail| {
                    if let Some(polling) = &mut mail.polling {
                        polling.release = true;
                    }
                });
            }
        }
    }
}

/// The next text message. What was read behind it stays in `unread`. Safe to drop and call again.
async fn next_text(socket: &mut WebSocket) -> io::Result<String> {
    poll_fn(|cx| {
        loop {
            let mut bytes = std::mem::take(&mut socket.unread);
            let mut input = &mut bytes[..];
            while let Some(event) = socket
                .decoder
                .next(&mut input)
                .map_err(|_| io::ErrorKind::InvalidData)?
            {
                match event {
                    Event::Text(text) => {
                        let text = text.into_owned();
                        socket.unread = input.to_vec();
                        return Poll::Ready(Ok(text));
                    }
                    Event::Ping(_) | Event::Pong(_) => {}
                    Event::Binary(_) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                    Event::Close(_) => {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                    }
                }
            }
            let read = with_scratch(|buffer| match socket.poll_read(cx, buffer) {
                Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(n)) => Poll::Ready(Ok(buffer[..n].to_vec())),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            });
            match read {
                Poll::Ready(Ok(bytes)) => socket.unread = bytes,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}
