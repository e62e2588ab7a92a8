use super::*;

fn shown(url: &str) -> Result<String, ConfigError> {
    let config = RedisConfig::parse(url)?;
    let addresses: Vec<_> = config.addresses.iter().map(ToString::to_string).collect();
    let kind = match &config.topology {
        Topology::Single => "single".to_owned(),
        Topology::Sentinel { master } => format!("sentinel {master}"),
        Topology::Cluster => "cluster".to_owned(),
    };
    let tls = if config.is_tls() { " tls" } else { "" };
    let database = config.database;
    Ok(format!("{kind}{tls} {} /{database}", addresses.join(" ")))
}

#[test]
fn urls_of_every_topology_are_read() {
    let check =
        |url: &str, expected: &str| assert_eq!(shown(url).as_deref(), Ok(expected), "{url}");
    check("redis://localhost:6379", "single localhost:6379 /0");
    check(" redis://host ", "single host:6379 /0");
    check("rediss://u:p@host:6380/2", "single tls host:6380 /2");
    check("redis://:se,cr,et@host", "single host:6379 /0");
    check("redis://[::1]:7", "single [::1]:7 /0");
    check("redis://a:1,redis://b:2", "cluster a:1 b:2 /0");
    check(
        "rediss://u:p@a, rediss://u:p@b",
        "cluster tls a:6379 b:6379 /0",
    );
    check("redis://one,redis://one", "cluster one:6379 one:6379 /0");
    check(
        "redis+sentinel://a:1,b,[::1],[::1]:9/mymaster",
        "sentinel mymaster a:1 b:26379 [::1]:26379 [::1]:9 /0",
    );
    check(
        "rediss+sentinel://u:p,w@a,b/jamz-master/3",
        "sentinel jamz-master tls a:26379 b:26379 /3",
    );
}

#[test]
fn urls_are_checked_early() {
    let check = |url: &str, expected: ConfigError| assert_eq!(shown(url), Err(expected), "{url}");
    let invalid = |redacted: &str| ConfigError::Invalid {
        redacted_url: redacted.to_owned(),
    };
    let sentinel = |redacted: &str| ConfigError::InvalidSentinel {
        redacted_url: redacted.to_owned(),
    };
    check("localhost:6379", ConfigError::Scheme);
    check("http://localhost", ConfigError::Scheme);
    check("", ConfigError::Scheme);
    check("redis://a,http://b", ConfigError::Scheme);
    check(
        "redis://user:secret@host:port",
        invalid("redis://***@host:port"),
    );
    check(
        "redis://host/notanumber",
        invalid("redis://host/notanumber"),
    );
    check(
        "rediss://host/#insecure",
        invalid("rediss://host/#insecure"),
    );
    check("redis://a,redis://b:port", invalid("redis://a,redis://***"));
    check("redis://u:p@a,redis://b", ConfigError::MixedCluster);
    check("redis://a,rediss://b", ConfigError::MixedCluster);
    check("redis://a,redis://b/1", ConfigError::ClusterDatabase);
    check(
        "redis+sentinel://u:secret@a:26379,b",
        sentinel("redis+sentinel://***@a:26379,b"),
    );
    check("redis+sentinel://a,/m", sentinel("redis+sentinel://a,/m"));
    check("redis+sentinel://a/m/x", sentinel("redis+sentinel://a/m/x"));
    check("redis+sentinel:///m", sentinel("redis+sentinel:///m"));
    let many = |count: usize| vec!["redis://a"; count].join(",");
    assert!(shown(&many(64)).is_ok());
    check(&many(65), ConfigError::TooMany);
    let many = format!("redis+sentinel://{}/m", vec!["a"; 65].join(","));
    check(&many, ConfigError::TooMany);
}

#[test]
fn passwords_never_show() {
    let check = |url: &str, expected: &str| assert_eq!(redact_url(url), expected, "{url}");
    check("redis://host", "redis://host");
    check("redis://secret@host", "redis://***@host");
    check("redis://:s/e@c#r?e:t@host/1", "redis://***@host/1");
    check(
        "redis://a:secret@one,redis://b:secret@two",
        "redis://***@one,redis://***@two",
    );
    check(
        "redis://u:secret,redis://x@host",
        "redis://***,redis://***@host",
    );
    check(
        "redis+sentinel://u:se,cr@a,b/m",
        "redis+sentinel://***@a,b/m",
    );
    check("redis://host?password=secret", "redis://host?***");
    check("user:secret@host", "***@host");
    for forgotten in [
        "redis://user:secret",
        "redis://:secret",
        "redis://:12345",
        "redis://u:se%40host:6379",
        "redis://host:6379,password=secret",
    ] {
        check(forgotten, "redis://***");
    }
    for plain in [
        "redis://host:6379/2",
        "rediss://[::1]:6380",
        "redis+sentinel://a:26379,b_c.d/m",
    ] {
        check(plain, plain);
    }
    for url in [
        "redis://user:secret@host",
        "redis://user:secret@a,redis://user:secret@b",
        "redis+sentinel://user:secret@host/m",
    ] {
        let config = RedisConfig::parse(url).expect("valid");
        let config = config
            .sentinel_password("secret")
            .root_certificates(b"secret");
        let text = format!("{config:?}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn files_are_checked_early() {
    let folder = std::env::temp_dir().join(format!("unisono-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary directory is writable");
    let file = folder.join("password");
    let config = RedisConfig::parse("rediss://host")
        .expect("valid")
        .password_file(&file);
    let reason = |config: &RedisConfig| config.check_files().map_err(|error| error.to_string());
    let missing = reason(&config).expect_err("there is no such file");
    assert!(
        missing.contains("password cannot be used: No such file"),
        "{missing}"
    );
    std::fs::write(&file, "\n").expect("writable");
    assert!(reason(&config).is_err_and(|error| error.contains("it is empty")));
    std::fs::write(&file, "right\r\n").expect("writable");
    assert_eq!(reason(&config), Ok(()));
    assert_eq!(config.login.read(), Ok(Some("right".to_owned())));
    assert!(reason(&config.root_certificates_file(folder.join("none"))).is_err());
    std::fs::remove_dir_all(&folder).expect("it is ours");
}
