//! A Redis of one's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::resp;
use crate::wait::free_port;

/// Time for a server to answer after its start. It takes some 20 ms; a loaded machine gets plenty.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Somebody else may take the port between finding and using it; nobody does so this often.
const START_ATTEMPTS: u32 = 5;

/// For a command of a test.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// Which program serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisProgram {
    path: PathBuf,
}

impl RedisProgram {
    /// The installed `redis-server`.
    pub fn installed() -> Self {
        Self {
            path: PathBuf::from("redis-server"),
        }
    }

    /// The other servers that `cargo xtask test` brings from PyPI into `target/servers/`: `redis-6.2`, `valkey`. `None` where there is
    /// none for this kind of machine; the tests say so, and outside of CI go on without.
    ///
    /// # Panics
    /// In CI on Linux and x86-64 when it is not there.
    pub fn other(name: &str) -> Option<Self> {
        let path = crate::Peer::directory()
            .join("../target/servers")
            .join(name);
        if path.exists() {
            return Some(Self { path });
        }
        let missing = format!(
            "{} is not there: run the tests with `cargo xtask test`, which installs it",
            path.display()
        );
        let is_expected = cfg!(all(target_os = "linux", target_arch = "x86_64"));
        let is_ci = std::env::var_os("CI").is_some();
        assert!(!(is_expected && is_ci), "{missing}");
        eprintln!("{missing}; going on without");
        None
    }
}

/// A real `redis-server` on a free port of the loopback interface, in a directory of its own. Dropping it kills it.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    directory: PathBuf,
    program: RedisProgram,
    pub(crate) options: Vec<String>,
}

impl RedisServer {
    /// Whether `redis-server` is installed.
    pub fn available() -> bool {
        let version = Command::new("redis-server")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    }

    /// Starts one that keeps nothing on disk.
    ///
    /// # Panics
    /// When `redis-server` is not installed or does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further options, such as `["--appendonly", "yes"]` to keep its data over a restart, or `["--requirepass", "x"]`.
    ///
    /// # Panics
    /// When `redis-server` is not installed or does not start.
    pub fn start_with(options: &[&str]) -> Self {
        assert!(
            Self::available(),
            "redis-server is not installed: run the tests with `cargo xtask test`, which installs it"
        );
        Self::start_program(&RedisProgram::installed(), options)
    }

