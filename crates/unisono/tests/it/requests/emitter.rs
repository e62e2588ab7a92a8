//! What emitters, which are no pods, tell all pods and their clients: the stock one, ours, and one in Python.

use serde_json::{Value, json};
use unisono_redis::{Emitter, EmitterBroadcast, RedisConfig};
use unisono_test::Conversation;

use super::cluster::{CLIENTS, Cluster};
use super::pods::{SECOND, Target};
use crate::mixed::from_json;
use crate::server::Spread;

/// An emitter, behind one set of commands.
enum Talker {
    /// In a process of its own.
    Stock(Box<Conversation>),
    Ours(Emitter),
}

impl Talker {
    async fn stock(cluster: &Cluster) -> Self {
        let emitter = Conversation::emitter(&cluster.redis.url()).await;
        Self::Stock(Box::new(emitter))
    }

    fn ours(cluster: &Cluster) -> Self {
        let config = RedisConfig::parse(&cluster.redis.url()).unwrap();
        Self::Ours(Emitter::new(config, "socket.io"))
    }

    /// With `careless`, the event is volatile and not to be compressed.
    async fn emit(
        &mut self,
        nsp: &str,
        target: &Target<'_>,
        careless: bool,
        event: &str,
        args: &Value,
    ) {
        match self {
            Self::Stock(emitter) => {
                let mut fields = target.fields();
                fields["namespace"] = nsp.into();
                fields["event"] = event.into();
                fields["args"] = args.clone();
                if careless {
                    fields["volatile"] = true.into();
                    fields["compress"] = false.into();
                }
                emitter.command("emit", fields).await;
            }
            Self::Ours(emitter) => {
                let mut message = narrowed(&emitter.of(nsp), target);
                if careless {
                    message = message.volatile().compress(false);
                }
                let args = Spread(from_json(args));
                assert_eq!(
                    message.emit(event, &args).await.unwrap(),
                    4,
                    "one for each pod"
                );
            }
        }
    }

    async fn join(&mut self, target: &Target<'_>, rooms: &[&str]) {
        match self {
            Self::Stock(emitter) => {
                let mut fields = target.fields();
                fields["join"] = json!(rooms);
                emitter.command("sockets_join", fields).await;
            }
            Self::Ours(emitter) => {
                let taken = narrowed(emitter, target).sockets_join(rooms).await;
                assert_eq!(taken.unwrap(), 4);
            }
        }
    }

    async fn leave(&mut self, target: &Target<'_>, room: &str) {
        match self {
            Self::Stock(emitter) => {
                let mut fields = target.fields();
                fields["leave"] = room.into();
                emitter.command("sockets_leave", fields).await;
            }
            Self::Ours(emitter) => {
                let taken = narrowed(emitter, target).sockets_leave([room]).await;
                assert_eq!(taken.unwrap(), 4);
            }
        }
    }

    async fn disconnect(&mut self, target: &Target<'_>) {
        match self {
            Self::Stock(emitter) => {
                let mut fields = target.fields();
                fields["close"] = true.into();
                emitter.command("disconnect_sockets", fields).await;
            }
            Self::Ours(emitter) => {
                let taken = narrowed(emitter, target).disconnect_sockets(true).await;
                assert_eq!(taken.unwrap(), 4);
            }
        }
    }

    async fn server_side_emit(&mut self, args: &Value) {
        match self {
            Self::Stock(emitter) => {
                let fields = json!({ "event": "sse", "args": args });
                emitter.command("server_side_emit", fields).await;
            }
            Self::Ours(emitter) => {
                let args = Spread(from_json(args));
                let taken = emitter.server_side_emit("sse", &args).await;
                assert_eq!(taken.unwrap(), 4);
            }
        }
    }
}

fn narrowed(emitter: &Emitter, target: &Target<'_>) -> EmitterBroadcast {
    let to = |all: EmitterBroadcast, room: &&str| all.to(room);
    let all = target.rooms.iter().fold(emitter.broadcast(), to);
    target.except.iter().fold(all, |all, room| all.except(room))
}

/// Clients of the second namespace: one on a pod of Node.js in room `a`, one on ours in room `b`.
const SECOND_CLIENTS: [&str; 2] = ["s0", "s1"];

async fn open_second(cluster: &mut Cluster) {
    for (pod, name) in SECOND_CLIENTS.iter().enumerate() {
        let url = cluster.pods[pod].url();
        let fields = json!({
            "client": name, "url": url, "namespace": SECOND, "transports": ["websocket"],
        });
        cluster.clients.command("open", fields).await;
        let room = ["a", "b"][pod];
        cluster.clients.emit_ack(name, "join", json!([room])).await;
    }
}

/// Each of `expected` gets each event of `emitted` once, nobody anything more: the talker's next event comes behind all that.
async fn expect(
    cluster: &mut Cluster,
    talker: &mut Talker,
    emitted: &[(&str, &[&str])],
    args: &Value,
) {
    let everybody = || CLIENTS.iter().chain(&SECOND_CLIENTS);
    let all = Target::default();
    for nsp in ["/", SECOND] {
        talker.emit(nsp, &all, false, "fence", &json!([])).await;
    }
    for name in everybody() {
        cluster.clients.message(name, "fence").await;
        for (event, expected) in emitted {
            let got = cluster.clients.kept_messages(name, event);
            let once = expected.contains(name).then(|| args.clone());
            let once: Vec<_> = once.into_iter().collect();
            assert_eq!(got, once, "{event} at {name}");
        }
    }
}

