//! Asking sentinels who the master is.

use tokio::task::JoinSet;

use super::within;
use crate::config::{Address, RedisConfig};
use crate::connect::{Role, options};
use crate::failure::{Deed, Failure};
use crate::limits::ASK_DEADLINE;

/// The sentinels of one master. All are asked at once: one may be cut off, and believe what was true yesterday.
pub(super) struct Sentinels<'a> {
    config: &'a RedisConfig,
    master: &'a str,
}

/// Addresses, those that most sentinels name first, with how many do.
type Votes = Vec<(Address, usize)>;

impl<'a> Sentinels<'a> {
    pub(super) fn new(config: &'a RedisConfig, master: &'a str) -> Self {
        Self { config, master }
    }

    /// The address that most sentinels name and that says itself to be a master; while they move, one that fewer name.
    pub(super) async fn find(&self) -> Result<Address, Failure> {
        let mut failure = Failure::new("no sentinel answered");
        for (address, _) in self.votes().await? {
            match within(ASK_DEADLINE, &address, role(self.config, &address)).await {
                Ok(role) if role == "master" => return Ok(address),
                Ok(role) => {
                    failure = Failure::new(format!(
                        "sentinels name {address} as master, which says that it is a {role}: a failover is under way"
                    ));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Why the link should not be `here` any more, if so.
    pub(super) async fn elsewhere(&self, here: &Address) -> Option<Failure> {
        let role = within(ASK_DEADLINE, here, role(self.config, here)).await;
        if let Ok(role) = role
            && role != "master"
        {
            return Some(Failure::new(format!("{here} is a {role} now")));
        }
        let votes = self.votes().await.ok()?;
        let for_here = votes.iter().find(|(address, _)| address == here);
        let for_here = for_here.map_or(0, |(_, votes)| *votes);
        let (master, most) = votes.first()?;
        (*most > for_here).then(|| Failure::new(format!("sentinels name {master} as master now")))
    }

    async fn votes(&self) -> Result<Votes, Failure> {
        let mut questions = JoinSet::new();
        for address in self.config.addresses.clone() {
            let (config, master) = (self.config.clone(), self.master.to_owned());
            questions.spawn(async move {
                within(ASK_DEADLINE, &address, ask(&config, &address, &master)).await
            });
        }
        let mut votes = Votes::new();
        let mut failure = Failure::new("no sentinel answered");
        for answer in questions.join_all().await {
            match answer {
                Ok(named) => match votes.iter_mut().find(|(address, _)| *address == named) {
                    Some((_, votes)) => *votes += 1,
                    None => votes.push((named, 1)),
                },
                // Of several, the one that somebody can do something about.
                Err(error) if !failure.is_refusal => failure = error,
                Err(_) => {}
            }
        }
        votes.sort_by_key(|(_, votes)| std::cmp::Reverse(*votes));
        if votes.is_empty() {
            return Err(failure);
        }
        Ok(votes)
    }
}

async fn ask(config: &RedisConfig, sentinel: &Address, master: &str) -> Result<Address, Failure> {
    let mut connection = config.connect(sentinel, Role::Sentinel, &options()).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(master);
    let answer: Result<Option<(String, u16)>, _> = question.query_async(&mut connection).await;
    let user = config.sentinel_login.user.as_deref().unwrap_or("default");
    let deed = Deed::Command("sentinel|get-master-addr-by-name");
    match answer {
        Ok(Some((host, port))) => Ok(Address { host, port }),
        Ok(None) => Err(Failure::new(format!(
            "the sentinel {sentinel} does not know a master named {master:?}: check the name in the URL"
        ))),
        Err(error) => Err(Failure::of(&error, user, deed)),
    }
}

/// What a server says that it is: `master`, `slave`, `sentinel`.
async fn role(config: &RedisConfig, address: &Address) -> Result<String, Failure> {
    let mut connection = config.connect(address, Role::Server, &options()).await?;
    let answer: Result<Vec<redis::Value>, _> =
        redis::cmd("ROLE").query_async(&mut connection).await;
    let answer =
        answer.map_err(|error| Failure::of(&error, config.user(), Deed::Command("role")))?;
    let role = answer.into_iter().next().map(redis::from_redis_value);
    match role {
        Some(Ok(role)) => Ok(role),
        _ => Err(Failure::new(format!(
            "{address} gave no readable answer to ROLE"
        ))),
    }
}
