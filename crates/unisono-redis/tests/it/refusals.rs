//! A Redis that refuses a part of what is asked, and does the rest.

use unisono_cluster::{Adapter, Broker, Subscription, SubscriptionMode};
use unisono_redis::RedisConfig;
use unisono_test::{RedisCluster, RedisServer, await_until};

use crate::support::{LIMIT, Node, set_user, url};

const SHARDED: Adapter = Adapter::Sharded(SubscriptionMode::Dynamic);

fn channel(name: &str) -> Subscription {
    Subscription::Channel(name.to_owned())
}

async fn await_refusal(node: &Node, part: &str) {
    await_until(&format!("{part:?} is refused"), LIMIT, || {
        let refusal = node.broker.refusal();
        refusal.is_some_and(|refusal| refusal.contains(part))
    })
    .await;
}

async fn await_no_refusal(node: &Node) {
    await_until("nothing is refused", LIMIT, || {
        node.broker.refusal().is_none()
    })
    .await;
}

/// What somebody listens to on this server, the link's own probe left out.
fn listened_to(server: &RedisServer, kind: &str) -> usize {
    let channels = server.command(&["PUBSUB", kind, "io#*"]);
    channels.lines().count()
}

/// How often the link was replaced, once it has shown that it hears and counts.
async fn reconnects(node: &Node) -> u64 {
    node.publish("still there");
    node.await_text("still there").await;
    assert!(node.broker.count("io#/#").await.is_ok());
    node.broker.stats().reconnects
}

/// On one thread, so that the link sees all changes between two waits of the test at once.
#[tokio::test]
async fn one_shard_that_refuses_to_unsubscribe_keeps_no_other_from_it() {
    const ROOMS: usize = 900;
    const LAST: usize = RedisCluster::MASTERS - 1;
    let mut cluster = RedisCluster::start(false).await;
    let config = RedisConfig::parse(&cluster.url("pod:secret@")).expect("valid");
    let config = config.speaking(SHARDED);
    let rules = format!(
        "pod on >secret -@all resetchannels &io#/#* {}",
        config.acl_rules()
    );
    for server in cluster.nodes() {
        set_user(server, &rules);
    }
    set_user(&cluster.nodes()[LAST], "pod -sunsubscribe");
    let node = Node::up_with(config).await;
    let names: Vec<_> = (0..ROOMS)
        .map(|number| format!("io#/#room-{number}#"))
        .collect();
    let at_last = names.iter().filter(|name| cluster.owner(name) == LAST);
    // Few where it is refused, so that this is known first.
    let at_last: Vec<_> = at_last.take(2).cloned().collect();
    let of_others = names.iter().filter(|name| cluster.owner(name) != LAST);
    let rooms: Vec<_> = of_others
        .chain(&at_last)
        .map(|name| channel(name))
        .collect();
    for room in &rooms {
        node.broker.subscribe(room.clone());
    }
    assert_eq!(node.broker.count(&at_last[0]).await, Ok(1));
    for room in &rooms {
        node.broker.unsubscribe(room);
    }
    await_refusal(&node, "ACL SETUSER pod +sunsubscribe").await;
    let of_node = "io#/#";
    let own = cluster.owner(of_node);
    for (at, server) in cluster.nodes().iter().enumerate() {
        let stayed = if at == LAST { at_last.len() } else { 0 };
        let expected = stayed + usize::from(at == own);
        await_until("the others are left", LIMIT, || {
            listened_to(server, "SHARDCHANNELS") == expected
        })
        .await;
    }
    assert_eq!(reconnects(&node).await, 0, "leaving is not losing");
    // What comes back while it could not be left is there once.
    node.broker.subscribe(channel(&at_last[0]));
    assert_eq!(node.broker.count(&at_last[0]).await, Ok(1));
    set_user(&cluster.nodes()[LAST], "pod +sunsubscribe");
    node.broker.unsubscribe(&channel(&at_last[0]));
    await_no_refusal(&node).await;
    for name in &at_last {
        assert_eq!(node.broker.count(name).await, Ok(0), "{name}");
    }
    assert_eq!(reconnects(&node).await, 0);
}

#[tokio::test]
async fn who_may_not_leave_a_pattern_leaves_the_channels_beside_it() {
    // More than the link asks for at once.
    const CHANNELS: usize = 3_000;
    let server = RedisServer::start();
    let config = RedisConfig::parse(&url(&server, "pod:secret")).expect("valid");
    let rules = config.acl_rules();
    set_user(
        &server,
        &format!(
            "pod on >secret -@all resetchannels &io#* &io#/#* &io#/admin#* {rules} -punsubscribe"
        ),
    );
    let node = Node::up_with(config).await;
    let pattern = Subscription::Pattern("io#/admin#*".to_owned());
    let channels = (0..CHANNELS).map(|number| channel(&format!("io#{number}")));
    let mut all: Vec<_> = channels.collect();
    all.push(pattern);
    for one in &all {
        node.broker.subscribe(one.clone());
    }
    assert_eq!(node.broker.count("io#0").await, Ok(1));
    for one in &all {
        node.broker.unsubscribe(one);
    }
    await_refusal(&node, "ACL SETUSER pod +punsubscribe").await;
    await_until("all channels are left", LIMIT, || {
        listened_to(&server, "CHANNELS") == 0
    })
    .await;
    assert_eq!(server.command(&["PUBSUB", "NUMPAT"]), "2");
    // The next that is left takes it along.
    set_user(&server, "pod +punsubscribe");
    node.broker.subscribe(channel("io#0"));
    assert_eq!(node.broker.count("io#0").await, Ok(1));
    node.broker.unsubscribe(&channel("io#0"));
    await_no_refusal(&node).await;
    assert_eq!(server.command(&["PUBSUB", "NUMPAT"]), "1");
    assert_eq!(reconnects(&node).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_let_again_hides_nothing_that_is_refused_still() {
    let server = RedisServer::start();
    let config = RedisConfig::parse(&url(&server, "pod:secret")).expect("valid");
    let rules = config.acl_rules();
    set_user(
        &server,
        &format!(
            "pod on >secret -@all resetchannels &io#* &io#/#* {rules} -pubsub|numsub -unsubscribe"
        ),
    );
    let node = Node::up_with(config).await;
    await_refusal(&node, "ACL SETUSER pod +pubsub|numsub").await;
    // Less grave than that.
    node.broker.subscribe(channel("io#"));
    node.publish("after it");
    node.await_text("after it").await;
    node.broker.unsubscribe(&channel("io#"));
    await_until("the refusal is known", LIMIT, || {
        node.broker
            .last_error()
            .is_some_and(|error| error.contains("+unsubscribe"))
    })
    .await;
    await_refusal(&node, "ACL SETUSER pod +pubsub|numsub").await;
    // Graver.
    let publish = || {
        let published = node.broker.publish("other#/#", bytes::Bytes::new());
        published.expect("the link is up");
    };
    publish();
    await_refusal(&node, "ACL SETUSER pod +publish").await;
    set_user(&server, "pod &other#*");
    publish();
    await_refusal(&node, "ACL SETUSER pod +pubsub|numsub").await;
    set_user(&server, "pod +pubsub|numsub");
    assert!(node.broker.count("io#/#").await.is_ok());
    await_refusal(&node, "ACL SETUSER pod +unsubscribe").await;
    assert_eq!(reconnects(&node).await, 0);
}
