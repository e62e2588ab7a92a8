//! The names of the environment variables and the defaults behind them.
//!
//! Manifests, tests and the command line all take the names from here, so that a
//! renamed variable breaks a test instead of a deployment.

use super::Rate;

/// Port for clients: Socket.IO, `/api/*` and `/health`. Default [`DEFAULT_PORT`].
pub const PORT: &str = "PORT";
/// Address both listeners bind to. Default [`DEFAULT_HOST`].
pub const HOST: &str = "HOST";
/// Port for probes and metrics; never exposed to clients. Default [`DEFAULT_ADMIN_PORT`], or a free one if that is taken.
pub const ADMIN_PORT: &str = "ADMIN_PORT";
/// Redis that joins the pods: one server, sentinels, or some nodes of a Redis Cluster. Unset or empty means single-instance mode.
pub const REDIS_URL: &str = "REDIS_URL";
/// File with the password for Redis, read for every connection; the URL then has none.
pub const REDIS_PASSWORD_FILE: &str = "REDIS_PASSWORD_FILE";
/// User at the sentinels, which have users of their own. Default: their default user.
pub const REDIS_SENTINEL_USERNAME: &str = "REDIS_SENTINEL_USERNAME";
/// Password for the sentinels. Unset: they ask for none.
pub const REDIS_SENTINEL_PASSWORD: &str = "REDIS_SENTINEL_PASSWORD";
/// File with the password for the sentinels, read for every connection.
pub const REDIS_SENTINEL_PASSWORD_FILE: &str = "REDIS_SENTINEL_PASSWORD_FILE";
/// File with the authorities (PEM) that certificates of a `rediss` Redis are checked against, in place of the public ones.
pub const REDIS_TLS_CA_FILE: &str = "REDIS_TLS_CA_FILE";
/// File with the certificate (PEM) that the pod shows to a `rediss` Redis.
pub const REDIS_TLS_CERT_FILE: &str = "REDIS_TLS_CERT_FILE";
/// File with the key (PEM) of [`REDIS_TLS_CERT_FILE`].
pub const REDIS_TLS_KEY_FILE: &str = "REDIS_TLS_KEY_FILE";
/// Wire format between pods: `classic` (default) or `sharded`, as the Node.js pods of the fleet have it.
pub const REDIS_ADAPTER: &str = "REDIS_ADAPTER";
/// Which rooms have a channel of their own with `REDIS_ADAPTER=sharded`: `static`, `dynamic` (default) or `dynamic-private`, the
/// `subscriptionMode` of the Node.js adapter.
pub const REDIS_SUBSCRIPTION_MODE: &str = "REDIS_SUBSCRIPTION_MODE";
/// Channel prefix, the `key` option of the Node.js adapter. Default [`DEFAULT_REDIS_KEY`].
pub const REDIS_KEY: &str = "REDIS_KEY";
/// Allowed browser origins, comma-separated. Default [`DEFAULT_FRONTEND_URL`].
pub const FRONTEND_URL: &str = "FRONTEND_URL";
/// `off`, `optional` (default) or `required`: what happens to the token of the handshake.
pub const SOCKET_AUTH: &str = "SOCKET_AUTH";
/// Secret of the HS256 tokens; needed when [`SOCKET_AUTH`] is `required`.
pub const JWT_SECRET: &str = "JWT_SECRET";
/// Name of this pod in logs, metrics, `/health` and the `CLIENT LIST` of Redis. Default: the host name.
pub const POD_NAME: &str = "POD_NAME";
/// `text` (default) or `json`.
pub const LOG_FORMAT: &str = "LOG_FORMAT";
/// Log filter in the syntax of `tracing-subscriber`. Default [`DEFAULT_RUST_LOG`].
pub const RUST_LOG: &str = "RUST_LOG";
/// Seconds a drain may take after SIGTERM. Default [`DEFAULT_DRAIN_SECONDS`].
pub const DRAIN_SECONDS: &str = "DRAIN_SECONDS";
/// Status of `/readyz` while draining: `200` (default), `404` or `503`.
pub const READYZ_DRAIN_STATUS: &str = "READYZ_DRAIN_STATUS";
/// Largest message a client may send, in bytes. Default [`DEFAULT_MAX_PAYLOAD_BYTES`].
pub const MAX_PAYLOAD_BYTES: &str = "MAX_PAYLOAD_BYTES";
/// Handshakes of all clients per second, and at once: `2000:4000`, or `off`. Default [`DEFAULT_HANDSHAKE_RATE`].
pub const HANDSHAKE_RATE: &str = "HANDSHAKE_RATE";
/// Connections that one client address may have open, or `off`. Default: [`DEFAULT_CONNECTIONS_PER_ADDRESS`] if [`TRUSTED_PROXIES`] is
/// set, else `off`: without it all clients seem to have the address of the ingress.
pub const CONNECTIONS_PER_ADDRESS: &str = "CONNECTIONS_PER_ADDRESS";
/// Networks of the proxies whose `X-Forwarded-For` is believed, comma-separated. Default: none.
pub const TRUSTED_PROXIES: &str = "TRUSTED_PROXIES";
/// Packets of one client per second, and at once: `100:1000`, or `off`. Default [`DEFAULT_EVENT_RATE`].
pub const EVENT_RATE: &str = "EVENT_RATE";
/// Bytes of one client per second, and at once, or `off`. Default [`DEFAULT_BYTE_RATE`].
pub const BYTE_RATE: &str = "BYTE_RATE";

