//! Settings: everything that is not a rule. One table makes the flags, the environment variables, the keys of the
//! settings file and the documentation; a flag beats the environment, which beats the file, which beats the default.

mod check;
mod client_name;
mod error;
mod grpc;
mod mask;
pub mod ratelimit;
mod raw;
mod store;
mod table;
mod trace;

use std::{net::IpAddr, num::NonZeroU32, path::PathBuf, time::Duration};

pub use self::{
    client_name::ClientName,
    error::SettingsError,
    grpc::{ClientNames, GrpcClients, GrpcTls},
    raw::{RawSettings, Source},
    table::{ALL, Setting},
};
use crate::{
    render::headers::HeaderNames,
    store_address::{StoreAddress, TlsFiles},
    trace::Settings as TraceSettings,
};

/// The settings, checked.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own that people turn")]
pub struct Settings {
    pub grpc: String,
    /// None: whoever reaches the port is understood and answered.
    pub grpc_tls: Option<GrpcTls>,
    pub http: String,
    pub admin: String,
    /// None: the admin API asks for no token.
    pub admin_token_file: Option<PathBuf>,
    /// None: no debug pages.
    pub debug: Option<String>,
    /// None: the metrics have no port of their own.
    pub metrics: Option<String>,
    /// On that port; begins with `/`.
    pub metrics_path: String,
    pub rules: PathBuf,
    /// None: whoever reaches the port may read usage pages.
    pub usage_secret_file: Option<PathBuf>,
    pub store: StoreAddress,
    /// Read again on every connection; None: the password in the URL, if any.
    pub store_password_file: Option<PathBuf>,
    pub store_tls: TlsFiles,
    /// From [`bounds::STORE_DEADLINE_MIN`] to [`bounds::STORE_DEADLINE_MAX`].
    pub store_deadline: Duration,
    /// By how many processes a limit is shared while the store is away; None: as many as are counted.
    pub replicas: Option<NonZeroU32>,
    /// None where there is nowhere to write.
    pub state: PathBuf,
    /// Whether counters are kept there.
    pub snapshot: bool,
    pub count_denied: bool,
    pub max_counters: usize,
    /// At least 1.
    pub cores: usize,
    /// More or less a tenth; None: connections are not ended for their age.
    pub max_connection_age: Option<Duration>,
    pub max_connection_age_grace: Duration,
    pub drain_delay: Duration,
    pub drain_deadline: Duration,
    pub compat_metrics: bool,
    /// None: nothing is traced.
    pub trace: Option<TraceSettings>,
    /// From 0 to 1.
    pub near_limit_ratio: f32,
    pub log_level: String,
    pub log_format: LogFormat,
    pub compat: Compat,
    pub rule_files: RuleFiles,
    /// Whether several files may add to one domain.
    pub merge_domains: bool,
    pub ready_without_rules: bool,
    /// Nobody is refused, whatever rules say.
    pub shadow_mode: bool,
    /// Every rule is a quota.
    pub quota_mode: bool,
    /// The profile of headers of what says nothing of its own.
    pub headers: String,
    /// What the profile `envoyproxy` calls its three.
    pub header_names: HeaderNames,
    /// Answers' metadata repeats the request.
    pub request_metadata: bool,
    /// What the keys of counters in Redis begin with.
    pub store_key_prefix: String,
    /// What is good, and still is probably not what was meant; and what has no effect.
    pub warnings: Vec<String>,
}

/// Whose ways are taken up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    #[default]
    None,
    /// Those of envoyproxy/ratelimit: its environment is read, and its rule files as it reads them.
    Ratelimit,
}

/// Which files of a directory are rule files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleFiles {
    /// `*.yaml` and `*.yml`, without dot files.
    #[default]
    Yaml,
    /// Every regular file, but those whose names begin with two dots: Kubernetes' own.
    All,
    /// Every regular file, without dot files.
    Visible,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

impl Settings {
    /// Whether HTTP is for this machine alone. A name other than `localhost` may mean any address.
    pub fn http_is_local(&self) -> bool {
        let host = self.http.rsplit_once(':').map_or(&*self.http, |(host, _)| host).trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|host: IpAddr| host.is_loopback())
    }
}

#[cfg(test)]
mod tests;
