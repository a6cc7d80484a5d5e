//! From rule files to live rules: read, compile, replace; then watch, and do it again.
//!
//! Files are watched by looking: four times a second at what the file system says of them, and every few seconds at
//! what is in them. That sees every way of changing a file (in place, renames, the symlink swap of a `ConfigMap`, bind
//! mounts, file systems that send no events) within a second, and nothing can be missed by a full event queue.

pub mod directory;
pub mod last_good;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::directory::{Fingerprint, Reading};
use crate::{
    config::{Compiled, Diagnostic, DomainDefaults, compile},
    health::Health,
    huge_pages,
    live::{Live, RuleSet},
    orders::Book,
    telemetry::{
        Telemetry,
        decisions::Decisions,
        events::{RulesLoaded, RulesRefused},
    },
};
use parking_lot::Mutex;

/// How often to [`look`](Reload::look): with the settling below, a change is live well within a second.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Every so many looks the contents are read too, for file systems whose times and sizes lie.
const READ_EVERY_LOOKS: u32 = 20;
/// Two readings this far apart must be equal: an editor or a copy may be in the middle of writing.
const SETTLE: Duration = Duration::from_millis(150);

/// Rule files of so much together are a large set: some fifteen thousand rules. A decision among them is faster
/// where they lie in huge pages, and what those round up to is little beside what the rules take.
const LARGE_BYTES: usize = 1 << 20;

/// Loads rules and keeps them current.
#[derive(Debug)]
pub struct Reload {
    path: PathBuf,
    defaults: DomainDefaults,
    live: Arc<Live>,
    book: Arc<Book>,
    health: Arc<Health>,
    telemetry: Arc<Telemetry>,
    last_good: last_good::LastGood,
    state: Mutex<State>,
    /// Held from reading to going live: of two loads at once (a look and a SIGHUP) the older could go live last, and
    /// stay.
    loading: Mutex<()>,
}

/// What was seen last.
#[derive(Debug, Default)]
struct State {
    generation: u64,
    looks: u32,
    /// What the files looked like when they were last compiled, well or not.
    fingerprint: Option<Fingerprint>,
    /// The hash of what was last compiled.
    hash: Option<String>,
    /// Lists that rules name: they are watched like rules.
    lists: Vec<PathBuf>,
}

/// Which rules go live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// Those of the files as they stand.
    AsOnDisk,
    /// Older ones, because the files as they stand are refused.
    LastGood,
}

impl Reload {
    pub fn new(
        path: PathBuf,
        defaults: DomainDefaults,
        last_good: last_good::LastGood,
        live: Arc<Live>,
        book: Arc<Book>,
        health: Arc<Health>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            path,
            defaults,
            live,
            book,
            health,
            telemetry,
            last_good,
            state: Mutex::default(),
            loading: Mutex::default(),
        }
    }

    /// Loads the rules for the first time. Where they cannot be used, the last good ones of the state directory serve;
    /// without those nothing does until the files are mended.
    pub fn start(&self) {
        if self.load(true) {
            return;
        }
        let Some(mut reading) = self.last_good.load() else { return };
        if let Ok(compiled) = self.compile(&mut reading) {
            tracing::warn!("serving the last good rules, from the state directory");
            self.go_live(&reading, reading.hash(), compiled, Stand::LastGood);
        }
    }

    /// Looks whether files changed, and makes live what did. Blocks while it reads and compiles.
    pub fn look(&self) {
        let read_anyway = {
            let mut state = self.state.lock();
            state.looks = state.looks.wrapping_add(1);
            state.looks.is_multiple_of(READ_EVERY_LOOKS)
        };
        self.load(read_anyway);
    }

    /// Reads the files, changed or not, and makes live what did change.
    pub fn look_closely(&self) {
        self.load(true);
    }

    /// Returns whether the rules as they stand are live.
    fn load(&self, read_anyway: bool) -> bool {
        let _alone = self.loading.lock();
        let mut state = self.state.lock();
        let lists = state.lists.clone();
        let fingerprint = Fingerprint::take(&self.path, &lists);
        if state.fingerprint.as_ref() == Some(&fingerprint) && !read_anyway {
            return true;
        }
        let first = state.fingerprint.is_none();
        let mut reading = match directory::read_settled(&self.path, &lists, if first { Duration::ZERO } else { SETTLE })
        {
            Ok(Some(reading)) => reading,
            // Still being written: the next look will see it.
            Ok(None) => return false,
            Err(error) => {
                if state.fingerprint.as_ref() != Some(&fingerprint) {
                    self.refuse(&[format!("error: {error}")]);
                }
                state.fingerprint = Some(fingerprint);
                state.hash = None;
                return false;
            }
        };
        state.fingerprint = Some(fingerprint);
        if state.hash.as_ref() == Some(&reading.hash()) {
            return true;
        }
        if reading.bytes() >= LARGE_BYTES {
            huge_pages::allow();
        }
        let compiled = self.compile(&mut reading);
        let hash = reading.hash();
        state.hash = Some(hash.clone());
        let lists: Vec<PathBuf> = reading.lists.keys().cloned().collect();
        if state.lists != lists {
            // They are watched from now on. What changed since they were read is found when contents are read again.
            state.fingerprint = Some(Fingerprint::take(&self.path, &lists));
            state.lists = lists;
        }
        drop(state);
        match compiled {
            Ok(compiled) => {
                self.last_good.keep(&reading);
                self.go_live(&reading, hash, compiled, Stand::AsOnDisk);
                true
            }
            Err(diagnostics) => {
                let reasons: Vec<String> = diagnostics.iter().map(Diagnostic::to_string).collect();
                self.refuse(&reasons);
                false
            }
        }
    }

    /// Compiles what was read, and leaves in it just the lists that its rules name.
    fn compile(&self, reading: &mut Reading) -> Result<Compiled, Vec<Diagnostic>> {
        let known = std::mem::take(&mut reading.lists);
        let named = &mut reading.lists;
        compile(&reading.files, self.defaults, &mut |path: &Path| {
            let text = match known.get(path) {
                Some(Some(text)) => Ok(text.clone()),
                Some(None) | None => directory::read_bounded(path),
            };
            named.entry(path.to_owned()).or_insert_with(|| text.as_ref().ok().cloned());
            text
        })
    }

    fn go_live(&self, reading: &Reading, hash: String, compiled: Compiled, stand: Stand) {
        let mut state = self.state.lock();
        state.generation += 1;
        for warning in &compiled.warnings {
            tracing::warn!("{warning}");
        }
        let Compiled { rules, responses, usage_pages, warnings } = compiled;
        let (rule_count, limit_count) = rules.given();
        RulesLoaded {
            generation: state.generation,
            hash: &hash,
            files: reading.files.len(),
            domains: rules.domains.len(),
            rules: rule_count,
            limits: limit_count,
            warnings: warnings.len(),
            as_on_disk: stand == Stand::AsOnDisk,
        }
        .emit(&self.telemetry);
        let decisions = Decisions::new(Arc::clone(&self.telemetry), &rules);
        let set = RuleSet { number: state.generation, hash, rules, responses, usage_pages, decisions };
        let before = self.live.snapshot();
        self.book.go_live(Arc::new(set));
        // No scrape looks at rules that are no longer live.
        if let Some(before) = before.as_deref() {
            before.tell_decisions();
        }
        self.health.rules_loaded();
    }

    fn refuse(&self, reasons: &[String]) {
        RulesRefused { reasons, serving: self.live.snapshot().is_some() }.emit(&self.telemetry);
    }
}
