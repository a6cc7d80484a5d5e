//! What only some may know: the token of the admin API, the secret of usage pages, random bytes.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context as _, anyhow, bail};

use crate::{admin::token::Token, config::settings::Settings, http::usage_page::Secret};

/// The token of the admin API. Without one it is for this machine alone: it changes counters.
pub(super) fn admin_token(settings: &Settings, admin: IpAddr) -> anyhow::Result<Option<Token>> {
    let Some(path) = &settings.admin_token_file else {
        // What counts is where it really listens, whatever name was resolved to it.
        if !admin.is_loopback() {
            bail!("setting `admin` is `{}`, beyond this machine: set `admin_token_file` too", settings.admin);
        }
        return Ok(None);
    };
    let token = Token::read(path).with_context(|| format!("setting `admin_token_file` is `{}`", path.display()))?;
    Ok(Some(token))
}

/// What a request for a usage page must show. One that cannot be read is no reason to show pages to everybody.
pub(super) fn usage_secret(settings: &Settings) -> anyhow::Result<Option<Arc<Secret>>> {
    let Some(path) = &settings.usage_secret_file else { return Ok(None) };
    let secret = Secret::read(path).with_context(|| format!("setting `usage_secret_file` is `{}`", path.display()))?;
    Ok(Some(Arc::new(secret)))
}

/// Bytes that nobody can guess.
pub(super) fn random<const LENGTH: usize>() -> anyhow::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no random numbers from the system: {error}"))?;
    Ok(bytes)
}
