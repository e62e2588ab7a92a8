//! What a server is made of: how clients connect, how long they may be silent, how much they may ask for.

use std::future::Future;
use std::time::Duration;

use http::HeaderMap;
use ipnet::IpNet;
use unisono_proto::connection;
use unisono_proto::engine::Transport;
use unisono_proto::limits::{MAX_PAYLOAD, MAX_PENDING_PAYLOADS};

use crate::bucket::Rate;
use crate::conn::QueueLimits;
use crate::cors::Cors;
use crate::http::{Cookie, HandshakeRequest, Hooks, ResponseContext};
use crate::limits::Limits;
use crate::server::Config;

/// The settings that servers of Socket.IO ([`IoBuilder`](crate::IoBuilder)) and of plain Engine.IO
/// ([`EngineBuilder`](crate::engine::EngineBuilder)) share. Every setting has a default that suits stock clients.
///
/// # Limits
///
/// Those that protect the server from one client are on, those that only the application can choose are off:
///
/// ```
/// use std::time::Duration;
/// use unisono::Io;
///
/// let io = Io::builder()
///     .max_payload(256 * 1024)
///     .queue_limits(1 << 20, 1024)
///     .write_timeout(Duration::from_secs(10))
///     .max_connections(20_000)
///     .handshake_rate(500, 2000)
///     .event_rate(50, 500)
///     .byte_rate(1 << 20, 8 << 20)
///     .trusted_proxies(["10.0.0.0/8".parse().expect("a network")])
///     .connections_per_address(100)
///     .build();
/// # drop(io);
/// ```
///
/// # What is refused, and how
///
/// A handshake is asked the cheap questions first. The answers are those of Node's server, on long-polling and WebSocket alike
/// (Node's answers a WebSocket with 400 and bare text whatever the reason):
///
/// | | status | body |
/// |---|---|---|
/// | `Origin` with bytes that are not ASCII text | 400 | `{"code":3,"message":"Bad request"}` |
/// | [a foreign origin](Self::cors) | 403 | `{"code":4,"message":"Origin not allowed"}` |
/// | unknown or [disabled](Self::transports) transport | 400 | `{"code":0,"message":"Transport unknown"}` |
/// | not a GET | 400 | `{"code":2,"message":"Bad handshake method"}` |
/// | no `Host`, or two | 400 | `{"code":3,"message":"Bad request"}` |
/// | `transport=websocket` without an upgrade | 400 | `{"code":3,"message":"Bad request"}` |
/// | a protocol revision that is not served | 400 | `{"code":5,"message":"Unsupported protocol version"}` |
/// | [draining](crate::Io::drain), [full](Self::max_connections), [too many handshakes](Self::handshake_rate) | 503, `Retry-After` | `{"message":"…"}` |
/// | [too many sessions of one address](Self::connections_per_address) | 429, `Retry-After` | `{"message":"…"}` |
/// | an upgrade without one key and version 13 | 400, `Sec-WebSocket-Version` | `{"code":3,"message":"Bad request"}` |
/// | [refused by the application](Self::allow_request) | 403 | `{"code":4,"message":"…"}` |
///
/// # Keeping a client on its node
///
/// All requests of a long-polling session must reach the node that has it. A proxy may see to that by a [cookie](Self::cookie); for clients
/// that keep none, the answer to every handshake has the session id in the header `x-unisono-sid`, and every later request of the session
/// has it as the query parameter `sid`. A proxy that learns the one and looks up the other needs no cookie: in HAProxy
/// `stick store-response res.hdr(x-unisono-sid)` and `stick match url_param(sid)`, in nginx
/// `sticky learn create=$upstream_http_x_unisono_sid lookup=$arg_sid`. The id is the session's secret: keep it out of logs.
#[must_use]
pub struct Builder<P> {
    pub(crate) config: Config,
    /// Unless it follows from the largest message.
    queue: Option<QueueLimits>,
    pub(crate) protocol: P,
}

