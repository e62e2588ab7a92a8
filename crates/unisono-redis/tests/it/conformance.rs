//! The conformance suite on every broker there is.

use std::sync::Arc;

use unisono_cluster::{Broker, MemoryBus};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{RedisServer, conformance};

#[tokio::test]
async fn memory_broker_conforms() {
    let maker = || {
        let bus = MemoryBus::new();
        (0..3)
            .map(|_| Arc::new(bus.broker()) as Arc<dyn Broker>)
            .collect()
    };
    conformance::run(&maker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_broker_conforms() {
    let server = RedisServer::start();
    let config = RedisConfig::parse(&server.url())
        .expect("valid")
        .publish_buffer(64 << 20, 100_000, std::time::Duration::from_secs(60));
    let maker = || {
        (0..3)
            .map(|_| Arc::new(RedisBroker::start(config.clone())) as Arc<dyn Broker>)
            .collect()
    };
    conformance::run(&maker).await;
}
