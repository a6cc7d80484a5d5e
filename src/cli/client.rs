//! Asks the admin API of the running service, which the settings say where to find.

use std::{error::Error as _, net::SocketAddr};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::ArgMatches;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    admin::token::Token,
    bounds::{ADMIN_ANSWER_DEADLINE, ADMIN_ANSWER_MAX_BYTES},
};

/// Where the service is, and the token for it.
#[derive(Debug)]
pub(super) struct Client {
    address: String,
    token: Option<Token>,
}

impl Client {
    /// # Errors
    ///
    /// Settings that cannot be used, or a token file that holds none.
    pub(super) fn new(matches: &ArgMatches) -> anyhow::Result<Self> {
        let settings = super::checked_settings(matches)?;
        let read = |path: &std::path::PathBuf| {
            Token::read(path).with_context(|| format!("setting `admin_token_file` is `{}`", path.display()))
        };
        let token = settings.admin_token_file.as_ref().map(read).transpose()?;
        Ok(Self { address: reachable(settings.admin), token })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    ///
    /// The service cannot be reached, does not answer in time, or refuses; then the error is its message.
    pub(super) fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // In a block: a deadline is made within the runtime that keeps it.
        let answer =
            runtime.block_on(async { timeout(ADMIN_ANSWER_DEADLINE, self.exchange(method, path, body)).await });
        let (status, body) = answer.with_context(|| {
            format!("the service at {} (setting `admin`) did not answer within {ADMIN_ANSWER_DEADLINE:?}", self.address)
        })??;
        let answer: Value = serde_json::from_slice(&body).with_context(|| {
            format!("is {} (setting `admin`) tallygate's admin API? it answered no JSON", self.address)
        })?;
        if status.is_success() {
            return Ok(answer);
        }
        match answer["error"]["message"].as_str() {
            Some(message) if status == StatusCode::UNAUTHORIZED => bail!("{message} (setting `admin_token_file`)"),
            Some(message) => bail!("{message}"),
            None => bail!("{} (setting `admin`) answered {status}", self.address),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = self.request(method, path, body)?;
        let connected = TcpStream::connect(&self.address).await;
        let socket = connected
            .with_context(|| format!("cannot reach the service at {} (setting `admin`): does it run?", self.address))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        let exchanged = async move {
            let response = sender.send_request(request).await.map_err(|error| deepest(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ADMIN_ANSWER_MAX_BYTES).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?.to_bytes();
            // The sender goes here, and with it the connection comes to its end.
            Ok((status, body))
        };
        tokio::join!(exchanged, connection).0
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.address);
        if let Some(token) = &self.token {
            let mut bearer = header::HeaderValue::try_from(token.bearer())?;
            bearer.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, bearer);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        Ok(request.body(Full::new(body.into()))?)
    }
}

/// Where a service that listens at `address` is reached from its own machine: "everywhere" is no place to go to.
fn reachable(address: String) -> String {
    match address.parse::<SocketAddr>() {
        Ok(SocketAddr::V4(v4)) if v4.ip().is_unspecified() => format!("127.0.0.1:{}", v4.port()),
        Ok(SocketAddr::V6(v6)) if v6.ip().is_unspecified() => format!("[::1]:{}", v6.port()),
        _ => address,
    }
}

/// hyper says only where it failed; why is what people need.
fn deepest(error: &hyper::Error) -> anyhow::Error {
    let why = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    anyhow::anyhow!("asking the service: {error}{why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_listens_everywhere_is_asked_on_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:6070", "127.0.0.1:6070"),
            ("[::]:6070", "[::1]:6070"),
            ("10.1.2.3:6070", "10.1.2.3:6070"),
            ("localhost:6070", "localhost:6070"),
        ] {
            assert_eq!(reachable(listens.to_owned()), asked);
        }
    }
}
