//! Plain Engine.IO as an application sees it: handlers, their order and their bounds.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use unisono::engine::{CloseReason, Engine, EngineBuilder, EngineSocket, Message};
use unisono_proto::ws::Opcode;
use unisono_test::await_until;

use crate::raw::{Frame, PATIENCE, RawSocket, request, sid_of};

struct TestEngine {
    engine: Engine,
    port: u16,
    task: JoinHandle<()>,
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestEngine {
    async fn start(builder: EngineBuilder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let engine = builder.build();
        let service = engine.service();
        let task = tokio::spawn(async move {
            let served = unisono::serve(listener, service, std::future::pending());
            served.await.unwrap();
        });
        Self { engine, port, task }
    }

    async fn socket(&self) -> RawSocket {
        let target = "/engine.io/?EIO=4&transport=websocket&who=me";
        let mut socket = RawSocket::connect_to(self.port, target).await.unwrap();
        assert!(socket.text().await.starts_with("0{"));
        socket
    }
}

type Log = Arc<Mutex<Vec<String>>>;

#[tokio::test]
async fn handlers_run_one_after_another_and_the_end_is_the_last() {
    let log = Log::default();
    let note = |log: &Log, what: String| log.lock().unwrap().push(what);
    let (opens, messages, closes) = (log.clone(), log.clone(), log.clone());
    let server = TestEngine::start(
        Engine::builder()
            .on_open(move |socket: EngineSocket| {
                let log = opens.clone();
                async move {
                    socket.send("hello").unwrap();
                    note(&log, format!("open {}", socket.handshake().query()));
                    tokio::task::yield_now().await;
                    note(&log, "opened".to_owned());
                }
            })
            .on_message(move |_, message| {
                let log = messages.clone();
                async move {
                    note(&log, format!("begin {message:?}"));
                    tokio::task::yield_now().await;
                    note(&log, "end".to_owned());
                }
            })
            .on_close(move |socket, reason| {
                let log = closes.clone();
                async move {
                    assert!(socket.send("too late").is_err());
                    note(&log, format!("close {reason}"));
                }
            }),
    )
    .await;
    let mut socket = server.socket().await;
    assert_eq!(socket.text().await, "4hello");
    socket.send("4a").await;
    socket.send_frame(Opcode::Binary, &[1]).await;
    socket.send("1").await;
    socket.until_end().await;
    let is_closed = || log.lock().unwrap().iter().any(|l| l.starts_with("close"));
    await_until("the close handler", PATIENCE, is_closed).await;
    assert_eq!(
        *log.lock().unwrap(),
        [
            "open EIO=4&transport=websocket&who=me",
            "opened",
            "begin Text(\"a\")",
            "end",
            "begin Binary(b\"\\x01\")",
            "end",
            "close transport close"
        ]
    );
}

#[tokio::test]
async fn what_handlers_have_no_room_for_is_not_read() {
    // As documented on `EngineIo`.
    const WAITING: usize = 64;
    let gate = Arc::new(Semaphore::new(0));
    let handled = Arc::new(AtomicUsize::new(0));
    let (gate_inside, handled_inside) = (gate.clone(), handled.clone());
    let server = TestEngine::start(Engine::builder().on_message(move |_, _| {
        let (gate, handled) = (gate_inside.clone(), handled_inside.clone());
        async move {
            gate.acquire().await.unwrap().forget();
            handled.fetch_add(1, SeqCst);
        }
    }))
    .await;
    let mut socket = server.socket().await;
    for _ in 0..1000 {
        socket.send("4x").await;
    }
    let received = || server.engine.stats().events_received as usize;
    await_until("a full line", PATIENCE, || received() >= WAITING).await;
    // One is at its handler, the others wait, the rest is not even decoded.
    assert!(received() <= WAITING + 1, "{}", received());
    gate.add_permits(1000);
    await_until("all", PATIENCE, || handled.load(SeqCst) == 1000).await;
}

#[tokio::test]
async fn a_handler_that_panics_costs_its_message_alone() {
    let server = TestEngine::start(Engine::builder().on_message(async |socket, message| {
        assert_ne!(message, Message::from("panic"), "as the test wants it");
        socket.send(message).unwrap();
    }))
    .await;
    let mut socket = server.socket().await;
    socket.send("4panic").await;
    socket.send("4go on").await;
    assert_eq!(socket.text().await, "4go on");
    let refused = server.engine.stats().refused;
    assert!(refused.contains(&("panic", 1)), "{refused:?}");
}

#[tokio::test]
async fn the_application_ends_a_session_behind_what_it_has_said() {
    let reasons = Arc::new(Mutex::new(Vec::<CloseReason>::new()));
    let inside = reasons.clone();
    let server = TestEngine::start(
        Engine::builder()
            .on_message(async |socket: EngineSocket, _| {
                socket.send(vec![1, 2]).unwrap();
                socket.close();
            })
            .on_close(move |_, reason| {
                inside.lock().unwrap().push(reason);
                std::future::ready(())
            }),
    )
    .await;
    let mut socket = server.socket().await;
    socket.send("4end").await;
    let end = [Frame::Binary(vec![1, 2]), Frame::Close(None)];
    assert_eq!(socket.until_end().await, end);
    let heard = || !reasons.lock().unwrap().is_empty();
    await_until("the close handler", PATIENCE, heard).await;
    assert_eq!(*reasons.lock().unwrap(), [CloseReason::ForcedClose]);
}

#[tokio::test]
async fn nothing_has_to_be_joined() {
    let server = TestEngine::start(
        Engine::builder()
            .ping_interval(Duration::from_millis(20))
            .ping_timeout(PATIENCE),
    )
    .await;
    let mut socket = server.socket().await;
    for _ in 0..20 {
        assert_eq!(socket.text().await, "2");
        socket.send("3").await;
    }
    let stats = server.engine.stats();
    assert_eq!((stats.joining, stats.connections_websocket), (0, 1));
}

#[tokio::test]
async fn messages_both_ways_are_counted_as_events() {
    let echo = async |socket: EngineSocket, message: Message| socket.send(message).unwrap();
    let server = TestEngine::start(Engine::builder().on_message(echo)).await;
    let mut socket = server.socket().await;
    for text in ["4one", "4two"] {
        socket.send(text).await;
        assert_eq!(socket.text().await, text);
    }
    let stats = server.engine.stats();
    assert_eq!((stats.events_received, stats.events_sent), (2, 2));
}

#[tokio::test]
async fn a_drain_ends_all_sessions_and_lets_nobody_in() {
    let server = TestEngine::start(Engine::builder()).await;
    let mut socket = server.socket().await;
    let target = "/engine.io/?EIO=4&transport=polling";
    let polling = request(server.port, "GET", target, "", "").await;
    let waiting = format!("{target}&sid={}", sid_of(&polling.body));
    let (drained, told) = tokio::join!(
        server.engine.drain(PATIENCE),
        request(server.port, "GET", &waiting, "", "")
    );
    assert!(drained && server.engine.is_draining());
    assert!(told.body.ends_with('1'), "{told:?}");
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
    let refused = request(server.port, "GET", target, "", "").await;
    assert_eq!(refused.status, 503);
}
