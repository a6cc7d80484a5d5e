//! Every write leaves one line: who did what to whom, and how it ended. Values are not in it, only a short hash of each,
//! by which lines about the same customer are found.

use std::{
    fmt::Write as _,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::SocketAddr,
    sync::LazyLock,
};

use axum::{Json, extract::ConnectInfo};
use serde_json::Value;
use siphasher::sip::SipHasher24;
use tracing::info;

use super::{Admin, error::Error, target::Target};
use crate::{rules::identity::HashKey, telemetry::metrics};

/// What an endpoint answers.
pub type Answer = Result<Json<Value>, Error>;

/// The other end of the connection.
pub type Peer = ConnectInfo<SocketAddr>;

/// What may be done, by the word for it in the log and the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Reset,
    SetOverride,
    DeleteOverride,
    SetBlock,
    LiftBlock,
    Reload,
}

impl Action {
    /// A few words, known beforehand: they are a label.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::SetOverride => "set_override",
            Self::DeleteOverride => "delete_override",
            Self::SetBlock => "set_block",
            Self::LiftBlock => "lift_block",
            Self::Reload => "reload",
        }
    }
}

/// Tells of a write that was done, or refused, and hands its outcome on as the answer.
///
/// # Errors
///
/// That of the outcome.
pub fn audited(admin: &Admin, action: Action, target: &Target, peer: Peer, outcome: Result<Value, Error>) -> Answer {
    let action = action.word();
    let result = outcome.as_ref().map_or_else(|error| error.code().0, |_| "done");
    let everywhere = outcome.as_ref().ok().and_then(|answer| answer["everywhere"].as_bool());
    info!(
        audit = true,
        action,
        // As a &str, which is logged quoted and escaped: nobody forges a line.
        domain = target.domain.as_str(),
        descriptor = masked(target, &admin.hash_key),
        prefix = target.prefix,
        shared = target.shared,
        result,
        everywhere,
        peer = %peer.0,
        "admin write"
    );
    admin.telemetry.counter(&metrics::ADMIN_WRITES, &[("action", action), ("result", result)]).increment(1);
    outcome.map(Json)
}

/// The same of a reload, which is about no descriptor: it tells which rules are live now.
///
/// # Errors
///
/// That of the outcome.
pub fn audited_reload(admin: &Admin, peer: Peer, outcome: Result<Value, Error>) -> Answer {
    let action = Action::Reload.word();
    let result = outcome.as_ref().map_or_else(|error| error.code().0, |_| "done");
    let generation = outcome.as_ref().ok().and_then(|answer| answer["rules"]["generation"].as_u64());
    info!(audit = true, action, generation, result, peer = %peer.0, "admin write");
    admin.telemetry.counter(&metrics::ADMIN_WRITES, &[("action", action), ("result", result)]).increment(1);
    outcome.map(Json)
}

/// `api_key=#3fa2b1c9, path=#08d7e5a0`: the keys, and 32 bits of a keyed hash of each value. Enough to find lines
/// again; without the key no value can be guessed from it. Where names of counters have no secret, one is made up: such
/// lines are found again among those of this process.
fn masked(target: &Target, key: &HashKey) -> String {
    let secret = match key {
        HashKey::Secret(secret) => secret,
        HashKey::Public => &*OF_PROCESS,
    };
    let mut text = String::new();
    for (name, value) in &target.entries {
        let mut hasher = SipHasher24::new_with_key(secret);
        hasher.write(b"tallygate: audit\0");
        hasher.write(value);
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{}=#{:08x}", String::from_utf8_lossy(name), hasher.finish() >> 32);
    }
    text
}

/// Random bytes that nobody is told.
static OF_PROCESS: LazyLock<[u8; 16]> = LazyLock::new(|| {
    let random = RandomState::new();
    let [low, high] = [0_u8, 1].map(|half| u128::from(random.hash_one(half)));
    (high << 64 | low).to_le_bytes()
});

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;
    use crate::{
        clock::Clock,
        config::{DomainDefaults, settings::RuleFiles},
        health::Health,
        live::Live,
        orders::Book,
        reload::{Reload, directory::Source, last_good::LastGood},
        store::{Store, memory::Memory},
        telemetry::Telemetry,
    };

    fn target(values: &[&str]) -> Target {
        let entries = values.iter().map(|value| (b"api_key".to_vec(), value.as_bytes().to_vec())).collect();
        Target { domain: "shop".to_owned(), entries, prefix: false, shared: false }
    }

    #[test]
    fn values_are_told_apart_but_not_told() {
        let keys = [HashKey::Secret([7; 16]), HashKey::Secret([8; 16]), HashKey::Public];
        for key in &keys {
            let line = masked(&target(&["acme", "acme", "zeta"]), key);
            let parts: Vec<_> = line.split(", ").collect();
            assert_eq!((parts.len(), parts[0]), (3, parts[1]));
            assert_ne!(parts[0], parts[2]);
            assert!(parts.iter().all(|part| part.starts_with("api_key=#") && part.len() == "api_key=#3fa2b1c9".len()));
            assert!(!line.contains("acme"), "{line}");
        }
        let lines = keys.map(|key| masked(&target(&["acme", "zeta"]), &key));
        assert!(lines[0] != lines[1] && lines[1] != lines[2], "{lines:?}");
    }

    #[test]
    fn a_write_is_told_in_a_line_and_counted_whether_it_was_done_or_not() {
        let log = Log::default();
        let (live, health, telemetry): (Arc<Live>, Arc<Health>, _) =
            (Arc::default(), Arc::default(), Telemetry::new(1));
        let book = Arc::new(Book::open(Arc::clone(&live), HashKey::Secret([7; 16]), None, Clock.now()));
        let reload = Reload::new(
            Source { path: PathBuf::new(), files: RuleFiles::Yaml },
            DomainDefaults::default(),
            LastGood::new(None),
            Arc::clone(&live),
            Arc::clone(&book),
            Arc::clone(&health),
            Arc::clone(&telemetry),
        );
        let admin = Admin {
            clock: Clock,
            live,
            book,
            health,
            store: Arc::new(Store::Memory(Memory::new(1_000))),
            telemetry,
            hash_key: HashKey::Secret([7; 16]),
            started: Clock.stopwatch(),
            reload: Arc::new(reload),
        };
        let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 51_234)));
        let mut target = target(&["acme"]);
        "shop\nINFO forged".clone_into(&mut target.domain);
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let done = audited(&admin, Action::Reset, &target, peer, Ok(json!({"counters": 1})));
            assert_eq!(done.unwrap().0, json!({"counters": 1}));
            let refused = audited(&admin, Action::Reset, &target, peer, Err(Error::NoLimit));
            assert_eq!(refused.unwrap_err(), Error::NoLimit);
        });
        let log = String::from_utf8(log.0.lock().clone()).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        for (line, result) in lines.iter().zip(["done", "no_limit"]) {
            let told = format!("prefix=false shared=false result=\"{result}\" peer=127.0.0.1:51234");
            assert!(line.contains("admin write audit=true action=\"reset\" domain=\"shop\\nINFO forged\""), "{line}");
            assert!(line.contains("descriptor=\"api_key=#") && line.ends_with(&told), "{line}");
        }
        assert!(!log.contains("acme"), "{log}");
        let counted = "tallygate_admin_writes_total{action=\"reset\",result=\"no_limit\"} 1";
        assert!(admin.telemetry.render().contains(counted));
    }

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
