//! From rule files to live rules: read, compile, replace; then watch, and do it again.
//!
//! Files are watched by looking: four times a second at what the file system says of them, and every few seconds at
//! what is in them. That sees every way of changing a file (in place, renames, the symlink swap of a `ConfigMap`, bind
//! mounts, file systems that send no events) within a second, and nothing can be missed by a full event queue.
//!
//! What is seen goes live whole or not at all: two readings must be equal, all of it must compile, and a set that lost
//! most of its rules waits until somebody says that this is meant ([`guard`]). How the files stand is told to people by
//! [`standing`].

pub mod directory;
pub mod guard;
pub mod last_good;
pub mod standing;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use self::{
    directory::{Fingerprint, ReadError, Reading, Source},
    guard::{Doubt, Extent},
    standing::{FilesStand, LiveFiles, Standing},
};
use crate::{
    bounds::{RELOAD_PATIENCE, RELOAD_TRIES},
    config::{Compiled, Diagnostic, DomainDefaults, compile},
    health::Health,
    huge_pages,
    live::{Generation, Live, RuleSet},
    orders::Book,
    telemetry::{
        Telemetry, compat,
        decisions::Decisions,
        events::{RulesLoaded, RulesRefused, RulesStandAgain, RulesWait},
    },
    units::Timestamp,
};
use parking_lot::Mutex;

/// How often to [`look`](Reload::look): with the settling below, a change is live well within a second.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Every so many looks the contents are read too, for file systems whose times and sizes lie.
const READ_EVERY_LOOKS: u32 = 20;
/// Two readings this far apart must be equal: an editor or a copy may be in the middle of writing.
const SETTLE: Duration = Duration::from_millis(250);

/// Rule files of so much together are a large set: some fifteen thousand rules. A decision among them is faster
/// where they lie in huge pages, and what those round up to is little beside what the rules take.
const LARGE_BYTES: usize = 1 << 20;

/// Loads rules and keeps them current.
#[derive(Debug)]
pub struct Reload {
    source: Source,
    defaults: DomainDefaults,
    live: Arc<Live>,
    book: Arc<Book>,
    health: Arc<Health>,
    telemetry: Arc<Telemetry>,
    last_good: last_good::LastGood,
    /// Held from reading to going live: of two loads at once (a look and a SIGHUP) the older could go live last, and
    /// stay.
    seen: Mutex<Seen>,
    /// Held for a moment only: who asks how things stand does not wait for a disk.
    standing: Mutex<Standing>,
}

/// What was seen last.
#[derive(Debug, Default)]
struct Seen {
    generation: u64,
    looks: u32,
    /// What the files looked like when they were last read, well or not.
    fingerprint: Option<Fingerprint>,
    /// The hash of what was last compiled, well or not.
    hash: Option<String>,
    /// Lists that rules name: they are watched like rules.
    lists: Vec<PathBuf>,
    /// How much stands in what is live.
    extent: Option<Extent>,
}

/// Why rules are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The process starts: nobody decides meanwhile, so nothing is waited for. What was being written just then is seen by
    /// the first look.
    Start,
    /// To see whether they look changed.
    Look,
    /// To see whether they are changed, however they look.
    CloseLook,
    /// Somebody asked for it, and means what the files say.
    Asked,
}

