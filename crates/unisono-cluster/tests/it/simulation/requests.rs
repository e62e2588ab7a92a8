//! What pods ask of each other, and how they answer.

use std::collections::BTreeSet;

use unisono_cluster::classic::encode_answer;
use unisono_cluster::{
    Adapter, Answer, AnswerBody, Answered, Listener, Members, Request, RequestBody, Roll,
};
use unisono_proto::Value;

use super::bus::{Publication, Up};
use super::members::{Audience, ROOMS};
use super::record::{Ask, How, Question, Tag};
use super::sabotage::Sabotage;
use super::world::World;

impl World {
    pub(super) fn ask(&mut self, pod: usize, question: Question, timeout_ms: u64) {
        let (now_ms, index) = (self.now_ms, self.record.asks.len());
        let mut sent = None;
        let body = match question {
            Question::Sockets if self.adapter != Adapter::Classic => RequestBody::Fetch {
                members: Members::default(),
            },
            Question::Sockets => RequestBody::Sockets { rooms: Vec::new() },
            Question::Rooms => RequestBody::AllRooms,
            Question::ServerSide => RequestBody::ServerSideEmit {
                args: vec![Value::Str("who".to_owned())],
            },
            Question::Acknowledgements => {
                let (id, broadcast) = self.prepare(pod, How::Acknowledged, Audience::ALL);
                sent = Some(id);
                self.deliver(pod, &broadcast);
                RequestBody::Broadcast(broadcast)
            }
        };
        let asked = self.pods[pod].node.ask(body, timeout_ms, now_ms);
        let (id, channel, payload) = asked.expect("it can be asked");
        self.record.asks_by_id.insert(id.clone(), index);
        self.record.asks.push(Ask {
            pod,
            at_ms: now_ms,
            timeout_ms,
            question,
            is_last: self.is_last_round,
            ended: None,
            is_repeated: false,
            sent,
        });
        let publication = Publication {
            channel: channel.as_str().into(),
            payload,
            tag: Tag::Ask(index),
        };
        let taken = self.offer(pod, publication);
        let link = &self.pods[pod].link;
        match link.connection.filter(|_| taken && link.is_listening()) {
            Some(connection) => self.send_up(connection, Up::Count { channel, id }),
            // Nobody says how many there are: it is what there is by now.
            None => {
                let ended = self.pods[pod].node.give_up(&id);
                ended.into_iter().for_each(|answered| self.ended(*answered));
            }
        }
        self.node_changed(pod);
    }

    pub(super) fn counted(&mut self, pod: usize, id: &str, pods: &[usize]) {
        let mut roll = Roll::default();
        let mut counted = BTreeSet::from([pod]);
        // This one is among them.
        let own = pods.iter().position(|one| *one == pod);
        let others = pods.iter().enumerate();
        for (_, &other) in others.filter(|(at, _)| Some(*at) != own) {
            let one = &self.pods[other];
            // Of some the others know the name and that they live; of connections that nobody is behind any more, nobody knows anything.
            if one.is_alive && !one.is_nameless && counted.insert(other) {
                roll.known.push(Listener {
                    id: one.node.uid().to_owned(),
                    is_silent: false,
                    is_deaf: false,
                });
            } else {
                roll.unknown += 1;
            }
        }
        if let Some(answered) = self.pods[pod].node.expect_nodes(id, roll) {
            self.ended(*answered);
        }
    }

    pub(super) fn ended(&mut self, answered: Answered) {
        let index = self.record.asks_by_id[&answered.id];
        let before = self.record.asks[index]
            .ended
            .replace((self.now_ms, answered));
        assert!(before.is_none(), "a request ends once");
    }

    /// Tells all pods to put their sockets into a room, and emits to it without waiting.
    pub(super) fn gather(&mut self, pod: usize, room: usize) {
        let is_late = self.sabotage == Some(Sabotage::TellLate);
        let is_told = is_late || self.tell_to_join(pod, ROOMS[room]);
        self.join_all(pod, ROOMS[room]);
        let audience = Audience {
            rooms: 1 << room,
            except: 0,
        };
        self.emit(pod, How::LocalFirst, audience);
        if is_late {
            self.tell_to_join(pod, ROOMS[room]);
        }
        if let Some(sent) = self.record.sent.last_mut().filter(|_| is_told) {
            let here = self.members.iter().enumerate();
            let here = here.filter(|(_, member)| member.is_here);
            sent.to = here.map(|(member, _)| (member, true)).collect();
        }
    }

