//! What holds in every row.

use std::time::{Duration, Instant};

use unisono_test::await_until;

use super::pod::Metrics;
use super::rows::{Lost, Noticed, Row};
use super::stage::{Side, Stage};
use super::voice::Voice;
use crate::support::PATIENCE;

/// Promised: a pod that is deaf knows it within this time.
const NOTICED_WITHIN: Duration = Duration::from_millis(2_300);
/// Promised: events cross pods again within this time of Redis being back.
const BACK_WITHIN: Duration = Duration::from_secs(4);
/// What a machine that is busy with other tests may add to either.
const BUSY: Duration = Duration::from_millis(1_500);
/// Plain broadcasts on one pod wait for nobody but the processor.
const LOCAL_WITHIN: Duration = Duration::from_millis(1_500);
/// A change waits a second for the reply of Redis, and a second for what was published if that is all that is missing.
const CHANGE_WITHIN: Duration = Duration::from_millis(3_500);
/// What a pod may keep of all that. A megabyte of noise on each channel is worked off; the buffer for publishes has 8 MiB.
const MEMORY_BYTES: u64 = 32 << 20;
/// When all pods have what they need for it, they end with the same session within this time.
const AGREED_WITHIN: Duration = Duration::from_secs(5);

/// What was measured, and the stage as it is afterwards.
pub(super) struct Outcome {
    pub(super) stage: Stage,
    pub(super) after: [Metrics; 2],
}

impl Outcome {
    /// How much a counter of a pod has grown since its clients joined.
    pub(super) fn grown(&self, side: usize, counter: &str) -> u64 {
        let before = self.stage.sides[side].before.number(counter);
        self.after[side].number(counter) - before
    }

    /// The sender knows what became of each word, and the other pod has counted those that did not reach it. Returns the gaps that the other pod has seen.
    fn assert_counted(&self, row: &Row, side: usize, lost: usize) -> u64 {
        let panics = self.grown(side, "unisono_refused_total{reason=\"panic\"}");
        assert_eq!(panics, 0, "a handler panicked");
        let grown = self.after[side]
            .number("process_resident_memory_bytes")
            .saturating_sub(
                self.stage.sides[side]
                    .before
                    .number("process_resident_memory_bytes"),
            );
        assert!(grown < MEMORY_BYTES, "memory has grown by {grown} bytes");
        let said = self.stage.sides[side].talker.said().len() as u64;
        let given_up = self.grown(side, "unisono_bus_dropped_total")
            + self.grown(side, "unisono_bus_unconfirmed_total");
        let published = self.grown(side, "unisono_bus_published_total");
        assert!(
            published + given_up >= said,
            "{published} + {given_up} of {said}"
        );
        let gaps = self.grown(1 - side, "unisono_node_gaps_total");
        let counted = row.lost == Lost::Uncounted || lost as u64 == gaps;
        assert!(counted, "lost {lost}, counted {gaps}, given up {given_up}");
        gaps
    }
}

/// Lets an accident happen on a stage that is well, and end. The end is over when Redis is there again.
pub(super) async fn check(
    row: &Row,
    mut stage: Stage,
    start: impl AsyncFnOnce(&mut Stage),
    end: impl AsyncFnOnce(&mut Stage),
) -> Outcome {
    let started = Instant::now();
    start(&mut stage).await;
    let noticed = await_noticed(row, &stage, started).await;
    // Clients of one pod hear each other, whichever way a change takes.
    let first = stage.take(0, "during-a", &[0]).await;
    let change = first.max(stage.take(1, "during-b", &[1]).await);
    assert!(change < CHANGE_WITHIN, "a change took {change:?}");
    // The accident lasts; nothing is ordered by this wait.
    tokio::time::sleep(row.lasts.saturating_sub(started.elapsed())).await;
    assert_still_noticed(row, &mut stage).await;
    end(&mut stage).await;
    let ended = Instant::now();
    let back = await_back(&stage, ended).await;
    agree_on("during-b", &stage).await;
    if matches!(row.noticed, Noticed::By(&[_, _])) {
        // Its clients knew of another DJ.
        let shown = stage.sides[0].listener.was_shown("during-b", started);
        assert!(shown, "the state was not told again");
    }
    stage.take(0, "after-a", &[0, 1]).await;
    stage.take(1, "after-b", &[0, 1]).await;
    agree_on("after-b", &stage).await;
    await_subscriptions(&stage).await;
    for side in &mut stage.sides {
        side.talker.stop().await;
        side.pod.await_degraded(false).await;
        side.pod.assert_well().await;
    }
    let lost = [
        count_words(row, &stage, 0, back[0]).await,
        count_words(row, &stage, 1, back[1]).await,
    ];
    assert_noticed_by_no_other(row, &stage, started);
    let after = [
        stage.sides[0].pod.metrics().await,
        stage.sides[1].pod.metrics().await,
    ];
    let outcome = Outcome { stage, after };
    for side in [0, 1].into_iter().filter(|_| row.noticed == Noticed::Never) {
        let reconnects = outcome.grown(side, "unisono_link_reconnects_total");
        assert_eq!(reconnects, 0, "cut off for nothing");
    }
    let gaps = [0, 1].map(|side| outcome.assert_counted(row, side, lost[side]));
    let seconds = |duration: Duration| format!("{:.2}", duration.as_secs_f64());
    println!(
        "accident {} noticed={} back={} lost={lost:?} gaps={gaps:?} local={} change={}",
        row.test,
        noticed.map_or("-".to_owned(), seconds),
        seconds(back[0].max(back[1]) - ended),
        seconds(local_delay(&outcome.stage)),
        seconds(change),
    );
    outcome
}

