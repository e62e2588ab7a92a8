//! A Redis of one's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
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

/// A real `redis-server` on a free port of the loopback interface, in a directory of its own. Dropping it kills it.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    directory: PathBuf,
    options: Vec<String>,
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
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        for _ in 0..START_ATTEMPTS {
            let mut server = Self {
                child: None,
                port: free_port(),
                directory: own_directory(),
                options: options.clone(),
            };
            if server.try_launch() {
                return server;
            }
        }
        panic!("redis-server did not start in {START_ATTEMPTS} attempts");
    }

    /// Starts one that speaks TLS on [`RedisServer::tls_url`], with a certificate of its own; the second value is that certificate, PEM.
    ///
    /// # Panics
    /// When `redis-server` or `openssl` is not installed, or it does not start.
    pub fn start_tls() -> (Self, Vec<u8>) {
        let directory = own_directory();
        let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
        let (certificate, key, port) = (
            file("certificate.pem"),
            file("key.pem"),
            free_port().to_string(),
        );
        let request = [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=unisono-test",
        ];
        let mut openssl = Command::new("openssl");
        openssl
            .args(request)
            .args(["-addext", "subjectAltName=IP:127.0.0.1"]);
        openssl.args([
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ]);
        let made = openssl.stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "openssl is not installed: run the tests with `cargo xtask test`"
        );
        let pem = fs::read(&certificate).expect("openssl wrote the certificate");
        let certificates = [
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-auth-clients",
            "no",
        ];
        let server = Self::start_with(&[&["--tls-port", &port][..], &certificates].concat());
        let _ = fs::remove_dir_all(&directory);
        (server, pem)
    }

    /// `rediss://127.0.0.1:<TLS port>`, for a server of [`RedisServer::start_tls`].
    ///
    /// # Panics
    /// For any other server.
    pub fn tls_url(&self) -> String {
        let mut options = self.options.iter();
        assert!(
            options.any(|option| option == "--tls-port"),
            "the server speaks no TLS"
        );
        format!(
            "rediss://127.0.0.1:{}",
            options.next().expect("the option has a value")
        )
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
            self.try_launch(),
            "redis-server did not start again on port {}",
            self.port
        );
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

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the server runs");
        kill_process(Pid::from_child(child), signal).expect("our own child can be signalled");
    }

    /// False when it ended instead of answering.
    fn try_launch(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--loglevel",
            "warning",
        ]);
        command
            .arg("--dir")
            .arg(&self.directory)
            .args(&self.options);
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
            // Any reply will do: it may ask for a password, but it is there.
            let answers = TcpStream::connect(address).is_ok()
                && !matches!(resp::command(address, &["PING"], COMMAND_LIMIT), Err(error) if error.contains("LOADING"));
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

fn own_directory() -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let directory =
        std::env::temp_dir().join(format!("unisono-redis-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory).expect("the temporary directory is writable");
    directory
}
