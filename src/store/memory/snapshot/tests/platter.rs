//! A disk in memory that can fail at any step, and lose power with as little kept as a disk may.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Write},
    sync::Arc,
};

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use super::super::Disk;

/// Handles of one disk are alike.
#[derive(Clone, Default)]
pub struct Platter(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    contents: Vec<Content>,
    /// Steps that still succeed; no end to them if there is no number.
    fuse: Option<usize>,
}

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

/// What is left of a disk when its writer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process ended: everything that it did is there.
    Process,
    /// Power was lost, and nothing is there that was not synced.
    Power,
    /// Power was lost after the names had been written, but not what is in the files.
    PowerAfterNames,
}

impl Platter {
    /// Lets so many steps succeed and all after them fail; `None`: all succeed.
    pub fn burn(&self, steps: Option<usize>) {
        self.0.lock().fuse = steps;
    }

    /// The disk as the next process finds it.
    pub fn after(&self, crash: Crash) -> Self {
        let mut state = self.0.lock().clone();
        state.fuse = None;
        if crash == Crash::Power {
            state.names = state.synced_names.clone();
        }
        for content in &mut state.contents {
            match crash {
                Crash::Process => {}
                Crash::Power | Crash::PowerAfterNames => content.bytes.clone_from(&content.synced),
            }
        }
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn copy(&self) -> Self {
        self.after(Crash::Process)
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.0.lock();
        state.contents[state.names[name]].bytes.clone()
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut file = self.create(name).unwrap();
        file.write_all(bytes).unwrap();
        self.replace(file, name, name).unwrap();
    }

    fn step(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.0.lock();
        match &mut state.fuse {
            None => {}
            Some(0) => return Err(io::ErrorKind::StorageFull.into()),
            Some(steps) => *steps -= 1,
        }
        Ok(state)
    }
}

/// A file that is being written.
pub struct Output {
    disk: Platter,
    content: usize,
}

impl Output {
    fn bytes(&self) -> MappedMutexGuard<'_, Vec<u8>> {
        MutexGuard::map(self.disk.0.lock(), |state| &mut state.contents[self.content].bytes)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let step = self.disk.step().map(drop);
        // A write that fails may have got half way.
        let written = if step.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        self.bytes().extend(written);
        step.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for Platter {
    type Input = Cursor<Vec<u8>>;
    type Output = Output;

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Self::Input> {
        let state = self.0.lock();
        let content = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Cursor::new(state.contents[content].bytes.clone()))
    }

    fn create(&self, name: &str) -> io::Result<Output> {
        let mut state = self.step()?;
        let content = state.contents.len();
        state.contents.push(Content::default());
        state.names.insert(name.to_owned(), content);
        Ok(Output { disk: self.clone(), content })
    }

    fn sync(&self, file: Output) -> io::Result<()> {
        let mut state = self.step()?;
        let content = &mut state.contents[file.content];
        content.synced.clone_from(&content.bytes);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.step()?;
        let content = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), content);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.step()?;
        state.synced_names = state.names.clone();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.step()?;
        state.names.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
}