/// When the last of the pods that are to notice has noticed.
async fn await_noticed(row: &Row, stage: &Stage, started: Instant) -> Option<Duration> {
    let (pods, briefly) = match row.noticed {
        Noticed::By(pods) => (pods, false),
        Noticed::Briefly(pods) => (pods, true),
        Noticed::AtNextChange | Noticed::Perhaps | Noticed::Never => return None,
    };
    let mut last = Duration::ZERO;
    for &side in pods {
        let Side { pod, before, .. } = &stage.sides[side];
        let reconnects = before.number("unisono_link_reconnects_total");
        let noticed = || {
            let looks = pod.looks_since(started);
            let mut looks = looks.into_iter();
            looks.find(|look| look.degraded || briefly && look.reconnects > reconnects)
        };
        await_until("a pod notices", PATIENCE, || noticed().is_some()).await;
        let took = noticed().map(|look| look.at - started).unwrap_or_default();
        assert!(took < NOTICED_WITHIN + BUSY, "noticed after {took:?}");
        last = last.max(took);
    }
    Some(last)
}

/// Nobody has ended; whoever has noticed still says so.
async fn assert_still_noticed(row: &Row, stage: &mut Stage) {
    for (index, side) in stage.sides.iter_mut().enumerate() {
        side.pod.assert_well().await;
        match row.noticed {
            Noticed::By(pods) if pods.contains(&index) => side.pod.await_degraded(true).await,
            Noticed::AtNextChange => side.pod.await_degraded(true).await,
            _ => {}
        }
    }
}

fn assert_noticed_by_no_other(row: &Row, stage: &Stage, started: Instant) {
    let allowed: &[usize] = match row.noticed {
        Noticed::By(pods) | Noticed::Briefly(pods) => pods,
        Noticed::AtNextChange | Noticed::Perhaps => &[0, 1],
        Noticed::Never => &[],
    };
    for (index, side) in stage.sides.iter().enumerate() {
        let degraded = side
            .pod
            .looks_since(started)
            .iter()
            .any(|look| look.degraded);
        assert!(
            !degraded || allowed.contains(&index),
            "degraded for nothing"
        );
    }
}

/// When something that each side said after `ended` was first heard on the other.
async fn await_back(stage: &Stage, ended: Instant) -> [Instant; 2] {
    let mut back = [ended; 2];
    for side in [0, 1] {
        await_until("events cross", PATIENCE, || {
            stage.heard_across(side, ended).is_some()
        })
        .await;
        back[side] = stage.heard_across(side, ended).unwrap_or(ended);
        let took = back[side] - ended;
        assert!(took < BACK_WITHIN + BUSY, "events crossed after {took:?}");
    }
    back
}

/// All clients, newcomers on both pods, and the store say the same.
async fn agree_on(user: &str, stage: &Stage) {
    let start = Instant::now();
    let believe =
        |side: &Side| side.listener.believes_in(user) && side.talker.voice.believes_in(user);
    let what = format!("all believe in {user}");
    await_until(&what, AGREED_WITHIN, || stage.sides.iter().all(believe)).await;
    loop {
        let one = Voice::shown_to_newcomer(&stage.sides[0].pod.url).await;
        let two = Voice::shown_to_newcomer(&stage.sides[1].pod.url).await;
        let (revision, controller) = stage.stored();
        let shown = one["revision"].to_string();
        let stored = controller.contains(user) && shown == revision;
        if one == two && one["controller_id"] == user && stored {
            return;
        }
        let waited = start.elapsed();
        assert!(
            waited < AGREED_WITHIN,
            "{user}: {one} {two} {revision} {controller}"
        );
    }
}

/// Two connections listen, to the same as before.
async fn await_subscriptions(stage: &Stage) {
    let complete = || {
        let now = stage.subscriptions();
        now.are_of_two()
            && stage
                .subscriptions
                .as_ref()
                .is_none_or(|before| *before == now)
    };
    await_until("all subscriptions are back", PATIENCE, complete).await;
}

/// How many words of a talker were not heard on the other pod. On its own pod each was, once, in order and at once.
async fn count_words(row: &Row, stage: &Stage, side: usize, back: Instant) -> usize {
    let (near, far) = (&stage.sides[side], &stage.sides[1 - side]);
    let (name, said) = (near.talker.name, near.talker.said());
    let last = said.len() - 1;
    for listener in [&near.listener, &far.listener] {
        let heard_last = || {
            listener
                .words_of(name)
                .last()
                .is_some_and(|word| word.0 == last)
        };
        await_until("the last word is heard", PATIENCE, heard_last).await;
    }
    let numbers = |listener: &Voice| listener.words_of(name).into_iter().map(|word| word.0);
    let near: Vec<_> = numbers(&near.listener).collect();
    assert_eq!(near, (0..=last).collect::<Vec<_>>(), "heard on its own pod");
    let far: Vec<_> = numbers(&far.listener).collect();
    assert!(
        far.is_sorted_by(|one, next| one < next),
        "in order and once: {far:?}"
    );
    let missing: Vec<_> = near.iter().filter(|number| !far.contains(number)).collect();
    let late = missing.iter().find(|number| said[***number] > back);
    assert_eq!(late, None, "lost after {name} was heard again");
    if row.lost == Lost::Nothing {
        assert!(missing.is_empty(), "lost {missing:?}");
    }
    missing.len()
}

/// The longest that a word took to a listener of the same pod.
fn local_delay(stage: &Stage) -> Duration {
    let delays = stage.sides.iter().flat_map(|side| {
        let said = side.talker.said();
        let words = side.listener.words_of(side.talker.name);
        words.into_iter().map(move |(number, at)| at - said[number])
    });
    let longest = delays.max().unwrap_or_default();
    assert!(
        longest < LOCAL_WITHIN,
        "a pod kept its own clients waiting for {longest:?}"
    );
    longest
}
