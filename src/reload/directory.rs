//! Rule files as they lie on disk: which there are, what is in them, and whether they changed.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use siphasher::sip128::{Hasher128 as _, SipHasher13};
use thiserror::Error;

use crate::{
    bounds::{RULE_FILE_MAX_BYTES, RULE_FILES_MAX},
    config::RuleFile,
};

/// Why the rule files cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("{}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: no rule files here (*.yaml or *.yml)", .path.display())]
    NoFiles { path: PathBuf },
    #[error("{}: more than {RULE_FILES_MAX} rule files", .path.display())]
    TooManyFiles { path: PathBuf },
    #[error("{}: a rule file of {bytes} bytes; the most is {RULE_FILE_MAX_BYTES}", .path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{}: is no regular file", .path.display())]
    NoFile { path: PathBuf },
}

/// Everything that was read at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub files: Vec<RuleFile>,
    /// What rules name beside themselves (`values_file`, `cidr_file`), as far as it was known; None is what could not
    /// be read, and is watched too: it may come.
    pub lists: BTreeMap<PathBuf, Option<Vec<u8>>>,
}

/// What the file system says of the files, without looking into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, Option<[i64; 7]>)>);

impl Fingerprint {
    /// Of the rule files at `path` and of `lists`. What cannot be read has a fingerprint too: none.
    pub fn take(path: &Path, lists: &[PathBuf]) -> Self {
        let mut seen = Vec::new();
        let files = rule_files(path).unwrap_or_default();
        for file in
            std::iter::once(path).chain(files.iter().map(PathBuf::as_path)).chain(lists.iter().map(PathBuf::as_path))
        {
            let stamp = fs::metadata(file).ok().map(|meta| {
                let [dev, ino, size] = [meta.dev(), meta.ino(), meta.len()].map(u64::cast_signed);
                [dev, ino, size, meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()]
            });
            seen.push((file.to_owned(), stamp));
        }
        Self(seen)
    }
}

impl Reading {
    /// The size of all files together.
    pub fn bytes(&self) -> usize {
        let lists = self.lists.values().flatten();
        self.files.iter().map(|file| &file.text).chain(lists).map(Vec::len).sum()
    }

    /// Equal for equal names and texts, on every replica.
    pub fn hash(&self) -> String {
        use std::hash::Hasher as _;
        // A fixed key: replicas compare their hashes, and nobody gains by making two rule sets collide.
        let mut hasher = SipHasher13::new();
        let mut add = |bytes: &[u8]| {
            hasher.write(&(bytes.len() as u64).to_le_bytes());
            hasher.write(bytes);
        };
        for file in &self.files {
            add(file.name.as_bytes());
            add(&file.text);
        }
        for (path, text) in &self.lists {
            add(path.as_os_str().as_bytes());
            // An absent list is not an empty one.
            add(&[u8::from(text.is_some())]);
            add(text.as_deref().unwrap_or_default());
        }
        let mut text = String::with_capacity(32);
        write!(text, "{:032x}", hasher.finish128().as_u128()).expect("a String can be written to");
        text
    }
}

/// Reads all rule files at `path` and the `lists` they are known to name, twice, `settle` apart; None if they changed
/// meanwhile. A `settle` of zero reads once.
///
/// # Errors
///
/// What cannot be read makes the whole reading fail: a part of a rule set must never go live.
pub fn read_settled(path: &Path, lists: &[PathBuf], settle: Duration) -> Result<Option<Reading>, ReadError> {
    let reading = read(path, lists)?;
    if settle.is_zero() {
        return Ok(Some(reading));
    }
    std::thread::sleep(settle);
    Ok((read(path, lists)? == reading).then_some(reading))
}

fn read(path: &Path, lists: &[PathBuf]) -> Result<Reading, ReadError> {
    let files = rule_files(path)?;
    if files.is_empty() {
        return Err(ReadError::NoFiles { path: path.to_owned() });
    }
    let mut reading = Reading::default();
    for file in files {
        let meta = fs::metadata(&file).map_err(|error| ReadError::Io { path: file.clone(), error })?;
        if !meta.is_file() {
            return Err(ReadError::NoFile { path: file });
        }
        if meta.len() > RULE_FILE_MAX_BYTES {
            return Err(ReadError::TooLarge { path: file, bytes: meta.len() });
        }
        let text = read_bounded(&file).map_err(|error| ReadError::Io { path: file.clone(), error })?;
        reading.files.push(RuleFile { name: file.to_string_lossy().into(), path: file, text });
    }
    for list in lists {
        reading.lists.insert(list.clone(), read_bounded(list).ok());
    }
    Ok(reading)
}