async fn emits_to_clients_of_all_pods(cluster: &mut Cluster, mut talker: Talker) {
    open_second(cluster).await;
    let args = json!([
        1, -1.5, "zwei \u{20ac}", { "deep": [{ "$bin": "AQID" }, null, true] }, { "$bin": "" }
    ]);
    let except = |except| Target { rooms: &[], except };
    let both = Target {
        rooms: &["a", "b"],
        except: &["b"],
    };
    let emitted: [(&str, &str, Target<'_>, &[&str]); 6] = [
        ("all", "/", Target::default(), &CLIENTS),
        ("room", "/", Target::to(&["b"]), &["c1", "c3"]),
        ("rooms", "/", Target::to(&["a", "lobby"]), &CLIENTS),
        ("except", "/", except(&["a"]), &["c1", "c3"]),
        ("both", "/", both, &["c0", "c2"]),
        ("second", SECOND, Target::to(&["a"]), &["s0"]),
    ];
    for (event, nsp, target, _) in &emitted {
        talker.emit(nsp, target, false, event, &args).await;
    }
    let emitted = emitted.map(|(event, .., expected)| (event, expected));
    expect(cluster, &mut talker, &emitted, &args).await;
    // Only now: a volatile event is dropped for a client that others wait for.
    let target = Target::to(&["a"]);
    talker.emit("/", &target, true, "careless", &args).await;
    expect(cluster, &mut talker, &[("careless", &["c0", "c2"])], &args).await;
}

async fn moves_and_ends_sockets(cluster: &mut Cluster, mut talker: Talker) {
    let lobby_but = |except| Target {
        rooms: &["lobby"],
        except,
    };
    talker.join(&lobby_but(&["b"]), &["e1", "e2"]).await;
    for from in 0..4 {
        cluster.await_members(from, "e1", &["c0", "c2"]).await;
        cluster.await_members(from, "e2", &["c0", "c2"]).await;
        assert_eq!(cluster.pods[from].server_count().await, 4, "it is no pod");
    }
    talker.leave(&Target::to(&["e2"]), "e1").await;
    cluster.await_members(1, "e1", &[]).await;
    talker.server_side_emit(&json!([1, { "two": 2 }])).await;
    for pod in &mut cluster.pods {
        let expected = json!({ "args": [1, { "two": 2 }], "ack": false });
        assert_eq!(pod.server_side_event().await, expected);
    }
    talker.disconnect(&lobby_but(&["e2"])).await;
    for name in [CLIENTS[1], CLIENTS[3]] {
        let ended = |e: &Value| e["event"] == "disconnect" && e["client"] == name;
        let event = cluster.clients.event_where(ended).await;
        assert_eq!(event["reason"], "io server disconnect");
    }
    for from in 0..4 {
        cluster.await_members(from, "lobby", &["c0", "c2"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stock_emitter_emits_to_clients_of_all_pods() {
    let mut cluster = Cluster::mixed().await;
    let talker = Talker::stock(&cluster).await;
    emits_to_clients_of_all_pods(&mut cluster, talker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_emitter_emits_to_clients_of_all_pods() {
    let mut cluster = Cluster::mixed().await;
    let talker = Talker::ours(&cluster);
    emits_to_clients_of_all_pods(&mut cluster, talker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stock_emitter_moves_and_ends_sockets_on_all_pods_and_is_never_counted() {
    let mut cluster = Cluster::mixed().await;
    let talker = Talker::stock(&cluster).await;
    moves_and_ends_sockets(&mut cluster, talker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_emitter_moves_and_ends_sockets_on_all_pods_and_is_never_counted() {
    let mut cluster = Cluster::mixed().await;
    let talker = Talker::ours(&cluster);
    moves_and_ends_sockets(&mut cluster, talker).await;
}

/// It writes empty texts where there are no rooms and no flags, and publishes once for each room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emitter_in_python_emits_to_clients_of_all_pods() {
    let mut cluster = Cluster::mixed().await;
    open_second(&mut cluster).await;
    let emitter = Conversation::python_emitter(&cluster.redis.url()).await;
    let mut talker = Talker::Stock(Box::new(emitter));
    let args = json!([1, "zwei \u{20ac}", { "deep": [{ "$bin": "AQID" }, null, true] }]);
    let emitted: [(&str, &str, Target<'_>, &[&str]); 3] = [
        ("all", "/", Target::default(), &CLIENTS),
        ("room", "/", Target::to(&["b"]), &["c1", "c3"]),
        ("second", SECOND, Target::to(&["a"]), &["s0"]),
    ];
    for (event, nsp, target, _) in &emitted {
        talker.emit(nsp, target, false, event, &args).await;
    }
    let emitted = emitted.map(|(event, .., expected)| (event, expected));
    expect(&mut cluster, &mut talker, &emitted, &args).await;
}
