//! Namespaces that exist while somebody is in them.
//!
//! A child is made when its first client asks to join, opened (counted, subscribed at the broker) when the first is let in, and gone
//! when nobody holds it any more: no client is in it or waits to get in, no handler of it runs, and the application keeps no handle.
//! The table knows children weakly, so there is no moment at which one that somebody joins could be taken away.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use unisono_proto::Value;

use crate::conn::Handshake;
use crate::middleware::Refused;
use crate::namespace::{Handlers, Matcher};
use crate::space::{Founder, SpaceInner};
use crate::stats::Refusal;
use crate::turnstile::Turnstile;

/// Characters that no child's name has: those of globs, by which nodes find each other, and the one that ends a name in a channel.
const NOT_IN_NAMES: [char; 6] = ['*', '?', '[', ']', '\\', '#'];

/// A namespace that was declared by a matcher.
pub(crate) struct Parent {
    pub(crate) matcher: Matcher,
    pub(crate) handlers: Arc<Handlers>,
}

/// All namespaces that were not declared by name.
pub(crate) struct Dynamic {
    parents: Vec<Parent>,
    founder: Founder,
    max_open: usize,
    /// A std mutex: held for a look-up or to make a child, never across an await or while foreign code runs.
    table: Mutex<Table>,
    /// Changes of subscriptions in the order of the table's changes, on their way to the broker, which is foreign code.
    changes: Turnstile<Change>,
}

#[derive(Default)]
struct Table {
    children: HashMap<Arc<str>, Child>,
    /// Children that somebody was let into.
    open: usize,
    last_number: u64,
}

struct Child {
    space: Weak<SpaceInner>,
    /// Tells it from an earlier one of the same name whose end is still under way.
    number: u64,
    parent: usize,
    is_open: bool,
    is_subscribed: bool,
}

struct Change {
    name: Arc<str>,
    subscribe: bool,
}

