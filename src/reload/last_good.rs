//! The last rule files that loaded, kept in the state directory: what serves when the service starts beside files that
//! do not load.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::directory::Reading;
use crate::{config::RuleFile, text::Text};

const FILE: &str = "last-good-rules.json";

/// Where the last good rules are kept; nowhere, if there is no state directory.
#[derive(Debug)]
pub struct LastGood {
    directory: Option<PathBuf>,
}

/// Everything that was read, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    files: Vec<KeptFile>,
    /// What the rules name beside themselves: without it they would not load.
    lists: Vec<KeptFile>,
}

/// One file, as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptFile {
    name: String,
    path: PathBuf,
    text: Text,
}

impl LastGood {
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// Keeps what was read, whole or not at all. That it cannot be done is said, and disturbs nothing else.
    pub fn keep(&self, reading: &Reading) {
        if let Some(directory) = &self.directory
            && let Err(error) = write(directory, reading)
        {
            warn!(%error, file = %directory.join(FILE).display(), "the last good rules could not be kept");
        }
    }

    /// What was kept, if anything was.
    pub fn load(&self) -> Option<Reading> {
        let path = self.directory.as_ref()?.join(FILE);
        let text = fs::read(&path).ok()?;
        let Kept { files, lists } = serde_json::from_slice(&text)
            .inspect_err(|error| warn!(%error, file = %path.display(), "the last good rules cannot be read"))
            .ok()?;
        let rule_file = |KeptFile { name, path, text }| RuleFile { name: name.into(), path, text: text.into_bytes() };
        Some(Reading {
            files: files.into_iter().map(rule_file).collect(),
            lists: lists.into_iter().map(|list| (list.path, Some(list.text.into_bytes()))).collect(),
        })
    }
}

fn write(directory: &Path, reading: &Reading) -> io::Result<()> {
    let kept = |name: &str, path: &Path, text: &[u8]| KeptFile {
        name: name.to_owned(),
        path: path.to_owned(),
        text: Text::new(text.to_vec()),
    };
    let lists = reading.lists.iter().filter_map(|(path, text)| Some(kept("", path, text.as_deref()?)));
    let text = serde_json::to_vec(&Kept {
        files: reading.files.iter().map(|file| kept(&file.name, &file.path, &file.text)).collect(),
        lists: lists.collect(),
    })?;
    // A name of its own, then a rename: a crash leaves the old file or the new one.
    let unfinished = directory.join(format!("{FILE}.{}", std::process::id()));
    fs::write(&unfinished, text)?;
    fs::rename(&unfinished, directory.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_with_its_lists() {
        let directory = tempfile::tempdir().unwrap();
        let last_good = LastGood::new(Some(directory.path().to_owned()));
        assert!(last_good.load().is_none());
        let file = RuleFile { name: "a".into(), path: "a".into(), text: b"domain: a".to_vec() };
        let lists = [("text", &b"x"[..]), ("bytes", b"\xff\n")].map(|(path, text)| (path.into(), Some(text.to_vec())));
        let reading = Reading { files: vec![file], lists: lists.into() };
        last_good.keep(&reading);
        assert_eq!(last_good.load(), Some(reading));
        fs::write(directory.path().join(FILE), "[{").unwrap();
        assert!(last_good.load().is_none());
    }
}
