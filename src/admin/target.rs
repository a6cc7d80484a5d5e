//! What an endpoint is asked about: a domain and a descriptor, or the beginning of descriptors.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{error::Error, fields::Fields};
use crate::{
    bounds::{ADMIN_TEXT_MAX_BYTES, LEVELS_MAX},
    orders::About,
    request::Entry,
};

/// A key and its value, as they were asked about.
pub type OwnedEntry = (Vec<u8>, Vec<u8>);

/// A descriptor of a domain, checked for its shape alone: neither need exist.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub domain: String,
    /// Keys and values, as Envoy sends them. At least one, at most [`LEVELS_MAX`].
    pub entries: Vec<OwnedEntry>,
    /// Every descriptor that begins with the entries is meant, not only the one that they are.
    pub prefix: bool,
    /// The caller knows that the counter is shared by many values.
    pub shared: bool,
}

/// Values may be secrets, and what can be printed is printed some day.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.entries.iter().map(|(key, _)| String::from_utf8_lossy(key)).collect();
        let Self { domain, prefix, shared, .. } = self;
        write!(f, "Target {{ domain: {domain:?}, keys: {keys:?}, prefix: {prefix}, shared: {shared} }}")
    }
}

impl Target {
    /// Takes `domain`, `descriptor`, `prefix` and `shared` out of a body.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them, by its name.
    pub fn take(fields: &mut Fields) -> Result<Self, Error> {
        let domain = take_domain(fields)?;
        let entries = take_entries("descriptor", fields.list("descriptor")?)?;
        Ok(Self { domain, entries, prefix: fields.flag("prefix")?, shared: fields.flag("shared")? })
    }

    /// What an order about it is about.
    pub fn about(&self) -> About {
        let entries = self.entries.iter().map(|(key, value)| (key.as_slice().into(), value.as_slice().into()));
        About { domain: self.domain.as_str().into(), entries: entries.collect(), prefix: self.prefix }
    }

    /// The entries as the core takes them.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        self.entries.iter().map(|(key, value)| Entry { key, value }).collect()
    }

    /// The descriptor as answers show it: as it was asked for.
    pub fn descriptor(&self) -> Value {
        descriptor(self.entries.iter().map(|(key, value)| (&**key, &**value)))
    }
}

/// What an order is about, as answers show it.
pub fn about(about: &About) -> Value {
    let entries = about.entries.iter().map(|(key, value)| (&**key, &**value));
    json!({"domain": about.domain, "descriptor": descriptor(entries), "prefix": about.prefix})
}

/// A descriptor as answers show it, of keys and values; what is not UTF-8 as `value_base64`.
pub fn descriptor<'e>(entries: impl IntoIterator<Item = (&'e [u8], &'e [u8])>) -> Value {
    let entries = entries.into_iter().map(|(key, value)| {
        let key = String::from_utf8_lossy(key);
        match str::from_utf8(value) {
            Ok(value) => json!({"key": key, "value": value}),
            Err(_) => json!({"key": key, "value_base64": BASE64_STANDARD.encode(value)}),
        }
    });
    entries.collect()
}

/// Takes `domain` out of a body.
///
/// # Errors
///
/// It is missing, no text, or too long.
pub fn take_domain(fields: &mut Fields) -> Result<String, Error> {
    let domain = bounded("domain", fields.text("domain")?.into_bytes())?;
    String::from_utf8(domain).map_err(|_| Error::bad("`domain` is no text"))
}

/// The keys and values of one descriptor, which stands at `place` in the body.
///
/// # Errors
///
/// What is wrong with it, by its place.
pub fn take_entries(place: &str, list: Vec<Value>) -> Result<Vec<OwnedEntry>, Error> {
    if list.is_empty() {
        return Err(Error::bad(format!("`{place}` is empty: expected at least one entry")));
    }
    if list.len() > LEVELS_MAX {
        return Err(Error::bad(format!("`{place}` has {} entries: at most {LEVELS_MAX}", list.len())));
    }
    list.into_iter().enumerate().map(|(index, entry)| take_entry(&format!("{place}[{index}]"), entry)).collect()
}

fn take_entry(place: &str, entry: Value) -> Result<OwnedEntry, Error> {
    let mut fields = Fields::of(entry, place)?;
    let key = bounded(&format!("{place}.key"), fields.text("key")?.into_bytes())?;
    if key.is_empty() {
        return Err(Error::bad(format!("`{place}.key` is empty")));
    }
    let value = match (fields.optional_text("value")?, fields.optional_text("value_base64")?) {
        (Some(value), None) => bounded(&format!("{place}.value"), value.into_bytes())?,
        (None, Some(text)) => {
            let place = format!("{place}.value_base64");
            let bytes = BASE64_STANDARD.decode(text).map_err(|_| {
                Error::bad(format!("`{place}` is not base64 (RFC 4648, the standard alphabet, with padding)"))
            })?;
            bounded(&place, bytes)?
        }
        (Some(_), Some(_)) => {
            return Err(Error::bad(format!("`{place}` has both `value` and `value_base64`: expected one of them")));
        }
        (None, None) => {
            // An unknown field explains better what happened than the absence of both.
            fields.end()?;
            return Err(Error::bad(format!("`{place}` has neither `value` nor `value_base64`: expected one of them")));
        }
    };
    fields.end()?;
    Ok((key, value))
}