impl Dynamic {
    pub(crate) fn new(parents: Vec<Parent>, founder: Founder, max_open: usize) -> Self {
        Self {
            parents,
            founder,
            max_open,
            table: Mutex::default(),
            changes: Turnstile::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The child that a client may ask to join, made if there is none.
    pub(crate) fn find(
        self: &Arc<Self>,
        name: &str,
        handshake: &Handshake,
        auth: &Value,
    ) -> Result<Arc<SpaceInner>, Refused> {
        let unknown = || Refused::new(Refusal::Namespace, "Invalid namespace");
        if self.parents.is_empty() || name.contains(NOT_IN_NAMES) || name.contains(char::is_control)
        {
            return Err(unknown());
        }
        let parent = self.parent_of(name, handshake, auth)?.ok_or_else(unknown)?;
        let mut table = self.table();
        let living = table.children.get(name);
        let living = living.filter(|child| child.space.strong_count() > 0);
        match living {
            // Its middleware is not the one that this client has to pass.
            Some(child) if child.parent != parent => return Err(unknown()),
            Some(child) => {
                if let Some(space) = child.space.upgrade() {
                    return Ok(space);
                }
            }
            None => {}
        }
        Ok(self.make(&mut table, name, parent))
    }

    /// The first namespace whose matcher takes the name.
    fn parent_of(
        &self,
        name: &str,
        handshake: &Handshake,
        auth: &Value,
    ) -> Result<Option<usize>, Refused> {
        let mut parents = self.parents.iter();
        let taken = AssertUnwindSafe(|| parents.position(|p| (p.matcher)(name, handshake, auth)));
        catch_unwind(taken).map_err(|_| {
            tracing::error!(nsp = name, "a matcher panicked; its client is refused");
            Refused::new(Refusal::Panic, "internal server error")
        })
    }

    fn make(self: &Arc<Self>, table: &mut Table, name: &str, parent: usize) -> Arc<SpaceInner> {
        let name: Arc<str> = name.into();
        table.last_number += 1;
        let number = table.last_number;
        let lease = Lease {
            dynamic: self.clone(),
            name: name.clone(),
            number,
        };
        let handlers = self.parents[parent].handlers.clone();
        let space = Arc::new(self.founder.found(name.clone(), handlers, Some(lease)));
        let child = Child {
            space: Arc::downgrade(&space),
            number,
            parent,
            is_open: false,
            is_subscribed: false,
        };
        if let Some(before) = table.children.insert(name.clone(), child) {
            // That one is ending. It finds its place taken and leaves the subscription to this one.
            table.close(&self.founder, before.is_open);
            if let Some(child) = table.children.get_mut(&name) {
                child.is_subscribed = before.is_subscribed;
            }
        }
        space
    }

    /// The child of this name that somebody was let into, if it is still there.
    pub(crate) fn living(&self, name: &str) -> Option<Arc<SpaceInner>> {
        let table = self.table();
        let child = table.children.get(name).filter(|child| child.is_open)?;
        child.space.upgrade()
    }

    /// All children that somebody was let into. Dropping the last handle to one comes back here, so the table is not held meanwhile.
    pub(crate) fn all(&self) -> Vec<Arc<SpaceInner>> {
        let table = self.table();
        let open = table.children.values().filter(|child| child.is_open);
        open.filter_map(|child| child.space.upgrade()).collect()
    }

    /// The child that a message on this channel is for.
    pub(crate) fn of_channel(&self, channel: &str) -> Option<Arc<SpaceInner>> {
        if self.parents.is_empty() {
            return None;
        }
        let key = &self.founder.bus.as_ref()?.key;
        // Behind the prefix stands nothing, or the verb of a request or an answer.
        let (_, rest) = channel.strip_prefix(key.as_str())?.split_once('#')?;
        let (name, _) = rest.split_once('#')?;
        self.living(name)
    }

    /// Tells the broker, with the table let go of: in the order of the table's changes, one at a time. Somebody else may be at it and do
    /// this one a moment later.
    fn change(&self, table: MutexGuard<'_, Table>, change: Change) {
        let mut table = Some(table);
        let left =
            self.changes
                .submit_under(change, || drop(table.take()), |change| self.apply(&change));
        if let Err(change) = left {
            // Tens of thousands wait for a broker that hangs: its order is lost anyway.
            self.apply(&change);
        }
    }

    /// Waits until the broker has been told of every change so far.
    fn settle(&self) {
        self.changes.hold(|| {}, |change| self.apply(&change));
    }

    fn apply(&self, change: &Change) {
        if let Some(bus) = &self.founder.bus {
            bus.listen(&change.name, change.subscribe);
        }
    }
}

impl Table {
    fn close(&mut self, founder: &Founder, was_open: bool) {
        if was_open {
            self.open -= 1;
            founder.counters.dynamic_namespaces.fetch_sub(1, Relaxed);
        }
    }
}

/// A child's place in the table. Dropped with the child, it gives the place back.
pub(crate) struct Lease {
    dynamic: Arc<Dynamic>,
    name: Arc<str>,
    number: u64,
}

impl Lease {
    /// A client is let in: the child counts from now on, and the broker has been asked for its messages, so that what the client has
    /// everybody told comes back to it.
    pub(crate) fn open(&self) -> Result<(), Refused> {
        self.count()?;
        self.dynamic.settle();
        Ok(())
    }

    fn count(&self) -> Result<(), Refused> {
        let dynamic = &self.dynamic;
        let mut table = dynamic.table();
        let is_full = table.open >= dynamic.max_open;
        // The caller holds the child, so nobody has taken its place.
        let Some(child) = table.children.get_mut(&self.name) else {
            return Ok(());
        };
        if child.is_open {
            return Ok(());
        }
        if is_full {
            let refusal = Refusal::DynamicNamespaces;
            return Err(Refused::new(refusal, "too many namespaces"));
        }
        child.is_open = true;
        let was_subscribed = std::mem::replace(&mut child.is_subscribed, true);
        table.open += 1;
        let counters = &dynamic.founder.counters;
        counters.dynamic_namespaces.fetch_add(1, Relaxed);
        if !was_subscribed {
            let name = self.name.clone();
            let subscribe = true;
            dynamic.change(table, Change { name, subscribe });
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut table = self.dynamic.table();
        let is_ours = |child: &Child| child.number == self.number;
        if !table.children.get(&self.name).is_some_and(is_ours) {
            return;
        }
        let Some(child) = table.children.remove(&self.name) else {
            return;
        };
        table.close(&self.dynamic.founder, child.is_open);
        if table.children.is_empty() {
            table.children.shrink_to(0);
        }
        if child.is_subscribed {
            let name = self.name.clone();
            let subscribe = false;
            self.dynamic.change(table, Change { name, subscribe });
        }
    }
}
