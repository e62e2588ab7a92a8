//! How namespaces begin.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};

use unisono_cluster::{Node, Rooms};

use super::SpaceInner;
use crate::bus::Bus;
use crate::dynamic::Lease;
use crate::following::Following;
use crate::namespace::Handlers;
use crate::port::Port;
use crate::requests::Serving;
use crate::stats::Counters;
use crate::turnstile::Turnstile;

/// What namespaces are made with.
#[derive(Clone)]
pub(crate) struct Founder {
    pub(crate) counters: Arc<Counters>,
    pub(crate) bus: Option<Arc<Bus>>,
    pub(crate) max_rooms: usize,
}

impl Founder {
    pub(crate) fn found(
        &self,
        name: Arc<str>,
        handlers: Arc<Handlers>,
        lease: Option<Lease>,
    ) -> SpaceInner {
        let port = self.bus.as_ref().map(|bus| {
            let adapter = bus.broker.adapter();
            let node = Node::new(crate::ids::new_uid(adapter), bus.key.as_str(), &*name);
            let node = node
                .speaking(adapter)
                .asking_as(bus.asks_as.as_str())
                .keeping_in(bus.ledger.clone());
            Port::new(bus.clone(), node)
        });
        let following = self.bus.as_ref();
        let following = following.and_then(|bus| Following::new(bus, &name));
        let mut rooms = Rooms::new();
        if following.is_some() {
            rooms.note_changes();
        }
        SpaceInner {
            name,
            handlers,
            rooms: RwLock::new(rooms),
            following,
            counters: self.counters.clone(),
            port,
            line: Turnstile::default(),
            max_rooms: self.max_rooms,
            next_ack_id: AtomicU64::new(0),
            serving: Serving::default(),
            starting: Turnstile::default(),
            lease,
        }
    }
}
