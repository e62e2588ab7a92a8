//! A Redis Cluster: pub/sub and commands on all its nodes, and what happens when they move.

use std::sync::Arc;
use std::time::{Duration, Instant};

use unisono_cluster::{Broker, CountError, LinkState, Subscription};
use unisono_redis::redis::{self, Script, Value};
use unisono_redis::{CommandErrorKind, Commander, RedisBroker, RedisConfig};
use unisono_test::{RedisCluster, RedisServer, await_until, conformance};

use crate::support::{LIMIT, Node, await_crossing};

/// From the moment at which the cluster has settled again.
const BACK_WITHIN: Duration = Duration::from_secs(8);

/// A count that has to find out whether a node is dead, on a busy machine.
const COUNTED_WITHIN: Duration = Duration::from_secs(3);

/// Keys in slots all over the cluster.
const KEYS: [&str; 6] = ["alpha", "beta", "gamma", "delta", "epsilon", "{tagged}zeta"];

fn count_up() -> Script {
    Script::new("redis.call('PUBLISH', ARGV[1], KEYS[1]); return redis.call('INCR', KEYS[1])")
}

/// Writes all keys once and gives their counts.
async fn write_all(commander: &Commander) -> Vec<Value> {
    let script = count_up();
    let mut counts = Vec::new();
    for key in KEYS {
        let count = commander.eval(&script, &[key], &[b"io#/#"]).await;
        counts.push(count.unwrap_or_else(|error| panic!("{key}: {error:?}")));
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_broker_conforms_on_a_cluster() {
    let cluster = RedisCluster::start(false).await;
    let config = RedisConfig::parse(&cluster.url(""))
        .expect("valid")
        .publish_buffer(64 << 20, 100_000, Duration::from_secs(60));
    let maker = || {
        (0..3)
            .map(|_| Arc::new(RedisBroker::start(config.clone())) as Arc<dyn Broker>)
            .collect()
    };
    conformance::run(&maker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_has_settled_shows_all_its_nodes_to_clients() {
    let check = |cluster: &mut RedisCluster, running: &[usize]| {
        let nodes = cluster.nodes();
        for asked in running {
            let shown = nodes[*asked].command(&["CLUSTER", "SLOTS"]);
            for node in running {
                let port = nodes[*node].port().to_string();
                assert!(shown.lines().any(|line| line == port), "{port} in {shown}");
            }
        }
    };
    let mut cluster = RedisCluster::start(true).await;
    check(&mut cluster, &[0, 1, 2, 3, 4, 5]);
    cluster.nodes()[0].kill9();
    cluster.await_settled().await;
    check(&mut cluster, &[1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_reach_the_owners_of_their_keys() {
    let mut cluster = RedisCluster::start(false).await;
    let node = Node::up(&cluster.url("")).await;
    let commander = node.broker.commander();
    for round in 1..=2 {
        let counts = write_all(&commander).await;
        assert!(
            counts.iter().all(|count| *count == Value::Int(round)),
            "{counts:?}"
        );
        for server in cluster.nodes() {
            server.command(&["SCRIPT", "FLUSH"]);
        }
    }
    // What a script published on another node arrived here.
    await_until("all scripts are heard", LIMIT, || {
        node.texts().len() == 2 * KEYS.len()
    })
    .await;
    for key in KEYS {
        let reply = commander.query(redis::cmd("GET").arg(key)).await;
        assert_eq!(
            reply.expect("it is there"),
            Value::BulkString(b"2".to_vec())
        );
    }
    let error = commander
        .eval(&count_up(), &["alpha", "beta"], &[b"io#/#"])
        .await;
    let error = error.expect_err("two slots at once are not possible");
    assert_eq!(
        (error.kind(), error.code()),
        (CommandErrorKind::Refused, Some("CROSSSLOT"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_are_counted_on_every_node() {
    let mut cluster = RedisCluster::start(true).await;
    let node = Node::up(&cluster.url("")).await;
    node.broker
        .subscribe(Subscription::Channel("requests".to_owned()));
    assert_eq!(node.broker.count("requests").await, Ok(1));
    // Node pods sit anywhere, on replicas as well.
    let subscribers: Vec<_> = cluster.nodes().iter().map(Subscriber::on).collect();
    assert_eq!(node.broker.count("requests").await, Ok(7));
    drop(subscribers);
    await_until("they are gone", LIMIT, || {
        let counts = cluster
            .nodes()
            .iter()
            .map(|node| node.command(&["PUBSUB", "NUMSUB", "requests"]));
        counts.filter(|count| count.ends_with('1')).count() == 1
    })
    .await;
    assert_eq!(node.broker.count("requests").await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_go_on_without_a_node_that_was_killed() {
    counts_go_on_without_a_node(RedisServer::kill9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_go_on_without_a_node_that_hangs() {
    counts_go_on_without_a_node(|server| server.stop()).await;
}

/// No replica takes over, so the node stays in the table of slots.
async fn counts_go_on_without_a_node(end: impl FnOnce(&mut RedisServer)) {
    let mut cluster = RedisCluster::start(false).await;
    let node = Node::up(&cluster.url("")).await;
    node.broker
        .subscribe(Subscription::Channel("requests".to_owned()));
    let _there = Subscriber::on(&cluster.nodes()[1]);
    assert_eq!(node.broker.count("requests").await, Ok(2));
    end(&mut cluster.nodes()[2]);
    let ended = Instant::now();
    loop {
        let asked = Instant::now();
        let count = node.broker.count("requests").await;
        assert!(asked.elapsed() < COUNTED_WITHIN, "{:?}", asked.elapsed());
        match count {
            Ok(count) => break assert_eq!(count, 2),
            // Until the others agree that it is dead, somebody may be listening there.
            Err(CountError) => assert!(ended.elapsed() < LIMIT, "{:?}", ended.elapsed()),
        }
    }
    let table = cluster.nodes()[0].command(&["CLUSTER", "NODES"]);
    assert!(table.contains("master,fail "), "{table}");
}

/// A connection that listens to `requests`, and does nothing else.
struct Subscriber {
    _stream: std::net::TcpStream,
}

impl Subscriber {
    fn on(server: &RedisServer) -> Self {
        use std::io::{Read, Write};
        let stream = std::net::TcpStream::connect(("127.0.0.1", server.port()));
        let mut stream = stream.expect("it listens");
        stream
            .write_all(b"SUBSCRIBE requests\r\n")
            .expect("it reads");
        let confirmed = stream.read(&mut [0; 64]).expect("it answers");
        assert!(confirmed > 0);
        Self { _stream: stream }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_followed_while_their_slot_moves() {
    let cluster = RedisCluster::start(false).await;
    let node = Node::up(&cluster.url("")).await;
    let commander = node.broker.commander();
    write_all(&commander).await;
    let from = cluster.owner("alpha");
    let to = (from + 1) % RedisCluster::MASTERS;
    let script = count_up();
    let alpha = async |expected| {
        let count = commander.eval(&script, &["alpha"], &[b"io#/#"]).await;
        assert_eq!(count.expect("it is followed"), Value::Int(expected));
    };
    cluster
        .move_slot("alpha", to, async || {
            // The keys are on the new node already and the slot is not: ASK.
            alpha(2).await;
            alpha(3).await;
        })
        .await;
    assert_eq!(cluster.owner("alpha"), to);
    // MOVED, then known.
    alpha(4).await;
    alpha(5).await;
    assert_eq!(node.broker.stats().reconnects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_dies_is_replaced() {
    let mut cluster = RedisCluster::start(true).await;
    let url = cluster.url("");
    let (one, two) = (Node::up(&url).await, Node::up(&url).await);
    await_crossing(&one, &two, "before").await;
    write_all(&one.broker.commander()).await;
    // Where all links meet: it has the first slot.
    let listening =
        |server: &RedisServer| server.command(&["CLIENT", "LIST"]).contains("unisono-bus");
    let at = cluster
        .nodes()
        .iter()
        .position(listening)
        .expect("they are somewhere");
    assert_eq!(at, 0);
    cluster.nodes()[at].kill9();
    let killed = Instant::now();
    one.await_state(LinkState::Down).await;
    // Pub/sub goes on at once, on another node.
    await_crossing(&one, &two, "after").await;
    await_crossing(&two, &one, "and back").await;
    assert!(killed.elapsed() < BACK_WITHIN, "{:?}", killed.elapsed());
    // Commands go on when the replica has taken over.
    cluster.await_settled().await;
    let settled = Instant::now();
    let commander = one.broker.commander();
    let script = count_up();
    for key in KEYS {
        loop {
            match commander.eval(&script, &[key], &[b"io#/#"]).await {
                Ok(count) => break assert_eq!(count, Value::Int(2), "{key}"),
                Err(error) => assert!(settled.elapsed() < BACK_WITHIN, "{key}: {error:?}"),
            }
            tokio::task::yield_now().await;
        }
    }
    // All of them come back to where they meet, and nothing they subscribed to was forgotten.
    await_until("all meet at the replica", Duration::from_secs(60), || {
        let clients = cluster.nodes()[RedisCluster::MASTERS].command(&["CLIENT", "LIST"]);
        clients.matches("name=unisono-bus").count() == 2
    })
    .await;
    await_crossing(&one, &two, "in the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_is_left() {
    let mut cluster = RedisCluster::start(true).await;
    let url = cluster.url("");
    let (one, two) = (Node::up(&url).await, Node::up(&url).await);
    await_crossing(&one, &two, "before").await;
    cluster.nodes()[0].stop();
    let stopped = Instant::now();
    await_until("both have noticed", LIMIT, || {
        // Deaf, or down where a publish was under way.
        let noticed = |node: &Node| node.recorder.states().len() > 2;
        noticed(&one) && noticed(&two)
    })
    .await;
    await_crossing(&one, &two, "after").await;
    await_crossing(&two, &one, "and back").await;
    assert!(
        stopped.elapsed() < Duration::from_secs(10),
        "{:?}",
        stopped.elapsed()
    );
    cluster.nodes()[0].cont();
    // Whoever starts now joins them, wherever they are.
    let three = Node::up(&url).await;
    await_crossing(&three, &one, "from the third").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough_on_a_cluster() {
    let mut cluster = RedisCluster::start(false).await;
    let config = RedisConfig::parse(&cluster.url("pod:secret@")).expect("valid");
    let rules = format!(
        "ACL SETUSER pod on >secret -@all resetchannels &io#/#* ~* +evalsha +script|load +incr +get {}",
        config.acl_rules()
    );
    for server in cluster.nodes() {
        let words: Vec<_> = rules.split_whitespace().collect();
        server.command(&words);
    }
    let node = Node::start_with(config);
    node.await_state(LinkState::Subscribed).await;
    let commander = node.broker.commander();
    write_all(&commander).await;
    let to = (cluster.owner("alpha") + 1) % RedisCluster::MASTERS;
    let alpha = redis::cmd("GET").arg("alpha").clone();
    cluster
        .move_slot("alpha", to, async || {
            commander.query(&alpha).await.expect("it is followed");
        })
        .await;
    assert_eq!(node.broker.count("io#/#").await, Ok(0));
    assert_eq!(node.broker.refusal(), None);
    for server in cluster.nodes() {
        assert_eq!(server.command(&["ACL", "LOG"]), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_url_of_a_cluster_says_what_to_do() {
    let mut cluster = RedisCluster::start(false).await;
    let node = Node::up(&cluster.nodes()[0].url()).await;
    let commander = node.broker.commander();
    for key in KEYS {
        // Some of them are elsewhere.
        let _ = commander.query(redis::cmd("GET").arg(key)).await;
    }
    let refusal = node.broker.refusal().expect("there is one");
    assert!(refusal.contains("node of a cluster"), "{refusal}");
}
