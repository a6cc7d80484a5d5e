//! Settings: everything that is not a rule. One table makes the flags, the environment variables, the keys of the
//! settings file and the documentation; a flag beats the environment, which beats the file, which beats the default.

mod mask;
mod store;
mod table;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

use self::mask::{masked, undrawn};
pub use self::table::{ALL, Setting};
use super::capacity;
use crate::{
    bounds,
    spelling::did_you_mean,
    store_address::{StoreAddress, StoreAddressError, TlsFiles},
};

/// Where a value comes from, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Default,
    File,
    Environment,
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// The settings as they were given: text, and where each came from.
#[derive(Clone, Debug)]
pub struct RawSettings(BTreeMap<&'static str, (String, Source)>);

/// The settings, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    pub grpc: String,
    pub http: String,
    pub admin: String,
    /// None: the admin API asks for no token.
    pub admin_token_file: Option<PathBuf>,
    pub rules: PathBuf,
    /// None: whoever reaches the port may read usage pages.
    pub usage_secret_file: Option<PathBuf>,
    pub store: StoreAddress,
    /// Read again on every connection; None: the password in the URL, if any.
    pub store_password_file: Option<PathBuf>,
    pub store_tls: TlsFiles,
    /// From [`bounds::STORE_DEADLINE_MIN`] to [`bounds::STORE_DEADLINE_MAX`].
    pub store_deadline: Duration,
    /// By how many processes a limit is shared while the store is away; at least 1.
    pub replicas: u32,
    /// None where there is nowhere to write.
    pub state: PathBuf,
    /// Whether counters are kept there.
    pub snapshot: bool,
    pub count_denied: bool,
    pub max_counters: usize,
    /// At least 1.
    pub cores: usize,
    pub drain_delay: Duration,
    pub drain_deadline: Duration,
    pub log_level: String,
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// What is wrong with the settings.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SettingsError {
    #[error("cannot read the settings file {file}: {error}")]
    Unreadable { file: String, error: String },
    #[error("the settings file {file} cannot be used: {error}")]
    NotYaml { file: String, error: String },
    #[error("the settings file {file} has an unknown key `{key}`{}", suggestion(.key))]
    UnknownKey { file: String, key: String },
    #[error("the settings file {file}: `{key}` is a list or a map: expected one value")]
    NotOneValue { file: String, key: String },
    #[error("setting `{key}` (from {from}) is `{value}`: expected {expected}")]
    Bad { key: &'static str, from: Source, value: String, expected: &'static str },
    #[error("setting `store` (from {from}) is `{value}`: {error}")]
    Store { from: Source, value: String, error: StoreAddressError },
    #[error("setting `{key}` (from {from}) needs {needs}")]
    Needs { key: &'static str, from: Source, needs: &'static str },
}

fn suggestion(key: &str) -> String {
    let near = did_you_mean(&key.replace('-', "_"), ALL.iter().map(|setting| setting.key));
    near.map(|question| format!("; {question}")).unwrap_or_default()
}

impl RawSettings {
    /// Puts the layers together. `flag` and `environment` give the value of a setting, if it was set there.
    ///
    /// # Errors
    ///
    /// A settings file that was asked for and cannot be read, is not YAML or has unknown keys.
    pub fn gather(
        flag: impl Fn(&'static str) -> Option<String>,
        environment: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let mut values = BTreeMap::new();
        for setting in ALL {
            let mut value = (setting.default.to_owned(), Source::Default);
            if let Some(text) = setting.env.iter().find_map(|&name| environment(name)) {
                value = (text, Source::Environment);
            }
            if let Some(text) = flag(setting.key) {
                value = (text, Source::Flag);
            }
            values.insert(setting.key, value);
        }
        let mut raw = Self(values);
        raw.add_file()?;
        Ok(raw)
    }

    /// Lays the settings file below flags and environment.
    fn add_file(&mut self) -> Result<(), SettingsError> {
        let (file, source) = self.0["settings"].clone();
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if source == Source::Default && error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(SettingsError::Unreadable { file, error: error.to_string() }),
        };
        let values: Option<BTreeMap<String, Option<FileValue>>> = serde_yaml::from_str(&text)
            .map_err(|error| SettingsError::NotYaml { file: file.clone(), error: undrawn(&error.to_string()) })?;
        for (key, value) in values.unwrap_or_default() {
            let known = self.0.iter_mut().find(|(name, _)| **name == key && key != "settings");
            let Some((_, slot)) = known else { return Err(SettingsError::UnknownKey { file, key }) };
            let Some(value) = value else { continue };
            let Some(text) = value.text() else { return Err(SettingsError::NotOneValue { file, key }) };
            if slot.1 == Source::Default {
                *slot = (text, Source::File);
            }
        }
        Ok(())
    }

