//! The binary from outside: exit codes, signals, log lines.

use std::net::TcpStream;
use std::process::Output;
use std::time::{Duration, Instant};

use jamz_server::config::names;
use unisono_test::{ClosedPort, RedisCluster, RedisServer};

use crate::process::{FREE, Served, address, binary};
use crate::support::PATIENCE;

pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = binary(arguments, environment).output().unwrap();
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn exit_codes() {
    let check = |arguments: &[&str], environment: &[(&str, &str)], code: i32, says: &str| {
        let (status, text) = run(arguments, environment);
        assert_eq!(status, Some(code), "{arguments:?} {text}");
        assert!(
            text.contains(says),
            "{arguments:?} should say {says:?}: {text}"
        );
    };
    check(&["version"], &[], 0, env!("CARGO_PKG_VERSION"));
    check(&["--help"], &[], 0, "healthcheck");
    check(&["nonsense"], &[], 2, "nonsense");
    check(&["verify"], &[], 2, "--url");
    check(&["verify", "--url", "https://a"], &[], 2, "TLS");
    check(&["check-config"], &[], 0, "REDIS_URL=(unset");
    let bad = [(names::PORT, "x"), ("REDIS_HOST", "h")];
    check(&["check-config"], &bad, 2, "REDIS_HOST is not a setting");
    check(&["serve"], &bad, 2, "PORT is \"x\"");
    check(&["doctor"], &[], 0, "single-instance");
    let closed = ClosedPort::take();
    let nowhere = format!("redis://:secret@127.0.0.1:{}", closed.number());
    check(
        &["doctor"],
        &[(names::REDIS_URL, &nowhere)],
        1,
        "FAIL  reachable",
    );
    let port = closed.number().to_string();
    check(
        &["healthcheck"],
        &[(names::ADMIN_PORT, &port)],
        1,
        "not alive",
    );
    check(
        &["verify", "--url", &format!("http://127.0.0.1:{port}")],
        &[],
        1,
        "cannot connect",
    );
    let (_, text) = run(&["doctor"], &[(names::REDIS_URL, &nowhere)]);
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn the_demo_proves_itself() {
    let (status, text) = run(&["demo", "--once"], &[]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("all saw the same order"), "{text}");
}

/// With a password in a file, and a user who may speak as the sharded adapter alone.
#[test]
fn the_demo_gets_into_redis_as_a_pod_does() {
    let redis = RedisServer::start();
    let rights = "~* &* +@all -publish -subscribe -psubscribe";
    let user = format!("ACL SETUSER demo on >secret {rights}");
    redis.command(&user.split(' ').collect::<Vec<_>>());
    // Nor does anybody else: without a password the user would not be asked for.
    redis.command(&["ACL", "SETUSER", "default", "off"]);
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/password-of-the-demo");
    std::fs::write(file, "secret").unwrap();
    let url = redis.url().replace("redis://", "redis://demo@");
    let settings = [
        (names::REDIS_URL, url.as_str()),
        (names::REDIS_PASSWORD_FILE, file),
        (names::REDIS_ADAPTER, "sharded"),
    ];
    let (status, text) = run(&["demo", "--once"], &settings);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("all saw the same order"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_looks_at_every_master_of_a_cluster() {
    let mut cluster = RedisCluster::start(false).await;
    let url = cluster.url("");
    let doctor = || run(&["doctor"], &[(names::REDIS_URL, &url)]);
    let (status, text) = doctor();
    assert_eq!(status, Some(0), "{text}");
    let nodes = cluster.nodes();
    let at: Vec<_> = nodes
        .iter()
        .map(|node| format!("127.0.0.1:{}", node.port()))
        .collect();
    for at in &at {
        assert!(text.contains(&format!("ok    version of {at}")), "{text}");
    }
    nodes[1].command(&[
        "CONFIG",
        "SET",
        "maxmemory",
        "100mb",
        "maxmemory-policy",
        "allkeys-lru",
    ]);
    // Users are not replicated.
    nodes[2].command(&["ACL", "SETUSER", "default", "-hset"]);
    let (status, text) = doctor();
    assert_eq!(status, Some(1), "{text}");
    for line in [
        format!("FAIL  eviction of {}", at[1]),
        format!(
            "FAIL  rights: {}: Redis does not let user \"default\" keep sessions",
            at[2]
        ),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
    nodes[2].command(&[
        "ACL",
        "SETUSER",
        "default",
        "+hset",
        "resetpass",
        ">unknown",
    ]);
    let (status, text) = doctor();
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains(&format!("FAIL  latency of {}", at[2])),
        "{text}"
    );
    assert!(text.contains("NOAUTH"), "{text}");
}

#[test]
fn the_doctor_finds_what_must_be_done() {
    let good = RedisServer::start();
    for adapter in ["classic", "sharded"] {
        let settings = [
            (names::REDIS_URL, good.url()),
            (names::REDIS_ADAPTER, adapter.to_owned()),
        ];
        let settings = settings
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let (status, text) = run(&["doctor"], &settings);
        assert_eq!(status, Some(0), "{text}");
        for line in [
            "ok    reachable",
            "ok    version",
            "ok    eviction",
            "ok    rights",
            "ok    pub/sub round trip",
            "note  pods seen: 0",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
    let evicting = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
    let bad = RedisServer::start_with(&evicting);
    let (status, text) = run(&["doctor"], &[(names::REDIS_URL, &bad.url())]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("FAIL  eviction"), "{text}");
    bad.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    bad.command(&[
        "ACL", "SETUSER", "pod", "on", ">pw", "~jamz:*", "&*", "+@all", "-publish",
    ]);
    let url = bad.url().replace("redis://", "redis://pod:pw@");
    let (status, text) = run(&["doctor"], &[(names::REDIS_URL, &url)]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("FAIL  let in"), "{text}");
    assert!(
        text.contains("ACL SETUSER pod +publish &unisono-probe#*"),
        "{text}"
    );
    bad.command(&["ACL", "SETUSER", "pod", "+publish", "-hset"]);
    let (status, text) = run(&["doctor"], &[(names::REDIS_URL, &url)]);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("FAIL  rights: Redis does not let user \"pod\" keep sessions"),
        "{text}"
    );
    let nobody = bad.url().replace("redis://", "redis://pod:secret@");
    let (status, text) = run(&["doctor"], &[(names::REDIS_URL, &nobody)]);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("WRONGPASS") && !text.contains("secret"),
        "{text}"
    );
}

#[test]
fn a_pod_says_what_operators_look_for_and_ends_gently() {
    let redis = RedisServer::start();
    let url = redis.url();
    let settings = [(names::REDIS_URL, url.as_str()), (names::POD_NAME, "pod x")];
    let mut pod = Served::start(&[FREE.as_slice(), &settings].concat());
    let listening = pod.line("listening");
    pod.line("✅ Socket.IO Redis adapter connected - multi-pod clustering enabled");
    let clients = redis.command(&["CLIENT", "LIST"]);
    for name in ["name=pod-x-bus", "name=pod-x-cmd"] {
        assert!(clients.contains(name), "{clients}");
    }
    let admin = address(&listening, "admin");
    let (_, port) = admin.rsplit_once(':').unwrap();
    let asked = [(names::HOST, "127.0.0.1"), (names::ADMIN_PORT, port)];
    assert_eq!(run(&["healthcheck"], &asked).0, Some(0));
    let url = format!("http://{}", address(&listening, "clients"));
    let (status, text) = run(&["verify", "--url", &url, "--rounds", "3"], &[]);
    assert_eq!(status, Some(0), "{text}");
    pod.line("Socket.IO connection");
    pod.line("Socket.IO connection");
    pod.signal("TERM");
    pod.line("draining");
    assert_eq!(pod.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_pod_without_redis_says_so() {
    let mut pod = Served::start(&FREE);
    pod.line("⚠️  REDIS_URL not set - Socket.IO running in single-instance mode");
    pod.line("⚠️  Multi-pod deployments will NOT sync events across pods");
    pod.signal("INT");
    assert_eq!(pod.child.wait().unwrap().code(), Some(0));

    let closed = ClosedPort::take();
    let nowhere = format!("redis://:secret@127.0.0.1:{}", closed.number());
    let mut pod = Served::start(&[FREE.as_slice(), &[(names::REDIS_URL, &nowhere)]].concat());
    assert!(
        !pod.line("❌ Redis adapter connection failed: ")
            .contains("secret")
    );
    pod.line("⚠️  Socket.IO running in single-instance mode");
}

#[test]
fn a_port_that_is_taken_ends_the_start() {
    let mut pod = Served::start(&FREE);
    let clients = address(&pod.line("listening"), "clients");
    let (_, port) = clients.rsplit_once(':').unwrap();
    let taken = [(names::HOST, "127.0.0.1"), (names::PORT, port)];
    let (status, text) = run(&["serve"], &taken);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("cannot listen"), "{text}");
}

/// Two pods on one machine with two `PORT`s: what the other has taken is no reason to end.
#[test]
fn a_port_for_probes_is_found_unless_one_is_asked_for() {
    let default = names::DEFAULT_ADMIN_PORT.to_string();
    // Either we have it now, or somebody else.
    let _taken = std::net::TcpListener::bind(("127.0.0.1", names::DEFAULT_ADMIN_PORT));
    let settings = [(names::HOST, "127.0.0.1"), (names::PORT, "0")];
    let mut pod = Served::start(&settings);
    let warned = pod.line("is taken, probes and metrics are at");
    let admin = address(&pod.line("listening"), "admin");
    assert!(warned.contains(&admin), "{warned}");
    let (_, port) = admin.rsplit_once(':').unwrap();
    assert_ne!(port, default);
    let asked = [(names::HOST, "127.0.0.1"), (names::ADMIN_PORT, port)];
    assert_eq!(run(&["healthcheck"], &asked).0, Some(0));
    let asked = [settings.as_slice(), &[(names::ADMIN_PORT, &default)]].concat();
    let (status, text) = run(&["serve"], &asked);
    assert_eq!(status, Some(1), "{text}");
}

/// Trying again goes on twenty times a second, the log does not.
#[test]
fn a_pod_without_free_descriptors_says_so_now_and_then() {
    let command = format!("ulimit -n 48; exec {}", env!("CARGO_BIN_EXE_jamz-server"));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &command]).env_clear().envs(FREE);
    let mut pod = Served::spawn(shell);
    let clients = address(&pod.line("listening"), "clients");
    let connect = |_| TcpStream::connect(&clients).unwrap();
    let taken: Vec<_> = (0..64).map(connect).collect();
    let says = "cannot accept a connection; check the limit of open files";
    assert!(pod.line(says).contains("failed_before=0"));
    let first = Instant::now();
    let second = pod.line(says);
    assert!(first.elapsed() > Duration::from_secs(4), "{second}");
    assert!(!second.contains("failed_before=0"), "{second}");
    drop(taken);
    await_well(&clients);
}

/// Waits until who asks at this port is answered: that there are no probes there.
fn await_well(address: &str) {
    let started = Instant::now();
    let (host, port) = address.rsplit_once(':').unwrap();
    let asked = [(names::HOST, host), (names::ADMIN_PORT, port)];
    while !run(&["healthcheck"], &asked).1.contains("404") {
        assert!(started.elapsed() < PATIENCE, "nobody is served again");
    }
}
