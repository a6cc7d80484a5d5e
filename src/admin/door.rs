//! The door: who may ask, and what of it is let in. Everything behind it may trust that the caller is one of us and
//! that the body is all there.

use std::{net::IpAddr, time::Duration};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, Uri,
        header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{error::Error, token::Token};
use crate::{
    bounds::{ADMIN_BODY_DEADLINE, ADMIN_BODY_MAX_BYTES},
    serve_http::body::{Unread, read},
};

/// Who may pass.
#[derive(Clone, Debug)]
pub struct Door {
    /// None: everybody on this machine, who alone can reach the port then.
    token: Option<Token>,
    body_deadline: Duration,
}

impl Door {
    pub fn new(token: Option<Token>) -> Self {
        Self { token, body_deadline: ADMIN_BODY_DEADLINE }
    }

    fn let_in(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
        match &self.token {
            Some(token) if !bearer(headers).is_some_and(|shown| token.is(shown)) => return Err(Error::WrongToken),
            // A page in a browser on this machine can ask loopback under a name of its own (DNS rebinding), and then
            // even read the answer. It cannot choose the Host header.
            None if !named_plainly(uri, headers) => return Err(Error::BadHost),
            Some(_) | None => {}
        }
        // The other half of it: what a page can send to another site without asking that site first is of no JSON type.
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
        if !safe && !is_json(headers) {
            return Err(Error::NotJsonType);
        }
        Ok(())
    }
}

/// Checks a request, reads its body whole, and passes it on.
pub async fn pass(State(door): State<Door>, request: Request, next: Next) -> Response {
    if let Err(error) = door.let_in(request.method(), request.uri(), request.headers()) {
        return turn_away(error);
    }
    let (head, body) = request.into_parts();
    // Only reading is timed: what an endpoint has begun is not broken off.
    match read(body, ADMIN_BODY_MAX_BYTES, door.body_deadline).await {
        Ok(body) => next.run(Request::from_parts(head, body.into())).await,
        Err(unread) => turn_away(unread.into()),
    }
}

impl From<Unread> for Error {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Self::TooLarge,
            Unread::TooSlow => Self::TooSlow,
            Unread::BrokeOff => Self::bad("the body broke off"),
        }
    }
}

/// Who is turned away keeps no connection: places at the port are few.
fn turn_away(error: Error) -> Response {
    let challenge = error == Error::WrongToken;
    let mut response = error.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The token that is shown: exactly one header, whose scheme is matched without regard to case (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Whether the service is asked by its address, or as `localhost`: names that nobody else can point at it.
fn named_plainly(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let plain = |authority: &str| {
        let Ok(authority) = authority.parse::<axum::http::uri::Authority>() else { return false };
        let host = authority.host();
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let names_user = authority.as_str().contains('@');
        !names_user && (host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok())
    };
    // A request line with a whole URI has a host of its own, which then counts instead: both must be good.
    host.to_str().is_ok_and(plain) && uri.authority().is_none_or(|authority| plain(authority.as_str()))
}

/// `application/json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let media_type = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

#[cfg(test)]
mod tests;
