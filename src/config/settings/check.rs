//! From settings as they were given to settings that can be relied on.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    ALL, Compat, LogFormat, RawSettings, RuleFiles, Settings, SettingsError, Source, mask::masked, raw::RATELIMIT,
};
use crate::{
    bounds,
    config::capacity,
    render::headers::{HeaderNames, Headers, list::check_name},
    store_address::StoreAddress,
};

impl RawSettings {
    /// Checks every value.
    ///
    /// # Errors
    ///
    /// Every bad value, not only the first.
    pub fn check(&self) -> Result<Settings, Vec<SettingsError>> {
        self.check_on(Path::new("/"))
    }

    /// Checks every value on the machine whose files stand below `root`.
    pub(super) fn check_on(&self, root: &Path) -> Result<Settings, Vec<SettingsError>> {
        let mut check = Check { raw: self, errors: self.errors.clone() };
        let mut settings = Settings {
            grpc: check.text("grpc"),
            grpc_tls: check.grpc_tls(),
            http: check.text("http"),
            admin: check.text("admin"),
            admin_token_file: check.file("admin_token_file"),
            debug: check.optional_text("debug"),
            metrics: check.optional_text("metrics"),
            metrics_path: check.metrics_path(),
            rules: check.text("rules").into(),
            usage_secret_file: check.file("usage_secret_file"),
            store_password_file: check.file("store_password_file"),
            store_tls: check.store_tls(),
            store_deadline: check.store_deadline(),
            replicas: check.replicas(),
            store: check.store(),
            state: check.state(),
            snapshot: check.snapshot(),
            count_denied: check.boolean("count_denied"),
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
            max_connection_age: check.max_connection_age(),
            max_connection_age_grace: check.max_connection_age_grace(),
            drain_delay: check.duration("drain_delay"),
            drain_deadline: check.duration("drain_deadline"),
            compat_metrics: check.boolean("compat_metrics"),
            trace: check.trace(),
            near_limit_ratio: check.near_limit_ratio(),
            log_level: check.log_level(),
            log_format: check.log_format(),
            compat: check.words("compat", &[("none", Compat::None), (RATELIMIT, Compat::Ratelimit)]),
            rule_files: check.words(
                "rule_files",
                &[("yaml", RuleFiles::Yaml), ("all", RuleFiles::All), ("visible", RuleFiles::Visible)],
            ),
            merge_domains: check.boolean("merge_domains"),
            ready_without_rules: check.boolean("ready_without_rules"),
            shadow_mode: check.boolean("shadow_mode"),
            quota_mode: check.boolean("quota_mode"),
            headers: check.headers(),
            header_names: check.header_names(),
            request_metadata: check.boolean("request_metadata"),
            store_key_prefix: check.store_key_prefix(),
            warnings: Vec::new(),
        };
        settings.warnings = self.warnings(&settings.store);
        if check.errors.is_empty() { Ok(settings) } else { Err(check.errors) }
    }

    /// What to tell of values that are good.
    fn warnings(&self, store: &StoreAddress) -> Vec<String> {
        let mut warnings = self.without_effect.clone();
        let (_, from) = &self.values["store"];
        // Where a variable of another service says it, there is nothing else to do.
        let ours = !matches!(from, Source::Variable(_));
        if ours && matches!(store, StoreAddress::Redis(redis) if redis.password.is_some()) {
            warnings.push(PASSWORD_IN_URL.to_owned());
        }
        warnings
    }
}

const PASSWORD_IN_URL: &str = "setting `store` has a password in its URL, where processes and files of this machine show \
                               it: put it into a file and name that with `store_password_file`";

/// Collects what is wrong.
pub(super) struct Check<'r> {
    pub raw: &'r RawSettings,
    pub errors: Vec<SettingsError>,
}

