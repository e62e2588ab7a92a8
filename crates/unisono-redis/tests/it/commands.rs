//! Scripts and commands.

use std::time::{Duration, Instant};

use unisono_cluster::{Broker, LinkState};
use unisono_redis::CommandErrorKind;
use unisono_redis::redis::{self, Script, Value};
use unisono_test::RedisServer;

use crate::support::{LIMIT, Node};

#[tokio::test(flavor = "multi_thread")]
async fn scripts_run_and_are_loaded_where_missing() {
    let server = RedisServer::start();
    let node = Node::up(&server.url()).await;
    let commander = node.broker.commander();
    let script = Script::new("redis.call('PUBLISH', KEYS[1], ARGV[1]); return #ARGV[1]");
    for text in ["one", "three"] {
        let reply = commander
            .eval(&script, &["io#/#"], &[text.as_bytes()])
            .await
            .expect("it runs");
        assert_eq!(reply, Value::Int(text.len() as i64));
        node.await_text(text).await;
        server.command(&["SCRIPT", "FLUSH"]);
    }
    let reply = commander
        .query(redis::cmd("SET").arg("key").arg(&b"\x00\xff"[..]))
        .await
        .expect("it runs");
    assert_eq!(reply, Value::Okay);
    let reply = commander
        .query(redis::cmd("GET").arg("key"))
        .await
        .expect("it runs");
    assert_eq!(reply, Value::BulkString(vec![0, 255]));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_apart() {
    let server = RedisServer::start();
    let node = Node::up(&server.url()).await;
    let commander = node.broker.commander();
    server.command(&["SET", "text", "x"]);
    let error = commander
        .query(redis::cmd("HGET").arg("text").arg("field"))
        .await
        .expect_err("it is no hash");
    assert_eq!(
        (error.kind(), error.code()),
        (CommandErrorKind::Refused, Some("WRONGTYPE"))
    );
    assert!(!error.is_outcome_unknown());
    let script = Script::new("return redis.error_reply('CONFLICT another revision')");
    let error = commander
        .eval(&script, &[], &[])
        .await
        .expect_err("it refuses");
    assert_eq!(
        (error.kind(), error.code()),
        (CommandErrorKind::Refused, Some("CONFLICT"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fails_fast_while_redis_is_away() {
    let mut server = RedisServer::start();
    let node = Node::up(&server.url()).await;
    let commander = node.broker.commander();
    assert!(commander.is_available());
    server.kill9();
    node.await_state(LinkState::Down).await;
    let start = Instant::now();
    let error = commander
        .query(&redis::cmd("PING"))
        .await
        .expect_err("redis is away");
    assert_eq!(error.kind(), CommandErrorKind::Unavailable);
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
    server.restart();
    node.await_state(LinkState::Subscribed).await;
    assert!(commander.query(&redis::cmd("PING")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_redis_costs_a_deadline_and_no_more() {
    let server = RedisServer::start();
    let node = Node::up(&server.url()).await;
    let commander = node.broker.commander();
    server.stop();
    let start = Instant::now();
    let error = commander
        .query(&redis::cmd("PING"))
        .await
        .expect_err("redis hangs");
    assert_eq!(error.kind(), CommandErrorKind::Timeout);
    assert!(error.is_outcome_unknown());
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    node.await_not_up().await;
    let error = commander
        .query(&redis::cmd("PING"))
        .await
        .expect_err("redis hangs");
    assert_eq!(error.kind(), CommandErrorKind::Unavailable);
    server.cont();
    node.await_state(LinkState::Subscribed).await;
    assert!(commander.query(&redis::cmd("PING")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_has_lost_its_master_is_not_the_right_server() {
    let nobody = RedisServer::stopped().port().to_string();
    let options = ["--replicaof", "127.0.0.1", &nobody];
    let refusing = ["--replica-serve-stale-data", "no"];
    let server = RedisServer::start_with(&[options.as_slice(), &refusing].concat());
    let node = Node::up(&server.url()).await;
    let started = Instant::now();
    let get = redis::cmd("GET").arg("x").clone();
    let commander = node.broker.commander();
    // Its address may lead elsewhere by now: the link connects anew, as soon as it is old enough for that.
    while node.broker.stats().reconnects == 0 {
        if let Err(error) = commander.query(&get).await {
            let codes = [Some("MASTERDOWN"), None];
            assert!(codes.contains(&error.code()), "{error:?}");
        }
        assert!(started.elapsed() < LIMIT, "the link stays");
        tokio::task::yield_now().await;
    }
    let error = node.broker.last_error().expect("it is told");
    assert!(error.contains("MASTERDOWN"), "{error}");
}
