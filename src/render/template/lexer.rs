//! The words inside a tag.

use super::expression::Vocabulary;
use crate::render::Fault;

/// One word of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name, dots and dashes included: `limit`, `descriptor.x-api-key`.
    Word(String),
    Number(u64),
    /// What stood between quotes, its escapes resolved.
    Text(String),
    /// Anything of [`SYMBOLS`].
    Symbol(&'static str),
    /// The template ends inside a tag.
    End,
}

/// Longer ones first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 13] = ["}}", "%}", "==", "!=", "<=", ">=", "<", ">", "|", "(", ")", "[", "]"];

/// Reads tokens from a template; it stands inside a tag.
#[derive(Clone, Debug)]
pub struct Lexer<'t> {
    text: &'t str,
    /// In bytes, on a character boundary.
    at: usize,
    vocabulary: Vocabulary,
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str, at: usize, vocabulary: Vocabulary) -> Self {
        Self { text, at, vocabulary }
    }

    /// What the names that are read may mean.
    pub fn vocabulary(&self) -> Vocabulary {
        self.vocabulary
    }

    /// Where it stands, in bytes.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next token and where it begins, in bytes.
    ///
    /// # Errors
    ///
    /// A character that begins nothing, a text without its closing quote, a number beyond u64.
    pub fn next(&mut self) -> Result<(Token, usize), Fault> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        let rest = self.rest();
        let start = self.at;
        let token = match rest.chars().next() {
            None => Token::End,
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.word(),
            Some(c) if c.is_ascii_digit() => self.number()?,
            Some(quote @ ('\'' | '"')) => self.quoted(quote)?,
            Some(c) => match SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
                Some(symbol) => self.symbol(symbol),
                None => return Err(self.fault(start, format!("unexpected `{}`", c.escape_debug()))),
            },
        };
        Ok((token, start))
    }

    /// The next token, not taken.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn peek(&self) -> Result<Token, Fault> {
        self.clone().next().map(|(token, _)| token)
    }

    /// A fault at `byte` of the template.
    pub fn fault(&self, byte: usize, message: impl Into<String>) -> Fault {
        Fault::at_byte(self.text, byte, message)
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn symbol(&mut self, symbol: &'static str) -> Token {
        self.at += symbol.len();
        Token::Symbol(symbol)
    }

    fn word(&mut self) -> Token {
        let word = self.leading(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        Token::Word(word.to_owned())
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let start = self.at;
        let digits = self.leading(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        digits.parse().map(Token::Number).map_err(|_| {
            self.fault(start, format!("`{digits}` is no number that can be compared"))
                .help("whole numbers from 0 to 18446744073709551615, in digits only")
        })
    }

    fn leading(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let (taken, _) = rest.split_at(rest.find(|c| !belongs(c)).unwrap_or(rest.len()));
        self.at += taken.len();
        taken
    }

    fn quoted(&mut self, quote: char) -> Result<Token, Fault> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    let Some((_, escaped @ ('\\' | '\'' | '"'))) = chars.next() else {
                        let fault = self.fault(start + at, "a backslash that escapes nothing");
                        return Err(fault.help("a backslash itself is written `\\\\`"));
                    };
                    text.push(escaped);
                }
                _ if c == quote => {
                    self.at = start + at + quote.len_utf8();
                    return Ok(Token::Text(text));
                }
                _ => text.push(c),
            }
        }
        Err(self.fault(start, format!("the text that begins here has no closing {quote}")))
    }
}
