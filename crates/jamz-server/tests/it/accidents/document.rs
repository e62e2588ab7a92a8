//! `docs/redis-outages.md` is the table of these tests.

use std::fmt::Write as _;
use std::path::Path;

use super::rows::{Lost, Noticed, Row};
use super::{hostile, network, pods, restarts, rights, service};

/// Set to write the document instead of comparing it.
const WRITE: &str = "WRITE_DOCS";

const PREFACE: &str = "\
# When something happens to Redis

Every accident below is a test with a real `redis-server` and two pods, each a process of its own: `cargo nextest run -p jamz-server accidents`.
A test holds this page equal to its rows; `WRITE_DOCS=1` before the command writes it anew. What operators look at stands in
[operations](operations.md#when-redis-dies).

On each pod a client says 25 numbers a second, which are plain broadcasts, and another takes control of the session before, during and after
the accident, which are commits. In **every** row:

- no pod ends, no handler panics, liveness and readiness stay green, memory does not grow by more than 32 MiB;
- clients of one pod hear each other: each number once, in order, within 50 ms where the machine had time (1.5 s are asserted), and each change
  within 1.1 s (3.5 s are asserted: it waits a second for the reply of a Redis that has just stopped to answer);
- no number is heard twice or out of order on the other pod, and none is lost that was said after events crossed again;
- within five seconds of that all clients, newcomers on both pods, and Redis name the same DJ: the one who took control last. Clients that knew of another are sent
  `music-session-state`;
- all subscriptions are back, and no others (`CLIENT LIST`, `PUBSUB NUMSUB`);
- `unisono_degraded` is 1 whenever the link is not `subscribed`, and 0 in the end.

*Noticed* is the time from the accident until `unisono_degraded` is 1 on every pod that suffers it; promised are 2.3 s. *Back* is the time from the end of the accident until
each pod has heard something the other said after it; promised are 4 s. Both are ranges that were seen, on two busy cores; asserted are the promises, and 1.5 s more for such a machine.

*Lost* is how many numbers did not reach the other pod, both ways together, as seen. They were said while the link of either pod was away: what waits to be sent is
kept for five seconds; a pod that is back first keeps it for 1.2 seconds more while the other is not, as Redis counts. Where the column says *counted*, the tests assert that the other pod's
`unisono_node_gaps_total` has grown by exactly this number, once it hears the first one again. *Not counted* is what a pod misses of another that it had
never heard before. The sender knows of each number whether Redis took it (`unisono_bus_published_total`), dropped it (`unisono_bus_dropped_total`), or neither is known
(`unisono_bus_unconfirmed_total`).

`cargo xtask soak --cycles 200` kills Redis or has it cut off everybody, over and over, under three pods of ours and one of Node.js, and prints how long it
took until each heard each other again.
";

#[test]
fn the_document_is_these_rows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/redis-outages.md");
    let rendered = render();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, rendered).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let other = rendered
        .lines()
        .zip(written.lines().chain(std::iter::repeat("")))
        .find(|(rendered, written)| rendered != written);
    assert!(
        written == rendered,
        "docs/redis-outages.md differs, first in {other:?}; {WRITE}=1 writes it"
    );
}

fn render() -> String {
    let mut page = PREFACE.to_owned();
    for (heading, module, rows) in [
        ("Redis dies, freezes, restarts", "restarts", restarts::ROWS),
        ("The way to Redis", "network", network::ROWS),
        (
            "Redis does something else than it should",
            "service",
            service::ROWS,
        ),
        ("Rights change", "rights", rights::ROWS),
        ("Somebody else publishes", "hostile", hostile::ROWS),
        ("A pod dies", "pods", pods::ROWS),
    ] {
        let _ = writeln!(
            page,
            "\n## {heading}\n\nTests: `accidents::{module}::…`\n\n\
             | accident | noticed | back | lost | what to know | test |\n|---|---|---|---|---|---|"
        );
        rows.iter().for_each(|row| write_row(&mut page, row));
    }
    page
}

fn write_row(page: &mut String, row: &Row) {
    let noticed = match row.noticed {
        Noticed::By(&[_, _]) | Noticed::Briefly(&[_, _]) => row.seen.noticed.to_owned(),
        Noticed::By(_) | Noticed::Briefly(_) => format!("{}, by that pod", row.seen.noticed),
        Noticed::AtNextChange => "at the next change".to_owned(),
        Noticed::Perhaps => "depends".to_owned(),
        Noticed::Never => "no".to_owned(),
    };
    let lost = match row.lost {
        Lost::Nothing => "nothing".to_owned(),
        Lost::Counted => format!("{}, counted", row.seen.lost),
        Lost::Uncounted => format!("{}, not counted", row.seen.lost),
    };
    let Row {
        accident,
        remark,
        test,
        seen,
        ..
    } = row;
    let back = seen.back;
    let _ = writeln!(
        page,
        "| {accident} | {noticed} | {back} | {lost} | {remark} | `{test}` |"
    );
}