    /// Every setting: key, value (without passwords) and where it came from, in the order of the table.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>, Source)> {
        ALL.iter().map(|setting| {
            let (value, source) = &self.0[setting.key];
            (setting.key, masked(value), *source)
        })
    }

    /// Checks every value.
    ///
    /// # Errors
    ///
    /// Every bad value, not only the first.
    pub fn check(&self) -> Result<Settings, Vec<SettingsError>> {
        self.check_on(Path::new("/"))
    }

    /// Checks every value on the machine whose files stand below `root`.
    fn check_on(&self, root: &Path) -> Result<Settings, Vec<SettingsError>> {
        let mut check = Check { raw: self, errors: Vec::new() };
        let settings = Settings {
            grpc: check.text("grpc"),
            http: check.text("http"),
            admin: check.text("admin"),
            admin_token_file: check.file("admin_token_file"),
            rules: check.text("rules").into(),
            usage_secret_file: check.file("usage_secret_file"),
            store_password_file: check.file("store_password_file"),
            store_tls: check.store_tls(),
            store_deadline: check.store_deadline(),
            replicas: check.replicas(),
            store: check.store(),
            state: check.state(),
            snapshot: check.snapshot(),
            count_denied: check.parse("count_denied", "true or false", parse_bool).unwrap_or_default(),
            max_counters: check
                .parse("max_counters", "`auto` or a number from 1 to 1000000000", |text| match text {
                    "auto" => Some(capacity::counters_on(root)),
                    text => text
                        .replace('_', "")
                        .parse()
                        .ok()
                        .filter(|&count| (1..=bounds::COUNTERS_CEILING).contains(&count)),
                })
                .unwrap_or(bounds::COUNTERS_FLOOR),
            cores: check.cores(),
            drain_delay: check.duration("drain_delay"),
            drain_deadline: check.duration("drain_deadline"),
            log_level: check.log_level(),
            log_format: check.log_format(),
        };
        if check.errors.is_empty() { Ok(settings) } else { Err(check.errors) }
    }
}

impl Settings {
    /// Whether HTTP is for this machine alone. A name other than `localhost` may mean any address.
    pub fn http_is_local(&self) -> bool {
        let host = self.http.rsplit_once(':').map_or(&*self.http, |(host, _)| host).trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|host: IpAddr| host.is_loopback())
    }

    /// What is good, and still is probably not what was meant.
    pub fn warnings(&self) -> Vec<&'static str> {
        let password = matches!(&self.store, StoreAddress::Redis(redis) if redis.password.is_some());
        let in_url = "setting `store` has a password in its URL, where processes and files of this machine show it: put \
                      it into a file and name that with `store_password_file`";
        if password { vec![in_url] } else { Vec::new() }
    }
}

/// Collects what is wrong.
struct Check<'r> {
    raw: &'r RawSettings,
    errors: Vec<SettingsError>,
}

impl Check<'_> {
    fn text(&self, key: &'static str) -> String {
        self.raw.0[key].0.clone()
    }

    /// None where it is empty.
    fn file(&self, key: &'static str) -> Option<PathBuf> {
        Some(self.text(key)).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    fn parse<T>(&mut self, key: &'static str, expected: &'static str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (value, from) = &self.raw.0[key];
        let parsed = parse(value.trim());
        if parsed.is_none() {
            self.errors.push(SettingsError::Bad { key, from: *from, value: masked(value).into_owned(), expected });
        }
        parsed
    }

    fn duration(&mut self, key: &'static str) -> Duration {
        self.parse(key, "a duration such as `500ms`, `5s` or `1m`", parse_duration).unwrap_or_default()
    }

    fn cores(&mut self) -> usize {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        // More runtimes than cores only get into each other's way; a few more let a test have several on one core.
        let parse = |text: &str| text.parse().ok().filter(|&cores: &usize| cores <= bounds::CORES_MAX);
        match self.parse("cores", "a number from 0 to 256", parse) {
            Some(0) | None => all.min(bounds::CORES_MAX),
            Some(cores) => cores,
        }
    }

    fn log_level(&mut self) -> String {
        // A bare word that is no level would be taken for a target, and everything else would go unsaid.
        let level = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
        let good = |part: &str| level(part) || part.contains('=') || part.starts_with("tallygate");
        let parse = |text: &str| {
            let text = text.to_ascii_lowercase();
            text.split(',').map(str::trim).all(good).then_some(text)
        };
        let expected = "`error`, `warn`, `info`, `debug`, `trace` or `off`, or a filter such as `info,h2=debug`";
        self.parse("log_level", expected, parse).unwrap_or_default()
    }

    fn log_format(&mut self) -> LogFormat {
        let parse = |text: &str| match text {
            "auto" => Some(LogFormat::Auto),
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        };
        self.parse("log_format", "`text`, `json` or `auto`", parse).unwrap_or(LogFormat::Auto)
    }

    fn snapshot(&mut self) -> bool {
        let parse = |text: &str| match text {
            "state" => Some(true),
            "none" => Some(false),
            _ => None,
        };
        self.parse("snapshot", "`state` or `none`", parse).unwrap_or(true)
    }

    fn state(&self) -> PathBuf {
        let state = self.text("state");
        if state.is_empty() {
            let settings = PathBuf::from(self.text("settings"));
            return settings.with_file_name("state");
        }
        state.into()
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// `500ms`, `5s`, `1m`, `2h`; at most a day, which is beyond any sense for a drain.
fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(millis)?);
    (duration <= Duration::from_hours(24)).then_some(duration)
}

/// A value of the settings file: any scalar, kept as its text.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
enum FileValue {
    Bool(bool),
    Number(u64),
    Negative(i64),
    Float(f64),
    Text(String),
    NoScalar(serde::de::IgnoredAny),
}

impl FileValue {
    fn text(self) -> Option<String> {
        Some(match self {
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Negative(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(value) => value,
            Self::NoScalar(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests;
