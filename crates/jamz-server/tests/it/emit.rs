//! `jamz-server emit`, to clients of a pod.

use std::io::Write;
use std::process::{Output, Stdio};

use jamz_server::config::names;
use serde_json::{Value, json};
use unisono_test::{ClosedPort, Conversation, RedisServer, await_until};

use crate::process::{Served, binary};
use crate::support::PATIENCE;

const CLIENTS: [&str; 2] = ["a", "b"];

/// Exit code, standard output, standard error.
type Outcome = (Option<i32>, String, String);

/// Runs `jamz-server emit` with a text on its standard input.
fn emit(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Outcome {
    let arguments = [&["emit"], arguments].concat();
    let mut command = binary(&arguments, environment);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Most do not read it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code(), text(&stdout), text(&stderr))
}

/// A pod on a Redis, and two clients.
struct Scene {
    redis: RedisServer,
    pod: Served,
    clients: Conversation,
    /// Ids of the clients' sockets, which are rooms too.
    ids: Vec<String>,
}

impl Scene {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let url = redis.url();
        let environment = [(names::REDIS_URL, url.as_str())];
        let (pod, address, _) = Served::listening(&environment);
        // Its log says so too, but maybe before it listens.
        let is_heard = || emit(&["ready?"], &environment, "").1.ends_with(": 1\n");
        await_until("the pod to be subscribed", PATIENCE, is_heard).await;
        let mut clients = Conversation::clients().await;
        let mut ids = Vec::new();
        for name in CLIENTS {
            let url = format!("http://{address}");
            let opened = clients.open(name, &url, &["websocket"]).await;
            ids.push(opened["socket"].as_str().unwrap().to_owned());
        }
        Self {
            redis,
            pod,
            clients,
            ids,
        }
    }

    /// Emits what the pod must have got.
    fn emit(&self, arguments: &[&str], input: &str) {
        let url = self.redis.url();
        let outcome = emit(arguments, &[(names::REDIS_URL, &url)], input);
        let published = "published, subscriptions that got it: 1\n".to_owned();
        assert_eq!(
            outcome,
            (Some(0), published, String::new()),
            "{arguments:?}"
        );
    }

    async fn expect(&mut self, event: &str, args: Value, clients: &[&str]) {
        self.emit(&["fence"], "");
        for name in CLIENTS {
            self.clients.message(name, "fence").await;
            let got = self.clients.kept_messages(name, event);
            let once: Vec<_> = clients
                .contains(&name)
                .then(|| args.clone())
                .into_iter()
                .collect();
            assert_eq!(got, once, "{event} at {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_get_what_it_emits() {
    let mut scene = Scene::start().await;
    let picture = std::env::temp_dir().join(format!("jamz-emit-{}", std::process::id()));
    std::fs::write(&picture, [0, 1, 255]).unwrap();
    let picture = picture.to_str().unwrap();
    scene.emit(&["all", "-1.5", r#""zwei €""#, r#"{"a":[null,true]}"#], "");
    let args = json!([-1.5, "zwei €", { "a": [null, true] }]);
    scene.expect("all", args, &CLIENTS).await;
    scene.emit(&["input", "1", "-"], "[1, 2]\n");
    scene.expect("input", json!([1, [1, 2]]), &CLIENTS).await;
    scene.emit(&["files", "--file", "-", "--binary", picture], "{}");
    let args = json!([{}, { "$bin": "AAH/" }]);
    scene.expect("files", args, &CLIENTS).await;
    let id = scene.ids[0].clone();
    scene.emit(
        &["--room", &id, "to", "--volatile", "--compress", "false"],
        "",
    );
    scene.expect("to", json!([]), &["a"]).await;
    scene.emit(&["--except", &id, "except", "7"], "");
    scene.expect("except", json!([7]), &["b"]).await;
    scene.emit(&["--room", &id, "--join", "club", "--join", "bar"], "");
    scene.emit(&["--room", "bar", "--leave", "club"], "");
    scene.emit(&["--room", "club", "--namespace", "/", "club"], "");
    scene.expect("club", json!([]), &[]).await;
    scene.emit(&["--room", "bar", "bar"], "");
    scene.expect("bar", json!([]), &["a"]).await;
    scene.emit(&["--server-side", "nobody-minds", "1"], "");
    scene.emit(&["--room", "bar", "--disconnect", "--close"], "");
    let ended = |e: &Value| e["event"] == "disconnect" && e["client"] == "a";
    let event = scene.clients.event_where(ended).await;
    assert_eq!(event["reason"], "io server disconnect");
    let status = scene
        .clients
        .command("status", json!({ "client": "b" }))
        .await;
    assert_eq!(status["connected"], true);
    scene.pod.signal("TERM");
    std::fs::remove_file(picture).unwrap();
}

#[test]
fn it_says_when_nobody_listens() {
    let redis = RedisServer::start();
    let url = redis.url();
    let environment = [
        (names::REDIS_URL, url.as_str()),
        (names::REDIS_KEY, "other"),
    ];
    let (code, out, error) = emit(&["news"], &environment, "");
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(out, "published, subscriptions that got it: 0\n");
    assert!(error.starts_with("warning: nobody listens"), "{error}");
    assert!(error.contains("REDIS_KEY (other)"), "{error}");
}

#[test]
fn exit_codes() {
    let closed = ClosedPort::take();
    let nowhere = format!("redis://:secret@127.0.0.1:{}", closed.number());
    let check = |arguments: &[&str], input: &str, code: i32, says: &str| {
        let environment = [(names::REDIS_URL, nowhere.as_str())];
        let (status, out, error) = emit(arguments, &environment, input);
        assert_eq!(status, Some(code), "{arguments:?} {error}");
        assert!(
            error.contains(says),
            "{arguments:?} should say {says:?}: {error}"
        );
        assert!(out.is_empty() && !error.contains("secret"), "{out} {error}");
    };
    let unset = emit(&["news"], &[], "");
    assert_eq!(unset.0, Some(2));
    assert!(unset.2.contains("REDIS_URL is not set"), "{}", unset.2);
    check(&["news"], "", 1, "nothing was sent");
    check(
        &["news", "--file", "/nowhere"],
        "",
        1,
        "cannot read /nowhere",
    );
    // As ids of sockets may begin.
    for option in ["--room", "--except"] {
        check(&[option, "-q", "news"], "", 1, "nothing was sent");
    }
    for option in ["--join", "--leave"] {
        check(&[option, "-q"], "", 1, "nothing was sent");
    }
    check(&[], "", 2, "--join");
    check(&["news", "--join", "r"], "", 2, "cannot be used with");
    check(&["news", "hello"], "", 2, r#"write a text as '"text"'"#);
    check(&["news", "-"], "{", 2, "what is in - is not JSON");
    check(&["news", "-", "--file", "-"], "1", 2, "standard input");
    check(&["--disconnect"], "", 2, "--everybody");
    check(
        &["--room", "r", "--server-side", "news"],
        "",
        2,
        "cannot be used with",
    );
    check(&["disconnect"], "", 2, "is reserved");
    check(&["--server-side", "connection"], "", 2, "is reserved");
}