impl<P> Builder<P> {
    pub(crate) fn new(protocol: P) -> Self {
        Self {
            config: Config {
                path: "/socket.io".to_owned(),
                trailing_slash: true,
                connection: connection::Config::default(),
                queue: queue_for(MAX_PAYLOAD),
                write_timeout: None,
                transports: vec![Transport::Polling, Transport::WebSocket],
                allow_upgrades: true,
                // As Node's `upgradeTimeout`.
                upgrade_timeout: Duration::from_secs(10),
                // Four times what one pod is meant to carry.
                max_connections: 80_000,
                allow_eio3: false,
                jsonp: false,
                max_rooms: 1000,
                max_dynamic_namespaces: 1000,
                limits: Limits::default(),
                cors: Cors::default(),
                cookie: None,
                hooks: Hooks::default(),
            },
            queue: None,
            protocol,
        }
    }

    /// The settings, with those that depend on each other made to fit.
    pub(crate) fn into_parts(mut self) -> (Config, P) {
        let max_payload = self.config.connection.max_payload;
        self.config.limits.make_room_for(max_payload);
        self.config.queue = self.queue.unwrap_or_else(|| queue_for(max_payload));
        (self.config, self.protocol)
    }

    /// The path under which clients connect. Default `/socket.io/`, for plain Engine.IO `/engine.io/`. Requests for `/socket.io/` and
    /// everything below are the server's.
    pub fn path(mut self, path: &str) -> Self {
        self.config.path = match path.trim_matches('/') {
            "" => String::new(),
            path => format!("/{path}"),
        };
        self
    }

    /// Whether the path ends with a slash (Node's `addTrailingSlash`). Without, `/socket.io` is the server's too, not only what is below.
    /// Default yes.
    pub fn add_trailing_slash(mut self, add: bool) -> Self {
        self.config.trailing_slash = add;
        self
    }

