//! What the application keeps with a socket.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use unisono_proto::Value;
use unisono_proto::value::{ValueError, to_value};

use crate::socket::Socket;

/// One pointer for a socket that the application keeps nothing with.
#[derive(Default)]
pub(crate) struct Belongings {
    /// A std mutex: held for a look or a change, never across an await or while code of the application runs.
    inner: Mutex<Option<Box<Kept>>>,
}

#[derive(Default)]
pub(crate) struct Kept {
    /// At most one value of each type.
    values: Vec<Arc<dyn Any + Send + Sync>>,
    shared: Option<Value>,
    /// Rooms to join when the client is in its namespace.
    pub(crate) early_rooms: BTreeSet<String>,
}

impl Belongings {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Box<Kept>>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let kept = self.lock();
        let value = kept.as_ref()?.values.iter().find(|value| value.is_a::<T>());
        value.cloned()?.downcast().ok()
    }

    fn remove<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let mut kept = self.lock();
        let values = &mut kept.as_mut()?.values;
        let index = values.iter().position(|value| value.is_a::<T>())?;
        values.swap_remove(index).downcast().ok()
    }

    /// Puts a value in; the one of its type that was there comes back, to be dropped outside of the lock.
    fn insert<T: Send + Sync + 'static>(
        &self,
        value: Arc<T>,
    ) -> Option<Arc<dyn Any + Send + Sync>> {
        let mut kept = self.lock();
        let kept = kept.get_or_insert_default();
        match kept.values.iter_mut().find(|value| value.is_a::<T>()) {
            Some(old) => Some(std::mem::replace(old, value)),
            None => {
                kept.add(value);
                None
            }
        }
    }

    /// The value of its type that is there, or else this one, which is from now on.
    fn find_or_insert<T: Send + Sync + 'static>(&self, value: Arc<T>) -> Arc<T> {
        let mut kept = self.lock();
        let kept = kept.get_or_insert_default();
        let there = kept.values.iter().find(|value| value.is_a::<T>());
        if let Some(Ok(there)) = there.map(|there| there.clone().downcast()) {
            return there;
        }
        kept.add(value.clone());
        value
    }
}

impl Kept {
    fn add(&mut self, value: Arc<dyn Any + Send + Sync>) {
        // Most sockets have one.
        self.values.reserve_exact(1);
        self.values.push(value);
    }
}

/// `Arc<dyn Any>` has a `type_id` of its own, which is not that of the value.
trait IsA {
    fn is_a<T: 'static>(&self) -> bool;
}

impl IsA for Arc<dyn Any + Send + Sync> {
    fn is_a<T: 'static>(&self) -> bool {
        self.as_ref().is::<T>()
    }
}

impl Socket {
    /// Attaches a value to the socket: one of each type, in place of the one before. It stays on this node; see
    /// [`share`](Self::share) for what others see.
    ///
    /// ```
    /// use unisono::{Auth, ConnectError, Namespace, Socket, SocketData, Value};
    ///
    /// struct User(String);
    ///
    /// async fn authenticate(socket: Socket, Auth(name): Auth<String>) -> Result<(), ConnectError> {
    ///     socket.set_data(User(name));
    ///     Ok(())
    /// }
    ///
    /// async fn say(socket: Socket, SocketData(user): SocketData<User>) {
    ///     socket.broadcast().emit("said", &user.0).ok();
    /// }
    ///
    /// # drop(
    /// Namespace::new("/").middleware(authenticate).on("say", say)
    /// # );
    /// ```
    pub fn set_data<T: Send + Sync + 'static>(&self, data: T) {
        self.belongings().insert(Arc::new(data));
    }

    /// The attached value of this type.
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.belongings().find()
    }

    /// The attached value of this type, made and attached now if there is none. Whoever asks at the same time gets the same; what a second
    /// `make` has made by then is dropped.
    pub fn data_or_insert_with<T: Send + Sync + 'static>(
        &self,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        if let Some(data) = self.data() {
            return data;
        }
        // Made outside of the lock. Of two who come at once the second gets what the first has made.
        self.belongings().find_or_insert(Arc::new(make()))
    }

    /// Takes the value of this type off the socket.
    pub fn take_data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.belongings().remove()
    }

    /// Shows a value to whoever fetches this socket ([`Broadcast::fetch_sockets`](crate::Broadcast::fetch_sockets)), in place of the one
    /// before.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn share<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), ValueError> {
        let value = to_value(data)?;
        self.belongings().lock().get_or_insert_default().shared = Some(value);
        Ok(())
    }

    /// What was shared last; null if nothing was.
    pub fn shared(&self) -> Value {
        let kept = self.belongings().lock();
        let shared = kept.as_ref().and_then(|kept| kept.shared.clone());
        shared.unwrap_or(Value::Null)
    }
}
