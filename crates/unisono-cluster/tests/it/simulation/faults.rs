//! What goes wrong, and from when to when a pod is promised nothing.

use super::agenda::Event;
use super::record::Healing;
use super::world::World;

/// The most by which a slow way delays a frame.
const MAX_SLOW_MS: u64 = 2_500;

/// How long what was delayed may have consequences: until it is there, and for a reply that is waited for.
const AFTER_SLOW_MS: u64 = MAX_SLOW_MS + 1_000;

/// A fault. Pods are meant by their seat, which a pod that comes again takes over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The connections break, and both ends know.
    Reset { seat: usize },
    /// The bus forgets what was subscribed to on a connection that stays.
    Deafen { seat: usize },
    /// Nothing passes between these pods (as bits) and the bus. Connections of before never carry anything again.
    Partition { seats: u8, for_ms: u64 },
    /// Nothing passes from the bus to the pod, whose own messages get there: it does not know that they do. (The other way round is no
    /// fault of its own: where nothing is acknowledged, nothing more is sent.)
    OneWay { seat: usize, for_ms: u64 },
    /// What a pod sends and gets takes longer.
    Slow { seat: usize, for_ms: u64 },
    /// The bus loses all connections and takes none for a while.
    BusDown { for_ms: u64 },
    /// The bus does nothing for a while.
    BusHangs { for_ms: u64 },
    /// A pod is killed, and another takes its place.
    Crash { seat: usize, for_ms: u64 },
}

impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Reset { seat } => self.with_pod(seat, Self::reset),
            Fault::Deafen { seat } => self.with_pod(seat, Self::deafen),
            Fault::Partition { seats, for_ms } => {
                for seat in (0..self.seats.len()).filter(|seat| seats & 1 << seat != 0) {
                    self.with_pod(seat, |world, pod| world.cut_off(pod, false, for_ms));
                }
            }
            Fault::OneWay { seat, for_ms } => {
                self.with_pod(seat, |world, pod| world.cut_off(pod, true, for_ms));
            }
            Fault::Slow { seat, for_ms } => self.with_pod(seat, |world, pod| {
                let until_ms = world.now_ms + for_ms;
                world.pods[pod].slow_ms = MAX_SLOW_MS;
                world.pods[pod].slow_until_ms = until_ms;
                world.agenda.enter(until_ms, Event::Mend);
                world.strike(pod, until_ms + AFTER_SLOW_MS);
            }),
            Fault::BusDown { for_ms } => {
                self.bus.is_up = false;
                self.bus_mends_ms = self.bus_mends_ms.max(self.now_ms + for_ms);
                self.agenda.enter(self.bus_mends_ms, Event::Mend);
                self.strike_all(self.bus_mends_ms);
                for index in 0..self.bus.connections.len() {
                    self.sever(index);
                }
            }
            Fault::BusHangs { for_ms } => {
                self.bus.hangs = true;
                self.bus_mends_ms = self.bus_mends_ms.max(self.now_ms + for_ms);
                self.agenda.enter(self.bus_mends_ms, Event::Mend);
                self.strike_all(self.bus_mends_ms + AFTER_SLOW_MS);
            }
            Fault::Crash { seat, for_ms } => self.with_pod(seat, |world, pod| {
                world.crash(pod);
                let at_ms = world.now_ms + for_ms;
                world.agenda.enter(at_ms, Event::Restart { seat });
            }),
        }
    }

    fn with_pod(&mut self, seat: usize, f: impl FnOnce(&mut Self, usize)) {
        let seat = seat % self.seats.len();
        let pod = self.seats[seat];
        if self.pods[pod].is_alive {
            f(self, pod);
        }
    }

    /// Until when a pod that starts now is promised nothing.
    pub(super) fn troubled_from_the_start_ms(&self) -> u64 {
        let after_ms = if self.bus.hangs { AFTER_SLOW_MS } else { 0 };
        self.now_ms.max(self.bus_mends_ms + after_ms)
    }

    /// The pod is promised nothing until its faults are over and its link is whole.
    pub(super) fn strike(&mut self, pod: usize, until_ms: u64) {
        self.record.calm_ends(pod, self.now_ms);
        let troubled = &mut self.pods[pod].troubled_until_ms;
        *troubled = until_ms.max(*troubled);
        self.agenda.enter(until_ms, Event::Mend);
    }

    fn strike_all(&mut self, until_ms: u64) {
        for pod in 0..self.pods.len() {
            if self.pods[pod].is_alive {
                self.strike(pod, until_ms);
            }
        }
    }

    /// Whether nothing gets to the pod.
    pub(super) fn is_cut_off(&self, pod: usize) -> bool {
        self.now_ms < self.pods[pod].cut_off_until_ms.to
    }

    /// Whether nothing that it sends gets to the bus.
    pub(super) fn is_mute(&self, pod: usize) -> bool {
        self.now_ms < self.pods[pod].cut_off_until_ms.from
    }

    fn reset(&mut self, pod: usize) {
        self.strike(pod, self.now_ms);
        if let Some(index) = self.pods[pod].link.connection {
            self.sever(index);
        }
    }

    /// The bus knows at once, the pod soon. What the pod has sent may have arrived.
    fn sever(&mut self, index: usize) {
        let was_open = self.bus.connections[index].carries_down;
        let carries_up = self.bus.is_up && self.random.bool();
        let connection = &mut self.bus.connections[index];
        connection.carries_up &= carries_up;
        connection.carries_down = false;
        connection.subscriptions.clear();
        let notices_ms = self.now_ms + self.random.u64(1..=20);
        if was_open && !self.is_cut_off(self.bus.connections[index].pod) {
            self.agenda.enter(notices_ms, Event::Broken(index));
        }
    }

    fn deafen(&mut self, pod: usize) {
        if let Some(index) = self.pods[pod].link.connection
            && self.record.is_calm(pod)
        {
            self.strike(pod, self.now_ms);
            self.record.deafened.push((pod, self.now_ms));
            let connection = &mut self.bus.connections[index];
            connection.subscriptions.clear();
            (connection.hears_probes, connection.is_forgotten) = (false, true);
        }
    }

    fn cut_off(&mut self, pod: usize, is_heard: bool, for_ms: u64) {
        let until_ms = self.now_ms + for_ms;
        if self.record.is_calm(pod) {
            self.record.deafened.push((pod, self.now_ms));
        }
        self.strike(pod, until_ms);
        let cut_off = &mut self.pods[pod].cut_off_until_ms;
        cut_off.to = until_ms.max(cut_off.to);
        if !is_heard {
            cut_off.from = until_ms.max(cut_off.from);
        }
        for connection in &mut self.bus.connections {
            if connection.pod == pod {
                connection.carries_up &= is_heard;
                connection.carries_down = false;
            }
        }
    }

    fn crash(&mut self, pod: usize) {
        self.strike(pod, self.now_ms);
        let members = 0..self.members.len();
        for member in members
            .filter(|member| self.members[*member].pod == pod)
            .collect::<Vec<_>>()
        {
            if self.members[member].is_here {
                self.exit(member);
            }
        }
        self.pods[pod].is_alive = false;
        self.pods[pod].ended_ms = Some(self.now_ms);
        self.hang_up(pod);
    }

    pub(super) fn restart(&mut self, seat: usize) {
        if !self.pods[self.seats[seat]].is_alive {
            self.seats[seat] = self.start_pod();
        }
    }

    /// Ends what is over.
    pub(super) fn mend(&mut self) {
        if self.now_ms >= self.bus_mends_ms {
            self.bus.is_up = true;
            if self.bus.hangs {
                self.wake_bus();
            }
        }
        for pod in 0..self.pods.len() {
            if self.now_ms >= self.pods[pod].slow_until_ms {
                self.pods[pod].slow_ms = 0;
            }
            if !self.is_cut_off(pod) {
                self.forget_ghosts(pod);
            }
            self.look_for_calm(pod);
        }
    }

    /// The bus learns which connections are gone as soon as it can reach a pod again.
    fn forget_ghosts(&mut self, pod: usize) {
        for connection in &mut self.bus.connections {
            if connection.pod == pod && !connection.carries_down {
                connection.subscriptions.clear();
            }
        }
    }

    /// A pod is whole when nothing troubles it and its link says that it is up on a connection that is.
    pub(super) fn look_for_calm(&mut self, pod: usize) {
        let one = &self.pods[pod];
        let connection = one
            .link
            .connection
            .map(|index| &self.bus.connections[index]);
        let is_whole = one.is_alive
            && self.now_ms >= one.troubled_until_ms
            && self.bus.is_up
            && !self.bus.hangs
            && one.link.is_listening()
            && connection.is_some_and(|connection| connection.is_sound());
        if is_whole && !self.record.is_calm(pod) {
            self.record.healings.push(Healing {
                pod,
                over_ms: one.troubled_until_ms,
                calm_ms: self.now_ms,
            });
            self.record.calm_begins(pod, self.now_ms);
        }
    }
}
