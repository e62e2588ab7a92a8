//! A broker with a recorder.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use unisono_cluster::{Adapter, Broker, LinkState, Subscription};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{Recorder, RedisServer, await_until};

/// For anything that must happen in these tests; only waited out by a failure.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A node of the tests: listens to everything on `io#/#*`, or on `io#/#` where there are no patterns.
pub(crate) struct Node {
    pub(crate) broker: Arc<RedisBroker>,
    pub(crate) recorder: Arc<Recorder>,
}

impl Node {
    pub(crate) fn start(url: &str) -> Self {
        Self::start_with(RedisConfig::parse(url).expect("the URL of a test is valid"))
    }

    pub(crate) fn start_with(config: RedisConfig) -> Self {
        let (broker, recorder) = (Arc::new(RedisBroker::start(config)), Recorder::new());
        broker.attach(recorder.clone());
        broker.subscribe(match broker.adapter() {
            Adapter::Classic => Subscription::Pattern("io#/#*".to_owned()),
            Adapter::Sharded(_) => Subscription::Channel("io#/#".to_owned()),
        });
        Self { broker, recorder }
    }

    pub(crate) async fn up(url: &str) -> Self {
        Self::up_speaking(url, Adapter::Classic).await
    }

    pub(crate) async fn up_speaking(url: &str, adapter: Adapter) -> Self {
        let config = RedisConfig::parse(url).expect("the URL of a test is valid");
        Self::up_with(config.speaking(adapter)).await
    }

    pub(crate) async fn up_with(config: RedisConfig) -> Self {
        let node = Self::start_with(config);
        node.await_state(LinkState::Subscribed).await;
        node
    }

    pub(crate) async fn await_state(&self, state: LinkState) {
        self.recorder.await_state(state).await;
    }

    pub(crate) async fn await_not_up(&self) {
        let told_down = || {
            self.recorder
                .states()
                .last()
                .is_some_and(|state| !state.is_up())
        };
        await_until("the link is not up", LIMIT, told_down).await;
    }

    pub(crate) fn publish(&self, text: &str) {
        self.broker
            .publish("io#/#", Bytes::copy_from_slice(text.as_bytes()))
            .expect("the message is accepted");
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.recorder.texts("io#/#")
    }

    pub(crate) async fn await_text(&self, text: &str) {
        self.recorder.await_text("io#/#", text).await;
    }
}

/// Publishes on one node until the other hears it, as users do who try again.
pub(crate) async fn await_crossing(from: &Node, to: &Node, text: &str) {
    await_until(&format!("{text:?} crosses"), LIMIT, || {
        from.publish(text);
        to.texts().iter().any(|seen| seen == text)
    })
    .await;
}

/// The address of a server with this login.
pub(crate) fn url(server: &RedisServer, login: &str) -> String {
    format!("redis://{login}@127.0.0.1:{}", server.port())
}

/// Runs `ACL SETUSER <rules>`, one word each.
pub(crate) fn set_user(server: &RedisServer, rules: &str) {
    let mut words = vec!["ACL", "SETUSER"];
    words.extend(rules.split_whitespace());
    assert_eq!(server.command(&words), "OK", "{rules}");
}
