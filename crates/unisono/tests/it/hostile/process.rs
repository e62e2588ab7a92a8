//! The server in a process of its own, so that its memory is its own, and somebody on it whose round trips are measured.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use tokio::net::TcpSocket;
use unisono::{Args, Binary, Io, Socket, Space, Value};

use super::arena::Bystander;
use crate::raw::request;
use crate::server::namespace;

/// Set in the server's process: the bytes that its kernel may keep for each connection, or nothing for as many as it likes.
const ROLE: &str = "UNISONO_TEST_SERVER";

/// What may wait for one client of a server whose kernel keeps little.
pub(super) const SMALL_QUEUE: usize = 256 << 10;

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
        Self::start_as("")
    }

    /// The same with queues of [`SMALL_QUEUE`] and a kernel that keeps about as much of what a client does not read.
    pub(super) fn start_small() -> Self {
        Self::start_as("131072")
    }

    fn start_as(role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "hostile::process::serve",
                "--ignored",
                "--nocapture",
            ])
            .env(ROLE, role)
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

    /// Open descriptors.
    pub(super) fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
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
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    std::thread::spawn(|| {
        // Whoever has started it is gone.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime
        .enable_all()
        .build()
        .unwrap()
        .block_on(run(role.parse().ok()));
}

async fn run(send_buffer: Option<u32>) {
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
    let own = async |socket: Socket| {
        let payload = Binary(vec![0; 100_000].into());
        socket.emit("own", &payload).unwrap();
    };
    let disconnects = Arc::new(AtomicU64::new(0));
    let counted = disconnects.clone();
    let namespace = namespace("/")
        .on_disconnect(move || {
            counted.fetch_add(1, Relaxed);
            async {}
        })
        .on("own", own)
        .on("enter", enter)
        .on("exit", exit)
        .on("flood", flood);
    let mut io = Io::builder()
        .connect_timeout(Duration::from_secs(1))
        .allow_eio3(true);
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(bytes) = send_buffer {
        io = io.queue_limits(SMALL_QUEUE, 4096);
        // Every connection inherits it.
        socket.set_send_buffer_size(bytes).unwrap();
    }
    let io = io.namespace(namespace).build();
    let shown = io.clone();
    let app = Router::new()
        .route("/stats", get(async move || stats(&shown)))
        .route(
            "/disconnects",
            get(async move || disconnects.load(Relaxed).to_string()),
        )
        .layer(io.layer());
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1024).unwrap();
    // The test runner writes on the same line.
    println!("\nport {}", listener.local_addr().unwrap().port());
    unisono::serve(listener, app, std::future::pending())
        .await
        .unwrap();
}

fn stats(io: &Io) -> String {
    let stats = io.stats();
    let rooms = io.of("/").unwrap().local_room_count() as u64;
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
