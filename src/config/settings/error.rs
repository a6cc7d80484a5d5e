//! What is wrong with the settings.

use thiserror::Error;

use super::{ALL, Source};
use crate::{spelling::did_you_mean, store_address::StoreAddressError};

/// What is wrong with the settings.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
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
    #[error("the variable {name} is `{value}`: expected {expected}")]
    Variable { name: &'static str, value: String, expected: &'static str },
    #[error("the variable {name} is `{value}`, which cannot be done: {instead}")]
    NotCarriedOut { name: &'static str, value: String, instead: &'static str },
}

fn suggestion(key: &str) -> String {
    let near = did_you_mean(&key.replace('-', "_"), ALL.iter().map(|setting| setting.key));
    near.map(|question| format!("; {question}")).unwrap_or_default()
}
