//! The bearer token of the admin API, from the file that the setting `admin_token_file` names.

use std::{fmt, fs::File, io::Read as _, path::Path};

use subtle::ConstantTimeEq as _;
use thiserror::Error;

use crate::bounds::{ADMIN_TOKEN_MAX_BYTES, ADMIN_TOKEN_MIN_BYTES};

/// A token, as it is to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

/// Why a file holds no token. Never says what it holds.
#[derive(Debug, Error)]
pub enum TokenError {
    #[error("cannot read it: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("it is empty")]
    Empty,
    #[error("the token has {0} bytes: at least {ADMIN_TOKEN_MIN_BYTES}, so that nobody finds it by trying")]
    TooShort(usize),
    #[error("it has more than {ADMIN_TOKEN_MAX_BYTES} bytes: is it the right file?")]
    TooLong,
    #[error("the token has a byte that is no printable ASCII: a header cannot carry it")]
    NotPrintable,
}

impl Token {
    /// Reads the file; white space around the token is none of it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or what it holds is no token.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let mut bytes = Vec::new();
        File::open(path)?.take(ADMIN_TOKEN_MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > ADMIN_TOKEN_MAX_BYTES {
            return Err(TokenError::TooLong);
        }
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, TokenError> {
        let token = bytes.trim_ascii();
        match token.len() {
            0 => return Err(TokenError::Empty),
            short if short < ADMIN_TOKEN_MIN_BYTES => return Err(TokenError::TooShort(short)),
            _ => {}
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::NotPrintable);
        }
        Ok(Self(String::from_utf8_lossy(token).into_owned()))
    }

    /// The value of the header `authorization` that shows it.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether `shown` is it, in a time that does not tell how much of it is.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_stands_in_the_file_without_the_space_around_it() {
        for text in ["0123456789abcdef", "  0123456789abcdef\n", "0123456789abcdef\r\n"] {
            assert_eq!(Token::parse(text.as_bytes()).unwrap().bearer(), "Bearer 0123456789abcdef");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        for (bytes, message) in [
            (&b""[..], "it is empty"),
            (b" \n", "it is empty"),
            (b"hunter2-hunter2", "the token has 15 bytes: at least 16, so that nobody finds it by trying"),
            (b"hunter2 hunter2 hunter2", "the token has a byte that is no printable ASCII: a header cannot carry it"),
            (b"hunter2-hunter2-\xff", "the token has a byte that is no printable ASCII: a header cannot carry it"),
        ] {
            assert_eq!(Token::parse(bytes).unwrap_err().to_string(), message);
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        assert!(Token::read(&path).unwrap_err().to_string().starts_with("cannot read it: No such file"));
        std::fs::write(&path, "x".repeat(5_000)).unwrap();
        assert_eq!(Token::read(&path).unwrap_err().to_string(), "it has more than 4096 bytes: is it the right file?");
    }

    #[test]
    fn a_token_is_only_itself_and_shows_itself_to_nobody() {
        let token = Token::parse(b"0123456789abcdef").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for wrong in ["", "0", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef "] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "Token(secret)");
    }
}
