//! Everything there is, and its one thread of time.

use unisono_cluster::Adapter;

use super::agenda::{Agenda, Event};
use super::bus::Bus;
use super::members::{Audience, Member};
use super::pod::Pod;
use super::record::{How, Question, Record};
use super::sabotage::Sabotage;
use super::script::Script;

/// By then every fault is over and every link has had its time to heal.
const LAST_ROUND_MS: u64 = 27_000;

/// By then everything that the last round began has ended.
const END_MS: u64 = 36_000;

#[derive(Debug)]
pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) adapter: Adapter,
    pub(super) random: fastrand::Rng,
    pub(super) agenda: Agenda,
    pub(super) bus: Bus,
    pub(super) bus_mends_ms: u64,
    pub(super) pods: Vec<Pod>,
    /// Which pod is in each place; a pod that comes again is a new one.
    pub(super) seats: Vec<usize>,
    pub(super) members: Vec<Member>,
    pub(super) record: Record,
    pub(super) is_last_round: bool,
    pub(super) sabotage: Option<Sabotage>,
}

impl World {
    /// Runs a script to its end.
    pub(super) fn run(script: &Script, sabotage: Option<Sabotage>) -> Self {
        let mut world = Self {
            now_ms: 0,
            adapter: script.adapter,
            random: fastrand::Rng::with_seed(script.seed ^ 0x5eed),
            agenda: Agenda::default(),
            bus: Bus::default(),
            bus_mends_ms: 0,
            pods: Vec::new(),
            seats: Vec::new(),
            members: Vec::new(),
            record: Record::default(),
            is_last_round: false,
            sabotage,
        };
        for _ in 0..script.pods {
            let pod = world.start_pod();
            world.seats.push(pod);
        }
        for (index, step) in script.steps.iter().enumerate() {
            world.agenda.enter(step.at_ms, Event::Step(index));
        }
        world.pass(script, LAST_ROUND_MS);
        world.last_round();
        world.pass(script, END_MS);
        (0..world.members.len()).for_each(|member| world.remove(member));
        world
    }

    /// The pods that are there.
    pub(super) fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.pods.len()).filter(|pod| self.pods[*pod].is_alive)
    }

    fn pass(&mut self, script: &Script, until_ms: u64) {
        while let Some((at_ms, event)) = self.agenda.next(until_ms) {
            self.now_ms = at_ms;
            match event {
                Event::Step(index) => self.act(script.steps[index].act),
                Event::AtBus(connection, frame) => self.at_bus(connection, *frame),
                Event::AtPod(connection, frame) => self.at_pod(connection, *frame),
                Event::Broken(connection) => self.broken(connection),
                Event::LinkWakes { pod } => self.link_wakes(pod),
                Event::NodeWakes { pod } => self.node_wakes(pod),
                Event::Mend => self.mend(),
                Event::Restart { seat } => self.restart(seat),
            }
        }
        self.now_ms = until_ms;
    }

    /// Everybody says something to everybody and asks who is there.
    fn last_round(&mut self) {
        self.is_last_round = true;
        for pod in self.living().collect::<Vec<_>>() {
            for how in [How::LocalFirst, How::Ordered, How::Commit] {
                self.emit(pod, how, Audience::ALL);
            }
            self.ask(pod, Question::ServerSide, 5_000);
        }
    }
}
