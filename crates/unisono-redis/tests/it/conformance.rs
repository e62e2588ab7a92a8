//! The conformance suite on every broker there is.

use std::sync::Arc;

use unisono_cluster::{Adapter, Broker, MemoryBus, SubscriptionMode};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{RedisServer, conformance};

const ADAPTERS: [Adapter; 2] = [
    Adapter::Classic,
    Adapter::Sharded(SubscriptionMode::Dynamic),
];

#[tokio::test]
async fn memory_broker_conforms() {
    for adapter in ADAPTERS {
        conformance::run(&memory(adapter)).await;
    }
}

fn memory(adapter: Adapter) -> impl Fn() -> Vec<Arc<dyn Broker>> {
    move || {
        let bus = MemoryBus::speaking(adapter);
        (0..3)
            .map(|_| Arc::new(bus.broker()) as Arc<dyn Broker>)
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_broker_conforms() {
    redis(Adapter::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sharded_redis_broker_conforms() {
    redis(Adapter::Sharded(SubscriptionMode::Dynamic)).await;
}

async fn redis(adapter: Adapter) {
    let server = RedisServer::start();
    let config = RedisConfig::parse(&server.url())
        .expect("valid")
        .speaking(adapter)
        .publish_buffer(64 << 20, 100_000, std::time::Duration::from_secs(60));
    let maker = || {
        (0..3)
            .map(|_| Arc::new(RedisBroker::start(config.clone())) as Arc<dyn Broker>)
            .collect()
    };
    conformance::run(&maker).await;
}
