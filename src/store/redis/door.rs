//! Opening connections to the server.

use std::path::PathBuf;

use redis::RedisConnectionInfo;
use tokio::time::timeout;

use super::{Away, connection::Connection, files, place::Place, script::Runnable, sentinels::Sentinels, tls::Tls};
use crate::{
    bounds::{REDIS_ADDRESS_PATIENCE, REDIS_CONNECT_DEADLINE, SECRET_FILE_MAX_BYTES},
    store_address::{RedisAddress, Server, TlsFiles, Topology},
};

/// Where the server is, and how it lets us in.
#[derive(Debug)]
pub struct Door {
    way: Way,
    /// What the log calls it.
    name: Box<str>,
    tls: Option<Tls>,
    database: i64,
    user: Option<Box<str>>,
    password: Password,
}

#[derive(Debug)]
enum Way {
    To(Place),
    ToMasterOf(Sentinels),
    /// By these all others are found.
    ToCluster(Box<[Server]>),
}

#[derive(Debug)]
enum Password {
    None,
    /// Read again for each connection, so that a password is changed without a restart.
    File(PathBuf),
    Given(crate::store_address::Password),
}

impl Door {
    /// The door at `address`. The password is that in the file, where there is one; `tls_files` mean something where the
    /// address wants TLS.
    ///
    /// # Errors
    ///
    /// What this version cannot do yet, or that there is nobody to trust.
    pub fn new(
        address: RedisAddress,
        password_file: Option<PathBuf>,
        tls_files: TlsFiles,
    ) -> Result<Self, &'static str> {
        let name = address.to_string().into();
        let password = match (password_file, address.password) {
            (Some(file), _) => Password::File(file),
            (None, Some(given)) => Password::Given(given),
            (None, None) => Password::None,
        };
        let way = match address.topology {
            Topology::Single(server) => Way::To(Place::Tcp(server)),
            Topology::Unix(path) => Way::To(Place::Unix(path)),
            Topology::Sentinel { sentinels, master } => Way::ToMasterOf(Sentinels::new(sentinels, master)),
            Topology::Cluster(servers) => Way::ToCluster(servers.into()),
        };
        let tls = if address.tls { Some(Tls::new(tls_files)?) } else { None };
        Ok(Self { way, name, tls, database: i64::from(address.database), user: address.user, password })
    }

    /// Opens a connection, whose driver runs on the runtime that this is called on, and makes `scripts` known.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) async fn open(&self, scripts: &[&Runnable]) -> Result<Connection, Away> {
        let opened = async {
            match &self.way {
                Way::To(place) => self.open_at(place, scripts).await,
                Way::ToMasterOf(sentinels) => sentinels.open_master(self, scripts).await,
                // Each of its servers is gone to by itself.
                Way::ToCluster(_) => Err(Away::Lost),
            }
        };
        timeout(REDIS_CONNECT_DEADLINE, opened).await.unwrap_or(Err(Away::Late))
    }

    /// The same with a server of a cluster.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) async fn open_to(&self, server: &Server, scripts: &[&Runnable]) -> Result<Connection, Away> {
        let place = Place::Tcp(server.clone());
        timeout(REDIS_CONNECT_DEADLINE, self.open_at(&place, scripts)).await.unwrap_or(Err(Away::Late))
    }

    /// Servers of a cluster, by which all others are found; none where there is no cluster.
    pub(super) fn seeds(&self) -> &[Server] {
        match &self.way {
            Way::To(_) | Way::ToMasterOf(_) => &[],
            Way::ToCluster(seeds) => seeds,
        }
    }

    /// What the log calls it, without user and password.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The same with the server at `place`, however long that takes.
    pub(super) async fn open_at(&self, place: &Place, scripts: &[&Runnable]) -> Result<Connection, Away> {
        let entry = self.entry().await?;
        let stream = place.connect(self.tls.as_ref(), REDIS_ADDRESS_PATIENCE).await?;
        let mut connection = Connection::begin(stream, &entry).await?;
        for script in scripts {
            connection.ask(&script.load()).await?;
        }
        Ok(connection)
    }

    /// Whether connections should lead elsewhere than those that are open.
    pub(super) async fn has_moved(&self) -> bool {
        match &self.way {
            Way::To(_) | Way::ToCluster(_) => false,
            Way::ToMasterOf(sentinels) => sentinels.name_another(self).await,
        }
    }

    /// How connections are encrypted, those to sentinels too.
    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
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
            Password::File(path) => {
                let text = files::read(path, SECRET_FILE_MAX_BYTES).await.map_err(Away::Password)?;
                let text = String::from_utf8(text)
                    .map_err(|_| Away::Password(format!("{}: it is no UTF-8", path.display()).into()))?;
                // An editor ends the last line.
                entry.set_password(text.trim_end_matches(['\n', '\r']))
            }
        })
    }
}
