//! Every operation from each pod, and what four pods of Node.js make of the same.

use serde_json::{Value, json};
use unisono::{Adapter, SubscriptionMode};

use super::cluster::{CLIENTS, Cluster};
use super::pods::{Pod, Target};
use crate::raw::PATIENCE;

/// All that there are, those of the sockets' own ids among them.
const ROOMS: [&str; 7] = ["a", "b", "c0", "c1", "c2", "c3", "lobby"];

/// Everything that was seen, to be compared.
type Seen = Vec<(String, Value)>;

async fn acknowledgements(cluster: &mut Cluster, from: usize, seen: &mut Seen) {
    let args = json!([1, "x", { "$bin": "AQID" }]);
    for (what, target) in [
        ("all", Target::default()),
        ("room", Target::to(&["a"])),
        ("rooms", Target::to(&["a", "b", "lobby"])),
        ("nobody", Target::to(&["nowhere"])),
        (
            "except",
            Target {
                rooms: &["lobby"],
                except: &["b"],
            },
        ),
    ] {
        for event in ["who", "what"] {
            let pod = &mut cluster.pods[from];
            let (mut answers, complete) =
                pod.emit_ack(&target, event, args.clone(), PATIENCE).await;
            answers.sort_by_key(Value::to_string);
            seen.push((format!("{event} {what}"), json!([answers, complete])));
        }
    }
    // Whoever has answered has told of the question before.
    cluster.clients.command("clients", json!({})).await;
    for name in CLIENTS {
        let got = cluster.clients.kept_messages(name, "who");
        assert!(got.iter().all(|got| *got == args), "{got:?}");
        seen.push((format!("asked {name}"), got.len().into()));
        cluster.clients.kept_messages(name, "what");
    }
    // One answers, with nothing; three do not.
    // Some thirty processes may be at work at once.
    let short = std::time::Duration::from_secs(1);
    let lobby = Target::to(&["lobby"]);
    let partial = cluster.pods[from].emit_ack(&lobby, "one", json!([]), short);
    let (answers, complete) = partial.await;
    seen.push(("partial".to_owned(), json!([answers, complete])));
}

async fn sockets_and_rooms(cluster: &mut Cluster, from: usize, seen: &mut Seen) {
    let except = Target {
        rooms: &[],
        except: &["a"],
    };
    for (what, target) in [
        ("all", Target::default()),
        ("room", Target::to(&["a"])),
        ("rooms", Target::to(&["a", "b"])),
        ("nobody", Target::to(&["nowhere"])),
        ("except", except),
    ] {
        let sockets = cluster.fetch(from, &target).await;
        seen.push((format!("fetch {what}"), sockets.into()));
    }
    // With the sharded adapter a pod of Node.js knows its own rooms only, and ours all of them.
    if cluster.adapter == Adapter::Classic || matches!(cluster.pods[from], Pod::Ours(_)) {
        assert_eq!(cluster.all_rooms(from).await, ROOMS);
    }
    let count = cluster.pods[from].server_count().await;
    seen.push(("count".to_owned(), count.into()));
}

async fn changes(cluster: &mut Cluster, from: usize, seen: &mut Seen) {
    let (one, two) = (format!("one-{from}"), format!("two-{from}"));
    let a_only = Target {
        rooms: &["lobby"],
        except: &["b"],
    };
    cluster.pods[from].join(&a_only, &[&one, &two]).await;
    // Seen from every pod.
    for pod in 0..4 {
        cluster.await_members(pod, &one, &["c0", "c2"]).await;
        cluster.await_members(pod, &two, &["c0", "c2"]).await;
    }
    let leaving = Target::to(&["a", "b"]);
    cluster.pods[from].leave(&leaving, &[&one]).await;
    for pod in 0..4 {
        cluster.await_members(pod, &one, &[]).await;
    }
    cluster.pods[from].leave(&leaving, &[&two]).await;
    cluster.await_members((from + 1) % 4, &two, &[]).await;
    for close in [false, true] {
        let room = format!("goes-{from}-{close}");
        let names: Vec<_> = (0..4).map(|pod| format!("{room}-{pod}")).collect();
        for (pod, name) in names.iter().enumerate() {
            cluster.open(name, pod, &[&room]).await;
        }
        let going = [room.as_str()];
        cluster.pods[from]
            .disconnect(&Target::to(&going), close)
            .await;
        for name in &names {
            let ended = |e: &Value| e["event"] == "disconnect" && e["client"] == name.as_str();
            let event = cluster.clients.event_where(ended).await;
            seen.push((format!("end {close}"), event["reason"].clone()));
        }
        cluster.await_members(from, &room, &[]).await;
    }
}

async fn server_side(cluster: &mut Cluster, from: usize, seen: &mut Seen) {
    let args = json!([{ "n": from }, [1, null], "\u{20ac}"]);
    cluster.pods[from].server_side_emit(args.clone()).await;
    let answers = cluster.pods[from].server_side_ask(args).await.unwrap();
    // Who it was from is each one's own.
    let answers = answers.iter().filter(|answer| !answer["from"].is_null());
    seen.push(("answers".to_owned(), answers.count().into()));
    for (index, pod) in cluster.pods.iter_mut().enumerate() {
        if index != from {
            let events = [pod.server_side_event().await, pod.server_side_event().await];
            seen.push((format!("events of {index}"), json!(events)));
        }
    }
}

async fn everything(cluster: &mut Cluster) -> Vec<Seen> {
    let mut all = Vec::new();
    for from in 0..4 {
        let mut seen = Seen::new();
        acknowledgements(cluster, from, &mut seen).await;
        sockets_and_rooms(cluster, from, &mut seen).await;
        changes(cluster, from, &mut seen).await;
        server_side(cluster, from, &mut seen).await;
        all.push(seen);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_cluster_answers_as_one_of_node_alone() {
    compare(Adapter::Classic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_cluster_answers_as_one_of_node_alone_sharded_static() {
    compare(Adapter::Sharded(SubscriptionMode::Static)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_cluster_answers_as_one_of_node_alone_sharded_dynamic() {
    compare(Adapter::Sharded(SubscriptionMode::Dynamic)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_cluster_answers_as_one_of_node_alone_sharded_dynamic_private() {
    compare(Adapter::Sharded(SubscriptionMode::DynamicPrivate)).await;
}

async fn compare(adapter: Adapter) {
    let mixed = async { everything(&mut Cluster::mixed_speaking(adapter).await).await };
    let node = async { everything(&mut Cluster::all_node(adapter).await).await };
    let (mixed, node) = tokio::join!(mixed, node);
    for (from, (mixed, node)) in mixed.iter().zip(&node).enumerate() {
        assert_eq!(mixed.len(), node.len());
        for (ours, theirs) in mixed.iter().zip(node) {
            assert_eq!(ours, theirs, "from pod {from}");
        }
    }
    // What was compared is not nothing.
    let first = |what: &str| &node[0].iter().find(|(name, _)| name == what).unwrap().1;
    assert_eq!(*first("who all"), json!([["c0", "c1", "c2", "c3"], true]));
    assert_eq!(*first("partial"), json!([[null], false]));
    assert_eq!(first("fetch all").as_array().unwrap().len(), 4);
    assert_eq!((first("count"), first("answers")), (&json!(4), &json!(3)));
}
