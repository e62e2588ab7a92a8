//! A pod: true nodes and rooms, and around them what `unisono`'s `port` and `space` do with them.

use unisono_cluster::{Adapter, Awaited, Broadcast, Extension, Ledger, Node, Received, Rooms};
use unisono_proto::Value;

use super::agenda::Event;
use super::bus::{Publication, Up};
use super::following::Following;
use super::link::Link;
use super::members::{Audience, Heard, names};
use super::record::{How, Sent, Tag};
use super::sabotage::Sabotage;
use super::world::World;

#[derive(Debug)]
pub(super) struct Pod {
    pub(super) node: Node,
    pub(super) rooms: Rooms<usize>,
    pub(super) ledger: Ledger,
    pub(super) link: Link,
    pub(super) following: Following,
    pub(super) began_ms: u64,
    pub(super) ended_ms: Option<u64>,
    pub(super) is_alive: bool,
    pub(super) answers_privately: bool,
    /// As Node.js pods with the classic adapter do, it does not say whose answers are.
    pub(super) is_nameless: bool,
    /// Commits that it awaits: number and what is sent.
    commits: Vec<(u64, usize)>,
    /// The moment for which its node is in the agenda.
    wakes_ms: Option<u64>,
    // What faults do to it.
    pub(super) cut_off_until_ms: Ways,
    pub(super) slow_ms: u64,
    pub(super) slow_until_ms: u64,
    pub(super) troubled_until_ms: u64,
}

