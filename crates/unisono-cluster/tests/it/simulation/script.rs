//! What is done to a cluster, drawn from a seed.

use unisono_cluster::{Adapter, SubscriptionMode};

use super::faults::Fault;
use super::members::{Audience, ROOMS};
use super::record::{How, Question};
use super::world::World;

/// Steps happen within this time.
pub(super) const STEPS_MS: u64 = 12_000;

const MAX_FAULT_MS: u64 = 4_000;

#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) seed: u64,
    pub(super) adapter: Adapter,
    pub(super) pods: usize,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) at_ms: u64,
    pub(super) act: Act,
}

/// Pods are meant by their seat, members by a number that is taken modulo those who are here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Emit {
        seat: usize,
        how: How,
        audience: Audience,
    },
    Ask {
        seat: usize,
        question: Question,
        timeout_ms: u64,
    },
    Enter {
        seat: usize,
        rooms: u8,
    },
    Exit {
        member: usize,
    },
    Join {
        member: usize,
        room: usize,
    },
    Leave {
        member: usize,
        room: usize,
    },
    /// Everybody's sockets are put into a room, and told something there at once.
    Gather {
        seat: usize,
        room: usize,
    },
    Fault(Fault),
    /// A stranger publishes a message again.
    Repeat {
        message: usize,
    },
    /// A stranger publishes bytes that mean nothing.
    Garbage {
        choice: usize,
    },
}

impl Script {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let pods = random.usize(2..=4);
        // Some clusters are left alone: most promises are about those.
        let fault_rate = random.choice([0, 1, 2, 4]).unwrap_or(0);
        let has_strangers = random.u8(..4) == 0;
        let count = random.usize(5..=40);
        let mut steps: Vec<_> = (0..count)
            .map(|_| Step {
                at_ms: random.u64(0..STEPS_MS),
                act: match random.u8(..20) {
                    roll if roll < fault_rate => Act::Fault(fault(&mut random, pods)),
                    16.. if has_strangers => stranger(&mut random),
                    _ => act(&mut random, pods),
                },
            })
            .collect();
        // Close together, so that they meet on the way.
        for index in 1..steps.len() {
            if random.bool() {
                steps[index].at_ms = steps[index - 1].at_ms + random.u64(0..30);
            }
        }
        steps.sort_by_key(|step| step.at_ms);
        Self {
            seed,
            adapter: adapter(seed),
            pods,
            steps,
        }
    }
}

/// As often classic as not.
fn adapter(seed: u64) -> Adapter {
    match seed % 6 {
        1 => Adapter::Sharded(SubscriptionMode::Static),
        3 => Adapter::Sharded(SubscriptionMode::Dynamic),
        5 => Adapter::Sharded(SubscriptionMode::DynamicPrivate),
        _ => Adapter::Classic,
    }
}

fn act(random: &mut fastrand::Rng, pods: usize) -> Act {
    let seat = random.usize(..pods);
    let (member, room) = (random.usize(..64), random.usize(..ROOMS.len()));
    match random.u8(..20) {
        0 => Act::Enter {
            seat,
            rooms: random.u8(..8),
        },
        1 => Act::Exit { member },
        2 | 3 => Act::Join { member, room },
        4 => Act::Leave { member, room },
        9 => Act::Gather { seat, room },
        5..=8 => Act::Ask {
            seat,
            question: *random
                .choice(&[
                    Question::Sockets,
                    Question::Rooms,
                    Question::ServerSide,
                    Question::Acknowledgements,
                ])
                .unwrap_or(&Question::Rooms),
            timeout_ms: *random.choice(&[10, 1_000, 5_000]).unwrap_or(&10),
        },
        _ => Act::Emit {
            seat,
            how: *random
                .choice(&[How::LocalFirst, How::Ordered, How::Commit])
                .unwrap_or(&How::Ordered),
            audience: Audience {
                rooms: *random
                    .choice(&[0, 0b001, 0b010, 0b100, 0b011])
                    .unwrap_or(&0),
                except: *random.choice(&[0, 0, 0, 0b001]).unwrap_or(&0),
            },
        },
    }
}

fn fault(random: &mut fastrand::Rng, pods: usize) -> Fault {
    let seat = random.usize(..pods);
    let for_ms = random.u64(50..MAX_FAULT_MS);
    match random.u8(..8) {
        0 => Fault::Reset { seat },
        1 => Fault::Deafen { seat },
        2 => Fault::Partition {
            seats: random.u8(1..1 << pods),
            for_ms,
        },
        3 => Fault::Slow { seat, for_ms },
        4 => Fault::BusDown { for_ms },
        5 => Fault::BusHangs { for_ms },
        6 => Fault::OneWay { seat, for_ms },
        _ => Fault::Crash { seat, for_ms },
    }
}

fn stranger(random: &mut fastrand::Rng) -> Act {
    match random.bool() {
        true => Act::Repeat {
            message: random.usize(..64),
        },
        false => Act::Garbage {
            choice: random.usize(..4_096),
        },
    }
}

impl World {
    pub(super) fn act(&mut self, act: Act) {
        match act {
            Act::Emit {
                seat,
                how,
                audience,
            } => {
                self.alive(seat)
                    .into_iter()
                    .for_each(|pod| self.emit(pod, how, audience));
            }
            Act::Ask {
                seat,
                question,
                timeout_ms,
            } => {
                self.alive(seat)
                    .into_iter()
                    .for_each(|pod| self.ask(pod, question, timeout_ms));
            }
            Act::Enter { seat, rooms } => {
                self.alive(seat)
                    .into_iter()
                    .for_each(|pod| self.enter(pod, rooms));
            }
            Act::Exit { member } => self.here(member).into_iter().for_each(|one| self.exit(one)),
            Act::Join { member, room } => {
                self.here(member)
                    .into_iter()
                    .for_each(|one| self.join(one, room));
            }
            Act::Leave { member, room } => {
                self.here(member)
                    .into_iter()
                    .for_each(|one| self.leave(one, room));
            }
            Act::Gather { seat, room } => {
                self.alive(seat)
                    .into_iter()
                    .for_each(|pod| self.gather(pod, room));
            }
            Act::Fault(fault) => self.fault(fault),
            Act::Repeat { message } => self.repeat_message(message),
            Act::Garbage { choice } => self.publish_garbage(choice),
        }
    }

    fn alive(&self, seat: usize) -> Option<usize> {
        let pod = self.seats[seat];
        self.pods[pod].is_alive.then_some(pod)
    }

    fn here(&self, choice: usize) -> Option<usize> {
        let here: Vec<_> = (0..self.members.len())
            .filter(|one| self.members[*one].is_here)
            .collect();
        (!here.is_empty()).then(|| here[choice % here.len()])
    }
}
