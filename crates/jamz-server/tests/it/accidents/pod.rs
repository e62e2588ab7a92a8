//! A pod that is a process of its own, watched from outside.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jamz_server::http::{LIVEZ, METRICS, READYZ};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use unisono_test::await_until;

use crate::process::{FREE, address, binary};
use crate::support::PATIENCE;

/// How often the metrics are looked at. What is measured is this coarse.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the metrics said at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) degraded: bool,
    pub(super) reconnects: u64,
}

/// A running pod. Dropping it kills it.
pub(crate) struct Pod {
    pub(super) child: Child,
    pub(crate) url: String,
    admin: String,
    log: Arc<Mutex<Vec<String>>>,
    looks: Arc<Mutex<Vec<Look>>>,
    watching: JoinHandle<()>,
}

impl Pod {
    /// Starts the binary with these settings beside the usual ones, and waits until it listens.
    pub(crate) async fn start(environment: &[(&str, &str)]) -> Self {
        Self::spawn(binary(&[], &[FREE.as_slice(), environment].concat())).await
    }

    /// The same for a command that becomes the binary.
    pub(super) async fn spawn(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::default();
        keep_lines(child.stdout.take().unwrap(), &log);
        // Panics are told here.
        keep_lines(child.stderr.take().unwrap(), &log);
        let listening = || lines(&log).iter().any(|line| line.contains("listening"));
        await_until("the pod listens", PATIENCE, listening).await;
        let line = lines(&log);
        let line = line.iter().find(|line| line.contains("listening")).unwrap();
        let (clients, admin) = (address(line, "clients"), address(line, "admin"));
        let looks = Arc::default();
        let watching = tokio::spawn(watch(admin.clone(), Arc::clone(&looks)));
        Self {
            child,
            url: format!("http://{clients}"),
            admin,
            log,
            looks,
            watching,
        }
    }

    /// The metrics that were seen since then.
    pub(super) fn looks_since(&self, since: Instant) -> Vec<Look> {
        let looks = self.looks.lock().unwrap();
        let first = looks.partition_point(|look| look.at < since);
        looks[first..].to_vec()
    }

    /// The metrics of now.
    pub(super) async fn metrics(&self) -> Metrics {
        let page = get(&self.admin, METRICS).await;
        Metrics(page.expect("the pod answers").1)
    }

    pub(super) async fn await_degraded(&self, degraded: bool) {
        let since = Instant::now();
        let what = format!("degraded is {degraded}");
        await_until(&what, PATIENCE, || {
            let looks = self.looks_since(since);
            looks.last().is_some_and(|look| look.degraded == degraded)
        })
        .await;
    }

    /// Waits until the pod has joined, and is ready.
    pub(super) async fn await_joined(&self) {
        self.await_degraded(false).await;
        let start = Instant::now();
        while get(&self.admin, READYZ)
            .await
            .is_none_or(|answer| answer.0 != 200)
        {
            assert!(start.elapsed() < PATIENCE, "the pod is not ready");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Fails if the pod has ended or panicked, or if a probe is not green.
    pub(super) async fn assert_well(&mut self) {
        let ended = self.child.try_wait().unwrap();
        let log = lines(&self.log);
        assert!(ended.is_none(), "a pod has ended: {ended:?} {log:#?}");
        let panics: Vec<_> = log
            .iter()
            .filter(|line| line.contains("panicked"))
            .collect();
        assert!(panics.is_empty(), "{panics:#?}");
        assert!(
            !self.watching.is_finished(),
            "what a page of metrics said made its reader panic"
        );
        for probe in [LIVEZ, READYZ] {
            let answer = get(&self.admin, probe).await;
            assert_eq!(answer.map(|answer| answer.0), Some(200), "{probe}");
        }
    }

    /// Suspends it (`SIGSTOP`).
    pub(super) fn freeze(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-STOP", &id]).status();
        assert!(sent.unwrap().success());
    }

    pub(super) fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.watching.abort();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            // Shown for tests that fail; RUST_LOG says how much.
            eprintln!("log of {}:\n{}", self.url, lines(&self.log).join("\n"));
        }
    }
}

/// Read by a thread all the time: a pod whose log nobody takes would wait for the pipe.
fn keep_lines(output: impl Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    });
}

fn lines(log: &Arc<Mutex<Vec<String>>>) -> Vec<String> {
    log.lock().unwrap().clone()
}

async fn watch(admin: String, looks: Arc<Mutex<Vec<Look>>>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some((200, page)) = get(&admin, METRICS).await else {
            continue;
        };
        let metrics = Metrics(page);
        let degraded = metrics.number("unisono_degraded") == 1;
        let subscribed = metrics.number("unisono_link_state{state=\"subscribed\"}") == 1;
        assert!(degraded || subscribed, "away and not degraded");
        looks.lock().unwrap().push(Look {
            at: Instant::now(),
            degraded,
            reconnects: metrics.number("unisono_link_reconnects_total"),
        });
    }
}

/// A page of metrics.
#[derive(Clone, Debug)]
pub(super) struct Metrics(String);

impl Metrics {
    /// The sum of all series whose name and labels begin so.
    pub(super) fn number(&self, name: &str) -> u64 {
        let values = self.0.lines().filter_map(|line| {
            let (series, value) = line.split_once(' ')?;
            let is_it = series == name || series.starts_with(&format!("{name}{{"));
            is_it.then(|| value.parse::<u64>().ok())?
        });
        values.sum()
    }
}

/// Status and body; `None` from a pod that is gone.
async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
