//! A socket as other nodes see it.

use unisono_proto::Value;
use unisono_proto::engine::pairs;

use crate::conn::Handshake;
use crate::date::date_text;
use crate::error::EmitError;
use crate::socket::Socket;
use crate::space::Space;

/// A socket of any node, as it was when it was fetched.
#[derive(Clone)]
pub struct RemoteSocket {
    space: Space,
    id: String,
    handshake: RemoteHandshake,
    rooms: Vec<String>,
    data: Value,
}

impl std::fmt::Debug for RemoteSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteSocket")
            .field("id", &self.id)
            .field("rooms", &self.rooms)
            .finish_non_exhaustive()
    }
}

impl RemoteSocket {
    /// Those of this node that have not gone meanwhile.
    pub(crate) fn local(sockets: &[Socket]) -> impl Iterator<Item = Self> {
        let read = |socket: &Socket| Self {
            space: Space(socket.space().clone()),
            id: socket.id().to_owned(),
            handshake: RemoteHandshake::new(socket.handshake(), socket.auth()),
            rooms: socket.rooms(),
            data: socket.shared(),
        };
        // Whoever is there is at least in the room of its own id.
        sockets.iter().map(read).filter(|s| !s.rooms.is_empty())
    }

    /// What another node says of a socket; `None` if it has no id.
    pub(crate) fn read(space: &Space, value: Value) -> Option<Self> {
        let mut fields = Fields::of(value);
        let Value::Str(id) = fields.take("id") else {
            return None;
        };
        let rooms = match fields.take("rooms") {
            Value::Array(rooms) => rooms.into_iter().filter_map(room_name).collect(),
            _ => vec![id.clone()],
        };
        Some(Self {
            space: space.clone(),
            id,
            handshake: RemoteHandshake::read(fields.take("handshake")),
            rooms,
            data: fields.take("data"),
        })
    }

    /// As Node.js writes it. Its programs expect an object as the data.
    pub(crate) fn into_value(self) -> Value {
        let data = match self.data {
            Value::Null => Value::Map(Vec::new()),
            data => data,
        };
        let rooms = self.rooms.into_iter().map(Value::Str).collect();
        map([
            ("id", self.id.into()),
            ("handshake", self.handshake.into_value()),
            ("rooms", Value::Array(rooms)),
            ("data", data),
        ])
    }

    /// The Socket.IO id, which is also a room: whatever can be done to rooms can be done to this socket.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The request that opened its connection.
    pub fn handshake(&self) -> &RemoteHandshake {
        &self.handshake
    }

    /// The `auth` object that its client sent. If it sent none, an empty map: nodes tell each other nothing else, so unlike
    /// [`Socket::auth`] it cannot say the difference.
    pub fn auth(&self) -> &Value {
        &self.handshake.auth
    }

    /// Its rooms, its own id first.
    pub fn rooms(&self) -> &[String] {
        &self.rooms
    }

    /// What was shared of it with [`Socket::share`], or is in its `data` on a Node.js pod. If nothing was: null for a socket of this node,
    /// an empty map for another's.
    pub fn data(&self) -> &Value {
        &self.data
    }

    /// Sends an event to this client, wherever it is.
    ///
    /// # Errors
    /// As [`Broadcast::emit`](crate::Broadcast::emit). A client that has gone is no error.
    pub fn emit<T: serde::Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> Result<(), EmitError> {
        self.space.to(&self.id).emit(event, data)
    }

    /// Puts the socket into a room, as [`Socket::join`] does. Its node is told so, unless it is this one; whether it took it is not
    /// answered.
    ///
    /// # Errors
    /// As [`Broadcast::sockets_join`](crate::Broadcast::sockets_join).
    pub fn join(&self, room: &str) -> Result<(), EmitError> {
        self.join_all([room])
    }

    /// Puts the socket into several rooms in one step, as [`Socket::join_all`] does.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_all<R: AsRef<str>>(
        &self,
        rooms: impl IntoIterator<Item = R>,
    ) -> Result<(), EmitError> {
        self.space.to(&self.id).sockets_join(rooms)
    }

    /// Takes the socket out of a room, as [`Socket::leave`] does.
    ///
    /// # Errors
    /// As [`Broadcast::sockets_leave`](crate::Broadcast::sockets_leave).
    pub fn leave(&self, room: &str) -> Result<(), EmitError> {
        self.space.to(&self.id).sockets_leave([room])
    }

    /// Ends the socket, as [`Socket::disconnect`] does.
    ///
    /// # Errors
    /// As [`Broadcast::disconnect_sockets`](crate::Broadcast::disconnect_sockets).
    pub fn disconnect(&self) -> Result<(), EmitError> {
        self.space.to(&self.id).disconnect_sockets(false)
    }

    /// Like [`disconnect`](Self::disconnect), and ends the connection under it, as [`Socket::disconnect_and_close`] does.
    ///
    /// # Errors
    /// As [`disconnect`](Self::disconnect).
    pub fn disconnect_and_close(&self) -> Result<(), EmitError> {
        self.space.to(&self.id).disconnect_sockets(true)
    }
}

