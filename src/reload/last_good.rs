//! The last rule files that loaded, kept in the state directory: what serves when the service starts beside files that
//! do not load.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::config::RuleFile;

const FILE: &str = "last-good-rules.json";

/// Where the last good rules are kept; nowhere, if there is no state directory.
#[derive(Debug)]
pub struct LastGood {
    directory: Option<PathBuf>,
}

/// One file, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    path: PathBuf,
    text: String,
}

impl LastGood {
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// Keeps `files`, whole or not at all. That it cannot be done is said, and disturbs nothing else.
    pub fn keep(&self, files: &[RuleFile]) {
        if let Some(directory) = &self.directory
            && let Err(error) = write(directory, files)
        {
            warn!(%error, file = %directory.join(FILE).display(), "the last good rules could not be kept");
        }
    }

    /// What was kept, if anything was.
    pub fn load(&self) -> Option<Vec<RuleFile>> {
        let path = self.directory.as_ref()?.join(FILE);
        let text = fs::read(&path).ok()?;
        match serde_json::from_slice::<Vec<Kept>>(&text) {
            Ok(kept) => Some(
                kept.into_iter()
                    .map(|Kept { name, path, text }| RuleFile { name: name.into(), path, text: text.into_bytes() })
                    .collect(),
            ),
            Err(error) => {
                warn!(%error, file = %path.display(), "the last good rules cannot be read");
                None
            }
        }
    }
}

fn write(directory: &std::path::Path, files: &[RuleFile]) -> io::Result<()> {
    let kept: Vec<Kept> = files
        .iter()
        .map(|file| Kept {
            name: file.name.to_string(),
            path: file.path.clone(),
            text: String::from_utf8_lossy(&file.text).into_owned(),
        })
        .collect();
    let text = serde_json::to_vec(&kept)?;
    // A name of its own, then a rename: a crash leaves the old file or the new one.
    let unfinished = directory.join(format!("{FILE}.{}", std::process::id()));
    fs::write(&unfinished, text)?;
    fs::rename(&unfinished, directory.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let last_good = LastGood::new(Some(directory.path().to_owned()));
        assert!(last_good.load().is_none());
        let file = RuleFile { name: "a".into(), path: "a".into(), text: b"domain: a".to_vec() };
        last_good.keep(std::slice::from_ref(&file));
        let loaded = last_good.load().unwrap();
        assert_eq!((&loaded[0].name, &loaded[0].text), (&file.name, &file.text));
        fs::write(directory.path().join(FILE), "[{").unwrap();
        assert!(last_good.load().is_none());
    }
}
