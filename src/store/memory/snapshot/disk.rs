//! The few things that are asked of a file system, so that tests can have one that fails, or loses power, at any step.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

/// A directory of files with plain names. Every step fails with what the system says.
#[expect(clippy::missing_errors_doc, reason = "there is no more to say about any of them")]
pub trait Disk {
    type Input: Read;
    type Output: Write;

    /// The names of everything in it, in no order.
    fn names(&self) -> io::Result<Vec<String>>;

    fn open(&self, name: &str) -> io::Result<Self::Input>;

    /// An empty file, in place of what had its name.
    fn create(&self, name: &str) -> io::Result<Self::Output>;

    /// Returns when the contents of `file` outlast a loss of power. Its name does not yet.
    fn sync(&self, file: Self::Output) -> io::Result<()>;

    /// Gives a file another name in one step, in place of what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Returns when names outlast a loss of power.
    fn sync_names(&self) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Puts a file where there is none or an older one; whatever happens meanwhile, one of them is there.
    ///
    /// `unfinished` is its name until it is whole.
    fn replace(&self, file: Self::Output, unfinished: &str, name: &str) -> io::Result<()> {
        self.sync(file)?;
        self.rename(unfinished, name)?;
        self.sync_names()
    }
}

/// A directory of this machine.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The directory at `path`; it is made if it does not exist.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn new(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

/// Who may read counters and their secret: the service alone.
const MODE: u32 = 0o600;

impl Disk for Directory {
    type Input = File;
    type Output = File;

    fn names(&self) -> io::Result<Vec<String>> {
        let name =
            |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().into_string().ok()).transpose();
        fs::read_dir(&self.0)?.filter_map(name).collect()
    }

    fn open(&self, name: &str) -> io::Result<File> {
        File::open(self.0.join(name))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(self.0.join(name))
    }

    fn sync(&self, file: File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }
}
