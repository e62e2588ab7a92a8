//! Channels of rooms: which are listened to, for how long, and that they are back after an outage.

use std::sync::Arc;
use std::time::Duration;

use unisono::{Adapter, Broker, Io, LinkState, MemoryBus, SlowReaders, Socket, SubscriptionMode};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{RedisServer, await_until};

use crate::raw::{PATIENCE, RawSocket};
use crate::server::{TestServer, namespace};
use crate::slow::Stage;

async fn serve(broker: Arc<dyn Broker>) -> TestServer {
    let io = Io::builder()
        .namespace(namespace("/"))
        .broker(broker, "socket.io")
        .build();
    TestServer::serve(io).await
}

async fn pod(redis: &RedisServer, mode: SubscriptionMode) -> TestServer {
    let config = RedisConfig::parse(&redis.url()).unwrap();
    let config = config.speaking(Adapter::Sharded(mode));
    let server = serve(Arc::new(RedisBroker::start(config))).await;
    await_up(&server).await;
    server
}

async fn await_up(server: &TestServer) {
    await_until("the link is up", PATIENCE, || {
        server.io.link_state() == LinkState::Subscribed
    })
    .await;
}

/// The names of the rooms that somebody listens to, as Redis shows them.
fn channels(redis: &RedisServer) -> Vec<String> {
    let channels = redis.command(&["PUBSUB", "SHARDCHANNELS", "socket.io#/#?*#"]);
    let rooms = channels.lines().filter_map(|channel| {
        let room = channel.strip_prefix("socket.io#/#")?.strip_suffix('#')?;
        // Not the channels of answers.
        let is_uid = room.len() == 16 && room.bytes().all(|b| b.is_ascii_hexdigit());
        (!is_uid).then(|| room.to_owned())
    });
    let mut rooms: Vec<_> = rooms.collect();
    rooms.sort();
    rooms
}

async fn await_channels(redis: &RedisServer, expected: &[&str]) {
    await_until(&format!("rooms {expected:?}"), PATIENCE, || {
        channels(redis) == expected
    })
    .await;
}