/// What says how to get in at Redis; without [`REDIS_URL`] none of it has a meaning.
pub(crate) const REDIS_ACCESS: [&str; 7] = [
    REDIS_PASSWORD_FILE,
    REDIS_SENTINEL_USERNAME,
    REDIS_SENTINEL_PASSWORD,
    REDIS_SENTINEL_PASSWORD_FILE,
    REDIS_TLS_CA_FILE,
    REDIS_TLS_CERT_FILE,
    REDIS_TLS_KEY_FILE,
];

/// Every variable the binary reads.
pub const ALL: &[&str] = &[
    PORT,
    HOST,
    ADMIN_PORT,
    REDIS_URL,
    REDIS_PASSWORD_FILE,
    REDIS_SENTINEL_USERNAME,
    REDIS_SENTINEL_PASSWORD,
    REDIS_SENTINEL_PASSWORD_FILE,
    REDIS_TLS_CA_FILE,
    REDIS_TLS_CERT_FILE,
    REDIS_TLS_KEY_FILE,
    REDIS_ADAPTER,
    REDIS_SUBSCRIPTION_MODE,
    REDIS_KEY,
    FRONTEND_URL,
    SOCKET_AUTH,
    JWT_SECRET,
    POD_NAME,
    LOG_FORMAT,
    RUST_LOG,
    DRAIN_SECONDS,
    READYZ_DRAIN_STATUS,
    MAX_PAYLOAD_BYTES,
    HANDSHAKE_RATE,
    CONNECTIONS_PER_ADDRESS,
    TRUSTED_PROXIES,
    EVENT_RATE,
    BYTE_RATE,
];

/// Default of [`PORT`], the port of the Node.js server this one replaces.
pub const DEFAULT_PORT: u16 = 5000;
/// Default of [`HOST`]: every IPv4 interface.
pub const DEFAULT_HOST: &str = "0.0.0.0";
/// Default of [`ADMIN_PORT`], the customary port of OpenMetrics exporters.
pub const DEFAULT_ADMIN_PORT: u16 = 9464;
/// Default of [`REDIS_KEY`], as in the Node.js adapter.
pub const DEFAULT_REDIS_KEY: &str = "socket.io";
/// Default of [`FRONTEND_URL`]: the deployed front-end.
pub const DEFAULT_FRONTEND_URL: &str = "https://jamz.v2u.us";
/// Default of [`RUST_LOG`].
pub const DEFAULT_RUST_LOG: &str = "info";
/// Default of [`DRAIN_SECONDS`]: fits, with a preStop sleep, into the 60 s that
/// the manifests grant before a pod is killed.
pub const DEFAULT_DRAIN_SECONDS: u64 = 20;
/// Default of [`MAX_PAYLOAD_BYTES`], 8 MiB: playlists embed cover art as base64
/// and pass 1 MB easily.
pub const DEFAULT_MAX_PAYLOAD_BYTES: usize = 8 * 1024 * 1024;
/// Default of [`HANDSHAKE_RATE`]: 20,000 clients of a pod that died are back within eight seconds, well before
/// front-ends give up (five attempts, ten seconds at least), and those that are connected hardly notice.
pub const DEFAULT_HANDSHAKE_RATE: Rate = Rate {
    per_second: 2000,
    burst: 4000,
};
/// Default of [`CONNECTIONS_PER_ADDRESS`] behind trusted proxies: an office or a mobile network shares one address,
/// and nobody takes more than a few percent of a pod.
pub const DEFAULT_CONNECTIONS_PER_ADDRESS: u32 = 500;
/// Default of [`EVENT_RATE`]: the front-end sends a few events a second, and some hundred WebRTC candidates at once
/// when it joins a large voice room.
pub const DEFAULT_EVENT_RATE: Rate = Rate {
    per_second: 100,
    burst: 1000,
};
/// Default of [`BYTE_RATE`]: a few of the largest messages one after another, then one every four seconds.
pub const DEFAULT_BYTE_RATE: Rate = Rate {
    per_second: 2 << 20,
    burst: 32 << 20,
};