/// One moment for what a pod sends, and one for what it gets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ways {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl World {
    pub(super) fn start_pod(&mut self) -> usize {
        let pod = self.pods.len();
        let uid = format!("pod{pod}");
        let ledger = Ledger::default();
        self.pods.push(Pod {
            node: Node::new(uid, "socket.io", "/")
                .speaking(self.adapter)
                .keeping_in(ledger.clone()),
            rooms: Rooms::new(),
            ledger,
            link: Link::new(self.now_ms, self.random.u64(..)),
            following: Following::default(),
            began_ms: self.now_ms,
            ended_ms: None,
            is_alive: true,
            answers_privately: self.random.bool(),
            is_nameless: self.adapter == Adapter::Classic && self.random.bool(),
            commits: Vec::new(),
            wakes_ms: None,
            cut_off_until_ms: Ways::default(),
            slow_ms: 0,
            slow_until_ms: 0,
            troubled_until_ms: self.troubled_from_the_start_ms(),
        });
        self.enter(pod, 0b001);
        self.enter(pod, 0b110);
        self.turn(pod);
        pod
    }

    /// Notes what is about to be emitted and whom it is for.
    pub(super) fn prepare(
        &mut self,
        pod: usize,
        how: How,
        audience: Audience,
    ) -> (usize, Broadcast) {
        let id = self.record.sent.len();
        let numbered = vec![("id".to_owned(), Value::from(id as u64))];
        let broadcast = Broadcast {
            args: vec![Value::Str("event".to_owned()), Value::Map(numbered)],
            rooms: names(audience.rooms),
            except: names(audience.except),
            ..Broadcast::default()
        };
        let members = self.members.iter().enumerate();
        let meant = members.filter(|(_, member)| member.is_meant(&broadcast));
        let to = meant.map(|(member, _)| (member, true)).collect();
        self.record.sent.push(Sent {
            pod,
            at_ms: self.now_ms,
            how,
            is_last: self.is_last_round,
            to,
            has_exceptions: !broadcast.except.is_empty(),
            repeats: 0,
            order: None,
            revision: None,
            seq: None,
            is_known: false,
            is_unknown: false,
        });
        (id, broadcast)
    }

    pub(super) fn emit(&mut self, pod: usize, how: How, audience: Audience) {
        let is_up = self.pods[pod].link.state().is_up();
        if how == How::Commit && !is_up {
            // The store does not answer: nothing happens.
            return;
        }
        let (id, mut broadcast) = self.prepare(pod, how, audience);
        broadcast.extension = Some(Extension {
            ordered: how != How::LocalFirst,
            ..Extension::default()
        });
        match how {
            How::Commit => self.commit_on(pod, id, broadcast),
            How::Ordered if is_up => self.emit_ordered(pod, id, broadcast),
            _ => {
                self.publish_numbered(pod, id, &mut broadcast, false);
                self.deliver(pod, &broadcast);
            }
        }
        self.node_changed(pod);
    }

    /// True when the link takes it.
    fn publish_numbered(
        &mut self,
        pod: usize,
        id: usize,
        broadcast: &mut Broadcast,
        awaits: bool,
    ) -> bool {
        let now_ms = self.now_ms;
        let node = &mut self.pods[pod].node;
        let (channel, payload) = node.number(broadcast, now_ms).expect("it can be written");
        let seq = broadcast
            .extension
            .as_ref()
            .map_or(0, |extension| extension.seq);
        if awaits {
            let awaited = Awaited::Broadcast(broadcast.clone());
            node.expect_echo(seq, awaited, now_ms)
                .expect("there are few");
        }
        // What is for those alone who listen to its room has no number.
        self.record.sent[id].seq = (seq > 0).then_some(seq);
        self.excuse_newcomers(pod, id, &channel);
        let publication = Publication {
            channel: channel.into(),
            payload,
            tag: Tag::Sent(id),
        };
        self.offer(pod, publication)
    }

    /// Whoever is told that something cannot be sent is not promised that it arrives.
    pub(super) fn offer(&mut self, pod: usize, publication: Publication) -> bool {
        let taken = self.send(pod, publication);
        if !taken {
            self.strike(pod, self.now_ms + 1);
        }
        taken
    }

    fn emit_ordered(&mut self, pod: usize, id: usize, mut broadcast: Broadcast) {
        if self.sabotage == Some(Sabotage::OrderedAtOnce) {
            self.publish_numbered(pod, id, &mut broadcast, false);
            return self.deliver(pod, &broadcast);
        }
        if !self.publish_numbered(pod, id, &mut broadcast, true) {
            let seq = broadcast
                .extension
                .as_ref()
                .map_or(0, |extension| extension.seq);
            if self.pods[pod].node.cancel_echo(seq) {
                self.deliver(pod, &broadcast);
            }
        }
    }

    fn commit_on(&mut self, pod: usize, id: usize, mut broadcast: Broadcast) {
        let now_ms = self.now_ms;
        let Pod {
            node,
            link,
            commits,
            ..
        } = &mut self.pods[pod];
        let seq = node.next_commit_seq();
        broadcast.extension = Some(Extension {
            seq,
            ordered: true,
            ..Extension::default()
        });
        let template = node
            .encode_template(&broadcast, "revision")
            .expect("it can be written");
        let awaited = Awaited::Template(template.clone());
        node.expect_echo(seq, awaited, now_ms)
            .expect("there are few");
        commits.push((seq, id));
        let connection = link.connection;
        if let Some(index) = connection {
            self.send_up(index, Up::Commit(template, Tag::Sent(id)));
        }
    }

    fn commit_of(&self, pod: usize, seq: u64) -> usize {
        let mut commits = self.pods[pod].commits.iter();
        let found = commits.find(|(number, _)| *number == seq);
        found.expect("it is one of ours").1
    }

    /// The store's answer to a commit.
    pub(super) fn committed(&mut self, pod: usize, seq: u64, revision: u32) {
        let id = self.commit_of(pod, seq);
        let sent = &mut self.record.sent[id];
        sent.is_known = !sent.is_unknown;
        self.pods[pod].node.set_revision(seq, revision);
    }

    /// A message of the bus.
    pub(super) fn hear(&mut self, pod: usize, publication: &Publication) {
        self.record.handed(pod, publication.tag);
        let now_ms = self.now_ms;
        let Pod { node, rooms, .. } = &mut self.pods[pod];
        let (channel, payload) = (&publication.channel, &publication.payload);
        if self.sabotage == Some(Sabotage::SkipOtherRooms)
            && !channel.ends_with("#/#")
            && rooms.room_count() < 3
        {
            return;
        }
        let has_room = |room: &str| rooms.has_room(room);
        match node.handle_message(channel, payload, &has_room, now_ms) {
            Received::Deliver(broadcast) | Received::Echo(broadcast) => {
                self.deliver(pod, &broadcast);
            }
            Received::Request(request) => self.answer(pod, *request),
            Received::Answered(answered) => self.ended(*answered),
            Received::Own if self.sabotage == Some(Sabotage::DeliverOwn) => {
                if let Ok(message) = unisono_cluster::classic::decode(payload) {
                    self.deliver(pod, &message.broadcast);
                }
            }
            _ => {}
        }
        self.node_changed(pod);
    }

    pub(super) fn deliver(&mut self, pod: usize, broadcast: &Broadcast) {
        for member in self.reached(pod, broadcast) {
            let field = |name| {
                broadcast
                    .args
                    .last()
                    .and_then(|last| last.get(name))
                    .and_then(Value::as_i64)
            };
            self.members[member].log.push(Heard {
                id: field("id").expect("it is one of ours") as usize,
                at_ms: self.now_ms,
                revision: field("revision").map(|revision| revision as u32),
            });
        }
    }

    pub(super) fn reached(&self, pod: usize, broadcast: &Broadcast) -> Vec<usize> {
        let mut reached = Vec::new();
        let rooms: &[String] = match self.sabotage {
            Some(Sabotage::IgnoreRooms) => &[],
            _ => &broadcast.rooms,
        };
        let visit = |member: &usize| reached.push(*member);
        self.pods[pod].rooms.select(rooms, &broadcast.except, visit);
        reached
    }

    /// Has the node called when it wants to be.
    pub(super) fn node_changed(&mut self, pod: usize) {
        let now_ms = self.now_ms;
        let Pod { node, wakes_ms, .. } = &mut self.pods[pod];
        if let Some(deadline_ms) = node.next_deadline().filter(|deadline| *deadline > now_ms)
            && wakes_ms.is_none_or(|wakes| wakes <= now_ms || deadline_ms < wakes)
        {
            *wakes_ms = Some(deadline_ms);
            self.agenda.enter(deadline_ms, Event::NodeWakes { pod });
        }
    }

    pub(super) fn node_wakes(&mut self, pod: usize) {
        let now_ms = self.now_ms;
        if !self.pods[pod].is_alive {
            return;
        }
        let expired = self.pods[pod].node.handle_timeout(now_ms);
        let is_suspect = !expired.is_empty();
        for one in expired {
            match one.broadcast {
                Some(_) if self.sabotage == Some(Sabotage::ForgetOverdue) => {}
                Some(broadcast) => self.deliver(pod, &broadcast),
                None => {
                    let id = self.commit_of(pod, one.seq);
                    self.record.sent[id].is_unknown = true;
                }
            }
        }
        if is_suspect {
            self.suspect(pod);
        }
        if self.sabotage != Some(Sabotage::RequestsWaitForEver) {
            for answered in self.pods[pod].node.handle_request_timeout(now_ms) {
                self.ended(answered);
            }
        }
        self.node_changed(pod);
    }
}