fn bounded(place: &str, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    if bytes.len() <= ADMIN_TEXT_MAX_BYTES {
        return Ok(bytes);
    }
    Err(Error::bad(format!("`{place}` has {} bytes: at most {ADMIN_TEXT_MAX_BYTES}", bytes.len())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(body: &str) -> Result<Target, Error> {
        let mut fields = Fields::parse(body.as_bytes())?;
        let target = Target::take(&mut fields)?;
        fields.end().map(|()| target)
    }

    #[test]
    fn a_descriptor_is_read_as_envoy_sends_it() {
        let read = target(
            r#"{"domain": "shop", "descriptor": [{"key": "api_key", "value": "acme"},
                {"key": "raw", "value_base64": "/wD+"}], "prefix": true}"#,
        );
        let read = read.unwrap();
        assert_eq!(read.domain, "shop");
        assert_eq!((read.prefix, read.shared), (true, false));
        assert_eq!(read.entries()[0], Entry { key: b"api_key", value: b"acme" });
        assert_eq!(read.entries()[1], Entry { key: b"raw", value: b"\xff\0\xfe" });
        assert_eq!(
            read.descriptor(),
            json!([{"key": "api_key", "value": "acme"}, {"key": "raw", "value_base64": "/wD+"}])
        );
        assert!(!format!("{read:?}").contains("acme"), "{read:?}");
    }

    #[test]
    fn every_mistake_is_told_by_the_name_of_its_field_and_without_the_value() {
        let entry = |inner: &str| format!(r#"{{"domain": "shop", "descriptor": [{{{inner}}}]}}"#);
        let many = vec![r#"{"key": "k", "value": "secret"}"#; 33].join(",");
        let long = "s".repeat(8_193);
        for (body, message) in [
            (r#"{"descriptor": []}"#.to_owned(), "`domain` is missing"),
            (r#"{"domain": "shop"}"#.to_owned(), "`descriptor` is missing"),
            (
                r#"{"domain": "shop", "descriptors": []}"#.to_owned(),
                "`descriptor` is missing; is `descriptors` meant to be it?",
            ),
            (
                r#"{"domain": "shop", "descriptor": []}"#.to_owned(),
                "`descriptor` is empty: expected at least one entry",
            ),
            (
                r#"{"domain": "shop", "descriptor": ["secret"]}"#.to_owned(),
                "`descriptor[0]` is text: expected an object",
            ),
            (format!(r#"{{"domain": "shop", "descriptor": [{many}]}}"#), "`descriptor` has 33 entries: at most 32"),
            (entry(r#""value": "secret""#), "`descriptor[0].key` is missing"),
            (entry(r#""key": "", "value": "secret""#), "`descriptor[0].key` is empty"),
            (entry(r#""key": "k""#), "`descriptor[0]` has neither `value` nor `value_base64`: expected one of them"),
            (
                entry(r#""key": "k", "valeu": "secret""#),
                "`descriptor[0].valeu` is no field of this request; did you mean `value`?",
            ),
            (
                entry(r#""key": "k", "value": "secret", "value_base64": "c2VjcmV0""#),
                "`descriptor[0]` has both `value` and `value_base64`: expected one of them",
            ),
            (
                entry(r#""key": "k", "value_base64": "secret!""#),
                "`descriptor[0].value_base64` is not base64 (RFC 4648, the standard alphabet, with padding)",
            ),
            (entry(r#""key": "k", "value": 5"#), "`descriptor[0].value` is a number: expected text"),
            (entry(&format!(r#""key": "k", "value": "{long}""#)), "`descriptor[0].value` has 8193 bytes: at most 8192"),
            (entry(&format!(r#""key": "{long}", "value": """#)), "`descriptor[0].key` has 8193 bytes: at most 8192"),
            (
                r#"{"domain": "shop", "descriptor": [{"key": "k", "value": ""}], "prefix": "yes"}"#.to_owned(),
                "`prefix` is text: expected true or false",
            ),
            (
                r#"{"domain": "shop", "descriptor": [{"key": "k", "value": ""}], "share": true}"#.to_owned(),
                "`share` is no field of this request; did you mean `shared`?",
            ),
        ] {
            let error = target(&body).unwrap_err();
            assert_eq!(error.to_string(), message, "{body}");
            assert_eq!(error.code().0, "bad_request");
        }
    }

    proptest! {
        #[test]
        fn what_an_answer_shows_can_be_asked_again(
            entries in prop::collection::vec(("[a-z_]{1,9}", any::<Vec<u8>>()), 1..=LEVELS_MAX),
        ) {
            let entries: Vec<_> = entries.into_iter().map(|(key, value)| (key.into_bytes(), value)).collect();
            let asked = Target { domain: "shop".to_owned(), entries, prefix: false, shared: false };
            let body = json!({"domain": "shop", "descriptor": asked.descriptor()}).to_string();
            prop_assert_eq!(target(&body).unwrap(), asked);
        }
    }
}
