//! Rule files as they lie on disk: which there are, what is in them, and whether they changed.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use siphasher::sip128::{Hasher128 as _, SipHasher13};
use thiserror::Error;

use crate::{
    bounds::{RULE_FILE_MAX_BYTES, RULE_FILES_MAX, RULE_FILES_MAX_BYTES},
    config::{Diagnostic, RuleFile, diagnostic::Severity, settings::RuleFiles},
};

/// Where rule files lie.
#[derive(Clone, Debug)]
pub struct Source {
    /// A file, or a directory.
    pub path: PathBuf,
    /// Which files of the directory.
    pub files: RuleFiles,
}

/// Why the rule files cannot be read: which path it is about, and what is wrong with it.
#[derive(Debug, Error)]
#[error("{}: {why}", .path.display())]
pub struct ReadError {
    pub path: PathBuf,
    pub why: Why,
}

/// What is wrong with a path.
#[derive(Debug, Error)]
pub enum Why {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no rule files here ({})", wanted(*.0))]
    NoFiles(RuleFiles),
    #[error("more than {RULE_FILES_MAX} rule files")]
    TooManyFiles,
    #[error("all rule files together have more than {RULE_FILES_MAX_BYTES} bytes")]
    TooLarge,
}

impl ReadError {
    fn new(path: &Path, why: impl Into<Why>) -> Self {
        Self { path: path.to_owned(), why: why.into() }
    }
}

/// As people are told of errors in the files: at the first line, where an editor opens them.
impl From<&ReadError> for Diagnostic {
    fn from(ReadError { path, why }: &ReadError) -> Self {
        let (file, message) = (path.to_string_lossy().into(), why.to_string());
        Self { severity: Severity::Error, file, line: 1, column: 1, message, help: None }
    }
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
    pub fn take(source: &Source, lists: &[PathBuf]) -> Self {
        let mut seen = Vec::new();
        let files = rule_files(source).unwrap_or_default();
        for file in std::iter::once(&*source.path)
            .chain(files.iter().map(PathBuf::as_path))
            .chain(lists.iter().map(PathBuf::as_path))
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

    /// Equal for equal names and texts, on every replica, wherever the files lie there.
    pub fn hash(&self) -> String {
        use std::hash::Hasher as _;
        // A fixed key: replicas compare their hashes, and nobody gains by making two rule sets collide.
        let mut hasher = SipHasher13::new();
        let mut add = |bytes: &[u8]| {
            hasher.write(&(bytes.len() as u64).to_le_bytes());
            hasher.write(bytes);
        };
        let root = self.root();
        let below_root = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
        for file in &self.files {
            add(below_root(&file.path).as_os_str().as_bytes());
            add(&file.text);
        }
        for (path, text) in &self.lists {
            add(below_root(path).as_os_str().as_bytes());
            // An absent list is not an empty one.
            add(&[u8::from(text.is_some())]);
            add(text.as_deref().unwrap_or_default());
        }
        let mut text = String::with_capacity(32);
        write!(text, "{:032x}", hasher.finish128().as_u128()).expect("a String can be written to");
        text
    }

    /// The directory that all rule files are in or below.
    fn root(&self) -> &Path {
        let mut directories = self.files.iter().filter_map(|file| file.path.parent());
        let mut root = directories.next().unwrap_or(Path::new(""));
        for directory in directories {
            while !directory.starts_with(root) {
                root = root.parent().unwrap_or(Path::new(""));
            }
        }
        root
    }
}

/// Reads all rule files at `path`, and the `lists` they are known to name.
///
/// # Errors
///
/// What cannot be read makes the whole reading fail: a part of a rule set must never go live.
pub fn read(source: &Source, lists: &[PathBuf]) -> Result<Reading, ReadError> {
    let (path, files) = (&source.path, rule_files(source)?);
    if files.is_empty() {
        return Err(ReadError::new(path, Why::NoFiles(source.files)));
    }
    let (mut reading, mut bytes) = (Reading::default(), 0);
    for file in files {
        let text = read_bounded(&file).map_err(|error| ReadError::new(&file, error))?;
        bytes += text.len();
        if bytes > RULE_FILES_MAX_BYTES {
            return Err(ReadError::new(path, Why::TooLarge));
        }
        reading.files.push(RuleFile { name: file.to_string_lossy().into(), path: file, text });
    }
    for list in lists {
        reading.lists.insert(list.clone(), read_bounded(list).ok());
    }
    Ok(reading)
}

/// Reads the rule files at several paths, as one set, for who looks at them once.
///
/// # Errors
///
/// As [`read`].
pub fn read_all(paths: &[PathBuf], files: RuleFiles) -> Result<Vec<RuleFile>, ReadError> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(read(&Source { path: path.clone(), files }, &[])?.files);
    }
    Ok(all)
}

