//! Opening one connection, as the configuration says it.

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, TlsCertificates,
};

use crate::config::{Address, Login, RedisConfig};
use crate::failure::{Deed, Failure};
use crate::limits::REPLY_DEADLINE;

/// Whom a connection leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Sentinel,
}

/// The deadlines of every connection.
pub(crate) fn options() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(REPLY_DEADLINE))
        .set_response_timeout(Some(REPLY_DEADLINE))
}

/// For connections whose opening somebody else bounds.
pub(crate) fn attempt_options() -> AsyncConnectionConfig {
    options().set_connection_timeout(None)
}

impl RedisConfig {
    /// Opens a connection. Files with passwords and certificates are read first.
    pub(crate) async fn connect(
        &self,
        address: &Address,
        role: Role,
        options: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Failure> {
        let client = self.client(address, role).await?;
        let opened = client
            .get_multiplexed_async_connection_with_config(options)
            .await;
        opened.map_err(|error| {
            let login = self.login_for(role);
            let user = login.user.as_deref().unwrap_or("default");
            let deed = match role {
                Role::Server => Deed::Login,
                Role::Sentinel => Deed::SentinelLogin,
            };
            let failure = Failure::of(&error, user, deed);
            Failure {
                text: format!("{address}: {}", failure.text),
                ..failure
            }
        })
    }

    /// A connection with a name that `CLIENT LIST` shows. It only helps whoever reads that; a Redis that refuses it (by its access
    /// rules) serves us all the same.
    pub(crate) async fn connect_named(
        &self,
        address: &Address,
        options: &AsyncConnectionConfig,
        role: &str,
    ) -> Result<MultiplexedConnection, Failure> {
        let mut connection = self.connect(address, Role::Server, options).await?;
        match connection.send_packed_command(&self.naming(role)).await {
            Err(error) if error.is_unrecoverable_error() => Err(error.into()),
            _ => Ok(connection),
        }
    }

    /// The command that gives a connection its name.
    pub(crate) fn naming(&self, role: &str) -> redis::Cmd {
        let mut naming = redis::cmd("CLIENT");
        naming
            .arg("SETNAME")
            .arg(format!("{}-{role}", self.client_name));
        naming
    }

    async fn client(&self, address: &Address, role: Role) -> Result<Client, Failure> {
        let (login, tls) = (self.login_for(role).clone(), self.tls.clone());
        let user = login.user.clone();
        // Files may be on a disk that hangs.
        let read = tokio::task::spawn_blocking(move || {
            let certificates = tls.map(|tls| tls.read()).transpose()?.flatten();
            Ok::<_, Failure>((login.read()?, certificates))
        });
        let (password, certificates) = read
            .await
            .map_err(|error| Failure::new(error.to_string()))??;
        let mut settings = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            // Redis 7.0 does not know it, and it would need a right.
            .set_skip_set_lib_name();
        if role == Role::Server {
            settings = settings.set_db(self.database);
        }
        if let Some(user) = user {
            settings = settings.set_username(user);
        }
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        self.build(address, settings, certificates)
    }

    fn build(
        &self,
        address: &Address,
        settings: RedisConnectionInfo,
        certificates: Option<TlsCertificates>,
    ) -> Result<Client, Failure> {
        let Address { host, port } = address.clone();
        let place = match &self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
        };
        let info = place
            .into_connection_info()?
            .set_redis_settings(settings)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Ok(match certificates {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        })
    }

    fn login_for(&self, role: Role) -> &Login {
        match role {
            Role::Server => &self.login,
            Role::Sentinel => &self.sentinel_login,
        }
    }
}
