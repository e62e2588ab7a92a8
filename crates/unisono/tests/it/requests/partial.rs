//! A pod that dies in the middle of a request.

use std::time::Instant;

use serde_json::json;
use unisono_test::await_until;

use super::cluster::Cluster;
use super::pods::{Ours, Pod, REQUESTS_TIMEOUT, Target};
use crate::raw::PATIENCE;

fn ours(pods: &mut [Pod]) -> &mut Ours {
    match &mut pods[1] {
        Pod::Ours(ours) => ours,
        Pod::Node(_) => unreachable!("the second is ours"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_killed_during_a_request_is_missing_and_nothing_else() {
    let mut cluster = Cluster::mixed().await;
    // It is counted, and does not answer any more.
    let Pod::Node(mut victim) = cluster.pods.remove(2) else {
        unreachable!("the third is of Node.js");
    };
    victim.stop();
    let space = ours(&mut cluster.pods).space();
    let start = Instant::now();
    let fetched = {
        let space = space.clone();
        tokio::spawn(async move { space.fetch_sockets().await.unwrap() })
    };
    let rooms = {
        let space = space.clone();
        tokio::spawn(async move { space.all_rooms().await.unwrap() })
    };
    let events = {
        let space = space.clone();
        tokio::spawn(async move { space.server_side_emit_with_ack("sse", &1).await.unwrap() })
    };
    let acks = tokio::spawn(
        space
            .to("lobby")
            .emit_with_ack("who", &(), REQUESTS_TIMEOUT),
    );
    // The others have got the request; then it dies.
    for name in ["c0", "c1", "c3"] {
        cluster.clients.message(name, "who").await;
    }
    victim.kill().await;
    let (fetched, rooms) = (fetched.await.unwrap(), rooms.await.unwrap());
    let (events, acks) = (events.await.unwrap(), acks.await.unwrap().unwrap());
    let took = start.elapsed();
    // Redis has seen its connections close, so it is not waited for.
    assert!(took < REQUESTS_TIMEOUT, "{took:?}");
    for nodes in [&fetched.nodes, &rooms.nodes, &events.nodes, &acks.nodes] {
        assert_eq!((nodes.expected, nodes.missing_unknown), (3, 1));
        assert_eq!(nodes.missing, [], "a Node.js pod has no name");
        assert!(!nodes.unreachable);
    }
    assert_eq!(fetched.answers.len(), 3);
    // The rooms of three sockets' ids, and those that they are in.
    assert_eq!(rooms.answers.len(), 6);
    assert_eq!(events.answers.len(), 2);
    assert_eq!((acks.len(), acks.remote_missing), (3, 0));
    assert!(!acks.is_complete());
    // Nobody waits for the dead.
    let start = Instant::now();
    assert_eq!(space.server_count().await, Ok(3));
    let fetched = space.fetch_sockets().await.unwrap();
    assert!(fetched.nodes.have_all_answered() && fetched.answers.len() == 3);
    assert!(start.elapsed() < REQUESTS_TIMEOUT);
    let Pod::Node(node) = &mut cluster.pods[0] else {
        unreachable!("the first is of Node.js");
    };
    let sockets = node.command("fetch_sockets", json!({})).await;
    assert_eq!(sockets.as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_a_pod_answers_for_itself_and_says_so() {
    let mut cluster = Cluster::mixed().await;
    let space = ours(&mut cluster.pods).space();
    cluster.redis.kill9();
    await_until("the link to be down", PATIENCE, || {
        !space.link_state().is_up()
    })
    .await;
    let start = Instant::now();
    let fetched = space.fetch_sockets().await.unwrap();
    assert!(fetched.nodes.unreachable && fetched.answers.len() == 1);
    assert_eq!(
        space.server_count().await,
        Err(unisono::EmitError::Unreachable)
    );
    let acks = space.broadcast().emit_with_ack("who", &(), PATIENCE).await;
    let acks = acks.unwrap();
    assert!(acks.nodes.unreachable);
    let own: Vec<_> = acks.first_arguments().collect();
    assert_eq!(own, [&unisono::Value::from("c1")]);
    space.to("lobby").sockets_join(["still"]).unwrap();
    assert_eq!(space.local_members("still").len(), 1);
    assert!(start.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_ours_that_ends_is_not_waited_for() {
    let mut cluster = Cluster::mixed().await;
    let gone = cluster.pods.pop().unwrap();
    // A server goes on for as long as somebody is connected to it.
    let client = json!({ "client": "c3" });
    cluster.clients.command("close", client).await;
    // It says goodbye: until it is known to be silent, nobody would know whether it comes back.
    if let Pod::Ours(gone) = &gone {
        assert!(gone.server.io.drain(PATIENCE).await);
    }
    // What is not sent yet when a broker is dropped is lost, the goodbye too.
    for pod in &cluster.pods {
        if let Pod::Ours(left) = pod {
            await_until("the goodbye is heard", PATIENCE, || {
                left.server.io.nodes().is_empty()
            })
            .await;
        }
    }
    drop(gone);
    let start = Instant::now();
    while cluster.pods[0].server_count().await != 3 {
        assert!(start.elapsed() < PATIENCE, "it is still counted");
    }
    let start = Instant::now();
    for from in 0..3 {
        let names = cluster.fetch_names(from, &Target::to(&["a"])).await;
        assert_eq!(names, ["c0", "c2"]);
    }
    assert!(start.elapsed() < REQUESTS_TIMEOUT);
}
