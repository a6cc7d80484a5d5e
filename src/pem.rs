//! Files in PEM: certificates, keys, whom to trust. Read whole and bounded; errors name the file and why it will not do.
//! And whom this machine trusts, where no file says it.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio_rustls::rustls::{
    self, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};

use crate::bounds::TLS_FILE_MAX_BYTES;

/// What was in a file.
pub struct PemFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// What stands for files' contents, one of which is secret.
pub type Fingerprint = [u8; 32];

/// A file that will not do.
#[derive(Debug, Error)]
#[error("{}: {why}", .path.display())]
pub struct PemError {
    path: PathBuf,
    why: Unusable,
}

/// What is wrong with it.
#[derive(Debug, Error)]
pub enum Unusable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it has more than {TLS_FILE_MAX_BYTES} bytes")]
    TooLarge,
    #[error("{0}")]
    Pem(#[from] pem::Error),
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("there is no certificate in it")]
    Empty,
    /// Found by who reads more in it than is read here.
    #[error("{0}")]
    Other(Box<str>),
}

/// Whom this machine trusts, unless that is nobody.
pub fn trusted_by_this_machine() -> Option<RootCertStore> {
    let mut trusted = RootCertStore::empty();
    // Some of those that a machine has are too old or too odd for rustls; whoever needs one of them names it.
    trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Some(trusted).filter(|trusted| !trusted.is_empty())
}

impl PemFile {
    /// What is in the file at `path` now.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is too large.
    pub fn read(path: &Path) -> Result<Self, PemError> {
        let blame = |why: Unusable| PemError { path: path.to_owned(), why };
        let mut bytes = Vec::new();
        // One byte more than allowed shows that there is more.
        let file = fs::File::open(path).map_err(|error| blame(error.into()))?;
        file.take(TLS_FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| blame(error.into()))?;
        if bytes.len() as u64 > TLS_FILE_MAX_BYTES {
            return Err(blame(Unusable::TooLarge));
        }
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// What somebody else has read from `path`.
    pub fn new(path: &Path, bytes: Vec<u8>) -> Self {
        Self { path: path.to_owned(), bytes }
    }

    /// All certificates in it, of which there is at least one.
    ///
    /// # Errors
    ///
    /// There is none, or something that is no PEM.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, PemError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match certificates {
            Ok(certificates) if certificates.is_empty() => Err(self.blame(Unusable::Empty)),
            Ok(certificates) => Ok(certificates),
            Err(why) => Err(self.blame(why)),
        }
    }

    /// The first private key in it.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, PemError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|why| self.blame(why))
    }

    /// Who signs what is to be trusted.
    ///
    /// # Errors
    ///
    /// There is nobody in it, or a certificate that is none.
    pub fn trusted(&self) -> Result<RootCertStore, PemError> {
        let mut trusted = RootCertStore::empty();
        for certificate in self.certificates()? {
            trusted.add(certificate).map_err(|why| self.blame(why))?;
        }
        Ok(trusted)
    }

    /// Its text, if it is any.
    ///
    /// # Errors
    ///
    /// It is no UTF-8.
    pub fn text(&self) -> Result<&str, PemError> {
        str::from_utf8(&self.bytes).map_err(|_| self.blame(Unusable::Other("it is no UTF-8".into())))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An error that names it.
    pub fn blame(&self, why: impl Into<Unusable>) -> PemError {
        PemError { path: self.path.clone(), why: why.into() }
    }
}

/// Not its contents: they may be secret.
impl fmt::Debug for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Of all of them, in this order.
pub fn fingerprint<'f>(files: impl IntoIterator<Item = &'f PemFile>) -> Fingerprint {
    let mut hash = Sha256::new();
    for file in files {
        hash.update((file.bytes.len() as u64).to_le_bytes());
        hash.update(&file.bytes);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_named_as_the_culprit_and_its_contents_are_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        let blamed = |path: &Path| PemFile::read(path).expect_err("it will not do").to_string();
        assert!(blamed(&path).starts_with(&format!("{}: No such file", path.display())), "{}", blamed(&path));
        assert!(blamed(folder.path()).contains("Is a directory"), "{}", blamed(folder.path()));
        fs::write(&path, " ".repeat(1 << 20)).expect("writes");
        assert!(PemFile::read(&path).is_ok());
        fs::write(&path, " ".repeat((1 << 20) + 1)).expect("writes");
        assert!(blamed(&path).ends_with("key.pem: it has more than 1048576 bytes"), "{}", blamed(&path));

        fs::write(&path, "canary").expect("writes");
        let file = PemFile::read(&path).expect("it is there");
        for error in [file.certificates().expect_err("none"), file.private_key().expect_err("none")] {
            let said = format!("{error} {error:?}");
            assert!(said.contains("key.pem: ") && !said.contains("canary"), "{said}");
        }
        assert!(!format!("{file:?}").contains("canary"));
    }

    #[test]
    fn a_byte_that_moves_from_one_file_to_the_next_makes_another_fingerprint() {
        let of =
            |texts: [&str; 2]| fingerprint(&texts.map(|text| PemFile::new(Path::new("x"), text.as_bytes().to_vec())));
        assert_eq!(of(["ab", "c"]), of(["ab", "c"]));
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
    }
}
