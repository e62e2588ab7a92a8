//! The server in a process of its own, so that its memory is its own, and somebody on it whose round trips are measured.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use unisono::{Args, Io, Socket, Space, Value};

use super::arena::Bystander;
use crate::raw::request;
use crate::server::namespace;

/// Set in the server's process.
const ROLE: &str = "UNISONO_TEST_SERVER";

/// A server that is ended with its handle.
pub(super) struct Process {
    child: Child,
    pub(super) port: u16,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts this very test binary, told to run nothing but [`serve`].
    pub(super) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "hostile::process::serve",
                "--ignored",
                "--nocapture",
            ])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("port ")?.parse().ok())
            .expect("the server says where it listens");
        Self { child, port }
    }

    /// Counters and gauges by name.
    pub(super) async fn stats(&self) -> BTreeMap<String, u64> {
        let answer = request(self.port, "GET", "/stats", "", "").await;
        let lines = answer.body.lines().filter_map(|line| line.split_once(' '));
        lines
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// Resident memory now, in KiB. From here on the peak is counted anew.
    pub(super) fn begin_peak(&self) -> u64 {
        std::fs::write(self.proc("clear_refs"), "5").unwrap();
        self.status("VmRSS:")
    }

    /// The most memory that was resident at any moment since, in KiB.
    pub(super) fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.child.id()).into()
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.unwrap().parse().unwrap()
    }
}

/// The process: one thread, so that whatever keeps it busy keeps everybody waiting.
#[test]
#[ignore = "not a test: the server that the floods start"]
fn serve() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    std::thread::spawn(|| {
        // Whoever has started it is gone.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(run());
}

async fn run() {
    let enter = async |socket: Socket, Args(rooms): Args| {
        let rooms = rooms.iter().filter_map(Value::as_str);
        rooms.for_each(|room| socket.join(room).unwrap());
    };
    let exit = async |socket: Socket, Args(rooms): Args| {
        let rooms = rooms.iter().filter_map(Value::as_str);
        rooms.for_each(|room| socket.leave(room));
    };
    let flood = async |space: Space| {
        let payload = "x".repeat(100_000);
        space.to("flooded").emit("flood", &payload).unwrap();
    };
    let namespace = namespace("/")
        .on("enter", enter)
        .on("exit", exit)
        .on("flood", flood);
    let io = Io::builder()
        .connect_timeout(Duration::from_secs(1))
        .allow_eio3(true)
        .namespace(namespace)
        .build();
    let shown = io.clone();
    let app = Router::new()
        .route("/stats", get(async move || stats(&shown)))
        .layer(io.layer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    // The test runner writes on the same line.
    println!("\nport {}", listener.local_addr().unwrap().port());
    unisono::serve(listener, app, std::future::pending())
        .await
        .unwrap();
}

fn stats(io: &Io) -> String {
    let stats = io.stats();
    let rooms = io.of("/").unwrap().local_rooms() as u64;
    let gauges = [
        ("polling", stats.connections_polling),
        ("websocket", stats.connections_websocket),
        ("sockets", stats.sockets),
        ("joining", stats.joining),
        ("probing", stats.probing),
        ("acks", stats.acks_pending),
        ("rooms", rooms),
    ];
    let gauges = gauges.map(|(name, value)| format!("={name} {value}\n"));
    let refused = stats.refused.iter();
    let refused: String = refused.map(|(name, n)| format!("{name} {n}\n")).collect();
    gauges.concat() + &refused
}

/// Somebody in a thread of their own who asks for an echo all the time.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Watch {
    pub(super) fn begin(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let watch = watch(port, &stopped);
            runtime.enable_all().build().unwrap().block_on(watch)
        });
        Self { stop, thread }
    }

    /// The round trips, the shortest first.
    pub(super) fn end(self) -> Vec<Duration> {
        self.stop.store(true, Relaxed);
        let mut round_trips = self.thread.join().expect("the bystander is served");
        round_trips.sort();
        round_trips
    }
}

/// Between two round trips: enough of them to judge, few enough to leave the processor to the others.
const PAUSE: Duration = Duration::from_millis(1);

async fn watch(port: u16, stop: &AtomicBool) -> Vec<Duration> {
    let mut bystander = Bystander::join(port).await;
    let mut round_trips = Vec::new();
    while !stop.load(Relaxed) || round_trips.is_empty() {
        let start = Instant::now();
        bystander.echo().await;
        round_trips.push(start.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    round_trips
}
