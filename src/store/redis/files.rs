//! Files that are read again for each connection, so that what is in them is changed without a restart.

use std::path::Path;

use tokio::{
    fs::File,
    io::{self, AsyncReadExt as _},
};

/// What is in the file, of at most `max_bytes`.
///
/// # Errors
///
/// Why not; the text begins with the name of the file.
pub(super) async fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Box<str>> {
    match read_up_to(path, max_bytes).await {
        Ok(bytes) if bytes.len() as u64 <= max_bytes => Ok(bytes),
        Ok(_) => Err(format!("{}: it has more than {max_bytes} bytes", path.display()).into()),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

/// One byte more than allowed shows that there is more.
async fn read_up_to(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).await?.take(max_bytes + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_whole_or_named_as_the_culprit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        assert!(read(&path, 3).await.is_err_and(|why| why.starts_with(&path.display().to_string())));
        std::fs::write(&path, "abc").expect("writes");
        assert_eq!(read(&path, 3).await, Ok(b"abc".to_vec()));
        assert!(read(&path, 2).await.is_err_and(|why| why.ends_with("secret: it has more than 2 bytes")));
        assert!(read(folder.path(), 3).await.is_err());
    }
}