impl Check<'_> {
    pub(super) fn text(&self, key: &'static str) -> String {
        self.raw.values[key].0.clone()
    }

    /// None where it is empty.
    pub(super) fn optional_text(&self, key: &'static str) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    fn metrics_path(&mut self) -> String {
        // As requests are compared with it: what they say behind `?` is no part of a path.
        let sign = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
        let parse = |text: &str| (text.starts_with('/') && text.bytes().all(sign)).then(|| text.to_owned());
        self.parse("metrics_path", "a path such as `/metrics`", parse).unwrap_or_default()
    }

    /// None where it is empty.
    pub(super) fn file(&self, key: &'static str) -> Option<PathBuf> {
        self.optional_text(key).map(PathBuf::from)
    }

    /// Complains if something is given that needs something else.
    pub(super) fn given(&mut self, key: &'static str, needs: &'static str) {
        if self.file(key).is_some() {
            self.errors.push(SettingsError::Needs { key, from: self.raw.values[key].1, needs });
        }
    }

    pub(super) fn parse<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let (value, from) = &self.raw.values[key];
        let parsed = parse(value.trim());
        if parsed.is_none() {
            self.errors.push(SettingsError::Bad { key, from: *from, value: masked(value).into_owned(), expected });
        }
        parsed
    }

    fn boolean(&mut self, key: &'static str) -> bool {
        self.parse(key, "true or false", parse_bool).unwrap_or_default()
    }

    /// One of some words; the first where it is none.
    pub(super) fn words<T: Copy + Default>(&mut self, key: &'static str, words: &[(&str, T)]) -> T {
        let expected = ALL.iter().find(|setting| setting.key == key).map_or("", |setting| setting.value);
        let parse = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        self.parse(key, expected, parse).unwrap_or_default()
    }

    fn headers(&mut self) -> String {
        let parse = |text: &str| Headers::NAMES.contains(&text).then(|| text.to_owned());
        let expected = "`none`, `x-ratelimit`, `ratelimit`, `ietf`, `github` or `envoyproxy`";
        self.parse("headers", expected, parse).unwrap_or_default()
    }

    fn header_names(&mut self) -> HeaderNames {
        let expected = "the name of a header: letters, digits and `-`";
        let parse = |text: &str| check_name(text).is_ok().then(|| text.into());
        let [limit, remaining, reset] = ["limit_header", "remaining_header", "reset_header"]
            .map(|key| self.parse(key, expected, parse).unwrap_or_default());
        HeaderNames { limit, remaining, reset }
    }

    fn store_key_prefix(&mut self) -> String {
        // Braces choose the slot of a cluster; what is no text of one line is nothing to look for by hand.
        let good = |byte: u8| byte.is_ascii_graphic() && !b"{}".contains(&byte);
        let parse = |text: &str| {
            let fits = (1..=bounds::STORE_KEY_PREFIX_MAX_BYTES).contains(&text.len()) && text.bytes().all(good);
            fits.then(|| text.to_owned())
        };
        self.parse("store_key_prefix", "1 to 64 visible ASCII characters without `{` and `}`", parse)
            .unwrap_or_default()
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Duration {
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

    fn near_limit_ratio(&mut self) -> f32 {
        let parse = |text: &str| text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        self.parse("near_limit_ratio", "a number from 0 to 1", parse).unwrap_or_default()
    }

    fn log_level(&mut self) -> String {
        // A bare word that is no level would be taken for a target, and everything else would go unsaid.
        let level = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
        let good = |part: &str| level(part) || part.contains('=') || part.starts_with("tallygate");
        let parse = |text: &str| {
            let text = text.to_ascii_lowercase();
            let parts: Vec<&str> = text.split(',').map(str::trim).map(level_of_ours).collect();
            parts.iter().copied().all(good).then(|| parts.join(","))
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

/// A level, where it is a word that envoyproxy/ratelimit has for it.
fn level_of_ours(word: &str) -> &str {
    match word {
        "warning" => "warn",
        "fatal" | "panic" => "error",
        other => other,
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
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    parse_duration_up_to(text, Duration::from_hours(24))
}

pub(super) fn parse_duration_up_to(text: &str, longest: Duration) -> Option<Duration> {
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
    (duration <= longest).then_some(duration)
}
