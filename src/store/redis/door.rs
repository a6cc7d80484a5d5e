//! Opening connections to the server.

use std::path::PathBuf;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo,
    aio::MultiplexedConnection,
};

use super::{Away, script::Runnable};
use crate::bounds::{REDIS_CONNECT_DEADLINE, SECRET_FILE_MAX_BYTES};

/// Where the server is, and how it is entered.
#[derive(Debug)]
pub struct Door {
    pub address: ConnectionAddr,
    pub database: i64,
    /// An ACL user; None: the server's default one.
    pub user: Option<String>,
    pub password: Password,
}

/// Where the password comes from.
#[derive(Clone, Debug, Default)]
pub enum Password {
    #[default]
    None,
    /// Read again for each connection, so that a password is changed without a restart.
    File(PathBuf),
    Given(Given),
}

/// A password, which nobody prints.
#[derive(Clone)]
pub struct Given(pub String);

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Given(secret)")
    }
}

impl Door {
    /// Opens a connection, whose driver runs on the runtime that this is called on, and makes `scripts` known.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) async fn open(&self, scripts: &[&Runnable]) -> Result<MultiplexedConnection, Away> {
        let opening = async {
            let settings = self.settings().await?;
            let info = self.address.clone().into_connection_info().map_err(|error| Away::of(&error))?;
            let client = Client::open(info.set_redis_settings(settings)).map_err(|error| Away::of(&error))?;
            // Our own deadlines stand around every call.
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            let connection = client.get_multiplexed_async_connection_with_config(&config).await;
            let mut connection = connection.map_err(|error| Away::of(&error))?;
            for script in scripts {
                connection.send_packed_command(&script.load()).await.map_err(|error| Away::of(&error))?;
            }
            Ok(connection)
        };
        tokio::time::timeout(REDIS_CONNECT_DEADLINE, opening).await.unwrap_or(Err(Away::Late))
    }

    async fn settings(&self) -> Result<RedisConnectionInfo, Away> {
        let mut settings = RedisConnectionInfo::default().set_db(self.database).set_skip_set_lib_name();
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        Ok(match &self.password {
            Password::None => settings,
            Password::Given(given) => settings.set_password(&given.0),
            Password::File(path) => settings.set_password(read_secret(path).await?),
        })
    }
}

/// The first line of a secret's file, which may be written anew at any time.
async fn read_secret(path: &std::path::Path) -> Result<String, Away> {
    use tokio::io::AsyncReadExt as _;
    let unreadable = |error: std::io::Error| Away::Password(format!("{}: {error}", path.display()).into());
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut text = String::new();
    file.take(SECRET_FILE_MAX_BYTES).read_to_string(&mut text).await.map_err(unreadable)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
