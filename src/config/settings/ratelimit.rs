//! The environment of envoyproxy/ratelimit, for whoever puts this program in its place: what each of its variables comes
//! to among our settings. Read in the compatibility mode only, where it stands between the settings file and our own
//! variables.
//!
//! What a variable says is carried out, or was so here anyway, or is told to have no effect. One that changes what is
//! enforced or who may connect, and that cannot be carried out, stops the start.

mod backend;
mod tracing;
mod values;
mod variables;

use std::cell::RefCell;

use super::{SettingsError, mask::masked};
pub use variables::{ALL as VARIABLES, Meaning, Variable};

/// What our settings are in the compatibility mode where nobody says anything: what that service does.
pub(super) const DEFAULTS: &[(&str, &str)] = &[
    ("grpc", "0.0.0.0:8081"),
    ("http", "0.0.0.0:8080"),
    ("rules", "/srv/runtime_data/current/config"),
    ("rule_files", "all"),
    ("merge_domains", "false"),
    ("debug", "0.0.0.0:6070"),
    ("max_connection_age", "24h"),
    ("max_connection_age_grace", "1h"),
];

/// What an environment comes to.
#[derive(Debug, Default)]
pub(super) struct Translated {
    /// A setting of ours, its value, and the variable that says so.
    pub settings: Vec<(&'static str, String, &'static str)>,
    pub errors: Vec<SettingsError>,
    /// What is set and has no effect, a sentence each.
    pub without_effect: Vec<String>,
}

/// Translates what `environment` says of each variable; an empty one is as good as none.
pub(super) fn translated(environment: &dyn Fn(&'static str) -> Option<String>) -> Translated {
    let reader = Reader { environment, errors: RefCell::default() };
    let mut settings = Vec::new();
    listeners(&reader, &mut settings);
    tls(&reader, &mut settings);
    rules(&reader, &mut settings);
    limiting(&reader, &mut settings);
    headers(&reader, &mut settings);
    metrics(&reader, &mut settings);
    backend::store(&reader, &mut settings);
    tracing::traces(&reader, &mut settings);
    let without_effect = without_effect(&reader);
    Translated { settings, errors: reader.errors.into_inner(), without_effect }
}

type Settings = Vec<(&'static str, String, &'static str)>;

/// Reads variables and collects what is wrong with them.
struct Reader<'e> {
    environment: &'e dyn Fn(&'static str) -> Option<String>,
    errors: RefCell<Vec<SettingsError>>,
}

impl Reader<'_> {
    fn text(&self, name: &'static str) -> Option<String> {
        debug_assert!(variables::of(name).is_some(), "{name} is missing in the table");
        (self.environment)(name)
    }

    fn parse<T>(&self, name: &'static str, expected: &'static str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(text.trim());
        if value.is_none() {
            self.error(SettingsError::Variable { name, value: masked(&text).into_owned(), expected });
        }
        value
    }

    fn boolean(&self, name: &'static str) -> Option<bool> {
        self.parse(name, "`true` or `false`", values::boolean)
    }

    /// A duration as our settings write one.
    fn duration(&self, name: &'static str) -> Option<String> {
        let millis = self.parse(name, "a duration such as `24h` or `1m30s`", values::millis)?;
        Some(format!("{millis}ms"))
    }

    fn error(&self, error: SettingsError) {
        self.errors.borrow_mut().push(error);
    }

    fn stop(&self, name: &'static str, instead: &'static str) {
        let secret = name.ends_with("_AUTH");
        let value =
            self.text(name).filter(|_| !secret).map_or_else(|| "***".to_owned(), |text| masked(&text).into_owned());
        self.error(SettingsError::NotCarriedOut { name, value, instead });
    }
}

fn listeners(reader: &Reader<'_>, settings: &mut Settings) {
    for (setting, host, port, default_port) in [
        ("http", "HOST", "PORT", "8080"),
        ("grpc", "GRPC_HOST", "GRPC_PORT", "8081"),
        ("debug", "DEBUG_HOST", "DEBUG_PORT", "6070"),
    ] {
        let number = |text: &str| text.parse().ok().map(|port: u16| port.to_string());
        let port = reader.parse(port, "a port from 0 to 65535", number).map(|number| (number, port));
        let host = reader.text(host).map(|name| (name, host));
        let Some(variable) = host.as_ref().map(|(_, name)| *name).or(port.as_ref().map(|(_, name)| *name)) else {
            continue;
        };
        let host = host.map_or_else(|| "0.0.0.0".to_owned(), |(host, _)| host);
        let port = port.map_or_else(|| default_port.to_owned(), |(port, _)| port);
        settings.push((setting, values::host_and_port(&host, &port), variable));
    }
    if let Some(path) = reader.text("GRPC_UDS") {
        settings.push(("grpc", format!("unix:{path}"), "GRPC_UDS"));
    }
    for (name, setting) in [
        ("GRPC_MAX_CONNECTION_AGE", "max_connection_age"),
        ("GRPC_MAX_CONNECTION_AGE_GRACE", "max_connection_age_grace"),
    ] {
        settings.extend(reader.duration(name).map(|value| (setting, value, name)));
    }
}

