//! How long and how much: every wait, buffer and retry of the link, with its reason.
//!
//! Together they give: deafness is noticed within 2.3 s, and events cross nodes again within 4 s of Redis being back (where attempts have run
//! into silence for long, and whoever is back knows nothing of their connections, 10 s).

use std::time::Duration;

/// To find the server and open the connections; subscriptions come after. A Redis that is there answers in milliseconds; one that hangs must
/// not hold up the next attempt. Three round trips where there is one server, six in a cluster, nine with sentinels.
pub(crate) const ATTEMPT_DEADLINE: Duration = Duration::from_millis(1_500);

/// How often the time of an attempt, and of a question in it, doubles when it was not enough: to 6 s and 1.6 s, which is enough for round
/// trips of half a second. Over a path that is much slower than that the probes of a link that is up would fail.
pub(crate) const PATIENCE_LEVELS: u32 = 2;

/// For Redis to answer a command or confirm a batch of publishes.
pub(crate) const REPLY_DEADLINE: Duration = Duration::from_millis(1_000);

/// For a sentinel or a node of a cluster to say where to go. A healthy one answers in a millisecond; those that are cut off must leave
/// the others their time within [`ATTEMPT_DEADLINE`].
pub(crate) const ASK_DEADLINE: Duration = Duration::from_millis(400);

/// For another node of a cluster to count. Those that hang must leave their time to the question whether the cluster takes them for dead.
pub(crate) const COUNT_DEADLINE: Duration = Duration::from_millis(600);

/// How often a link that is up asks sentinels or its cluster whether it is in the right place. A failover cuts the connections as a rule;
/// this is for the rest: a server that was left behind, and hears nobody.
pub(crate) const WATCH_EVERY: Duration = Duration::from_secs(2);

/// A server that seems to have been left behind is looked at once more after this time: nodes of a cluster do not learn of each other's state
/// at the same moment.
pub(crate) const CONFIRM_AFTER: Duration = Duration::from_millis(500);

/// A link that found the meeting place of a cluster away looks for it again after this time, and not at once: a node that comes and goes
/// would take the link with it each time.
pub(crate) const RETURN_AFTER: Duration = Duration::from_secs(15);

/// Age of a link from which it counts as having held. One that is lost earlier is a reason to try another node of the cluster first.
pub(crate) const HELD_AFTER: Duration = Duration::from_secs(5);

/// Longest time for which other nodes of a cluster go before one where connections keep failing. For so long a node may be away from the
/// others' meeting place.
pub(crate) const STRIKE_LIMIT: Duration = Duration::from_secs(60);

/// Nodes of a cluster that are asked at once where to be: all of the smallest cluster. Each attempt begins with others.
pub(crate) const ASK_AT_ONCE: usize = 6;

/// How often further nodes are asked because of what the first said: the owner of the meeting slot, then other masters.
pub(crate) const ASK_ROUNDS: usize = 3;

/// Nodes of a cluster that are remembered; Redis advises against more than a thousand.
pub(crate) const MAX_CLUSTER_NODES: usize = 1_024;

/// How often a command is sent on by nodes that do not serve its key. A slot that moves needs two; more are a cluster that disagrees.
pub(crate) const MAX_REDIRECTIONS: usize = 4;

/// Silence after which the link asks itself through Redis whether it still hears.
pub(crate) const PROBE_AFTER_MS: u64 = 1_000;

/// How long the answer to a probe may take; then the link is deaf.
pub(crate) const PROBE_DEADLINE_MS: u64 = 1_000;

/// When the link's own timer fires later than this, this process was held up and not Redis: the probe gets its time once more.
pub(crate) const LATE_TIMER_MS: u64 = 300;

/// Age of a link before a missing echo can be its fault: the deadline of an echo, and the time in which somebody looks for overdue ones.
pub(crate) const SUSPECT_AFTER_MS: u64 = unisono_cluster::limits::ECHO_DEADLINE_MS + 300;

/// First pause before connecting again. Short, because most interruptions are a restart that is over already.
pub(crate) const BACKOFF_FIRST_MS: u64 = 50;

/// Longest pause: a node is back within a second of Redis, and a hundred nodes make no more than a hundred attempts a second.
pub(crate) const BACKOFF_MAX_MS: u64 = 1_000;

/// A link that held for this long is healthy again and starts over with the first pause.
pub(crate) const STABLE_AFTER_MS: u64 = 5_000;

/// Subscriptions per pipeline, of one command each: a few ten thousand bytes, which Redis confirms in milliseconds, well below the reply
/// deadline.
pub(crate) const SUBSCRIBE_BATCH: usize = 1_024;

/// Subscriptions that a link remembers because Redis refused to end them, to end them when it may: a few megabytes at most. What is refused
/// beyond them ends with the link.
pub(crate) const MAX_UNLEFT: usize = 16_384;

/// Messages per pipeline of publishes: enough to make round trips cheap.
pub(crate) const PUBLISH_BATCH_MESSAGES: usize = 256;

/// Bytes per pipeline of publishes (one larger message goes alone): what Redis takes in milliseconds, well below the reply deadline.
pub(crate) const PUBLISH_BATCH_BYTES: usize = 1024 * 1024;

/// Bytes that wait while Redis is away or slow. Eight of the largest client messages of the library, or 80,000 events of 100 bytes; at
/// least one message always fits.
pub(crate) const PUBLISH_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Messages that wait while Redis is away or slow: bounds the overhead of tiny ones.
pub(crate) const PUBLISH_BUFFER_MESSAGES: usize = 65_536;

/// How long a message may wait. Later than this it would surprise whoever gets it: players have moved on, and after an outage the state is
/// read again anyway.
pub(crate) const PUBLISH_MAX_AGE: Duration = Duration::from_secs(5);

/// How long what waited through an outage is kept once the link is back, for others that are not: they are one pause behind at most if
/// Redis lets them. Behind it waits what is published meanwhile, so it is less than the time that an ordered message has to come back.
pub(crate) const GATHER_DEADLINE: Duration = Duration::from_millis(BACKOFF_MAX_MS + 200);

/// How long after the first question whether they are back the second comes: those that lost their links together are often back within
/// a few milliseconds of each other. Each further pause is twice as long, up to [`GATHER_POLL`].
pub(crate) const GATHER_POLL_FIRST: Duration = Duration::from_millis(1);

/// How often it is asked then: what is held waits for so long behind the last of them at most. Some sixty small questions in all.
pub(crate) const GATHER_POLL: Duration = Duration::from_millis(20);

/// For what waits when a broker is closed: a round trip over a slow path, and nobody waits for it.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(500);

/// For one call of an emitter, connecting included: as long as a message may wait in a broker.
pub(crate) const EMIT_DEADLINE: Duration = PUBLISH_MAX_AGE;
