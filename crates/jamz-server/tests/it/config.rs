//! Environment in, configuration or all errors out.

use std::collections::BTreeMap;

use jamz_server::config::{Auth, Config, names};
use unisono_cluster::{Adapter, SubscriptionMode};

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn nothing_set_is_a_good_configuration() {
    let config = Config::read(&environment(&[])).unwrap();
    assert_eq!(config.port, names::DEFAULT_PORT);
    assert_eq!(config.admin_port, names::DEFAULT_ADMIN_PORT);
    assert!(config.redis.is_none());
    assert_eq!(config.origins, ["https://jamz.v2u.us"]);
    assert_eq!(config.drain.as_secs(), names::DEFAULT_DRAIN_SECONDS);
    assert_eq!(config.readyz_drain_status, 200);
    assert_eq!(config.max_payload_bytes, 8 << 20);
    assert_eq!(
        config.limits.handshakes,
        Some(names::DEFAULT_HANDSHAKE_RATE)
    );
    assert_eq!(config.limits.events, Some(names::DEFAULT_EVENT_RATE));
    assert_eq!(config.limits.bytes, Some(names::DEFAULT_BYTE_RATE));
    assert_eq!(config.limits.connections_per_address, None);
    assert!(matches!(config.auth, Auth::Optional(None)));
}