/// The request that opened a connection, as nodes tell each other.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RemoteHandshake {
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// When it opened, as JavaScript writes a date.
    pub time: String,
    /// The peer's IP address, that of the proxy in front if there is one; empty where it is not known.
    pub address: String,
    /// Whether it came from a web page, which names its origin.
    pub xdomain: bool,
    /// Whether the node itself ended TLS. Always false for unisono nodes.
    pub secure: bool,
    /// Milliseconds since the Unix epoch when it opened.
    pub issued_ms: u64,
    /// Path and query.
    pub url: String,
    /// The query's parameters: texts, or lists of them where a Node.js pod got one several times.
    pub query: Vec<(String, Value)>,
    /// The `auth` object that the client sent with CONNECT; an empty map if it sent none.
    pub auth: Value,
}

impl RemoteHandshake {
    fn new(handshake: &Handshake, auth: &Value) -> Self {
        let headers = handshake.headers();
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let query = pairs(handshake.query());
        let query = query.map(|(key, value)| (key.into_owned(), Value::Str(value.into_owned())));
        let address = handshake
            .address
            .map(|peer| peer.ip().to_canonical().to_string());
        Self {
            headers: headers.collect(),
            time: date_text(handshake.issued_ms),
            address: address.unwrap_or_default(),
            xdomain: handshake.header("origin").is_some(),
            secure: false,
            issued_ms: handshake.issued_ms,
            url: handshake.url.as_ref().to_owned(),
            query: query.collect(),
            auth: match auth {
                Value::Null => Value::Map(Vec::new()),
                auth => auth.clone(),
            },
        }
    }

    /// What is missing or is not what it should be has its default.
    fn read(value: Value) -> Self {
        let mut fields = Fields::of(value);
        let headers = Fields::of(fields.take("headers")).0.into_iter();
        let headers = headers.filter_map(|(name, value)| match value {
            Value::Str(text) => Some((name, text)),
            _ => None,
        });
        let issued = fields.take("issued").as_f64().unwrap_or(0.0);
        Self {
            headers: headers.collect(),
            time: fields.text("time"),
            address: fields.text("address"),
            xdomain: fields.take("xdomain").as_bool().unwrap_or(false),
            secure: fields.take("secure").as_bool().unwrap_or(false),
            // A cast saturates: negative and NaN become 0.
            issued_ms: issued as u64,
            url: fields.text("url"),
            query: Fields::of(fields.take("query")).0,
            auth: fields.take("auth"),
        }
    }

    fn into_value(self) -> Value {
        let mut headers: Vec<(String, Value)> = Vec::with_capacity(self.headers.len());
        for (name, value) in self.headers {
            match headers.iter_mut().find(|(known, _)| *known == name) {
                // As Node joins headers that come several times.
                Some((_, Value::Str(joined))) => *joined = format!("{joined}, {value}"),
                _ => headers.push((name, value.into())),
            }
        }
        map([
            ("headers", Value::Map(headers)),
            ("time", self.time.into()),
            ("address", self.address.into()),
            ("xdomain", self.xdomain.into()),
            ("secure", self.secure.into()),
            ("issued", self.issued_ms.into()),
            ("url", self.url.into()),
            ("query", Value::Map(self.query)),
            ("auth", self.auth),
        ])
    }

    /// The value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// The fields of a map, each to be taken out once.
struct Fields(Vec<(String, Value)>);

impl Fields {
    /// None at all of what is no map.
    fn of(value: Value) -> Self {
        match value {
            Value::Map(pairs) => Self(pairs),
            _ => Self(Vec::new()),
        }
    }

    fn take(&mut self, key: &str) -> Value {
        let field = self.0.iter_mut().find(|(name, _)| name == key);
        field.map_or(Value::Null, |(_, value)| {
            std::mem::replace(value, Value::Null)
        })
    }

    fn text(&mut self, key: &str) -> String {
        match self.take(key) {
            Value::Str(text) => text,
            _ => String::new(),
        }
    }
}

/// Node.js has numbers among its rooms.
fn room_name(value: Value) -> Option<String> {
    match value {
        Value::Str(name) => Some(name),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(fields.map(|(key, value)| (key.to_owned(), value)).into())
}