    /// Time between a pong and the next ping. Default 25 s.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.config.connection.ping_interval_ms = interval.as_millis() as u64;
        self
    }

    /// Time that a client has to answer a ping. Default 20 s.
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.config.connection.ping_timeout_ms = timeout.as_millis() as u64;
        self
    }

    /// Largest message from a client in bytes, on either transport. Default 1,000,000.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.config.connection.max_payload = bytes;
        self.config.connection.max_pending = MAX_PENDING_PAYLOADS.saturating_mul(bytes);
        self
    }

    /// What may wait for one client before it is closed as slow. Default 1 MiB or 4,096 messages, whichever comes first; with a
    /// [largest message](Self::max_payload) above its default, 1 MiB more than that. What the transport takes does not wait; what is being
    /// written right now, 256 KiB or one larger message, comes on top.
    pub fn queue_limits(mut self, bytes: usize, messages: usize) -> Self {
        self.queue = Some(QueueLimits { bytes, messages });
        self
    }

    /// How long a client may take nothing of what waits for it before it is closed as slow. Default: the time it has to
    /// [answer a ping](Self::ping_timeout), which a client that only looks alive, by pongs that nobody asked for, would otherwise evade.
    ///
    /// The time begins when something has to wait, and begins anew whenever the client has taken something:
    ///
    /// * On a WebSocket, something waits when the kernel's send buffer is full. The client has taken something when the kernel accepts a byte
    ///   more, which it does as soon as its peer has acknowledged one. Before a client is closed the kernel is asked; its own notice
    ///   would come only when a third of the buffer is free, which on a slow line takes minutes. On streams that are not plain TCP, such
    ///   as TLS of another HTTP server, that notice is all there is: give clients on very slow lines more time there.
    /// * On long-polling, something waits while no GET does. The client has taken something when a GET comes, and whenever the HTTP server
    ///   takes another 16 KiB of an answer that is longer than that. What the server and the kernel hold of the answer's end is not
    ///   seen to leave; it has to, and the next GET to come, within the time.
    ///
    /// Nobody is kept alive by this: a client must answer pings all the same.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.config.write_timeout = Some(timeout);
        self
    }

    /// The transports offered. Default both; with WebSocket alone no stickiness is needed anywhere.
    pub fn transports(mut self, transports: &[Transport]) -> Self {
        self.config.transports = transports.to_vec();
        self
    }

    /// Whether a long-polling session may go on over a WebSocket. Without, the open packet offers no upgrade, and whoever tries gets 400.
    /// Default yes.
    pub fn allow_upgrades(mut self, allow: bool) -> Self {
        self.config.allow_upgrades = allow;
        self
    }

    /// Time that a WebSocket has to take a long-polling session over; then the WebSocket is closed and the session goes on without. Default
    /// 10 s.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.config.upgrade_timeout = timeout;
        self
    }

    /// Serves clients of Engine.IO 3 too, that is of Socket.IO 2 (Node's `allowEIO3`). Default off: they get HTTP 400, code 5.
    ///
    /// What is different for their sockets: they are in `/` without asking, with no `auth`; in other namespaces `auth` is the query behind
    /// the namespace, as texts. Their CONNECT_ERROR is the error's data, or else its message, alone. And their [`Socket::id`](crate::Socket::id)
    /// is made of the session's id, which is a secret: an application that shows socket ids to other clients gives those sessions away for as
    /// long as they are on polling.
    pub fn allow_eio3(mut self, allow: bool) -> Self {
        self.config.allow_eio3 = allow;
        self
    }

    /// Serves polling by script elements and forms (`j` in the query), for browsers without CORS. Default off: a script may be asked for by
    /// any web page, with the user's cookies, and no [`Cors`] setting keeps that page from reading it. Where cookies or addresses admit
    /// clients, leave it off.
    pub fn jsonp(mut self, jsonp: bool) -> Self {
        self.config.jsonp = jsonp;
        self
    }

    /// Which web pages may connect. Default: pages of the server's own origin.
    pub fn cors(mut self, cors: Cors) -> Self {
        self.config.cors = cors;
        self
    }

    /// Sets a cookie with the answer to every long-polling handshake, but not with a WebSocket's. Default none.
    pub fn cookie(mut self, cookie: Cookie) -> Self {
        self.config.cookie = Some(cookie);
        self
    }

    /// Sessions on this node, handshakes under way and sessions that have ended but whose handlers still run among them; further handshakes get
    /// 503. Default 80,000.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.max_connections = connections;
        self
    }

    /// Handshakes that the node takes per second, of all clients together, and how many at once after a quiet time. Those beyond get 503 with
    /// `Retry-After` before any work is done for them; they are counted as `handshake_rate`. When many clients come back at the same time,
    /// this is what keeps the node alive for those it already has: stock clients try again within seconds.
    ///
    /// Default: no limit, because only the application knows what a handshake costs it. 0 per second means no limit.
    pub fn handshake_rate(mut self, per_second: u32, burst: u32) -> Self {
        self.config.limits.handshakes = Rate::new(per_second, burst);
        self
    }

    /// Sessions that one client address may have on this node, handshakes under way and sessions whose handlers still run among them. Further handshakes get 429 with `Retry-After`; they
    /// are counted as `address_limit`. IPv6 clients count by their network of 64 bits, for that is what one customer has.
    ///
    /// Default: no limit, because many clients may honestly share an address (an office, a mobile network). Behind a proxy, all of them share the
    /// proxy's unless it is one of the [trusted proxies](Self::trusted_proxies). Where the HTTP server passes no [`PeerAddr`](crate::PeerAddr)
    /// on, there is nothing to count and the limit does nothing; [`serve()`](crate::serve()) passes it on.
    pub fn connections_per_address(mut self, connections: u32) -> Self {
        self.config.limits.connections_per_address = Some(connections);
        self
    }

    /// The networks of the proxies in front. If a request comes from one of them, the client's address is the right-most in
    /// `X-Forwarded-For` that is in none of them. Default none: the header is believed from nobody, since any client can send it.
    pub fn trusted_proxies(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.config.limits.trusted_proxies = networks.into_iter().collect();
        self
    }

    /// Packets that one client may send per second, and how many at once after a quiet time. All count: events, acknowledgements, joining and
    /// leaving namespaces, pongs, and the WebSocket's own control frames. A client that exceeds it is closed (WebSocket code 1008, reason
    /// `forced close`) and counted as `event_rate`; what it sent before is still handled.
    ///
    /// Default: no limit. 0 per second means no limit. Choose one that no honest client ever reaches: this is against floods, not a way to
    /// schedule.
    pub fn event_rate(mut self, per_second: u32, burst: u32) -> Self {
        self.config.limits.events = Rate::new(per_second, burst);
        self
    }

    /// Bytes that one client may send per second, and how many at once after a quiet time: those of the WebSocket with its frames' headers, or
    /// of the bodies of POSTs. As with [`event_rate`](Self::event_rate), a client that exceeds it is closed; it is counted as `byte_rate`.
    /// A burst of less than twice [`max_payload`](Self::max_payload) is raised to that, so that a message of the largest size always passes.
    ///
    /// Default: no limit. 0 per second means no limit.
    pub fn byte_rate(mut self, per_second: u32, burst: u32) -> Self {
        self.config.limits.bytes = Rate::new(per_second, burst);
        self
    }

    /// Asks the application about every handshake that nothing else is against, before there is a session (Node's `allowRequest`). With
    /// `Err(reason)` the client gets 403 and `{"code":4,"message":reason}`, on either transport; an empty reason reads `Forbidden`.
    ///
    /// It may wait, for a look-up say, but has five seconds; then the client gets 503, counted as `allow_timeout`. Handshakes that wait
    /// count into [`max_connections`](Self::max_connections), so they cannot pile up. If the client goes away meanwhile, the future is dropped.
    ///
    /// ```
    /// # use unisono::Io;
    /// let io = Io::builder().allow_request(async |request| {
    ///     match request.headers.get("x-key") {
    ///         Some(key) if key == "open sesame" => Ok(()),
    ///         _ => Err("no key".to_owned()),
    ///     }
    /// });
    /// ```
    pub fn allow_request<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(HandshakeRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.config.hooks.set_allow_request(hook);
        self
    }

    /// Lets the application add headers to every answer of the server, refusals included (Node's events `headers` and, where
    /// [`is_handshake`](ResponseContext::is_handshake) is set, `initial_headers`). It is the last to touch them; those of the protocol are
    /// better left alone. Must not wait.
    pub fn response_headers(
        mut self,
        hook: impl Fn(&ResponseContext<'_>, &mut HeaderMap) + Send + Sync + 'static,
    ) -> Self {
        self.config.hooks.set_response_headers(hook);
        self
    }
}

