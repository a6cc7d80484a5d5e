//! Settings of the store, checked one by one and against each other.

use std::{num::NonZeroU32, time::Duration};

use super::{
    SettingsError,
    check::{Check, parse_duration},
    mask::masked,
};
use crate::{
    bounds::{REPLICAS_MAX, STORE_DEADLINE_MAX, STORE_DEADLINE_MIN},
    store_address::{ClientCertificate, RedisAddress, StoreAddress, TlsFiles},
};

impl Check<'_> {
    pub(super) fn store(&mut self) -> StoreAddress {
        let (value, from) = &self.raw.values["store"];
        match StoreAddress::parse(value.trim()) {
            Ok(store) => {
                if let StoreAddress::Redis(redis) = &store {
                    self.suits(redis);
                }
                store
            }
            Err(error) => {
                self.errors.push(SettingsError::Store { from: *from, value: masked(value).into_owned(), error });
                StoreAddress::Memory
            }
        }
    }

    /// Whether the other settings of the store mean something to this one. None does to the memory, where they may wait
    /// for the day that it is not enough.
    fn suits(&mut self, redis: &RedisAddress) {
        if redis.password.is_some() {
            self.given("store_password_file", "a `store` without a password in its URL: which one holds?");
        }
        if !redis.tls {
            for key in ["store_tls_ca_file", "store_tls_cert_file", "store_tls_key_file"] {
                self.given(key, "a `store` with TLS, such as `rediss://redis.internal:6379`");
            }
        }
    }

    pub(super) fn store_tls(&mut self) -> TlsFiles {
        let client = match (self.file("store_tls_cert_file"), self.file("store_tls_key_file")) {
            (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
            _ => {
                self.given("store_tls_cert_file", "`store_tls_key_file` beside it");
                self.given("store_tls_key_file", "`store_tls_cert_file` beside it");
                None
            }
        };
        TlsFiles { ca: self.file("store_tls_ca_file"), client }
    }

    pub(super) fn store_deadline(&mut self) -> Duration {
        let range = STORE_DEADLINE_MIN..=STORE_DEADLINE_MAX;
        let parse = |text: &str| parse_duration(text).filter(|deadline| range.contains(deadline));
        self.parse("store_deadline", "a duration from 1ms to 1s such as `10ms`", parse).unwrap_or(STORE_DEADLINE_MAX)
    }

    pub(super) fn replicas(&mut self) -> Option<NonZeroU32> {
        let number = |text: &str| text.parse().ok().filter(|number: &NonZeroU32| number.get() <= REPLICAS_MAX);
        let parse = |text: &str| if text == "auto" { Some(None) } else { number(text).map(Some) };
        self.parse("replicas", "`auto` or a number from 1 to 10000", parse).flatten()
    }
}