/// The whole file; the bound holds even where it grows while it is read.
///
/// # Errors
///
/// What the system says, that it is no regular file, or that it is too large.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    // To open a FIFO is to wait for who writes to it: for ever, if nobody does.
    let no_wait = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::File::options().read(true).custom_flags(no_wait).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"));
    }
    let mut text = Vec::new();
    // Its size is asked first: of a file of 100 MB nothing is read.
    if meta.len() <= RULE_FILE_MAX_BYTES {
        file.take(RULE_FILE_MAX_BYTES + 1).read_to_end(&mut text)?;
    }
    if meta.len().max(text.len() as u64) > RULE_FILE_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {RULE_FILE_MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// The rule files of a source in byte order: the file itself, or of a directory and all below it those that are wanted.
///
/// # Errors
///
/// A directory that cannot be listed, and more files than there may be.
pub fn rule_files(source: &Source) -> Result<Vec<PathBuf>, ReadError> {
    let Source { path, files: which } = source;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| ReadError { path, why: error.into() }
    };
    if !fs::metadata(path).map_err(io(path))?.is_dir() {
        return Ok(vec![path.clone()]);
    }
    let (mut files, mut pending) = (Vec::new(), vec![path.clone()]);
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).map_err(io(&directory))? {
            let entry = entry.map_err(io(&directory))?;
            if is_skipped(entry.file_name().as_bytes(), *which) {
                continue;
            }
            let entry_path = entry.path();
            let is_yaml = entry_path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
            let kind = entry.file_type().map_err(io(&entry_path))?;
            // Links to directories are not followed: they could lead in circles. A directory that is named like a rule
            // file is what a container's mount makes of a file that is missing: to read it as a directory would lift
            // all limits of that file.
            if is_yaml || (*which != RuleFiles::Yaml && is_file(kind, &entry_path)) {
                files.push(entry_path);
            } else if kind.is_dir() {
                pending.push(entry_path);
            }
            if files.len() + pending.len() > RULE_FILES_MAX {
                return Err(ReadError::new(path, Why::TooManyFiles));
            }
        }
    }
    files.sort_by(|one, other| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
    Ok(files)
}

/// What begins with two dots is Kubernetes' own: links to what is listed beside them, and where those lead.
fn is_skipped(name: &[u8], which: RuleFiles) -> bool {
    name.starts_with(if which == RuleFiles::All { b".." } else { b"." })
}

/// A file, or a link that is not one to a directory: also one that leads nowhere, which is a mistake.
fn is_file(kind: fs::FileType, path: &Path) -> bool {
    kind.is_file() || (kind.is_symlink() && !fs::metadata(path).is_ok_and(|meta| meta.is_dir()))
}

const fn wanted(files: RuleFiles) -> &'static str {
    match files {
        RuleFiles::Yaml => "*.yaml or *.yml; setting `rule_files` asks for others",
        RuleFiles::All => "any file",
        RuleFiles::Visible => "any but dot files",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(path: &Path) -> Source {
        Source { path: path.to_owned(), files: RuleFiles::Yaml }
    }

    fn names(directory: &Path, files: RuleFiles) -> Vec<String> {
        let files = rule_files(&Source { files, ..yaml(directory) }).expect("a directory");
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
        let linked = directory.path().join("linked");
        std::os::unix::fs::symlink(directory.path().join("..data"), linked).unwrap();
        std::os::unix::fs::symlink(directory.path().join("b.yaml"), directory.path().join("link")).unwrap();
        let names = |files| names(directory.path(), files);
        assert_eq!(names(RuleFiles::Yaml), ["B.yaml", "a.yaml", "a/z.yml", "b.yaml"]);
        assert_eq!(names(RuleFiles::Visible), ["B.yaml", "a.yaml", "a/z.yml", "b.yaml", "link", "notes.txt"]);
        assert_eq!(
            names(RuleFiles::All),
            [".hidden.yaml", "B.yaml", "a.yaml", "a/.b/c.yaml", "a/z.yml", "b.yaml", "link", "notes.txt"]
        );
    }

    #[test]
    fn every_way_of_changing_a_file_changes_its_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let (file, other) = (directory.path().join("a.yaml"), directory.path().join("elsewhere"));
        fs::write(&file, "domain: a").unwrap();
        let mut last = Fingerprint::take(&yaml(directory.path()), &[]);
        let mut changed = |how: &str| {
            let next = Fingerprint::take(&yaml(directory.path()), &[]);
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
        let read = || read(&yaml(directory.path()), &[]);
        assert!(matches!(read(), Err(ReadError { why: Why::NoFiles(_), .. })));
        fs::write(directory.path().join("a.yaml"), "domain: a").unwrap();
        assert_eq!(read().unwrap().files.len(), 1);
        std::os::unix::fs::symlink("/nowhere/at/all", directory.path().join("b.yaml")).unwrap();
        assert!(matches!(read(), Err(ReadError { why: Why::Io(_), .. })));
    }

    #[test]
    fn the_hash_is_of_names_and_texts() {
        let file = |name: &str, text: &str| RuleFile { name: name.into(), path: name.into(), text: text.into() };
        let hash = |files: &[RuleFile]| Reading { files: files.to_vec(), ..Reading::default() }.hash();
        assert_eq!(hash(&[file("a", "b")]), hash(&[file("a", "b")]));
        assert_ne!(hash(&[file("a", "bc")]), hash(&[file("ab", "c")]));
        assert_ne!(hash(&[file("a", "b"), file("c", "")]), hash(&[file("a", "b")]));
    }

    #[test]
    fn replicas_have_equal_hashes_wherever_their_files_lie() {
        let reading = |root: &str, names: [&str; 2]| {
            let path = |name: &str| PathBuf::from(root).join(name);
            let files = names.map(|name| RuleFile { name: root.into(), path: path(name), text: name.into() });
            Reading { files: files.into(), lists: [(path("list"), Some(b"x".to_vec()))].into() }.hash()
        };
        let hash = reading("/etc/rules", ["a.yaml", "sub/b.yaml"]);
        assert_eq!(hash, reading("/etc/rules", ["a.yaml", "sub/b.yaml"]));
        assert_eq!(hash, reading("config", ["a.yaml", "sub/b.yaml"]));
        assert_eq!(hash, reading("", ["a.yaml", "sub/b.yaml"]));
        assert_ne!(hash, reading("/etc/rules", ["sub/a.yaml", "b.yaml"]));
    }
}
