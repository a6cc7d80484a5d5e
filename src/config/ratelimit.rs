//! What envoyproxy/ratelimit forgives in a rule file, and so do we in its place: every slip is a warning there, and an
//! error that says what to change elsewhere.

use super::shape::Shape;

/// The keys of its files. It knows each of them anywhere, and heeds it only where it means something.
const KEYS: [&str; 16] = [
    "domain",
    "key",
    "value",
    "descriptors",
    "rate_limit",
    "unit",
    "requests_per_unit",
    "unlimited",
    "shadow_mode",
    "quota_mode",
    "name",
    "replaces",
    "detailed_metric",
    "value_to_metric",
    "share_threshold",
    "metadata",
];

/// The maps of its files.
const MAPS: [&str; 4] = ["domain", "rule", "rate_limit", "replaces"];

/// What to do about one of its keys that means nothing in a map of this shape.
pub(super) fn misplaced(key: &str, shape: &Shape) -> Option<String> {
    if !MAPS.contains(&shape.id) || !KEYS.contains(&key) {
        return None;
    }
    let home = super::SHAPES.iter().find(|home| MAPS.contains(&home.id) && home.key(key).is_some())?;
    Some(format!("`{key}` is a key of {}; here envoyproxy/ratelimit passes over it: move it, or delete it", home.name))
}
