//! Requests over a broker that does not do its part.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use unisono::{Answers, Broker, Io, MemoryBroker, MemoryBus, Value};
use unisono_cluster::{
    Adapter, CountError, CountFuture, Inbox, LinkState, LinkStats, PublishError, Subscription,
};
use unisono_test::await_until;

use super::memory::{REQUESTS, client, pod, space};
use crate::raw::{PATIENCE, RawSocket};
use crate::server::{TestServer, namespace};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// How many nodes there are is said ...
#[derive(Clone)]
enum Count {
    /// rightly,
    Right,
    /// never,
    Never,
    /// or not, once there is a permit.
    Fails(Arc<Semaphore>),
}

struct Hindered {
    inner: MemoryBroker,
    count: Count,
    /// Takes no requests.
    refuses: bool,
}

impl Broker for Hindered {
    fn adapter(&self) -> Adapter {
        self.inner.adapter()
    }

    fn attach(&self, inbox: Arc<dyn Inbox>) {
        self.inner.attach(inbox);
    }

    fn subscribe(&self, subscription: Subscription) {
        self.inner.subscribe(subscription);
    }

    fn unsubscribe(&self, subscription: &Subscription) {
        self.inner.unsubscribe(subscription);
    }

    fn publish(&self, channel: &str, payload: Bytes) -> Result<(), PublishError> {
        if self.refuses && channel == REQUESTS {
            return Err(PublishError::BufferFull);
        }
        self.inner.publish(channel, payload)
    }

    fn count(&self, channel: &str) -> CountFuture {
        match self.count.clone() {
            Count::Right => self.inner.count(channel),
            Count::Never => Box::pin(std::future::pending()),
            Count::Fails(permits) => Box::pin(async move {
                permits.acquire().await.unwrap().forget();
                Err(CountError)
            }),
        }
    }

    fn state(&self) -> LinkState {
        self.inner.state()
    }

    fn suspect(&self) {
        self.inner.suspect();
    }

    fn stats(&self) -> LinkStats {
        self.inner.stats()
    }

    fn close(&self) {
        self.inner.close();
    }
}

async fn hindered(bus: &MemoryBus, count: Count, refuses: bool, timeout: Duration) -> TestServer {
    let broker = Hindered {
        inner: bus.broker(),
        count,
        refuses,
    };
    let io = Io::builder()
        .namespace(namespace("/"))
        .broker(Arc::new(broker), "key")
        .requests_timeout(timeout)
        .build();
    TestServer::serve(io).await
}

/// The next event is a question; answers it.
async fn answer(client: &mut RawSocket, value: i64) {
    let question = client.text().await;
    let id = question.trim_start_matches("42").split('[').next().unwrap();
    client.send(&format!("43{id}[{value}]")).await;
}

/// What each kind of request finds, in time.
async fn unreachable(server: &TestServer) {
    let space = space(server);
    let check = |what: &str, nodes: unisono::Nodes| {
        assert!(nodes.unreachable && !nodes.have_all_answered(), "{what}");
        assert_eq!((nodes.expected, nodes.missing_count()), (0, 0), "{what}");
    };
    let fetched = timeout(PATIENCE, space.fetch_sockets()).await;
    let Answers { answers, nodes, .. } = fetched.unwrap().unwrap();
    assert_eq!(answers.len(), 1, "its own");
    check("sockets", nodes);
    let rooms = timeout(PATIENCE, space.all_rooms()).await;
    check("rooms", rooms.unwrap().unwrap().nodes);
    let events = timeout(PATIENCE, space.server_side_emit_with_ack("e", &())).await;
    check("events", events.unwrap().unwrap().nodes);
}

#[tokio::test]
async fn nodes_that_are_not_counted_in_time_are_not_taken_for_none() {
    let bus = MemoryBus::new();
    let limit = Duration::from_secs(1);
    let near = hindered(&bus, Count::Never, false, limit).await;
    let _own = client(&near).await;
    let far = pod(&bus, namespace("/")).await;
    let mut client = client(&far).await;
    unreachable(&near).await;
    // What came by then is there.
    let others = space(&near)
        .to("nowhere")
        .to(space(&far).local_sockets()[0].id());
    let asked = tokio::spawn(others.emit_with_ack("q", &(), limit));
    answer(&mut client, 7).await;
    let acks = timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap();
    assert_eq!(acks.remote, [Value::Int(7)]);
    assert!(acks.nodes.unreachable && !acks.is_complete());
}

#[tokio::test]
async fn what_came_before_the_count_failed_is_kept() {
    let bus = MemoryBus::new();
    let permits = Arc::new(Semaphore::new(0));
    let near = hindered(&bus, Count::Fails(permits.clone()), false, LONG).await;
    let far = pod(&bus, namespace("/")).await;
    let mut client = client(&far).await;
    let asked = tokio::spawn(space(&near).broadcast().emit_with_ack("q", &(), LONG));
    answer(&mut client, 7).await;
    await_until("the answer to come", PATIENCE, || {
        near.io.node_stats()[0].1.answers == 2
    })
    .await;
    permits.add_permits(1);
    let acks = timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap();
    assert_eq!((acks.remote, acks.remote_missing), (vec![Value::Int(7)], 0));
    assert!(acks.nodes.unreachable);
    permits.add_permits(3);
    let _own = super::memory::client(&near).await;
    unreachable(&near).await;
}

#[tokio::test]
async fn a_request_that_the_broker_does_not_take_is_not_waited_for() {
    let bus = MemoryBus::new();
    let near = hindered(&bus, Count::Right, true, LONG).await;
    let far = pod(&bus, namespace("/")).await;
    let _client = client(&far).await;
    let asked = space(&near).broadcast().emit_with_ack("q", &(), LONG);
    let acks = timeout(PATIENCE, asked).await.unwrap().unwrap();
    assert!(acks.nodes.unreachable && acks.is_empty());
    let _own = client(&near).await;
    unreachable(&near).await;
    // Nothing is left of them.
    let stats = near.io.node_stats()[0].1;
    assert_eq!(stats.requests_expired, 4);
}

#[tokio::test]
async fn the_longest_of_times_can_be_waited() {
    let bus = MemoryBus::new();
    let near = hindered(&bus, Count::Right, false, Duration::MAX).await;
    let far = pod(&bus, namespace("/")).await;
    let mut client = client(&far).await;
    let fetched = space(&near).fetch_sockets().await.unwrap();
    assert!(fetched.nodes.have_all_answered() && fetched.answers.len() == 1);
    let asked = space(&near).broadcast();
    let asked = tokio::spawn(asked.emit_with_ack("q", &(), Duration::MAX));
    answer(&mut client, 7).await;
    let acks = timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap();
    assert!(acks.is_complete());
    assert_eq!(acks.remote, [Value::Int(7)]);
}