fn socket(server: &TestServer) -> Socket {
    let sockets = server.io.of("/").unwrap().local_sockets();
    sockets.into_iter().next().expect("somebody is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_has_its_channel_while_somebody_is_in_it_and_a_while_longer() {
    let redis = RedisServer::start();
    let server = pod(&redis, SubscriptionMode::Dynamic).await;
    let mut one = RawSocket::join(server.port).await;
    let first = socket(&server);
    assert_eq!(channels(&redis), [""; 0], "not that of its own id");
    first.join("red").unwrap();
    first.join("blue").unwrap();
    await_channels(&redis, &["blue", "red"]).await;
    // A room that is left and joined again keeps its channel; another is left for good.
    for _ in 0..100 {
        first.leave("red");
        first.join("red").unwrap();
    }
    first.leave("blue");
    first.join("green").unwrap();
    await_channels(&redis, &["blue", "green", "red"]).await;
    await_channels(&redis, &["green", "red"]).await;
    one.send("41").await;
    await_channels(&redis, &[]).await;
    assert_eq!(server.io.link_stats().reconnects, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mode_says_which_rooms_have_channels() {
    let redis = RedisServer::start();
    let server = pod(&redis, SubscriptionMode::DynamicPrivate).await;
    let _client = RawSocket::join(server.port).await;
    let id = socket(&server).id().to_owned();
    await_channels(&redis, &[id.as_str()]).await;

    let redis = RedisServer::start();
    let server = pod(&redis, SubscriptionMode::Static).await;
    let _client = RawSocket::join(server.port).await;
    socket(&server).join("red").unwrap();
    // How many listen is said when everything asked for before is in effect.
    assert_eq!(server.io.of("/").unwrap().server_count().await, Ok(1));
    assert_eq!(channels(&redis), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_rooms_are_back_after_a_crash_of_redis() {
    const ROOMS: usize = 500;
    let mut redis = RedisServer::start();
    let one = pod(&redis, SubscriptionMode::Dynamic).await;
    let two = pod(&redis, SubscriptionMode::Dynamic).await;
    let mut client = RawSocket::join(one.port).await;
    let names: Vec<_> = (0..ROOMS).map(|n| format!("room-{n}")).collect();
    socket(&one).join_all(&names).unwrap();
    await_until("all rooms", PATIENCE, || channels(&redis).len() == ROOMS).await;
    redis.kill9();
    for pod in [&one, &two] {
        await_until("the link is down", PATIENCE, || {
            !pod.io.link_state().is_up()
        })
        .await;
    }
    socket(&one).join("late").unwrap();
    redis.restart();
    await_up(&one).await;
    await_up(&two).await;
    await_until("all rooms", PATIENCE, || {
        channels(&redis).len() == ROOMS + 1
    })
    .await;
    for room in ["room-0", "room-499", "late"] {
        two.io.of("/").unwrap().to(room).emit("e", &room).unwrap();
        assert_eq!(client.text().await, format!("42[\"e\",\"{room}\"]"));
    }
}

#[tokio::test]
async fn pods_of_one_process_speak_it_too() {
    for mode in SubscriptionMode::ALL {
        let bus = MemoryBus::speaking(Adapter::Sharded(mode));
        let one = serve(Arc::new(bus.broker())).await;
        let two = serve(Arc::new(bus.broker())).await;
        let outside = bus.broker();
        let mut client = RawSocket::join(one.port).await;
        let member = socket(&one);
        member.join("red").unwrap();
        // In `dynamic` the room, in `dynamic-private` that of its id too.
        let listeners = async |room: &str| outside.count(&format!("socket.io#/#{room}#")).await;
        let expected = match mode {
            SubscriptionMode::Static => [0, 0],
            SubscriptionMode::Dynamic => [1, 0],
            SubscriptionMode::DynamicPrivate => [1, 1],
        };
        let counted = [listeners("red").await, listeners(member.id()).await];
        assert_eq!(counted, expected.map(Ok), "{mode}");
        let space = two.io.of("/").unwrap();
        for (number, target) in [
            space.to("red"),
            space.to(member.id()),
            space.to("red").ordered(),
            space.to("red").to("blue"),
            space.broadcast(),
        ]
        .into_iter()
        .enumerate()
        {
            target.emit("e", &number).unwrap();
            assert_eq!(client.text().await, format!("42[\"e\",{number}]"), "{mode}");
        }
        space.to("blue").emit("e", &"nobody").unwrap();
        let found = space.to("red").fetch_sockets().await.unwrap();
        assert!(found.nodes.have_all_answered());
        assert_eq!(found.answers[0].id(), member.id());
        let rooms = space.all_rooms().await.unwrap();
        assert_eq!(rooms.answers, [member.id(), "red"]);
        assert_eq!(space.server_count().await, Ok(2));
        let stats = &one.io.node_stats()[0].1;
        assert_eq!((stats.gaps, stats.undecodable), (0, 0), "{mode}");
    }
}

#[tokio::test]
async fn a_server_that_ends_listens_to_nothing() {
    let bus = MemoryBus::speaking(Adapter::Sharded(SubscriptionMode::Dynamic));
    let outside = bus.broker();
    let server = serve(Arc::new(bus.broker())).await;
    let client = RawSocket::join(server.port).await;
    let member = socket(&server);
    member.join("red").unwrap();
    member.leave("red");
    assert_eq!(outside.count("socket.io#/#red#").await, Ok(1));
    drop((member, client));
    let TestServer { io, .. } = &server;
    assert!(io.drain(Duration::from_secs(5)).await);
    server.stop().await;
    await_until("nobody listens", PATIENCE, || {
        let count = |channel: &str| {
            let mut count = outside.count(channel);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            matches!(
                count.as_mut().poll(&mut context),
                std::task::Poll::Ready(Ok(0))
            )
        };
        count("socket.io#/#red#") && count("socket.io#/#")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_reached_at_once_by_who_has_told_others_to_join_it() {
    let redis = RedisServer::start();
    let near = pod(&redis, SubscriptionMode::Dynamic).await;
    let far = pod(&redis, SubscriptionMode::Dynamic).await;
    let mut client = RawSocket::join(far.port).await;
    let space = near.io.of("/").unwrap();
    for number in 0..20 {
        let room = format!("room-{number}");
        space.broadcast().sockets_join([&room]).unwrap();
        space.to(&room).emit("e", &number).unwrap();
        assert_eq!(client.text().await, format!("42[\"e\",{number}]"));
    }
}

#[tokio::test]
async fn a_room_is_reached_though_what_was_told_had_to_wait_for_redis() {
    let mut redis = RedisServer::start();
    let near = pod(&redis, SubscriptionMode::Dynamic).await;
    let far = pod(&redis, SubscriptionMode::Dynamic).await;
    let mut client = RawSocket::join(far.port).await;
    let space = near.io.of("/").unwrap();
    redis.kill9();
    await_until("the link is down", PATIENCE, || {
        !near.io.link_state().is_up()
    })
    .await;
    space.broadcast().sockets_join(["room"]).unwrap();
    // Longer than it takes others to listen once they were told.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    space.to("room").emit("e", &1).unwrap();
    redis.restart();
    assert_eq!(client.text().await, "42[\"e\",1]");
}

/// As in Node.js' sharded adapter; in its classic one whoever is asked gets it.
#[tokio::test]
async fn a_volatile_question_of_another_pod_does_not_wait_for_a_slow_client() {
    for adapter in [
        Adapter::Sharded(SubscriptionMode::Dynamic),
        Adapter::Classic,
    ] {
        let bus = MemoryBus::speaking(adapter);
        let near = serve(Arc::new(bus.broker())).await;
        let broker = Arc::new(bus.broker());
        let far = Stage::with(SlowReaders::Close, |io| io.broker(broker, "socket.io")).await;
        let _slow = RawSocket::enter(far.server.port).await;
        far.block().await;
        let dropped = || far.server.io.stats().volatile_dropped;
        let before = dropped();
        let space = near.io.of("/").unwrap();
        let asked = space.broadcast().volatile();
        let acks = asked.emit_with_ack("q", &(), Duration::from_millis(300));
        let acks = acks.await.unwrap();
        assert_eq!((acks.remote.len(), acks.remote_missing), (0, 1));
        assert_eq!(dropped() - before, u64::from(adapter != Adapter::Classic));
    }
}

/// What a client of a namespace hears of what two others say: one in the namespace whose channel it shares, one in its own.
#[tokio::test]
async fn a_room_whose_channel_is_also_another_does_not_take_it_along() {
    let bus = MemoryBus::speaking(Adapter::Sharded(SubscriptionMode::Dynamic));
    let serve = async |bus: &MemoryBus| {
        let io = Io::builder()
            .namespace(namespace("/"))
            .namespace(namespace("/a"))
            .namespace(namespace("/a#b"))
            .broker(Arc::new(bus.broker()), "socket.io")
            .build();
        TestServer::serve(io).await
    };
    let (near, far) = (serve(&bus).await, serve(&bus).await);
    let outside = bus.broker();
    let mut clients = Vec::new();
    for nsp in ["/", "/a", "/a#b"] {
        let mut client = RawSocket::connect(near.port, "EIO=4&transport=websocket").await;
        assert!(client.text().await.starts_with("0{"));
        client.send(&format!("40{nsp},")).await;
        assert!(client.text().await.starts_with("40"));
        assert!(client.text().await.contains("auth"));
        clients.push(client);
    }
    let member = |nsp: &str| near.io.of(nsp).unwrap().local_sockets()[0].clone();
    // The room of one namespace has the channel of another, and that of the other has the channel of its node's answers.
    let (inner, own) = ("b", near.io.node_name().unwrap().id);
    member("/a").join(inner).unwrap();
    member("/").join(&own).unwrap();
    let there = |nsp: &str| far.io.of(nsp).unwrap();
    there("/a").to(inner).emit("e", &"room").unwrap();
    there("/a#b").emit("e", &"namespace").unwrap();
    there("/").to(&own).emit("e", &"own").unwrap();
    let heard = [
        "42[\"e\",\"own\"]",
        "42/a,[\"e\",\"room\"]",
        "42/a#b,[\"e\",\"namespace\"]",
    ];
    for (client, heard) in clients.iter_mut().zip(heard) {
        assert_eq!(client.text().await, heard);
    }
    // All leave their rooms, and what nobody needs any more is left a while later.
    member("/a").join("control").unwrap();
    for room in [inner, "control"] {
        member("/a").leave(room);
    }
    member("/").leave(&own);
    let count = |channel: &str| {
        let mut count = outside.count(channel);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match count.as_mut().poll(&mut context) {
            std::task::Poll::Ready(Ok(count)) => count,
            other => panic!("{other:?}"),
        }
    };
    await_until("the others are left", PATIENCE, || {
        count("socket.io#/a#control#") == 0
    })
    .await;
    assert_eq!(count("socket.io#/a#b#"), 2);
    assert_eq!(count(&format!("socket.io#/#{own}#")), 1);
    there("/a").to(inner).emit("e", &"nobody").unwrap();
    there("/a#b").emit("e", &"still").unwrap();
    assert_eq!(clients[2].text().await, "42/a#b,[\"e\",\"still\"]");
    let fetched = near.io.of("/").unwrap().fetch_sockets().await.unwrap();
    assert!(fetched.nodes.have_all_answered() && fetched.nodes.expected == 1);
}
