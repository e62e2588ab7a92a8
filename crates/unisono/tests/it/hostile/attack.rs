//! How an input is sent, and how what comes back is put into words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use unisono_proto::ws::Opcode;

use super::rfc6455::{self, Piece};
use super::{Arena, Future};
use crate::raw::{Answer, Frame, PATIENCE, RawSocket, parse, request, sid_of};

/// What a client does.
pub(crate) enum Attack {
    /// A GET with this query. `{sid}` stands for a polling session that has joined the main namespace.
    Get(&'static str),
    /// A request: method, query, headers, body.
    Request(&'static str, &'static str, &'static str, &'static str),
    /// Bytes on a connection of their own.
    Raw(&'static str),
    /// A WebSocket handshake: query, further headers.
    Upgrade(&'static str, &'static str),
    /// Messages of a WebSocket that has joined the main namespace.
    Messages(&'static [Message]),
    /// Messages of a WebSocket that has joined nothing; then it joins.
    Early(&'static [Message]),
    /// Bytes of a WebSocket that has joined the main namespace.
    Bytes(fn() -> Vec<u8>),
    /// The same in pieces.
    Frames(&'static [Piece]),
    /// A text message with these bytes in it, cut in three ways.
    Text(&'static [u8]),
    /// Anything else; gives what came back.
    Own(fn(Arena) -> Future<Got>),
}

/// A WebSocket message.
#[derive(Clone, Copy)]
pub(crate) enum Message {
    Text(&'static str),
    /// Text of this length: the first part, as many of the second as fit, the third.
    Long(&'static str, &'static str, &'static str, usize),
    Binary(&'static [u8]),
}

impl Message {
    fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some((*text).to_owned()),
            Self::Long(before, repeated, after, len) => {
                let count = (len - before.len() - after.len()) / repeated.len();
                Some(format!("{before}{}{after}", repeated.repeat(count)))
            }
            Self::Binary(_) => None,
        }
    }

    async fn send(&self, socket: &mut RawSocket) {
        match (self.text(), self) {
            (None, Self::Binary(bytes)) => socket.send_frame(Opcode::Binary, bytes).await,
            (text, _) => socket.send(&text.unwrap_or_default()).await,
        }
    }

    /// As a record of a polling payload.
    pub(crate) fn record(&self) -> String {
        match (self.text(), self) {
            (None, Self::Binary(bytes)) => format!("b{}", STANDARD.encode(bytes)),
            (text, _) => text.unwrap_or_default(),
        }
    }
}

/// What came back.
pub(crate) struct Got {
    pub(crate) words: String,
    /// The polling session it was done to.
    pub(crate) sid: Option<String>,
}

impl Got {
    /// On a session of which one wants to know what becomes of it.
    pub(crate) fn on(words: impl Into<String>, sid: String) -> Self {
        let words = words.into();
        Self {
            words,
            sid: Some(sid),
        }
    }
}

impl<T: Into<String>> From<T> for Got {
    fn from(words: T) -> Self {
        Self {
            words: words.into(),
            sid: None,
        }
    }
}

impl Attack {
    pub(crate) async fn run(&self, arena: &Arena) -> Got {
        let port = arena.port();
        match self {
            Self::Get(query) => requested(arena, "GET", query, "", "").await,
            Self::Request(method, query, headers, body) => {
                requested(arena, method, query, headers, body).await
            }
            Self::Raw(bytes) => raw_request(port, bytes.as_bytes()).await.into(),
            Self::Upgrade(query, headers) => upgraded(arena, query, headers).await,
            Self::Messages(messages) => {
                let mut socket = RawSocket::join(port).await;
                for message in *messages {
                    message.send(&mut socket).await;
                }
                outcome(&mut socket).await.into()
            }
            Self::Early(messages) => {
                let mut socket = RawSocket::connect(port, "EIO=4&transport=websocket").await;
                assert!(socket.text().await.starts_with("0{"));
                for message in *messages {
                    message.send(&mut socket).await;
                }
                socket.send("40").await;
                outcome(&mut socket).await.into()
            }
            Self::Bytes(bytes) => {
                let mut socket = RawSocket::join(port).await;
                socket.send_raw(&bytes()).await;
                outcome(&mut socket).await.into()
            }
            Self::Frames(pieces) => {
                let mut socket = RawSocket::join(port).await;
                let bytes: Vec<u8> = pieces.iter().flat_map(Piece::bytes).collect();
                socket.send_raw(&bytes).await;
                outcome(&mut socket).await.into()
            }
            Self::Text(bytes) => rfc6455::text(port, bytes).await.into(),
            Self::Own(attack) => attack(arena.clone()).await,
        }
    }
}

/// Fills in the session's id.
async fn fill(arena: &Arena, query: &str) -> (String, Option<String>) {
    if !query.contains("{sid}") {
        return (query.to_owned(), None);
    }
    let sid = arena.joined().await;
    (query.replace("{sid}", &sid), Some(sid))
}

async fn requested(arena: &Arena, method: &str, query: &str, headers: &str, body: &str) -> Got {
    let (query, sid) = fill(arena, query).await;
    let target = format!("/socket.io/?{query}");
    let answer = request(arena.port(), method, &target, headers, body).await;
    if answer.body.starts_with("0{\"sid\"") {
        arena.end(&sid_of(&answer.body)).await;
        return format!("{} and a session", answer.status).into();
    }
    let words = in_words(&answer);
    Got { words, sid }
}

async fn upgraded(arena: &Arena, query: &str, headers: &str) -> Got {
    let (query, sid) = fill(arena, query).await;
    let words = match RawSocket::try_connect(arena.port(), &query, headers).await {
        Ok(mut socket) => {
            let head = socket.head.to_ascii_lowercase();
            assert!(!head.contains("sec-websocket-extensions"), "{head}");
            assert!(!head.contains("sec-websocket-protocol"), "{head}");
            assert!(socket.text().await.starts_with("0{"));
            socket.send("40").await;
            format!("101, {}", outcome(&mut socket).await)
        }
        Err(answer) => in_words(&answer),
    };
    Got { words, sid }
}

/// Sends bytes on a connection of their own; the first answer.
pub(crate) async fn raw_request(port: u16, bytes: &[u8]) -> String {
    raw_requests(port, bytes).await.swap_remove(0)
}

/// All answers until the server hangs up, or until `bytes` are answered and a bad request behind them is too.
pub(crate) async fn raw_requests(port: u16, bytes: &[u8]) -> Vec<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // The server may answer and hang up before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answers = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answers))
        .await
        .expect("the server hangs up in time");
    let answers = String::from_utf8_lossy(&answers).into_owned();
    let starts = answers.match_indices("HTTP/1.").map(|(at, _)| at);
    let starts: Vec<usize> = starts.chain([answers.len()]).collect();
    let mut words: Vec<String> = starts
        .windows(2)
        .map(|two| in_words(&parse(&answers.as_bytes()[two[0]..two[1]])))
        .collect();
    if words.is_empty() {
        words.push("hang-up".to_owned());
    }
    words
}

/// The status, and the message of the body.
pub(crate) fn in_words(answer: &Answer) -> String {
    let message = answer.body.split("\"message\":\"").nth(1);
    let message = message
        .and_then(|rest| rest.split('"').next())
        .unwrap_or(&answer.body);
    let status = match answer.status {
        // No status line at all.
        0 => "hang-up".to_owned(),
        status => status.to_string(),
    };
    format!("{status} {message}").trim_end().to_owned()
}

/// What a connection gets: asks for an echo, and puts everything into words until the echo or the end.
pub(crate) async fn outcome(socket: &mut RawSocket) -> String {
    socket.send("42[\"message\",\"still here\"]").await;
    let mut words = Vec::new();
    loop {
        match socket.next().await {
            Frame::Text(text) if text == "42[\"message-back\",\"still here\"]" => {
                words.push("served".to_owned());
                break;
            }
            Frame::Text(text) if text == "2" => socket.send("3").await,
            Frame::Text(text) if text.starts_with("42[\"auth\"") => {}
            Frame::Text(text) => words.push(shortened(&text)),
            Frame::Binary(bytes) => words.push(format!("{} bytes", bytes.len())),
            Frame::Pong(bytes) => words.push(format!("pong of {}", bytes.len())),
            Frame::Close(Some(code)) => words.push(format!("close {code}")),
            Frame::Close(None) => words.push("close".to_owned()),
            Frame::End => {
                let said = words.last().is_some_and(|last| last.starts_with("close"));
                if !said {
                    words.push("hang-up".to_owned());
                }
                break;
            }
        }
    }
    words.join(", ")
}

fn shortened(text: &str) -> String {
    if text.starts_with("40{\"sid\"") {
        return "joined".to_owned();
    }
    match text.split_once(",{\"sid\"") {
        Some((nsp, _)) => format!("joined {}", &nsp[2..]),
        None if text.len() > 60 => format!("{}…", &text[..text.floor_char_boundary(27)]),
        None => text.to_owned(),
    }
}
