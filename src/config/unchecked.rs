//! Rule files as they are written, for who must not know what they mean: another service's, say.

use serde_json::Value;

/// The documents of a file, unchecked.
///
/// # Errors
///
/// Why it is no YAML.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    serde_yaml::from_multiple(text).map_err(|error| error.to_string())
}
