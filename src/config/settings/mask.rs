//! What people may see of a value: passwords in URLs (`redis://user:password@host`) are nobody's business.

use std::borrow::Cow;

/// `value` without what may be a password: everything before its last `@`, and everything behind a `?`.
///
/// It sees more passwords than there are, for it is shown what is mistyped, too: `redis:/user:password@host`. But a path
/// is a path.
pub(super) fn masked(value: &str) -> Cow<'_, str> {
    if value.starts_with(['/', '.']) {
        return value.into();
    }
    let login = value.rsplit_once('@').map(|(login, _)| login);
    let shown = login.map_or(value, |login| &value[login.len() + 1..]);
    let (shown, parameters) = shown.split_at(shown.find('?').unwrap_or(shown.len()));
    if login.is_none() && parameters.is_empty() {
        return value.into();
    }
    let scheme = login.and_then(|login| login.split_once("://")).map(|(scheme, _)| scheme);
    let scheme =
        scheme.filter(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-".contains(&byte)));
    let scheme = scheme.map(|scheme| format!("{scheme}://")).unwrap_or_default();
    let login = if login.is_some() { "***@" } else { "" };
    let parameters = if parameters.is_empty() { "" } else { "?***" };
    format!("{scheme}{login}{shown}{parameters}").into()
}

/// What a YAML parser says, without the lines of the file that it draws below: a password may stand in one of them.
pub(super) fn undrawn(error: &str) -> String {
    let said = error.lines().next().unwrap_or_default();
    let words: Vec<_> = said.trim_start_matches("error: ").split(' ').map(masked).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_password_is_not_shown() {
        for (value, shown) in [
            ("memory", "memory"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("redis://host:6379/1", "redis://host:6379/1"),
            ("redis://me:canary@host:6379", "redis://***@host:6379"),
            ("redis://canary@host:6379", "redis://***@host:6379"),
            ("redis://me:can@ary@host", "redis://***@host"),
            ("redis://me:can/ary@host", "redis://***@host"),
            ("redis://me:can?ary@host", "redis://***@host"),
            ("rediss-cluster://:canary@a,b", "rediss-cluster://***@a,b"),
            ("redis+unix://me:canary@/run/redis.sock", "redis+unix://***@/run/redis.sock"),
            ("redis+unix:///run/redis.sock?pass=canary", "redis+unix:///run/redis.sock?***"),
            ("redis:/me:canary@host", "***@host"),
            ("me:canary@host", "***@host"),
            ("canary@host", "***@host"),
            ("me:canary://@host", "***@host"),
            ("/srv/me@work/state", "/srv/me@work/state"),
        ] {
            assert_eq!(masked(value), shown, "{value}");
        }
    }

    #[test]
    fn of_a_parsers_error_its_words_are_kept() {
        let drawn = "error: line 2 column 7: unclosed bracket '['\n 1 | store: redis://:canary@host\n 2 | grpc: [";
        assert_eq!(undrawn(drawn), "line 2 column 7: unclosed bracket '['");
        assert_eq!(undrawn("no map: \"redis://:canary@host\""), "no map: ***@host\"");
    }
}