/// A client that lets a megabyte or four thousand messages pile up does not read.
const QUEUE: QueueLimits = QueueLimits {
    bytes: 1 << 20,
    messages: 4096,
};

/// What may wait for a client unless the application says: a message of the largest size must fit the queue of whoever it is passed on to, and
/// leave room for what waits beside it.
fn queue_for(max_payload: usize) -> QueueLimits {
    let bytes = if max_payload > MAX_PAYLOAD {
        max_payload.saturating_add(QUEUE.bytes)
    } else {
        QUEUE.bytes
    };
    QueueLimits { bytes, ..QUEUE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(builder: Builder<()>) -> usize {
        builder.into_parts().0.queue.bytes
    }

    #[test]
    fn what_may_wait_follows_the_largest_message_unless_it_is_set() {
        let builder = || Builder::new(());
        assert_eq!(bytes(builder()), 1 << 20);
        assert_eq!(bytes(builder().max_payload(1000)), 1 << 20);
        assert_eq!(bytes(builder().max_payload(8 << 20)), 9 << 20);
        assert_eq!(bytes(builder().max_payload(usize::MAX)), usize::MAX);
        let narrow = builder().queue_limits(64, 1).max_payload(8 << 20);
        assert_eq!(bytes(narrow), 64);
    }
}
