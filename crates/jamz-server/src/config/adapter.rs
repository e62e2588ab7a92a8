//! Which language the pods speak among themselves.

use unisono_cluster::{Adapter, SubscriptionMode};

use super::error::ConfigError;
use super::parse::Reader;
use super::{RedisSettings, names};

/// What a mode without its adapter lacks.
const SHARDED: &str = "REDIS_ADAPTER=sharded";

/// As lines of `NAME=value`.
pub(super) fn shown(redis: Option<&RedisSettings>) -> [String; 2] {
    let adapter = redis.map_or(Adapter::Classic, |redis| redis.config.adapter());
    let mode = match adapter {
        Adapter::Classic => "(unset)",
        Adapter::Sharded(mode) => mode.as_str(),
    };
    [
        format!("{}={}", names::REDIS_ADAPTER, adapter.as_str()),
        format!("{}={mode}", names::REDIS_SUBSCRIPTION_MODE),
    ]
}

impl Reader<'_> {
    pub(super) fn adapter(&mut self) -> Adapter {
        let mode = self.or(
            names::REDIS_SUBSCRIPTION_MODE,
            SubscriptionMode::default(),
            "`static`, `dynamic` or `dynamic-private`, as for the Node.js pods",
            |text| text.parse().ok(),
        );
        let name = names::REDIS_ADAPTER;
        let expected = "`classic` or `sharded`";
        match self.text(name).as_deref() {
            Some("sharded") => return Adapter::Sharded(mode),
            None | Some("classic") => {
                if self.text(names::REDIS_SUBSCRIPTION_MODE).is_some() {
                    self.errors.push(ConfigError::Needs {
                        name: names::REDIS_SUBSCRIPTION_MODE,
                        needs: SHARDED,
                    });
                }
            }
            Some(value @ "streams") => self.errors.push(ConfigError::Unsupported {
                name,
                value: value.to_owned(),
                instead: expected,
            }),
            Some(value) => self.errors.push(ConfigError::Malformed {
                name,
                value: value.to_owned(),
                expected,
            }),
        }
        Adapter::Classic
    }
}
