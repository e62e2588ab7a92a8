//! Redis is killed or cuts everybody off, over and over, and no pod stays deaf: `cargo xtask soak --cycles 200` for the long run.

use std::time::{Duration, Instant};

use jamz_server::config::names;
use unisono_test::{Conversation, RedisServer};

use super::pod::Pod;
use super::voice::{Talker, Voice};

/// Set by `cargo xtask soak`.
const CYCLES: &str = "SOAK_CYCLES";
/// What the standing tests can spare the time for.
const FEW_CYCLES: usize = 10;
/// Pods of ours; one of Node.js stands beside them.
const NAMES: [&str; 4] = ["a", "b", "c", "node"];
const NODE: usize = 3;
/// Promised for our pods, and what a busy machine may add. A pod of Node.js connects again with pauses of up to two seconds.
const HEARD_WITHIN: Duration = Duration::from_millis(5_500);
/// A pod that hears another only after that, if at all, is deaf.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What the number of open files of a pod may differ by at the end: connections of the one who looks.
const FILES: u64 = 4;

/// How long Redis is away before it is started again: no two cycles are the same.
fn absence(cycle: usize) -> Duration {
    Duration::from_millis((cycle * 379 % 1_300) as u64)
}

struct House {
    redis: RedisServer,
    pods: Vec<Pod>,
    /// Of each pod one.
    talkers: Vec<Talker>,
    // Ends with the house.
    _node: Conversation,
}

impl House {
    async fn open() -> Self {
        let redis = RedisServer::start();
        let url = redis.url();
        let node = Conversation::node_pod(&url).await;
        let mut pods = Vec::new();
        let mut voices = Vec::new();
        for _ in 0..NODE {
            let pod = Pod::start(&[(names::REDIS_URL, &url)]).await;
            pod.await_joined().await;
            voices.push(Voice::on(&pod.url).await);
            pods.push(pod);
        }
        let node_url = node.ready["url"].as_str().expect("it says where it is");
        voices.push(Voice::on_node(node_url).await);
        let talkers = voices.into_iter().zip(NAMES).map(|(voice, name)| {
            let mut talker = Talker::of(voice);
            talker.start(name);
            talker
        });
        Self {
            redis,
            pods,
            talkers: talkers.collect(),
            _node: node,
        }
    }

    /// One accident, a different one each time.
    async fn suffer(&mut self, cycle: usize) {
        match cycle % 4 {
            0 | 1 => {
                self.redis.kill9();
                // How long it is away is what varies.
                tokio::time::sleep(absence(cycle)).await;
                self.redis.restart();
            }
            2 => drop(self.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"])),
            _ => drop(self.redis.command(&["CLIENT", "KILL", "TYPE", "normal"])),
        }
    }

    /// Until each pod has heard each other say something that was said after `since`; and those that have not in time.
    async fn hear(&self, since: Instant) -> Healing {
        let mut waiting: Vec<(usize, usize)> = (0..NAMES.len())
            .flat_map(|from| (0..NAMES.len()).map(move |to| (from, to)))
            .filter(|(from, to)| from != to)
            .collect();
        let mut healing = Healing::default();
        while !waiting.is_empty() && since.elapsed() < HEARD_WITHIN {
            tokio::time::sleep(LOOK_EVERY).await;
            waiting.retain(|&(from, to)| {
                let Some(at) = self.talkers[from].first_heard_by(&self.talkers[to].voice, since)
                else {
                    return true;
                };
                healing.note(from == NODE || to == NODE, at - since);
                false
            });
        }
        healing.deaf = waiting
            .iter()
            .map(|&(from, to)| (NAMES[from], NAMES[to]))
            .collect();
        healing
    }
}

/// How one cycle ended.
#[derive(Default)]
struct Healing {
    ours: Duration,
    with_node: Duration,
    /// Who was not heard by whom.
    deaf: Vec<(&'static str, &'static str)>,
}

impl Healing {
    fn note(&mut self, with_node: bool, took: Duration) {
        let last = if with_node {
            &mut self.with_node
        } else {
            &mut self.ours
        };
        *last = took.max(*last);
    }
}

fn print_distribution(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_millis();
    println!(
        "soak {what}: {} cycles, min {} ms, p50 {} ms, p99 {} ms, max {} ms",
        times.len(),
        at(0),
        at(50),
        at(99),
        at(100)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pod_stays_deaf() {
    let cycles = std::env::var(CYCLES).ok();
    let cycles = cycles.map_or(FEW_CYCLES, |text| text.parse().expect("a number of cycles"));
    let mut house = House::open().await;
    assert!(
        house.hear(Instant::now()).await.deaf.is_empty(),
        "all is well at first"
    );
    let files = house.files().await;
    let (mut ours, mut with_node, mut deaf) = (Vec::new(), Vec::new(), Vec::new());
    for cycle in 0..cycles {
        house
            .talkers
            .iter()
            .for_each(|talker| talker.voice.forget());
        house.suffer(cycle).await;
        let healing = house.hear(Instant::now()).await;
        ours.push(healing.ours);
        with_node.push(healing.with_node);
        deaf.extend(healing.deaf.iter().map(|pair| (cycle, *pair)));
        for pod in &mut house.pods {
            pod.assert_well().await;
        }
    }
    print_distribution("among our pods", ours);
    print_distribution("to and from the pod of Node.js", with_node);
    println!("soak deaf: {}", deaf.len());
    assert!(deaf.is_empty(), "{deaf:?}");
    for (before, after) in files.into_iter().zip(house.files().await) {
        assert!(
            after <= before + FILES,
            "{before} files were open, now {after}"
        );
    }
    // Before the pods end, which would cut them off.
    for talker in &mut house.talkers {
        talker.stop().await;
    }
}

impl House {
    /// How many files each pod has open.
    async fn files(&self) -> Vec<u64> {
        let mut files = Vec::new();
        for pod in &self.pods {
            files.push(pod.metrics().await.number("process_open_fds"));
        }
        files
    }
}
