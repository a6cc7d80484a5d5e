//! Which service a command asks as Envoy does, and how: an address of gRPC, by TLS or not.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Arg, ArgMatches, Command, value_parser};

use crate::{
    compare::{Tls, side::BY_TLS},
    config::settings::Settings,
};

/// How addresses are written.
pub(super) const ADDRESS: &str = "[https://]HOST:PORT";

const HEADING: &str = "TLS, for https://HOST:PORT";

/// Adds the arguments that say how TLS is spoken.
pub(super) fn by_tls(command: Command) -> Command {
    let file = |name: &'static str| {
        Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help_heading(HEADING)
    };
    command
        .arg(file("tls-ca-file").help("Who signs services' certificates, in PEM [default: whom this machine trusts]"))
        .arg(file("tls-cert-file").requires("tls-key-file").help("The certificate to show where one is asked for"))
        .arg(file("tls-key-file").requires("tls-cert-file").help("Its key"))
        .arg(
            Arg::new("tls-name")
                .long("tls-name")
                .value_name("NAME")
                .help_heading(HEADING)
                .help("Whose certificate it must be [default: the host's]"),
        )
}

/// What those arguments say.
///
/// # Errors
///
/// They say something, and none of these addresses is one of TLS.
pub(super) fn tls(matches: &ArgMatches, addresses: &[&str]) -> anyhow::Result<Tls> {
    let file = |name| matches.get_one::<PathBuf>(name).cloned();
    let tls = Tls {
        ca: file("tls-ca-file"),
        own: file("tls-cert-file").zip(file("tls-key-file")),
        name: matches.get_one::<String>("tls-name").cloned(),
    };
    let says_something = tls.ca.is_some() || tls.own.is_some() || tls.name.is_some();
    if says_something && !addresses.iter().any(|address| address.starts_with(BY_TLS)) {
        bail!("`--tls-…` is for {BY_TLS}HOST:PORT, and not for {}", addresses.join(" or "));
    }
    Ok(tls)
}

/// Where the service listens that has these settings.
pub(super) fn own_address(settings: &Settings) -> String {
    match settings.grpc_tls {
        // On a Unix socket there is none.
        Some(_) if !settings.grpc.starts_with("unix:") => format!("{BY_TLS}{}", settings.grpc),
        _ => settings.grpc.clone(),
    }
}