    /// True when the link takes it.
    fn tell_to_join(&mut self, pod: usize, room: &str) -> bool {
        let body = RequestBody::Join {
            members: Members::default(),
            rooms: vec![room.to_owned()],
        };
        let told = self.pods[pod].node.tell(body, self.now_ms);
        let (channel, payload) = told.expect("it can be written");
        let publication = Publication {
            channel: channel.into(),
            payload,
            tag: Tag::Foreign,
        };
        self.offer(pod, publication)
    }

    fn join_all(&mut self, pod: usize, room: &str) {
        let Some(room) = ROOMS.iter().position(|name| *name == room) else {
            return;
        };
        let members = 0..self.members.len();
        for member in members {
            let one = &self.members[member];
            if one.pod == pod && one.is_here {
                self.join(member, room);
            }
        }
    }

    pub(super) fn answer(&mut self, pod: usize, request: Request) {
        if let RequestBody::Join { rooms, .. } = &request.body {
            rooms.iter().for_each(|room| self.join_all(pod, room));
        }
        let Some(id) = request.id else { return };
        let ids = |world: &Self, members: Vec<usize>| {
            let ids = members
                .into_iter()
                .map(|member| world.members[member].id.clone());
            ids.collect::<Vec<_>>()
        };
        let everybody = || unisono_cluster::Broadcast::default();
        let mut answers = Vec::new();
        match request.body {
            RequestBody::Sockets { .. } => {
                let sockets = ids(self, self.reached(pod, &everybody()));
                answers.push(AnswerBody::Sockets(
                    sockets.into_iter().map(Value::Str).collect(),
                ));
            }
            RequestBody::Fetch { .. } => {
                let sockets = ids(self, self.reached(pod, &everybody())).into_iter();
                let sockets = sockets.map(|id| Value::Map(vec![("id".to_owned(), Value::Str(id))]));
                answers.push(AnswerBody::Sockets(sockets.collect()));
            }
            RequestBody::AllRooms => {
                let mut rooms = ids(self, self.reached(pod, &everybody()));
                rooms.extend(self.pods[pod].rooms.room_names().map(str::to_owned));
                answers.push(AnswerBody::Rooms(rooms));
            }
            RequestBody::ServerSideEmit { .. } => {
                let name = Value::Str(self.pods[pod].node.uid().to_owned());
                answers.push(AnswerBody::ServerSide(Some(name)));
            }
            RequestBody::Broadcast(broadcast) => {
                let clients = self.reached(pod, &broadcast).len();
                self.deliver(pod, &broadcast);
                answers.push(AnswerBody::ClientCount(clients as u64));
                answers.extend((0..clients).map(|_| AnswerBody::Ack(None)));
            }
            _ => {}
        }
        if self.sabotage == Some(Sabotage::OneIsMute) && pod == 0 {
            return;
        }
        for body in answers {
            self.send_answer(pod, &request.uid, &id, body);
        }
    }

    fn send_answer(&mut self, pod: usize, uid: &str, id: &str, body: AnswerBody) {
        let privately = self.pods[pod].answers_privately;
        let channel = self.pods[pod].node.answering(privately).channel(uid, &body);
        let id = id.to_owned();
        let tag = Tag::Ask(self.record.asks_by_id[&id]);
        let answer = Answer {
            id,
            from: None,
            body,
        };
        let one = &self.pods[pod];
        let payload = match one.is_nameless {
            true => encode_answer(answer),
            false => one.node.answering(privately).encode(answer),
        };
        let payload = payload.expect("it can be written");
        let channel = channel.into();
        self.offer(
            pod,
            Publication {
                channel,
                payload,
                tag,
            },
        );
    }
}
