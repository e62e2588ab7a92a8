//! What pods may do in Redis changes while they run.

use std::time::Duration;

use unisono_test::RedisServer;

use super::check::check;
use super::rows::{Lost, Noticed, Row, Seen};
use super::stage::Stage;

const WRONG_PASSWORD: Row = Row {
    accident: "the password is changed and pods are cut off: `WRONGPASS`",
    test: "wrong_password",
    lasts: Duration::from_secs(3),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "",
    seen: Seen {
        noticed: "0.01–0.02 s",
        back: "0.23–0.85 s",
        lost: "0",
    },
};

const NO_AUTH: Row = Row {
    accident: "a password is asked for where there was none, and pods are cut off: `NOAUTH`",
    test: "no_auth",
    lasts: Duration::from_secs(3),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "",
    seen: Seen {
        noticed: "0.01–0.02 s",
        back: "0.16–0.96 s",
        lost: "0",
    },
};

const MAY_NOT_PUBLISH: Row = Row {
    accident: "pods may no longer `PUBLISH`: `NOPERM`",
    test: "may_not_publish",
    lasts: Duration::from_secs(8),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "Seen from the first publish that is refused. An attempt to connect includes one, so pods stay `down`, with what to allow in the log, instead of going up and deaf in turn.",
    seen: Seen {
        noticed: "0.04–0.06 s",
        back: "0.35–0.65 s",
        lost: "160–169",
    },
};

const MAY_NOT_LISTEN: Row = Row {
    accident: "pods may no longer listen to their channels: Redis cuts them off, then `NOPERM`",
    test: "may_not_listen",
    lasts: Duration::from_secs(3),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "",
    seen: Seen {
        noticed: "0.01–0.02 s",
        back: "0.25–0.86 s",
        lost: "0",
    },
};

const MAY_NOT_COMMIT: Row = Row {
    accident: "pods may no longer run scripts: `NOPERM`",
    test: "may_not_commit",
    lasts: Duration::from_secs(3),
    noticed: Noticed::AtNextChange,
    lost: Lost::Nothing,
    remark: "Plain broadcasts cross. Changes take effect on their own pod.",
    seen: Seen {
        noticed: "–",
        back: "0.01–0.04 s",
        lost: "0",
    },
};

const DELETED: Row = Row {
    accident: "the user of the pods is deleted, and made again",
    test: "deleted",
    lasts: Duration::from_secs(3),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "Redis cuts off a user that it deletes.",
    seen: Seen {
        noticed: "0.01–0.02 s",
        back: "0.26–0.81 s",
        lost: "0",
    },
};

pub(super) const ROWS: &[&Row] = &[
    &NO_AUTH,
    &WRONG_PASSWORD,
    &DELETED,
    &MAY_NOT_PUBLISH,
    &MAY_NOT_LISTEN,
    &MAY_NOT_COMMIT,
];

/// All rights, under this password.
const ALL: &str = "SETUSER pods reset on >secret allkeys allchannels allcommands";

/// Takes rights from the user of the pods, then gives them back. Each word list is one `ACL` command.
async fn rights(row: &Row, taken: &[&str]) {
    let redis = RedisServer::start();
    let acl = |redis: &RedisServer, rule: &str| {
        let words: Vec<_> = rule.split(' ').collect();
        redis.command(&words);
    };
    acl(&redis, &format!("ACL {ALL}"));
    let url = format!("redis://pods:secret@127.0.0.1:{}", redis.port());
    check(
        row,
        Stage::joined(redis, [&url, &url]).await,
        async |stage| taken.iter().for_each(|rule| acl(&stage.redis, rule)),
        async |stage| acl(&stage.redis, &format!("ACL {ALL}")),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_password() {
    let taken = ["ACL SETUSER pods resetpass >other", "CLIENT KILL USER pods"];
    rights(&WRONG_PASSWORD, &taken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_auth() {
    let password = "secret";
    check(
        &NO_AUTH,
        Stage::usual().await,
        async |stage| {
            let redis = &stage.redis;
            redis.command(&["CONFIG", "SET", "requirepass", password]);
            for kind in ["pubsub", "normal"] {
                redis.command_with(password, &["CLIENT", "KILL", "TYPE", kind]);
            }
        },
        async |stage| {
            let open = ["CONFIG", "SET", "requirepass", ""];
            stage.redis.command_with(password, &open);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn may_not_publish() {
    rights(&MAY_NOT_PUBLISH, &["ACL SETUSER pods -publish"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn may_not_listen() {
    rights(&MAY_NOT_LISTEN, &["ACL SETUSER pods resetchannels"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn may_not_commit() {
    rights(&MAY_NOT_COMMIT, &["ACL SETUSER pods -@scripting"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted() {
    rights(&DELETED, &["ACL DELUSER pods"]).await;
}