/// The whole file; the bound holds even where it grows while it is read.
///
/// # Errors
///
/// What the system says, or that the file is too large.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut text = Vec::new();
    fs::File::open(path)?.take(RULE_FILE_MAX_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > RULE_FILE_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {RULE_FILE_MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// The rule files at `path` in byte order: itself, or all `*.yaml` and `*.yml` below it; dot files are skipped
/// (Kubernetes' `..data` links point to what is listed beside them).
///
/// # Errors
///
/// A directory that cannot be listed, and more files than there may be.
pub fn rule_files(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| ReadError::Io { path, error }
    };
    if !fs::metadata(path).map_err(io(path))?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut files, mut pending) = (Vec::new(), vec![path.to_owned()]);
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).map_err(io(&directory))? {
            let entry = entry.map_err(io(&directory))?;
            if entry.file_name().as_bytes().starts_with(b".") {
                continue;
            }
            let entry_path = entry.path();
            // Links to directories are not followed: they could lead in circles.
            if entry.file_type().map_err(io(&entry_path))?.is_dir() {
                pending.push(entry_path);
            } else if entry_path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
                files.push(entry_path);
            }
            if files.len() + pending.len() > RULE_FILES_MAX {
                return Err(ReadError::TooManyFiles { path: path.to_owned() });
            }
        }
    }
    files.sort_by(|one, other| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let files = rule_files(directory).expect("a directory");
        files.iter().map(|file| file.strip_prefix(directory).unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn rule_files_are_found_at_any_depth_in_byte_order_without_dot_files() {
        let directory = tempfile::tempdir().unwrap();
        for file in
            ["b.yaml", "a/z.yml", "a.yaml", "B.yaml", ".hidden.yaml", "..data/a.yaml", "notes.txt", "a/.b/c.yaml"]
        {
            let file = directory.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "domain: a").unwrap();
        }
        assert_eq!(names(directory.path()), ["B.yaml", "a.yaml", "a/z.yml", "b.yaml"]);
    }

    #[test]
    fn every_way_of_changing_a_file_changes_its_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let (file, other) = (directory.path().join("a.yaml"), directory.path().join("elsewhere"));
        fs::write(&file, "domain: a").unwrap();
        let mut last = Fingerprint::take(directory.path(), &[]);
        let mut changed = |how: &str| {
            let next = Fingerprint::take(directory.path(), &[]);
            assert_ne!(next, last, "{how}");
            last = next;
        };
        fs::write(&file, "domain: bb").unwrap();
        changed("written in place");
        fs::write(&other, "domain: cc").unwrap();
        fs::rename(&other, &file).unwrap();
        changed("renamed over");
        fs::remove_file(&file).unwrap();
        changed("deleted");
        std::os::unix::fs::symlink(&other, &file).unwrap();
        changed("a link to nothing");
        fs::write(&other, "domain: dd").unwrap();
        changed("the link's target appeared");
        fs::write(&other, "domain: ee").unwrap();
        changed("the link's target was written");
    }

    #[test]
    fn what_cannot_be_read_whole_is_not_read_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let read = || read_settled(directory.path(), &[], Duration::ZERO);
        assert!(matches!(read(), Err(ReadError::NoFiles { .. })));
        fs::write(directory.path().join("a.yaml"), "domain: a").unwrap();
        assert_eq!(read().unwrap().unwrap().files.len(), 1);
        std::os::unix::fs::symlink("/nowhere/at/all", directory.path().join("b.yaml")).unwrap();
        assert!(matches!(read(), Err(ReadError::Io { .. })));
    }

    #[test]
    fn the_hash_is_of_names_and_texts() {
        let file = |name: &str, text: &str| RuleFile { name: name.into(), path: name.into(), text: text.into() };
        let hash = |files: &[RuleFile]| Reading { files: files.to_vec(), ..Reading::default() }.hash();
        assert_eq!(hash(&[file("a", "b")]), hash(&[file("a", "b")]));
        assert_ne!(hash(&[file("a", "bc")]), hash(&[file("ab", "c")]));
        assert_ne!(hash(&[file("a", "b"), file("c", "")]), hash(&[file("a", "b")]));
    }
}