/// What a reload came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The rules that the files say are live: these went live now, or were live before.
    Live { changed: bool },
    /// They are refused, and those that were live still are.
    Refused(Arc<[Diagnostic]>),
    /// They wait to be confirmed.
    Waiting,
    /// The files changed from one reading to the next.
    Unsettled,
    /// Another load is under way, and takes long.
    Busy,
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
        source: Source,
        defaults: DomainDefaults,
        last_good: last_good::LastGood,
        live: Arc<Live>,
        book: Arc<Book>,
        health: Arc<Health>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let (seen, standing) = (Mutex::default(), Mutex::default());
        Self { source, defaults, live, book, health, telemetry, last_good, seen, standing }
    }

    /// Loads the rules for the first time. Where they cannot be used, the last good ones of the state directory serve;
    /// without those nothing does until the files are mended.
    pub fn start(&self, now: Timestamp) {
        let mut seen = self.seen.lock();
        let never = &mut || {};
        if matches!(self.load(&mut seen, Cause::Start, now, never), Outcome::Live { .. }) {
            return;
        }
        let Some(mut reading) = self.last_good.load() else { return };
        if let Ok(compiled) = self.compile(&mut reading) {
            tracing::warn!("serving the last good rules, from the state directory");
            self.go_live(&mut seen, &reading, compiled, Stand::LastGood, now);
        }
    }

    /// Looks whether files changed, and makes live what did. Blocks while it reads and compiles.
    pub fn look(&self, now: Timestamp) {
        self.look_pausing(now, &mut || thread::sleep(SETTLE));
    }

    fn look_pausing(&self, now: Timestamp, pause: &mut dyn FnMut()) -> Outcome {
        let mut seen = self.seen.lock();
        seen.looks = seen.looks.wrapping_add(1);
        let close = seen.looks.is_multiple_of(READ_EVERY_LOOKS);
        self.load(&mut seen, if close { Cause::CloseLook } else { Cause::Look }, now, pause)
    }

    /// Reads the files because somebody asks for it: what they say is meant, however little it is. Blocks while it reads
    /// and compiles.
    pub fn reload(&self, now: Timestamp) -> Outcome {
        self.reload_pausing(now, &mut || thread::sleep(SETTLE))
    }

    fn reload_pausing(&self, now: Timestamp, pause: &mut dyn FnMut()) -> Outcome {
        let Some(mut seen) = self.seen.try_lock_for(RELOAD_PATIENCE) else { return Outcome::Busy };
        let mut outcome = Outcome::Unsettled;
        for _ in 0..RELOAD_TRIES {
            outcome = self.load(&mut seen, Cause::Asked, now, pause);
            if outcome != Outcome::Unsettled {
                break;
            }
        }
        outcome
    }

    /// How the files stand, and the generation that is live: of one moment.
    pub fn standing(&self) -> (Standing, Option<Arc<Generation>>) {
        let standing = self.standing.lock();
        (standing.clone(), self.live.snapshot().clone())
    }

    fn load(&self, seen: &mut Seen, cause: Cause, now: Timestamp, pause: &mut dyn FnMut()) -> Outcome {
        let fingerprint = Fingerprint::take(&self.source, &seen.lists);
        if cause == Cause::Look && seen.fingerprint.as_ref() == Some(&fingerprint) {
            return self.as_before();
        }
        let mut reading = directory::read(&self.source, &seen.lists);
        let mut digest = digest(&reading);
        let live = matches!(self.standing.lock().files, FilesStand::Live);
        if digest.is_ok() && seen.hash.as_ref() == digest.as_ref().ok() && (live || cause != Cause::Asked) {
            seen.fingerprint = Some(fingerprint);
            return self.as_before();
        }
        if cause != Cause::Start {
            // Of two readings only one is held.
            drop(reading);
            pause();
            reading = directory::read(&self.source, &seen.lists);
            let before = std::mem::replace(&mut digest, self::digest(&reading));
            if before != digest {
                // Still being written: the next look will see it.
                return Outcome::Unsettled;
            }
        }
        seen.fingerprint = Some(fingerprint);
        match reading {
            Ok(reading) => self.consider(seen, reading, cause, now),
            Err(error) => {
                seen.hash = None;
                self.refuse(vec![Diagnostic::from(&error)], cause, now)
            }
        }
    }

    /// Makes live what was read, if it is good.
    fn consider(&self, seen: &mut Seen, mut reading: Reading, cause: Cause, now: Timestamp) -> Outcome {
        if reading.bytes() >= LARGE_BYTES {
            huge_pages::allow();
        }
        let compiled = self.compile(&mut reading);
        let hash = reading.hash();
        let lists: Vec<PathBuf> = reading.lists.keys().cloned().collect();
        if seen.lists != lists {
            // They are watched from now on. What changed since they were read is found when contents are read again.
            seen.fingerprint = Some(Fingerprint::take(&self.source, &lists));
            seen.lists = lists;
        }
        seen.hash = Some(hash.clone());
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(diagnostics) => return self.refuse(diagnostics, cause, now),
        };
        if self.live.snapshot().as_ref().is_some_and(|live| live.hash == hash) {
            return self.stand_again(now);
        }
        let doubt = seen.extent.as_ref().and_then(|live| live.doubt(&Extent::of(&reading, &compiled.rules)));
        if let Some(doubt) = doubt
            && cause != Cause::Asked
        {
            return self.wait(&doubt, now);
        }
        self.last_good.keep(&reading);
        self.go_live(seen, &reading, compiled, Stand::AsOnDisk, now);
        Outcome::Live { changed: true }
    }

    /// Compiles what was read, and leaves in it just the lists that its rules name.
    fn compile(&self, reading: &mut Reading) -> Result<Compiled, Vec<Diagnostic>> {
        let known = std::mem::take(&mut reading.lists);
        let named = &mut reading.lists;
        compile(&reading.files, self.defaults.clone(), &mut |path: &Path| {
            let text = match known.get(path) {
                Some(Some(text)) => Ok(text.clone()),
                Some(None) | None => directory::read_bounded(path),
            };
            named.entry(path.to_owned()).or_insert_with(|| text.as_ref().ok().cloned());
            text
        })
    }

    fn go_live(&self, seen: &mut Seen, reading: &Reading, compiled: Compiled, stand: Stand, now: Timestamp) {
        seen.generation += 1;
        seen.extent = Some(Extent::of(reading, &compiled.rules));
        for warning in &compiled.warnings {
            tracing::warn!("{warning}");
        }
        let Compiled { rules, responses, usage_pages, labels, warnings } = compiled;
        let (rule_count, limit_count) = rules.given();
        let hash = reading.hash();
        RulesLoaded {
            generation: seen.generation,
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
        let compat = compat::Charges::new(&self.telemetry, &rules, labels);
        let set = RuleSet { number: seen.generation, hash, rules, responses, usage_pages, decisions, compat };
        let before = self.live.snapshot();
        {
            let mut standing = self.standing.lock();
            self.book.go_live(Arc::new(set));
            standing.live = Some(LiveFiles::of(reading, now));
            if stand == Stand::AsOnDisk {
                (standing.files, standing.since) = (FilesStand::Live, now);
            }
        }
        // No scrape looks at rules that are no longer live.
        if let Some(before) = before.as_deref() {
            before.tell_decisions();
        }
        self.health.rules_loaded();
    }

    /// The files say again what is live.
    fn stand_again(&self, now: Timestamp) -> Outcome {
        let mut standing = self.standing.lock();
        (standing.files, standing.since) = (FilesStand::Live, now);
        RulesStandAgain.emit(&self.telemetry);
        Outcome::Live { changed: false }
    }

    fn refuse(&self, diagnostics: Vec<Diagnostic>, cause: Cause, now: Timestamp) -> Outcome {
        let refused: Arc<[Diagnostic]> = diagnostics.into();
        let mut standing = self.standing.lock();
        let files = FilesStand::Refused(Arc::clone(&refused));
        // A file that cannot be read is found to be so time and again.
        if standing.files != files || cause == Cause::Asked {
            RulesRefused { reasons: &refused, serving: standing.live.is_some() }.emit(&self.telemetry);
        }
        if standing.files != files {
            (standing.files, standing.since) = (files, now);
        }
        Outcome::Refused(refused)
    }

    fn wait(&self, doubt: &Doubt, now: Timestamp) -> Outcome {
        let diagnostic = doubt.diagnostic(&self.source.path.to_string_lossy());
        RulesWait { reason: &diagnostic }.emit(&self.telemetry);
        let mut standing = self.standing.lock();
        (standing.files, standing.since) = (FilesStand::Waiting(Box::new(diagnostic)), now);
        Outcome::Waiting
    }

    /// What nothing new came to.
    fn as_before(&self) -> Outcome {
        match &self.standing.lock().files {
            FilesStand::Live | FilesStand::Unread => Outcome::Live { changed: false },
            FilesStand::Refused(diagnostics) => Outcome::Refused(Arc::clone(diagnostics)),
            FilesStand::Waiting(_) => Outcome::Waiting,
        }
    }
}

/// What two readings are compared by.
fn digest(reading: &Result<Reading, ReadError>) -> Result<String, String> {
    reading.as_ref().map(Reading::hash).map_err(ToString::to_string)
}

#[cfg(test)]
mod tests;