    /// Starts another program than the installed one.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_program(program: &RedisProgram, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        for _ in 0..START_ATTEMPTS {
            // The bus of a cluster listens 10,000 ports higher.
            let port = free_port();
            if port > u16::MAX - 10_000 {
                continue;
            }
            let mut server = Self {
                child: None,
                port,
                directory: own_directory(),
                program: program.clone(),
                options: options.clone(),
            };
            if server.try_launch(false) {
                return server;
            }
        }
        panic!("{program:?} did not start in {START_ATTEMPTS} attempts");
    }

    /// Starts a sentinel whose configuration has these lines.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_sentinel(lines: &[String]) -> Self {
        for _ in 0..START_ATTEMPTS {
            let directory = own_directory();
            let file = directory.join("sentinel.conf");
            fs::write(&file, lines.join("\n")).expect("our own directory is writable");
            let mut server = Self {
                child: None,
                port: free_port(),
                directory,
                program: RedisProgram::installed(),
                options: vec![file.to_string_lossy().into_owned(), "--sentinel".to_owned()],
            };
            if server.try_launch(false) {
                return server;
            }
        }
        panic!("the sentinel did not start in {START_ATTEMPTS} attempts");
    }

    /// A port on which a server will be started later with [`RedisServer::restart`]; nothing runs yet.
    ///
    /// # Panics
    /// When `redis-server` is not installed.
    pub fn stopped() -> Self {
        assert!(
            Self::available(),
            "redis-server is not installed: run the tests with `cargo xtask test`, which installs it"
        );
        Self {
            child: None,
            port: free_port(),
            directory: own_directory(),
            program: RedisProgram::installed(),
            options: Vec::new(),
        }
    }

    /// `redis://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// Starts it again on the same port, killing it first if it runs.
    ///
    /// # Panics
    /// When it does not start, for example because somebody took its port.
    pub fn restart(&mut self) {
        self.kill9();
        assert!(
            self.try_launch(false),
            "redis-server did not start again on port {}",
            self.port
        );
    }

    /// Starts it again, killing it first if it runs, and waits only until it answers that it is loading its data, or that it has.
    /// `options` are for this start alone: `["--key-load-delay", "1000"]` makes loading take a millisecond for each key.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart_loading(&mut self, options: &[&str]) {
        self.kill9();
        let loading = ["--loading-process-events-interval-bytes", "1024"];
        let before = self.options.len();
        let more = loading.iter().chain(options);
        self.options.extend(more.map(|&option| option.to_owned()));
        let launched = self.try_launch(true);
        self.options.truncate(before);
        assert!(launched, "redis-server did not start again");
    }

    /// Suspends it (`SIGSTOP`): connections stay open, nothing is answered.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends the suspension (`SIGCONT`).
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// Runs a command and gives its reply as text; the elements of an array one a line.
    ///
    /// # Panics
    /// When the server cannot be reached or replies with an error.
    pub fn command(&self, words: &[&str]) -> String {
        let reply = resp::command(self.address(), words, COMMAND_LIMIT);
        reply.unwrap_or_else(|error| panic!("{words:?} failed: {error}"))
    }

    /// The same, on a connection that has said this password first.
    ///
    /// # Panics
    /// As [`RedisServer::command`].
    pub fn command_with(&self, password: &str, words: &[&str]) -> String {
        let commands = [&["AUTH", password][..], words];
        let reply = resp::commands(self.address(), &commands, COMMAND_LIMIT);
        reply.unwrap_or_else(|error| panic!("{words:?} failed: {error}"))
    }

    /// The same as [`RedisServer::command`], for a server that may refuse or be away.
    ///
    /// # Errors
    /// What the server or the system says.
    pub fn try_command(&self, words: &[&str]) -> Result<String, String> {
        resp::command(self.address(), words, COMMAND_LIMIT)
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the server runs");
        kill_process(Pid::from_child(child), signal).expect("our own child can be signalled");
    }

    /// False when it ended instead of answering.
    fn try_launch(&mut self, may_load: bool) -> bool {
        let mut command = Command::new(&self.program.path);
        // The configuration file of a sentinel stands before everything else.
        let (first, options) = match self.options.iter().position(|word| word == "--sentinel") {
            Some(at) => self.options.split_at(at + 1),
            None => self.options.split_at(0),
        };
        command.args(first);
        command.args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--loglevel",
            "warning",
        ]);
        if first.is_empty() {
            command.args(["--save", ""]);
        }
        command.arg("--dir").arg(&self.directory).args(options);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = self
            .child
            .insert(child.expect("redis-server can be executed"));
        let start = Instant::now();
        loop {
            if child
                .try_wait()
                .expect("our own child can be waited for")
                .is_some()
            {
                self.child = None;
                return false;
            }
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
            let reply = |words: &[&str]| resp::command(address, words, COMMAND_LIMIT);
            let answers = is_own(&reply(&["INFO", "server"]), child.id())
                && !matches!(reply(&["PING"]), Err(error) if !may_load && error.contains("LOADING"));
            if answers {
                return true;
            }
            assert!(
                start.elapsed() < START_LIMIT,
                "redis-server did not answer within {START_LIMIT:?}"
            );
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Nothing can be done about a failure here, and the process ends with the test run.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Whether it is our own process that answered: somebody else may have got the port first, and ours is about to end. One that asks for a
/// password is taken at its word.
fn is_own(reply: &Result<String, String>, id: u32) -> bool {
    match reply {
        Ok(info) => info.lines().any(|line| line == format!("process_id:{id}")),
        Err(error) => error.contains("NOAUTH") || error.contains("NOPERM"),
    }
}

pub(crate) fn own_directory() -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let directory =
        std::env::temp_dir().join(format!("unisono-redis-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory).expect("the temporary directory is writable");
    directory
}
