//! Where counters live: `REDIS_…` and `BACKEND_TYPE` as the one URL that `store` is.

use super::{Reader, Settings, SettingsError, values::escaped};

pub(super) fn store(reader: &Reader<'_>, settings: &mut Settings) {
    match reader.text("BACKEND_TYPE").map(|kind| kind.to_ascii_lowercase()).as_deref() {
        None | Some("redis") => {}
        // No word of that service: a way to say that its Redis is not wanted, where `REDIS_URL` is always set.
        Some("memory") => {
            settings.push(("store", "memory".to_owned(), "BACKEND_TYPE"));
            return;
        }
        Some(_) => {
            reader.stop("BACKEND_TYPE", "set BACKEND_TYPE=redis with REDIS_URL, or BACKEND_TYPE=memory");
            return;
        }
    }
    let Some(url) = reader.text("REDIS_URL") else { return };
    if let Some(store) = address(reader, url.trim()) {
        settings.push(("store", store, "REDIS_URL"));
    }
    if let Some(prefix) = reader.text("CACHE_KEY_PREFIX") {
        settings.push(("store_key_prefix", prefix + "tallygate:", "CACHE_KEY_PREFIX"));
    }
    if reader.boolean("REDIS_TLS") == Some(true) {
        tls(reader, settings);
    }
    if reader.text("REDIS_SENTINEL_AUTH").is_some() {
        reader.stop("REDIS_SENTINEL_AUTH", "sentinels are asked without a password here: let them answer without one");
    }
}

/// The URL of our `store`.
fn address(reader: &Reader<'_>, url: &str) -> Option<String> {
    let kind = reader.parse("REDIS_TYPE", "`SINGLE`, `SENTINEL` or `CLUSTER`", |kind| {
        ["single", "sentinel", "cluster"].into_iter().find(|known| kind.eq_ignore_ascii_case(known))
    });
    if reader.text("REDIS_TYPE").is_some() && kind.is_none() {
        return None;
    }
    let tls = if reader.boolean("REDIS_TLS") == Some(true) { "s" } else { "" };
    let login = reader.text("REDIS_AUTH").map(|auth| login(&auth)).unwrap_or_default();
    match kind.unwrap_or("single") {
        "cluster" => Some(format!("redis{tls}-cluster://{login}{url}")),
        "sentinel" => {
            let Some((master, sentinels)) = url.split_once(',') else {
                let (value, expected) = (url.to_owned(), "the master's name and its sentinels: `main,a:26379,b:26379`");
                reader.error(SettingsError::Variable { name: "REDIS_URL", value, expected });
                return None;
            };
            Some(format!("redis{tls}-sentinel://{login}{sentinels}/{master}"))
        }
        _ if url.starts_with(['/', '.']) => Some(format!("redis+unix://{login}{url}")),
        // Whoever writes a login into the URL means that one.
        _ => match url.split_once("://") {
            Some((scheme, rest)) if rest.contains('@') || login.is_empty() => Some(format!("{scheme}{tls}://{rest}")),
            Some((scheme, rest)) => Some(format!("{scheme}{tls}://{login}{rest}")),
            None => Some(format!("redis{tls}://{login}{url}")),
        },
    }
}

/// `PASSWORD` or `USER:PASSWORD`.
fn login(auth: &str) -> String {
    match auth.split_once(':') {
        Some((user, password)) => format!("{}:{}@", escaped(user), escaped(password)),
        None => format!(":{}@", escaped(auth)),
    }
}

fn tls(reader: &Reader<'_>, settings: &mut Settings) {
    for (name, setting) in [
        ("REDIS_TLS_CACERT", "store_tls_ca_file"),
        ("REDIS_TLS_CLIENT_CERT", "store_tls_cert_file"),
        ("REDIS_TLS_CLIENT_KEY", "store_tls_key_file"),
    ] {
        settings.extend(reader.text(name).map(|file| (setting, file, name)));
    }
    if reader.boolean("REDIS_TLS_SKIP_HOSTNAME_VERIFICATION") == Some(true) {
        let instead =
            "who answers is always verified: name the Redis as its certificate does, and its CA with REDIS_TLS_CACERT";
        reader.stop("REDIS_TLS_SKIP_HOSTNAME_VERIFICATION", instead);
    }
}
