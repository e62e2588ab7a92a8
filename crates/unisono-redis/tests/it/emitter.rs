//! An emitter and a Redis that is there, away, slow or unwilling.

use std::time::{Duration, Instant};

use unisono_cluster::{Adapter, SubscriptionMode};
use unisono_redis::{CommandErrorKind, Emitter, EmitterError, RedisConfig};
use unisono_test::{RedisCluster, RedisServer, await_until};

use crate::support::{LIMIT, Node};

/// Emits to the channel that the nodes of these tests listen to.
fn emitter(url: &str) -> Emitter {
    Emitter::new(
        RedisConfig::parse(url).expect("the URL of a test is valid"),
        "io",
    )
}

fn kind(outcome: Result<u64, EmitterError>) -> CommandErrorKind {
    match outcome.expect_err("it cannot be published") {
        EmitterError::Redis(error) => error.kind(),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn says_how_many_got_it_and_listens_to_nothing() {
    let server = RedisServer::start();
    let emitter = emitter(&server.url());
    assert_eq!(emitter.emit("alone", &()).await.expect("it is taken"), 0);
    let nodes = [Node::up(&server.url()).await, Node::up(&server.url()).await];
    let to_room = emitter.to("room").emit("hello", &1).await;
    assert_eq!(to_room.expect("it is taken"), 2);
    let elsewhere = emitter.of("/elsewhere").emit("hello", &1).await;
    assert_eq!(elsewhere.expect("it is taken"), 0);
    for node in &nodes {
        let heard = || {
            node.recorder
                .messages()
                .iter()
                .any(|(channel, _)| channel == "io#/#room#")
        };
        await_until("the event comes", LIMIT, heard).await;
    }
    let clients = server.command(&["CLIENT", "LIST"]);
    let own: Vec<_> = clients
        .lines()
        .filter(|client| client.contains("name=unisono-emit"))
        .collect();
    assert_eq!(own.len(), 1, "{clients}");
    assert!(own[0].contains(" sub=0 psub=0 "), "{}", own[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fails_at_once_without_redis_and_recovers_with_it() {
    let mut server = RedisServer::start();
    let emitter = emitter(&server.url());
    emitter.emit("first", &()).await.expect("it is taken");
    server.kill9();
    // The first may still go out on the connection that is about to be found broken.
    let gone = || async { kind(emitter.emit("lost", &()).await) };
    let first = gone().await;
    assert!(
        matches!(
            first,
            CommandErrorKind::Disconnected | CommandErrorKind::Unavailable
        ),
        "{first:?}"
    );
    let start = Instant::now();
    assert_eq!(gone().await, CommandErrorKind::Unavailable);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    server.restart();
    emitter.emit("again", &()).await.expect("it is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_redis_costs_the_deadline_and_is_left() {
    let server = RedisServer::start();
    let deadline = Duration::from_millis(300);
    let emitter = emitter(&server.url()).deadline(deadline);
    emitter.emit("first", &()).await.expect("it is taken");
    server.stop();
    let start = Instant::now();
    let error = emitter.emit("second", &()).await.expect_err("redis hangs");
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!(kind(Err(error)), CommandErrorKind::Timeout);
    // Of those who want to connect at the same time none waits for longer than its own deadline.
    let (a, b) = tokio::join!(emitter.emit("third", &()), emitter.emit("third", &()));
    assert_eq!(kind(a), CommandErrorKind::Unavailable);
    assert_eq!(kind(b), CommandErrorKind::Unavailable);
    assert!(start.elapsed() < 10 * deadline, "{:?}", start.elapsed());
    server.cont();
    let patient = emitter.deadline(LIMIT);
    patient.emit("fourth", &()).await.expect("it is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_whose_they_are() {
    let server = RedisServer::start();
    server.command(&[
        "ACL", "SETUSER", "mute", "on", ">pw", "~*", "&*", "+@all", "-publish",
    ]);
    let url = server.url();
    let mute = emitter(&url.replace("redis://", "redis://mute:pw@"));
    assert_eq!(kind(mute.emit("x", &()).await), CommandErrorKind::Refused);
    let stranger = emitter(&url.replace("redis://", "redis://mute:secret@"));
    let error = stranger
        .emit("x", &())
        .await
        .expect_err("the password is wrong");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(kind(Err(error)), CommandErrorKind::Unavailable);
    // What is wrong with the message is found before Redis is asked.
    let nowhere = emitter("redis://127.0.0.1:1");
    let misused = [
        nowhere.emit("connect_error", &()).await,
        nowhere.server_side_emit("connection", &()).await,
        nowhere.emit("large", &"x".repeat(17 << 20)).await,
        nowhere
            .broadcast()
            .sockets_join(vec!["r"; 16 * 1024 + 1])
            .await,
    ];
    for outcome in misused {
        let error = outcome.expect_err("it is misuse");
        assert!(error.is_misuse() && !error.is_outcome_unknown(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_that_was_demoted_is_left() {
    let mut cluster = RedisCluster::start(true).await;
    let emitter = emitter(&cluster.url(""));
    let is_at = |cluster: &mut RedisCluster, at: usize| {
        let clients = cluster.nodes()[at].command(&["CLIENT", "LIST"]);
        clients.contains("name=unisono-emit")
    };
    emitter.emit("x", &()).await.expect("it is published");
    assert!(is_at(&mut cluster, 0));
    // Nobody's connections are cut by that.
    cluster.nodes()[RedisCluster::MASTERS].command(&["CLUSTER", "FAILOVER"]);
    let demoted = Instant::now();
    while !is_at(&mut cluster, RedisCluster::MASTERS) {
        emitter.emit("x", &()).await.expect("it is published");
        assert!(demoted.elapsed() < LIMIT, "it stays where it was");
    }
}

/// A room whose channel this node of the cluster serves.
fn room_at(cluster: &RedisCluster, at: usize) -> String {
    (0..)
        .map(|number| format!("room-{number}"))
        .find(|room| cluster.owner(&format!("io#/#{room}#")) == at)
        .expect("a third of all")
}

#[tokio::test(flavor = "multi_thread")]
async fn its_deadline_holds_on_every_node_of_a_cluster() {
    const LAST: usize = RedisCluster::MASTERS - 1;
    // Longer than any question of a link may take.
    const BUSY: Duration = Duration::from_millis(2_500);
    let mut cluster = RedisCluster::start(false).await;
    let config = RedisConfig::parse(&cluster.url("")).expect("valid");
    let config = config.speaking(Adapter::Sharded(SubscriptionMode::Dynamic));
    let room = room_at(&cluster, LAST);
    let patient = || Emitter::new(config.clone(), "io").deadline(LIMIT);
    let (connected, new) = (patient(), patient());
    let emit = async |emitter: &Emitter| emitter.to(&room).emit("e", &1).await;
    emit(&connected).await.expect("it is published");
    // Of both, the new one is not connected to any node yet.
    let busy = BUSY.as_millis().to_string();
    cluster.nodes()[LAST].command(&["CLIENT", "PAUSE", &busy, "ALL"]);
    let start = Instant::now();
    let (one, other) = tokio::join!(emit(&connected), emit(&new));
    one.expect("there was time");
    other.expect("there was time to connect");
    assert!(start.elapsed() > BUSY / 2, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emitter_whose_node_says_nothing_finds_the_others_by_another() {
    const FIRST: usize = 0;
    const LAST: usize = RedisCluster::MASTERS - 1;
    let replica_of = |at: usize| at + RedisCluster::MASTERS;
    let mut cluster = RedisCluster::start(true).await;
    let config = RedisConfig::parse(&cluster.url("")).expect("valid");
    let config = config.speaking(Adapter::Sharded(SubscriptionMode::Dynamic));
    let emitter = Emitter::new(config, "io").deadline(Duration::from_secs(2));
    let room = room_at(&cluster, LAST);
    let emit = async || emitter.to(&room).emit("e", &1).await;
    assert!(emit().await.is_ok());
    // A silence that no connection shows. The emitter has no reason to ask anything there.
    cluster.nodes()[FIRST].stop();
    let await_promoted = async |cluster: &mut RedisCluster, at| {
        let replica = &cluster.nodes()[replica_of(at)];
        await_until("the replica has taken over", LIMIT, || {
            replica.command(&["ROLE"]).starts_with("master")
        })
        .await;
    };
    await_promoted(&mut cluster, FIRST).await;
    cluster.nodes()[LAST].kill9();
    await_promoted(&mut cluster, LAST).await;
    let since = Instant::now();
    while let Err(error) = emit().await {
        assert!(since.elapsed() < LIMIT, "{error:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
