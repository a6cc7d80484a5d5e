//! How the rule files stand: which of them are live, and what became of them as they are now. For people.

use std::sync::Arc;

use siphasher::sip128::SipHasher13;

use super::directory::Reading;
use crate::{config::Diagnostic, units::Timestamp};

/// What is live, and how the files as they are now stand to it.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// None until rules were loaded once.
    pub live: Option<LiveFiles>,
    pub files: FilesStand,
    /// Since when the files stand so.
    pub since: Timestamp,
}

/// The files of the rules that are live.
#[derive(Clone, Debug)]
pub struct LiveFiles {
    /// When they went live.
    pub since: Timestamp,
    pub files: Arc<[LiveFile]>,
}

/// One file as it went live; a list that rules name is one too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveFile {
    pub file: Arc<str>,
    pub bytes: usize,
    /// Of its text. Hexadecimal.
    pub hash: String,
}

/// What became of the files as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FilesStand {
    /// Nobody has read them yet.
    #[default]
    Unread,
    Live,
    /// They have errors, or cannot be read.
    Refused(Arc<[Diagnostic]>),
    /// They load, and wait until somebody says that they are meant.
    Waiting(Box<Diagnostic>),
}

impl FilesStand {
    /// One word for it, the same in answers, logs and metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Live => "live",
            Self::Refused(_) => "refused",
            Self::Waiting(_) => "waiting",
        }
    }

    /// Why they are not live.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Unread | Self::Live => &[],
            Self::Refused(diagnostics) => diagnostics,
            Self::Waiting(diagnostic) => std::slice::from_ref(diagnostic),
        }
    }
}

impl LiveFiles {
    pub fn of(reading: &Reading, now: Timestamp) -> Self {
        let rules = reading.files.iter().map(|file| LiveFile::of(Arc::clone(&file.name), &file.text));
        let lists = reading
            .lists
            .iter()
            .map(|(path, text)| LiveFile::of(path.to_string_lossy().into(), text.as_deref().unwrap_or_default()));
        Self { since: now, files: rules.chain(lists).collect() }
    }
}

impl LiveFile {
    fn of(file: Arc<str>, text: &[u8]) -> Self {
        // As the hash of all of them: one key everywhere, so that replicas can be compared.
        let hash = SipHasher13::new().hash(text).as_u128();
        Self { file, bytes: text.len(), hash: format!("{hash:032x}") }
    }
}
