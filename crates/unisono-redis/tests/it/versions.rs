//! The other servers that speak Redis: an old Redis, and Valkey.

use std::sync::Arc;
use std::time::Duration;

use unisono_cluster::{Broker, LinkState};
use unisono_redis::redis::{Script, Value};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{RedisCluster, RedisProgram, RedisServer, await_until, conformance};

use crate::support::{LIMIT, Node, await_crossing};

async fn conforms(program: &RedisProgram) {
    let server = RedisServer::start_program(program, &[]);
    let config = RedisConfig::parse(&server.url())
        .expect("valid")
        .publish_buffer(64 << 20, 100_000, Duration::from_secs(60));
    let maker = || {
        (0..3)
            .map(|_| Arc::new(RedisBroker::start(config.clone())) as Arc<dyn Broker>)
            .collect()
    };
    conformance::run(&maker).await;
}

async fn heals(program: &RedisProgram) {
    let mut server = RedisServer::start_program(program, &[]);
    let (one, two) = (Node::up(&server.url()).await, Node::up(&server.url()).await);
    await_crossing(&one, &two, "before").await;
    server.kill9();
    one.await_state(LinkState::Down).await;
    server.restart();
    await_crossing(&one, &two, "after a crash").await;
    server.stop();
    one.await_not_up().await;
    server.cont();
    await_crossing(&two, &one, "after a pause").await;
}

/// The rights that are documented, and what is said when one is missing.
async fn has_rights(program: &RedisProgram) {
    let server = RedisServer::start_program(program, &[]);
    let url = format!("redis://pod:pw@127.0.0.1:{}", server.port());
    let config = RedisConfig::parse(&url).expect("valid");
    let rules = config.acl_rules();
    let set = |rules: &str| {
        let mut words = vec!["ACL", "SETUSER", "pod", "on", ">pw"];
        words.extend(rules.split_whitespace());
        server.command(&words);
    };
    set(&format!(
        "-@all resetchannels ~* +evalsha +script|load {rules}"
    ));
    let node = Node::start_with(config);
    await_until("the missing pattern is told", LIMIT, || {
        let refusal = node.broker.refusal();
        refusal.is_some_and(|refusal| refusal.contains("+psubscribe +punsubscribe &io#/#*"))
    })
    .await;
    set("&io#/#*");
    node.await_state(LinkState::Subscribed).await;
    assert_eq!(node.broker.refusal(), None);
    assert_eq!(node.broker.count("io#/#").await, Ok(0));
    let script = Script::new("return redis.call('SET', KEYS[1], '1')");
    let commander = node.broker.commander();
    let error = commander
        .eval(&script, &["key"], &[])
        .await
        .expect_err("no right to SET");
    assert!(
        error.is_no_permission(),
        "{:?} {:?}",
        error.code(),
        error.detail()
    );
    set("+set");
    assert_eq!(
        commander
            .eval(&script, &["key"], &[])
            .await
            .expect("allowed"),
        Value::Okay
    );
}

async fn works_as_a_cluster(program: &RedisProgram) {
    let mut cluster = RedisCluster::start_program(program, true, &[]).await;
    let url = cluster.url("");
    let (one, two) = (Node::up(&url).await, Node::up(&url).await);
    await_crossing(&one, &two, "before").await;
    let script = Script::new("return redis.call('INCR', KEYS[1])");
    for key in ["alpha", "beta", "gamma", "delta"] {
        let count = one.broker.commander().eval(&script, &[key], &[]).await;
        assert_eq!(count.expect("its owner is found"), Value::Int(1));
    }
    cluster.nodes()[0].kill9();
    one.await_state(LinkState::Down).await;
    await_crossing(&one, &two, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_6_2_conforms_and_heals() {
    let Some(program) = RedisProgram::other("redis-6.2") else {
        return;
    };
    conforms(&program).await;
    heals(&program).await;
    has_rights(&program).await;
    works_as_a_cluster(&program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn valkey_conforms_and_heals() {
    let Some(program) = RedisProgram::other("valkey") else {
        return;
    };
    conforms(&program).await;
    heals(&program).await;
    has_rights(&program).await;
    works_as_a_cluster(&program).await;
}