fn tls(reader: &Reader<'_>, settings: &mut Settings) {
    if reader.boolean("GRPC_SERVER_USE_TLS") != Some(true) {
        return;
    }
    for (name, setting) in [
        ("GRPC_SERVER_TLS_CERT", "grpc_tls_cert_file"),
        ("GRPC_SERVER_TLS_KEY", "grpc_tls_key_file"),
        ("GRPC_CLIENT_TLS_CACERT", "grpc_tls_client_ca_file"),
        ("GRPC_CLIENT_TLS_SAN", "grpc_tls_client_san"),
    ] {
        settings.extend(reader.text(name).map(|value| (setting, value, name)));
    }
    // Without them nobody would be encrypted, and nobody would say so.
    for name in ["GRPC_SERVER_TLS_CERT", "GRPC_SERVER_TLS_KEY"] {
        if reader.text(name).is_none() {
            reader.stop("GRPC_SERVER_USE_TLS", "set GRPC_SERVER_TLS_CERT and GRPC_SERVER_TLS_KEY beside it");
            return;
        }
    }
}

fn rules(reader: &Reader<'_>, settings: &mut Settings) {
    if reader.text("CONFIG_TYPE").is_some_and(|kind| !kind.eq_ignore_ascii_case("FILE")) {
        reader.stop(
            "CONFIG_TYPE",
            "rules come from files only: mount them, name them with RUNTIME_ROOT, and set CONFIG_TYPE=FILE",
        );
    }
    let parts = [
        ("RUNTIME_ROOT", "/srv/runtime_data/current"),
        ("RUNTIME_SUBDIRECTORY", ""),
        ("RUNTIME_APPDIRECTORY", "config"),
    ];
    if let Some((first, _)) = parts.iter().find(|(name, _)| reader.text(name).is_some()) {
        let parts = parts.map(|(name, default)| reader.text(name).unwrap_or_else(|| default.to_owned()));
        settings.push(("rules", values::path(&parts), first));
    }
    if reader.boolean("RUNTIME_IGNOREDOTFILES") == Some(true) {
        settings.push(("rule_files", "visible".to_owned(), "RUNTIME_IGNOREDOTFILES"));
    }
    let merge = reader.boolean("MERGE_DOMAIN_CONFIG");
    settings.extend(merge.map(|merge| ("merge_domains", merge.to_string(), "MERGE_DOMAIN_CONFIG")));
    let at_once = reader.boolean("FORCE_START_WITHOUT_INITIAL_CONFIG");
    let with_rules = reader.boolean("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED");
    match (at_once, with_rules) {
        (_, Some(true)) => {
            settings.push(("ready_without_rules", "false".to_owned(), "HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED"));
        }
        (Some(true), _) => {
            settings.push(("ready_without_rules", "true".to_owned(), "FORCE_START_WITHOUT_INITIAL_CONFIG"));
        }
        _ => {}
    }
}

fn limiting(reader: &Reader<'_>, settings: &mut Settings) {
    for (name, setting) in [
        ("SHADOW_MODE", "shadow_mode"),
        ("QUOTA_MODE", "quota_mode"),
        ("RESPONSE_DYNAMIC_METADATA", "request_metadata"),
    ] {
        settings.extend(reader.boolean(name).map(|value| (setting, value.to_string(), name)));
    }
    // The other way round: whoever asks not to charge what is over gets what we do anyway.
    let name = "STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT";
    settings.extend(reader.boolean(name).map(|stop| ("count_denied", (!stop).to_string(), name)));
}

fn headers(reader: &Reader<'_>, settings: &mut Settings) {
    if let Some(enabled) = reader.boolean("LIMIT_RESPONSE_HEADERS_ENABLED") {
        let profile = if enabled { "envoyproxy" } else { "none" };
        settings.push(("headers", profile.to_owned(), "LIMIT_RESPONSE_HEADERS_ENABLED"));
    }
    for (name, setting) in [
        ("LIMIT_LIMIT_HEADER", "limit_header"),
        ("LIMIT_REMAINING_HEADER", "remaining_header"),
        ("LIMIT_RESET_HEADER", "reset_header"),
    ] {
        settings.extend(reader.text(name).map(|value| (setting, value, name)));
    }
}

fn metrics(reader: &Reader<'_>, settings: &mut Settings) {
    settings.extend(reader.text("NEAR_LIMIT_RATIO").map(|ratio| ("near_limit_ratio", ratio, "NEAR_LIMIT_RATIO")));
    if reader.boolean("USE_PROMETHEUS") != Some(true) {
        return;
    }
    settings.push(("compat_metrics", "true".to_owned(), "USE_PROMETHEUS"));
    let (address, name) = match reader.text("PROMETHEUS_ADDR") {
        Some(address) => (address, "PROMETHEUS_ADDR"),
        None => (":9090".to_owned(), "USE_PROMETHEUS"),
    };
    settings.push(("metrics", address, name));
    settings.extend(reader.text("PROMETHEUS_PATH").map(|path| ("metrics_path", path, "PROMETHEUS_PATH")));
}

/// What is set and changes nothing. A switch that is off says that nobody wanted it.
fn without_effect(reader: &Reader<'_>) -> Vec<String> {
    let told = |variable: &Variable| {
        let Meaning::WithoutEffect(why) = variable.meaning else { return None };
        let value = reader.text(variable.name)?;
        (values::boolean(&value) != Some(false)).then(|| format!("{} has no effect: {why}", variable.name))
    };
    variables::ALL.iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests;
