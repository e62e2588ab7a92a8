//! Users with few rights, passwords that change, certificates that are asked for.

use std::path::PathBuf;

use unisono_cluster::{Adapter, Broker, LinkState, Subscription, SubscriptionMode};
use unisono_redis::RedisConfig;
use unisono_test::{RedisServer, await_until};

use crate::support::{LIMIT, Node, set_user, url};

/// A file of a test with a password or a certificate in it.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str, content: &str) -> Self {
        let name = format!("unisono-access-{}-{name}", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(content);
        file
    }

    fn write(&self, content: &str) {
        std::fs::write(&self.0, format!("{content}\n"))
            .expect("the temporary directory is writable");
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough() {
    let server = RedisServer::start();
    let config = RedisConfig::parse(&url(&server, "pod:secret")).expect("valid");
    let rules = config.acl_rules();
    set_user(
        &server,
        &format!("pod on >secret -@all resetchannels &io#/#* {rules}"),
    );
    let node = Node::start_with(config);
    node.await_state(LinkState::Subscribed).await;
    node.publish("allowed");
    node.await_text("allowed").await;
    assert_eq!(node.broker.count("io#/#").await, Ok(0));
    node.broker
        .unsubscribe(&Subscription::Pattern("io#/#*".to_owned()));
    await_until("it is followed", LIMIT, || {
        server.command(&["PUBSUB", "NUMPAT"]) == "0"
    })
    .await;
    assert_eq!(node.broker.refusal(), None);
    assert_eq!(node.broker.stats().refused, 0);
    assert_eq!(
        server.command(&["ACL", "LOG"]),
        "",
        "nothing was refused by the way"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_missing_right_is_told_with_the_rule_that_gives_it() {
    let server = RedisServer::start();
    set_user(&server, "pod on >secret -@all resetchannels");
    let node = Node::start(&url(&server, "pod:secret"));
    node.broker
        .subscribe(Subscription::Channel("requests".to_owned()));
    let mut told = Vec::new();
    // As somebody would who does what the log says, and nothing else.
    await_until("following the advice leads there", LIMIT, || {
        let Some(refusal) = node.broker.refusal() else {
            return node.broker.state().is_up();
        };
        let (_, advice) = refusal.split_once("ACL SETUSER ").expect("it gives advice");
        if !told.contains(&refusal) {
            set_user(&server, advice);
            told.push(refusal.clone());
        }
        // Only a new attempt finds out that counting is allowed now.
        if refusal.contains("NUMSUB") {
            server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
        false
    })
    .await;
    for part in [
        "probe channel",
        "PUBSUB NUMSUB",
        "pattern io#/#*",
        "channel requests",
    ] {
        assert!(
            told.iter().any(|refusal| refusal.contains(part)),
            "{part} in {told:#?}"
        );
    }
    assert!(
        told.iter().all(|refusal| !refusal.contains("secret")),
        "{told:#?}"
    );
    // Publishing on other channels than its own is tried by nobody before there is something to say.
    // In one step: Redis closes the connections of whoever listens to what is no longer allowed.
    set_user(
        &server,
        "pod resetchannels &unisono-probe#* &requests &io#/#*",
    );
    node.await_state(LinkState::Subscribed).await;
    node.publish("at last");
    node.await_text("at last").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_publish_shows_until_one_succeeds() {
    let server = RedisServer::start();
    let config = RedisConfig::parse(&url(&server, "pod:secret")).expect("valid");
    let rules = config.acl_rules();
    set_user(
        &server,
        &format!("pod on >secret -@all resetchannels &io#/#* {rules}"),
    );
    let node = Node::start_with(config);
    node.await_state(LinkState::Subscribed).await;
    let publish = || {
        let payload = bytes::Bytes::from_static(b"x");
        node.broker
            .publish("other#/#room of somebody#", payload)
            .expect("the link is up");
    };
    publish();
    await_until("the refusal shows", LIMIT, || {
        node.broker.refusal().is_some()
    })
    .await;
    let refusal = node.broker.refusal().expect("awaited");
    assert!(
        refusal.contains("ACL SETUSER pod +publish &other#*"),
        "{refusal}"
    );
    assert!(!refusal.contains("somebody"), "{refusal}");
    assert_eq!(node.broker.stats().refused, 1);
    assert!(node.broker.state().is_up(), "what is allowed goes on");
    set_user(&server, "pod &other#*");
    publish();
    await_until("the refusal is gone", LIMIT, || {
        node.broker.refusal().is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_unsubscribe_hears_on_and_is_told_the_right() {
    let server = RedisServer::start();
    for (adapter, subscription, right) in [
        (
            Adapter::Classic,
            Subscription::Channel("requests".to_owned()),
            "unsubscribe",
        ),
        (
            Adapter::Classic,
            Subscription::Pattern("requests*".to_owned()),
            "punsubscribe",
        ),
        (
            Adapter::Sharded(SubscriptionMode::Dynamic),
            Subscription::Channel("io#/#room#".to_owned()),
            "sunsubscribe",
        ),
    ] {
        let config = RedisConfig::parse(&url(&server, "pod:secret")).expect("valid");
        let config = config.speaking(adapter);
        let rules = config.acl_rules();
        set_user(
            &server,
            &format!("pod reset on >secret -@all &io#/#* &requests &requests* {rules} -{right}"),
        );
        let node = Node::start_with(config);
        node.await_state(LinkState::Subscribed).await;
        let leave_and_come_back = async || {
            node.broker.subscribe(subscription.clone());
            // Whatever was to be listened to is, when somebody is counted.
            assert!(node.broker.count("io#/#").await.is_ok());
            node.broker.unsubscribe(&subscription);
        };
        leave_and_come_back().await;
        await_until("the refusal shows", LIMIT, || {
            node.broker.refusal().is_some()
        })
        .await;
        let refusal = node.broker.refusal().expect("awaited");
        let advice = format!("ACL SETUSER pod +{right}");
        assert!(refusal.ends_with(&advice), "{refusal}");
        assert!(node.broker.state().is_up(), "the link goes on");
        set_user(&server, &format!("pod +{right}"));
        leave_and_come_back().await;
        await_until("the refusal is gone", LIMIT, || {
            node.broker.refusal().is_none()
        })
        .await;
        assert_eq!(node.broker.stats().connects_failed, 0);
        assert_eq!(node.broker.stats().reconnects, 0, "{right}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_keeps_nothing_else_from_being_done_or_shown() {
    let server = RedisServer::start();
    let config = RedisConfig::parse(&url(&server, "pod:secret")).expect("valid");
    let rules = config.acl_rules();
    set_user(
        &server,
        &format!(
            "pod on >secret -@all resetchannels &io#/#* &requests &requests* {rules} -punsubscribe"
        ),
    );
    let node = Node::start_with(config);
    node.await_state(LinkState::Subscribed).await;
    let both = [
        Subscription::Pattern("requests*".to_owned()),
        Subscription::Channel("requests".to_owned()),
    ];
    both.iter()
        .for_each(|one| node.broker.subscribe(one.clone()));
    // Whatever was to be listened to is, when somebody is counted.
    assert!(node.broker.count("io#/#").await.is_ok());
    both.iter().for_each(|one| node.broker.unsubscribe(one));
    let shows = async |part: &str| {
        await_until(&format!("{part} shows"), LIMIT, || {
            let refusal = node.broker.refusal();
            refusal.is_some_and(|refusal| refusal.contains(part))
        })
        .await;
    };
    shows("+punsubscribe").await;
    assert!(
        server
            .command(&["PUBSUB", "NUMSUB", "requests"])
            .ends_with("\n0")
    );
    let publish = |channel| {
        let payload = bytes::Bytes::from_static(b"x");
        node.broker
            .publish(channel, payload)
            .expect("the link is up");
    };
    // A graver one comes and goes.
    publish("other#/#");
    shows("&other#*").await;
    publish("io#/#");
    shows("+punsubscribe").await;
    assert_eq!(node.broker.stats().reconnects, 0);
    // On a new link nothing has to be left.
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    await_until("the refusal is gone", LIMIT, || {
        node.broker.refusal().is_none() && node.broker.stats().reconnects == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_choose_a_database_is_told_the_right() {
    let server = RedisServer::start();
    let config = RedisConfig::parse(&format!("{}/1", url(&server, "pod:secret"))).expect("valid");
    let rules = config.acl_rules();
    set_user(
        &server,
        &format!("pod on >secret -@all resetchannels &io#/#* {rules} -select"),
    );
    let node = Node::start_with(config);
    await_until("the refusal shows", LIMIT, || {
        node.broker.refusal().is_some()
    })
    .await;
    let refusal = node.broker.refusal().expect("awaited");
    assert!(refusal.ends_with("ACL SETUSER pod +select"), "{refusal}");
    set_user(&server, "pod +select");
    node.await_state(LinkState::Subscribed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_wrong_password_is_told() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let check = async |url: &str, parts: &[&str]| {
        let node = Node::start(url);
        await_until("the refusal shows", LIMIT, || {
            node.broker.refusal().is_some()
        })
        .await;
        let refusal = node.broker.refusal().expect("awaited");
        for part in parts {
            assert!(refusal.contains(part), "{part} in {refusal}");
        }
        assert!(!refusal.contains("wrong-secret"), "{refusal}");
    };
    check(&server.url(), &["NOAUTH", "password"]).await;
    check(
        &url(&server, ":wrong-secret"),
        &["WRONGPASS", "user \"default\""],
    )
    .await;
    check(
        &url(&server, "nobody:wrong-secret"),
        &["WRONGPASS", "user \"nobody\""],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_changes_without_a_restart() {
    let server = RedisServer::start();
    set_user(&server, "pod on >first ~* &* +@all");
    let file = TestFile::new("user", "first");
    let config = RedisConfig::parse(&url(&server, "pod")).expect("valid");
    let node = Node::start_with(config.password_file(&file.0));
    node.await_state(LinkState::Subscribed).await;
    // The new one is let in beside the old one, the file changes, the old one is shut out, the connections are cut.
    set_user(&server, "pod >second");
    file.write("second");
    set_user(&server, "pod <first");
    server.command(&["CLIENT", "KILL", "USER", "pod"]);
    await_until("the link is back", LIMIT, || {
        node.broker.stats().reconnects == 1
    })
    .await;
    node.publish("second");
    node.await_text("second").await;
    assert_eq!(node.broker.stats().connects_failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_too_early_or_too_late_heals() {
    let server = RedisServer::start_with(&["--requirepass", "first"]);
    let file = TestFile::new("default", "first");
    let config = RedisConfig::parse(&server.url()).expect("valid");
    let node = Node::start_with(config.password_file(&file.0));
    node.await_state(LinkState::Subscribed).await;
    server.command_with("first", &["CONFIG", "SET", "requirepass", "second"]);
    server.command_with("second", &["CLIENT", "KILL", "TYPE", "pubsub"]);
    await_until("the wrong password is told", LIMIT, || {
        node.broker
            .refusal()
            .is_some_and(|refusal| refusal.contains("WRONGPASS"))
    })
    .await;
    std::fs::remove_file(&file.0).expect("it is ours");
    await_until("the missing file is told", LIMIT, || {
        node.broker
            .last_error()
            .is_some_and(|error| error.contains("cannot be used"))
    })
    .await;
    file.write("second");
    node.await_state(LinkState::Subscribed).await;
    assert_eq!(node.broker.refusal(), None);
    node.publish("second");
    node.await_text("second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_both_sides_are_read_from_files_anew() {
    let (server, pem) = RedisServer::start_mutual_tls();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("PEM is text");
    let roots = TestFile::new("roots", "not yet");
    let certificate = TestFile::new("certificate", &text(&pem.certificate));
    let key = TestFile::new("key", &text(&pem.key));
    let config = RedisConfig::parse(&server.tls_url()).expect("valid");
    let config = config.root_certificates_file(&roots.0);
    let anonymous = Node::start_with(config.clone());
    let known = Node::start_with(config.client_certificate_files(&certificate.0, &key.0));
    for node in [&anonymous, &known] {
        node.await_state(LinkState::Down).await;
    }
    roots.write(&text(&pem.certificate));
    known.await_state(LinkState::Subscribed).await;
    known.publish("shown");
    known.await_text("shown").await;
    await_until("the other one is told why", LIMIT, || {
        anonymous
            .broker
            .last_error()
            .is_some_and(|error| error.to_lowercase().contains("certificate"))
    })
    .await;
    assert!(!anonymous.broker.state().is_up());
}
