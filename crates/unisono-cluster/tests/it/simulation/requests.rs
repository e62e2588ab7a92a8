//! What pods ask of each other, and how they answer.

use unisono_cluster::classic::encode_answer;
use unisono_cluster::{Answer, AnswerBody, Answered, Request, RequestBody};
use unisono_proto::Value;

use super::bus::{Publication, Up};
use super::members::Audience;
use super::record::{Ask, How, Question, Tag};
use super::sabotage::Sabotage;
use super::world::World;

impl World {
    pub(super) fn ask(&mut self, pod: usize, question: Question, timeout_ms: u64) {
        let (now_ms, index) = (self.now_ms, self.record.asks.len());
        let mut sent = None;
        let body = match question {
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

    pub(super) fn counted(&mut self, pod: usize, id: &str, connections: usize) {
        // This one is among them.
        let others = connections.saturating_sub(1);
        if let Some(answered) = self.pods[pod].node.expect_nodes(id, others) {
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

    pub(super) fn answer(&mut self, pod: usize, request: Request) {
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
        let payload = encode_answer(Answer {
            id,
            from: None,
            body,
        })
        .expect("it can be written");
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
