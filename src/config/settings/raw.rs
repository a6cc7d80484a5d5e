//! Settings as they were given, from wherever: the layers, laid over each other.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use super::{
    ALL, SettingsError,
    mask::{masked, undrawn},
    ratelimit,
};

/// Where a value comes from, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Default,
    File,
    /// A variable of envoyproxy/ratelimit, in the compatibility mode.
    Variable(&'static str),
    Environment,
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Variable(name) => name,
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// The settings as they were given: text, and where each came from.
#[derive(Debug)]
pub struct RawSettings {
    pub(super) values: BTreeMap<&'static str, (String, Source)>,
    /// What the variables of another service came to beside values.
    pub(super) errors: Vec<SettingsError>,
    pub(super) without_effect: Vec<String>,
}

/// What envoyproxy/ratelimit's program is called, and our setting `compat` in its place.
pub(super) const RATELIMIT: &str = "ratelimit";

impl RawSettings {
    /// Puts the layers together. `flag` and `environment` give the value of a setting, if it was set there; `program` is
    /// what this one was called as, by which it knows whose place it takes.
    ///
    /// # Errors
    ///
    /// A settings file that was asked for and cannot be read, is not YAML or has unknown keys.
    pub fn gather(
        program: &str,
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
        let mut raw = Self { values, errors: Vec::new(), without_effect: Vec::new() };
        raw.add_file()?;
        if program == RATELIMIT {
            raw.lay(RATELIMIT, "compat", Source::Default);
        }
        if raw.values["compat"].0 == RATELIMIT {
            raw.add_ratelimit(&environment);
        }
        Ok(raw)
    }

    /// Puts a value in the place of weaker ones.
    fn lay(&mut self, value: impl Into<String>, key: &'static str, source: Source) {
        if let Some(slot) = self.values.get_mut(key).filter(|slot| slot.1 <= source) {
            *slot = (value.into(), source);
        }
    }

    /// Lays the environment of envoyproxy/ratelimit over the settings file, and its defaults below it.
    fn add_ratelimit(&mut self, environment: &dyn Fn(&'static str) -> Option<String>) {
        for (key, value) in ratelimit::DEFAULTS {
            self.lay(*value, key, Source::Default);
        }
        let translated = ratelimit::translated(environment);
        for (key, value, variable) in translated.settings {
            self.lay(value, key, Source::Variable(variable));
        }
        (self.errors, self.without_effect) = (translated.errors, translated.without_effect);
    }

    /// Lays the settings file below flags and environment.
    fn add_file(&mut self) -> Result<(), SettingsError> {
        let (file, source) = self.values["settings"].clone();
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if source == Source::Default && error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(SettingsError::Unreadable { file, error: error.to_string() }),
        };
        let values: Option<BTreeMap<String, Option<FileValue>>> = serde_yaml::from_str(&text)
            .map_err(|error| SettingsError::NotYaml { file: file.clone(), error: undrawn(&error.to_string()) })?;
        for (key, value) in values.unwrap_or_default() {
            let known = self.values.iter_mut().find(|(name, _)| **name == key && key != "settings");
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
            let (value, source) = &self.values[setting.key];
            (setting.key, masked(value), *source)
        })
    }
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