#[test]
fn everything_set_is_taken_over() {
    let config = Config::read(&environment(&[
        (names::PORT, "80"),
        (names::HOST, "::1"),
        (names::ADMIN_PORT, "81"),
        (names::REDIS_URL, " redis://u:p@h:1/2 "),
        (names::REDIS_ADAPTER, "classic"),
        (names::REDIS_KEY, "k"),
        (
            names::FRONTEND_URL,
            "https://A.example/, capacitor://localhost",
        ),
        (names::SOCKET_AUTH, "required"),
        (names::JWT_SECRET, "hidden"),
        (names::POD_NAME, "p"),
        (names::LOG_FORMAT, "json"),
        (names::RUST_LOG, "warn"),
        (names::DRAIN_SECONDS, "0"),
        (names::READYZ_DRAIN_STATUS, "404"),
        (names::MAX_PAYLOAD_BYTES, "1024"),
        (names::HANDSHAKE_RATE, "off"),
        (names::CONNECTIONS_PER_ADDRESS, "7"),
        (names::TRUSTED_PROXIES, "10.0.0.0/8, ::1"),
        (names::EVENT_RATE, "5"),
        (names::BYTE_RATE, "6:7"),
        ("REDIS_SERVICE_HOST", "10.0.0.1"),
        ("REDIS_SERVICE_PORT", "6379"),
        ("REDIS_PORT", "tcp://10.0.0.1:6379"),
        ("REDIS_PORT_6379_TCP_ADDR", "10.0.0.1"),
    ]))
    .unwrap();
    assert_eq!(
        config.origins,
        ["https://a.example", "capacitor://localhost"]
    );
    assert!(matches!(config.auth, Auth::Required(_)));
    let shown = config.redacted().join("\n");
    assert!(shown.contains("REDIS_URL=redis://***@h:1/2"), "{shown}");
    assert!(!shown.contains("hidden") && !format!("{config:?}").contains("hidden"));
    assert!(!format!("{config:?}").contains("u:p"));
    let limits = &config.limits;
    let seven = (limits.handshakes, limits.connections_per_address);
    assert_eq!(seven, (None, Some(7)));
    for line in [
        "HANDSHAKE_RATE=off",
        "CONNECTIONS_PER_ADDRESS=7",
        "TRUSTED_PROXIES=10.0.0.0/8,::1/128",
        "EVENT_RATE=5:50",
        "BYTE_RATE=6:7",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
}

#[test]
fn connections_of_an_address_are_limited_where_addresses_are_known() {
    let limit = |pairs: &[(&str, &str)]| {
        let config = Config::read(&environment(pairs)).unwrap();
        config.limits.connections_per_address
    };
    let proxies = (names::TRUSTED_PROXIES, "10.42.0.0/16");
    let default = Some(names::DEFAULT_CONNECTIONS_PER_ADDRESS);
    assert_eq!(limit(&[proxies]), default);
    assert_eq!(
        limit(&[proxies, (names::CONNECTIONS_PER_ADDRESS, "off")]),
        None
    );
    assert_eq!(limit(&[(names::CONNECTIONS_PER_ADDRESS, "9")]), Some(9));
}

#[test]
fn what_is_wrong_is_named_with_the_way_out() {
    let check = |pairs: &[(&str, &str)], expected: &[&str]| {
        let errors = Config::read(&environment(pairs)).unwrap_err().0;
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), expected.len(), "{texts:?}");
        for (text, expected) in texts.iter().zip(expected) {
            assert!(text.contains(expected), "{text:?} should say {expected:?}");
        }
    };
    check(
        &[(names::PORT, "70000")],
        &["PORT is \"70000\", but must be a port"],
    );
    check(
        &[(names::PORT, "9464")],
        &["PORT and ADMIN_PORT are both 9464"],
    );
    check(&[(names::HOST, "localhost")], &["an IP address"]);
    check(
        &[(names::REDIS_URL, "localhost:6379")],
        &["must start with redis://"],
    );
    check(
        &[(names::REDIS_KEY, "k")],
        &["REDIS_URL is not; set REDIS_URL or remove REDIS_KEY"],
    );
    let url = (names::REDIS_URL, "redis://h");
    check(&[url, (names::REDIS_KEY, "a*")], &["pattern characters"]);
    for key in ["a#b", "a-request", "a-response", "session", "a:session:b"] {
        check(&[url, (names::REDIS_KEY, key)], &["REDIS_KEY is"]);
    }
    check(
        &[url, (names::REDIS_ADAPTER, "streams")],
        &["not supported by this version; use `classic` or `sharded`"],
    );
    check(
        &[url, (names::REDIS_ADAPTER, "x")],
        &["must be `classic` or `sharded`"],
    );
    let sharded = (names::REDIS_ADAPTER, "sharded");
    check(
        &[url, sharded, (names::REDIS_SUBSCRIPTION_MODE, "x")],
        &["`static`, `dynamic` or `dynamic-private`"],
    );
    check(
        &[url, (names::REDIS_SUBSCRIPTION_MODE, "static")],
        &["REDIS_SUBSCRIPTION_MODE is set, but REDIS_ADAPTER=sharded is not"],
    );
    let cluster = (names::REDIS_URL, "redis://a,redis://b");
    check(
        &[cluster, sharded, (names::REDIS_KEY, "a}b")],
        &["REDIS_KEY is \"a}b\", but must be without { and }, or with a hash tag"],
    );
    check(
        &[("REDIS_HOST", "h")],
        &["REDIS_HOST is not a setting of this server; put host"],
    );
    check(&[("REDIS_PORT", "6379")], &["REDIS_PORT is not a setting"]);
    check(
        &[("REDIS_ADAPTOR", "classic")],
        &["REDIS_ADAPTOR is not a setting"],
    );
    check(&[(names::FRONTEND_URL, "*")], &["without path or wildcard"]);
    check(
        &[(names::FRONTEND_URL, "https://a/b")],
        &["without path or wildcard"],
    );
    check(&[(names::SOCKET_AUTH, "required")], &["needs JWT_SECRET"]);
    check(
        &[(names::SOCKET_AUTH, "yes")],
        &["`off`, `optional` or `required`"],
    );
    check(&[(names::LOG_FORMAT, "xml")], &["`text` or `json`"]);
    check(&[(names::RUST_LOG, "a=b=c")], &["a log filter"]);
    check(&[(names::DRAIN_SECONDS, "3601")], &["0 to 3600"]);
    check(&[(names::READYZ_DRAIN_STATUS, "500")], &["200, 404 or 503"]);
    check(&[(names::MAX_PAYLOAD_BYTES, "1023")], &["1024"]);
    for rate in ["0", "5:0", "x", "1:2:3", "-1", "5:", "99999999999"] {
        check(&[(names::EVENT_RATE, rate)], &["EVENT_RATE is"]);
    }
    check(&[(names::HANDSHAKE_RATE, "x")], &["such as 100:1000"]);
    check(&[(names::BYTE_RATE, "x")], &["or `off`"]);
    check(&[(names::CONNECTIONS_PER_ADDRESS, "0")], &["from 1"]);
    for networks in ["10.0.0.0/33", "10.0.0.0/8,", "proxy"] {
        check(&[(names::TRUSTED_PROXIES, networks)], &["10.42.0.0/16"]);
    }
    check(
        &[
            (names::PORT, "x"),
            (names::SOCKET_AUTH, "required"),
            ("REDIS_DB", "1"),
        ],
        &["PORT", "JWT_SECRET", "REDIS_DB"],
    );
}

#[test]
fn the_adapter_is_the_one_that_is_said() {
    let check = |variables: &[(&str, &str)], adapter: Adapter, shown: [&str; 2]| {
        let url = [(names::REDIS_URL, "redis://h")];
        let config = Config::read(&environment(&[&url, variables].concat())).unwrap();
        let lines = config.redacted();
        assert_eq!(config.redis.unwrap().config.adapter(), adapter);
        for (name, value) in [names::REDIS_ADAPTER, names::REDIS_SUBSCRIPTION_MODE]
            .iter()
            .zip(shown)
        {
            assert!(lines.contains(&format!("{name}={value}")), "{lines:?}");
        }
    };
    check(&[], Adapter::Classic, ["classic", "(unset)"]);
    let sharded = (names::REDIS_ADAPTER, "sharded");
    check(
        &[sharded],
        Adapter::Sharded(SubscriptionMode::Dynamic),
        ["sharded", "dynamic"],
    );
    for mode in SubscriptionMode::ALL {
        check(
            &[sharded, (names::REDIS_SUBSCRIPTION_MODE, mode.as_str())],
            Adapter::Sharded(mode),
            ["sharded", mode.as_str()],
        );
    }
}

