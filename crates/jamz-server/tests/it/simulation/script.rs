//! What is done to some pods and their clients, drawn from a seed, and what must be true of it.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::cluster::Cluster;
use super::sentences::Ended;

/// Steps happen within this time.
const STEPS_MS: u64 = 8_000;

const MAX_CUT_MS: u64 = 4_000;

/// By then the last link is up, and the keepers have read what was missed.
const END_MS: u64 = 30_000;

#[derive(Clone)]
pub(super) struct Script {
    pub(super) seed: u64,
    pub(super) pods: usize,
    pub(super) steps: Vec<(u64, Step)>,
}

/// Clients are meant by a number that is taken modulo those that there are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A client comes and joins the session.
    Come {
        pod: usize,
    },
    /// A client comes so long after the next link is up again.
    ComeAfterHealing {
        pod: usize,
        after_ms: u64,
    },
    /// A client joins again.
    Rejoin {
        client: usize,
    },
    Take {
        client: usize,
    },
    Release {
        client: usize,
    },
    /// A pod's link is lost.
    Cut {
        pod: usize,
        for_ms: u64,
        is_deaf: bool,
    },
    /// All links are lost.
    CutAll {
        for_ms: u64,
    },
    /// All links are lost, and the store forgets everything.
    Forget {
        for_ms: u64,
    },
}

impl Script {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let pods = random.usize(2..=3);
        let faults = random.choice([0, 0, 2, 4]).unwrap_or(0);
        let mut at_ms = 0;
        let count = random.usize(4..=24);
        let steps = (0..count).map(|_| {
            // Half of them close together, so that they meet on the way.
            let pause_ms = if random.bool() {
                40
            } else {
                2 * STEPS_MS / count as u64
            };
            at_ms += random.u64(0..pause_ms);
            (at_ms, step(&mut random, pods, faults))
        });
        Self {
            seed,
            pods,
            steps: steps.collect(),
        }
    }

    pub(super) fn has_faults(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|(_, step)| {
            matches!(
                step,
                Step::Cut { .. } | Step::CutAll { .. } | Step::Forget { .. }
            )
        })
    }

    /// What there is in the end, on a bus that loses messages or does not.
    pub(super) async fn run(&self, loses: bool) -> Ended {
        let began = Instant::now();
        let mut cluster = Cluster::start(self.seed, self.pods, loses).await;
        for &(at_ms, step) in &self.steps {
            sleep_until(began + Duration::from_millis(at_ms)).await;
            cluster.act(step);
        }
        sleep_until(began + Duration::from_millis(END_MS)).await;
        cluster.end().await
    }
}

fn step(random: &mut fastrand::Rng, pods: usize, faults: u8) -> Step {
    let (pod, client) = (random.usize(..pods), random.usize(..64));
    let for_ms = random.u64(0..MAX_CUT_MS);
    match random.u8(..16) {
        roll if roll < faults => match random.u8(..6) {
            0 => Step::CutAll { for_ms },
            1 => Step::Forget { for_ms },
            _ => Step::Cut {
                pod,
                for_ms,
                is_deaf: random.bool(),
            },
        },
        4 | 5 => Step::Come { pod },
        // While the pods bring in what they have missed.
        6 | 7 => Step::ComeAfterHealing {
            pod,
            after_ms: random.u64(0..300),
        },
        8 => Step::Rejoin { client },
        9 => Step::Release { client },
        _ => Step::Take { client },
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "of {} pods, after these steps:", self.pods)?;
        for (at_ms, step) in &self.steps {
            writeln!(f, "  {at_ms:>6} ms  {step:?}")?;
        }
        let seed = self.seed;
        write!(
            f,
            "SEED={seed} cargo test -p jamz-server --test it simulation::"
        )
    }
}
