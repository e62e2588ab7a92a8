//! Whatever happens to links, each message ends in one counter, and the counters say what Redis has taken.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use unisono_cluster::{Adapter, Broker, LinkStats, SubscriptionMode};
use unisono_test::{Proxy, RedisCluster, RedisServer, Way, await_until};

use crate::support::{LIMIT, Node};

const SHARDED: Adapter = Adapter::Sharded(SubscriptionMode::Dynamic);
/// How long somebody talks.
const TALK: Duration = Duration::from_secs(6);

/// Messages of which it is known what became, of so many that were said.
fn known(stats: &LinkStats, said: u64) -> std::ops::RangeInclusive<u64> {
    let lost = stats.refused + stats.dropped_expired + stats.dropped_buffer_full;
    assert_eq!(stats.buffered_messages, 0, "{stats:?}");
    let ended = stats.published + stats.unconfirmed + lost;
    assert_eq!(ended, said, "{stats:?}");
    stats.published..=stats.published + stats.unconfirmed
}

/// Says numbers on these channels in turn: a hundred one after another, then so many at once, and so on.
async fn talk(node: &Node, channels: &[&str], in_a_row: u64) -> u64 {
    let (began, mut said) = (Instant::now(), 0);
    while began.elapsed() < TALK {
        let channel = channels[said as usize % channels.len()];
        // What is refused is counted as well.
        let _ = node.broker.publish(channel, Bytes::from(said.to_string()));
        said += 1;
        if said % (in_a_row + 100) < 100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    node.broker.flush().await;
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_cut_and_silenced_accounts_for_every_message() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let one = Node::up(&format!("redis://127.0.0.1:{}", proxy.port())).await;
    // It hears all that Redis takes.
    let two = Node::up(&server.url()).await;
    let mut random = fastrand::Rng::with_seed(7);
    let harming = async {
        let began = Instant::now();
        while began.elapsed() < TALK {
            tokio::time::sleep(Duration::from_millis(random.u64(1..400))).await;
            match random.u8(..5) {
                0 => {
                    proxy.set(Way::Silent);
                    tokio::time::sleep(Duration::from_millis(random.u64(1..1_500))).await;
                    proxy.set(Way::Open);
                }
                1 => {
                    server.stop();
                    tokio::time::sleep(Duration::from_millis(random.u64(1..600))).await;
                    server.cont();
                }
                2 => drop(server.command(&["CLIENT", "KILL", "TYPE", "normal"])),
                _ => proxy.cut(),
            }
        }
    };
    let talking = talk(&one, &["io#/#"], 400);
    let (said, ()) = tokio::join!(talking, harming);
    one.publish("end");
    two.await_text("end").await;
    one.broker.flush().await;
    let possible = known(&one.broker.stats(), said + 1);
    let heard = two.texts();
    assert!(
        possible.contains(&(heard.len() as u64)),
        "{} in {possible:?}",
        heard.len()
    );
    let numbers: Vec<u64> = heard.iter().filter_map(|text| text.parse().ok()).collect();
    assert!(
        numbers.is_sorted_by(|one, next| one < next),
        "in order, each once"
    );
    assert!(one.broker.stats().reconnects > 3, "it was harmed");
}

/// Counts what a node of a cluster takes on these channels.
struct Taken(JoinHandle<u64>);

impl Taken {
    async fn by(server: &RedisServer, channels: &[&str]) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).await;
        let mut lines = BufReader::new(stream.expect("it listens")).lines();
        let asked = lines.get_mut().write_all(b"MONITOR\r\n").await;
        asked.expect("it reads");
        let mut next = async move || lines.next_line().await.ok().flatten().expect("a line");
        assert_eq!(next().await, "+OK");
        let publish = |channel: &&str| format!("\"SPUBLISH\" \"{channel}\"");
        let publishes: Vec<_> = channels.iter().map(publish).collect();
        Self(tokio::spawn(async move {
            let mut taken = 0;
            loop {
                let line = next().await;
                if line.ends_with("\"ECHO\" \"end\"") {
                    return taken;
                }
                let is_one = |publish: &String| line.contains(publish.as_str());
                taken += u64::from(publishes.iter().any(is_one));
            }
        }))
    }

    async fn in_all(self, server: &RedisServer) -> u64 {
        server.command(&["ECHO", "end"]);
        self.0.await.expect("it has counted")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_on_to_an_owner_that_hangs_is_not_taken_for_refused() {
    let mut cluster = RedisCluster::start(false).await;
    let node = Node::up_speaking(&cluster.url(""), SHARDED).await;
    // It does not listen there, so it learns of the move by publishing.
    let room = (0..)
        .map(|number| format!("io#/#room-{number}#"))
        .find(|room| cluster.owner(room) == 1)
        .expect("a third of all");
    cluster.move_slot(&room, 2, async || {}).await;
    let before = node.broker.stats();
    cluster.nodes()[2].stop();
    let sent = node.broker.publish(&room, Bytes::from_static(b"x"));
    sent.expect("the link is up");
    await_until("it is known what became of it", LIMIT, || {
        let stats = node.broker.stats();
        stats.unconfirmed + stats.refused > before.unconfirmed + before.refused
    })
    .await;
    cluster.nodes()[2].cont();
    let stats = node.broker.stats();
    let grown = (
        stats.refused - before.refused,
        stats.unconfirmed - before.unconfirmed,
    );
    assert_eq!(grown, (0, 1), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_move_under_traffic_leave_every_message_accounted_for() {
    let mut cluster = RedisCluster::start(false).await;
    let rooms: Vec<_> = (0..6).map(|room| format!("io#/#room-{room}#")).collect();
    let channels: Vec<_> = rooms.iter().map(String::as_str).collect();
    let node = Node::up_speaking(&cluster.url(""), SHARDED).await;
    // To every other one it listens itself.
    for room in rooms.iter().step_by(2) {
        let room = unisono_cluster::Subscription::Channel(room.clone());
        node.broker.subscribe(room);
    }
    assert_eq!(node.broker.count(&rooms[0]).await, Ok(1));
    node.broker.flush().await;
    let before = node.broker.stats();
    let mut taken = Vec::new();
    for server in cluster.nodes() {
        taken.push(Taken::by(server, &channels).await);
    }
    let mut random = fastrand::Rng::with_seed(11);
    let moving = async {
        let began = Instant::now();
        while began.elapsed() < TALK {
            tokio::time::sleep(Duration::from_millis(random.u64(1..300))).await;
            let room = &rooms[random.usize(..rooms.len())];
            let further = random.usize(1..RedisCluster::MASTERS);
            let to = (cluster.owner(room) + further) % RedisCluster::MASTERS;
            cluster.move_slot(room, to, async || {}).await;
        }
    };
    let talking = talk(&node, &channels, 50);
    let (said, ()) = tokio::join!(talking, moving);
    await_until("it is up", LIMIT, || node.broker.state().is_up()).await;
    node.broker.flush().await;
    let mut in_all = 0;
    for (taken, server) in taken.into_iter().zip(cluster.nodes()) {
        in_all += taken.in_all(server).await;
    }
    let stats = node.broker.stats();
    let possible = known(&stats, before.published + said);
    let (least, most) = (
        possible.start() - before.published,
        possible.end() - before.published,
    );
    assert!(
        (least..=most).contains(&in_all),
        "{in_all} in {least}..={most}: {stats:?}"
    );
    assert!(stats.reconnects > 3, "it was harmed: {stats:?}");
}