#[test]
fn the_documents_tell_the_defaults_of_the_limits() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in ["README.md", "docs/operations.md"] {
        let text = std::fs::read_to_string(folder.join("../..").join(document)).unwrap();
        for (name, default) in [
            (
                names::HANDSHAKE_RATE,
                names::DEFAULT_HANDSHAKE_RATE.to_string(),
            ),
            (names::EVENT_RATE, names::DEFAULT_EVENT_RATE.to_string()),
            (names::BYTE_RATE, names::DEFAULT_BYTE_RATE.to_string()),
            (
                names::CONNECTIONS_PER_ADDRESS,
                names::DEFAULT_CONNECTIONS_PER_ADDRESS.to_string(),
            ),
        ] {
            let mut rows = text.lines().filter(|line| line.starts_with('|'));
            let is_told = rows.any(|row| row.contains(name) && row.contains(&default));
            assert!(is_told, "{document}: {name} is {default} by default");
        }
    }
}

#[test]
fn every_way_into_redis_is_checked() {
    let check = |pairs: &[(&str, &str)], expected: &[&str]| {
        let config = Config::read(&environment(pairs));
        let texts: Vec<String> = match config {
            Ok(_) => Vec::new(),
            Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(texts.len(), expected.len(), "{texts:?}");
        for (text, expected) in texts.iter().zip(expected) {
            assert!(text.contains(expected), "{text:?} should say {expected:?}");
            assert!(!text.contains("secret"), "{text:?}");
        }
    };
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let one = (names::REDIS_URL, "redis://h");
    let tls = (names::REDIS_URL, "rediss://h");
    let sentinels = (names::REDIS_URL, "redis+sentinel://a,b/m");
    let password = (names::REDIS_SENTINEL_PASSWORD, "secret");
    check(
        &[(names::REDIS_URL, "redis://u:secret@a,redis://u:secret@b")],
        &[],
    );
    check(
        &[(names::REDIS_URL, "redis://u:secret@a,redis://b")],
        &["same scheme, user"],
    );
    check(
        &[(names::REDIS_URL, "redis+sentinel://u:secret@a,b")],
        &["/master-name"],
    );
    check(&[one, (names::REDIS_PASSWORD_FILE, good)], &[]);
    check(
        &[one, (names::REDIS_PASSWORD_FILE, "/no/such/file")],
        &["/no/such/file cannot be used"],
    );
    check(
        &[
            (names::REDIS_URL, "redis://:secret@h"),
            (names::REDIS_PASSWORD_FILE, good),
        ],
        &["REDIS_PASSWORD_FILE and the password in REDIS_URL"],
    );
    check(
        &[(names::REDIS_PASSWORD_FILE, good)],
        &["REDIS_URL is not; set REDIS_URL"],
    );
    check(
        &[sentinels, password, (names::REDIS_SENTINEL_USERNAME, "u")],
        &[],
    );
    check(
        &[one, password],
        &["only has a meaning with a redis+sentinel:// URL"],
    );
    check(
        &[sentinels, (names::REDIS_SENTINEL_USERNAME, "u")],
        &["REDIS_SENTINEL_PASSWORD is not"],
    );
    check(
        &[
            sentinels,
            password,
            (names::REDIS_SENTINEL_PASSWORD_FILE, good),
        ],
        &["REDIS_SENTINEL_PASSWORD_FILE and REDIS_SENTINEL_PASSWORD"],
    );
    check(
        &[one, (names::REDIS_TLS_CA_FILE, good)],
        &["only has a meaning with a rediss:// URL"],
    );
    check(&[tls, (names::REDIS_TLS_CA_FILE, good)], &[]);
    check(
        &[tls, (names::REDIS_TLS_CERT_FILE, good)],
        &["REDIS_TLS_KEY_FILE is not"],
    );
    check(
        &[
            tls,
            (names::REDIS_TLS_CERT_FILE, good),
            (names::REDIS_TLS_KEY_FILE, "/no/such/file"),
        ],
        &["/no/such/file cannot be used"],
    );
    let config = Config::read(&environment(&[sentinels, password])).unwrap();
    let shown = config.redacted().join("\n");
    assert!(shown.contains("REDIS_SENTINEL_PASSWORD=(set)"), "{shown}");
    assert!(
        shown.contains("REDIS_URL=redis+sentinel://a,b/m"),
        "{shown}"
    );
    assert!(!format!("{config:?}").contains("secret"));
}
