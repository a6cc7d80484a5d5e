//! Opening connections to the server.

use std::path::{Path, PathBuf};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo,
    aio::MultiplexedConnection,
};
use tokio::{fs::File, io::AsyncReadExt as _, time::timeout};

use super::{Away, script::Runnable};
use crate::{
    bounds::{REDIS_CONNECT_DEADLINE, SECRET_FILE_MAX_BYTES},
    store_address::{RedisAddress, Topology},
};

/// Where the server is, and how it lets us in.
#[derive(Debug)]
pub struct Door {
    address: ConnectionAddr,
    database: i64,
    user: Option<Box<str>>,
    password: Password,
}

#[derive(Debug)]
enum Password {
    None,
    /// Read again for each connection, so that a password is changed without a restart.
    File(PathBuf),
    Given(crate::store_address::Password),
}

impl Door {
    /// The door at `address`. The password is that in the file, where there is one.
    ///
    /// # Errors
    ///
    /// What this version cannot do yet.
    pub fn new(address: RedisAddress, password_file: Option<PathBuf>) -> Result<Self, &'static str> {
        if address.tls {
            return Err("TLS is not available yet");
        }
        let password = match (password_file, address.password) {
            (Some(file), _) => Password::File(file),
            (None, Some(given)) => Password::Given(given),
            (None, None) => Password::None,
        };
        let place = match address.topology {
            Topology::Single(server) => ConnectionAddr::Tcp(server.host.into(), server.port),
            Topology::Unix(path) => ConnectionAddr::Unix(path),
            Topology::Sentinel { .. } => return Err("sentinels are not available yet"),
            Topology::Cluster(_) => return Err("clusters are not available yet"),
        };
        Ok(Self { address: place, database: i64::from(address.database), user: address.user, password })
    }

    /// Opens a connection, whose driver runs on the runtime that this is called on, and makes `scripts` known.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) async fn open(&self, scripts: &[&Runnable]) -> Result<MultiplexedConnection, Away> {
        timeout(REDIS_CONNECT_DEADLINE, self.open_at_leisure(scripts)).await.unwrap_or(Err(Away::Late))
    }

    async fn open_at_leisure(&self, scripts: &[&Runnable]) -> Result<MultiplexedConnection, Away> {
        let entry = self.entry().await?;
        let info = self.address.clone().into_connection_info().map_err(|error| Away::of(&error))?;
        let client = Client::open(info.set_redis_settings(entry)).map_err(|error| Away::of(&error))?;
        // Our own deadlines stand around every call.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connection.map_err(|error| Away::of(&error))?;
        for script in scripts {
            connection.send_packed_command(&script.load()).await.map_err(|error| Away::of(&error))?;
        }
        Ok(connection)
    }

    /// What is said first on a connection.
    async fn entry(&self) -> Result<RedisConnectionInfo, Away> {
        let mut entry = RedisConnectionInfo::default().set_db(self.database).set_skip_set_lib_name();
        if let Some(user) = &self.user {
            entry = entry.set_username(user);
        }
        Ok(match &self.password {
            Password::None => entry,
            Password::Given(password) => entry.set_password(password.reveal()),
            Password::File(path) => entry.set_password(read_secret(path).await?),
        })
    }
}

/// What is in a secret's file, without the end of its last line.
async fn read_secret(path: &Path) -> Result<String, Away> {
    let unreadable = |error: std::io::Error| Away::Password(format!("{}: {error}", path.display()).into());
    let file = File::open(path).await.map_err(unreadable)?;
    let mut text = String::new();
    file.take(SECRET_FILE_MAX_BYTES).read_to_string(&mut text).await.map_err(unreadable)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
