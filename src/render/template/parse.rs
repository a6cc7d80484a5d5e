//! From a template's text to its pieces: tags and the text between them.

use super::{
    Piece,
    condition::Condition,
    expression::{FILTERS, Insert, Name, Source, Text, Value, Vocabulary},
    grammar::{condition, listed, unexpected, value},
    lexer::{Lexer, Token},
};
use crate::{
    bounds,
    render::{Fault, text::Escape},
    spelling::did_you_mean,
};

pub(super) fn parse(text: &str, escape: Escape, vocabulary: Vocabulary) -> Result<Vec<Piece>, Fault> {
    if text.len() > bounds::BODY_MAX_BYTES {
        let message = format!("the template is {} bytes long, at most {} may be", text.len(), bounds::BODY_MAX_BYTES);
        return Err(Fault::new(message));
    }
    let mut parser = Parser { text, escape, vocabulary, pieces: Vec::new(), open: Vec::new() };
    let mut at = 0;
    while at < text.len() {
        at = parser.step(at)?;
    }
    if let Some(branches) = parser.open.last() {
        return Err(Fault::at_byte(text, branches.at, "this `if` has no `{% endif %}`"));
    }
    let values: usize = parser.pieces.iter().map(values).sum();
    if values > bounds::TEMPLATE_VALUES_MAX {
        let most = bounds::TEMPLATE_VALUES_MAX;
        return Err(Fault::new(format!("the template inserts or tests {values} values, at most {most} may be")));
    }
    Ok(parser.pieces)
}

/// How many values a piece looks up, at most.
fn values(piece: &Piece) -> usize {
    match piece {
        Piece::Insert(_) => 1,
        Piece::SkipUnless(condition, _) => condition.tests().count(),
        Piece::Text(_) | Piece::Skip(_) => 0,
    }
}

struct Parser<'t> {
    text: &'t str,
    escape: Escape,
    vocabulary: Vocabulary,
    pieces: Vec<Piece>,
    open: Vec<Branches>,
}

/// An `if` whose `endif` has not come yet.
struct Branches {
    /// Where it begins, in bytes.
    at: usize,
    /// The piece that skips the present branch; none once `else` has come.
    skip: Option<usize>,
    /// The pieces that leave a finished branch for the end.
    leave: Vec<usize>,
}

impl Parser<'_> {
    /// Takes the text up to the next tag, or the tag that begins at byte `at`; says where to go on.
    fn step(&mut self, at: usize) -> Result<usize, Fault> {
        let rest = &self.text[at..];
        let tag = rest.as_bytes().windows(2).position(|pair| matches!(pair, b"{{" | b"{%"));
        match tag {
            Some(0) if rest.starts_with("{{") => self.insert(at),
            Some(0) => self.block(at),
            _ => {
                let end = tag.map_or(self.text.len(), |length| at + length);
                self.plain(at, end)?;
                Ok(end)
            }
        }
    }

    fn plain(&mut self, start: usize, end: usize) -> Result<(), Fault> {
        let text = &self.text[start..end];
        if self.escape != Escape::Header {
            self.pieces.push(Piece::Text(text.as_bytes().into()));
            return Ok(());
        }
        if let Some(offset) = text.find(|c: char| c.is_ascii_control()) {
            return Err(Fault::at_byte(self.text, start + offset, "a header's value is one line of printable text"));
        }
        // Byte by byte: a whole text would be cut like an insert.
        let mut encoded = Vec::with_capacity(text.len());
        text.as_bytes().iter().for_each(|&byte| Escape::Header.write(&[byte], &mut encoded));
        self.pieces.push(Piece::Text(encoded.into()));
        Ok(())
    }

    /// `{{ expression }}`
    fn insert(&mut self, at: usize) -> Result<usize, Fault> {
        let mut lexer = Lexer::new(self.text, at + "{{".len(), self.vocabulary);
        let (value, value_at) = value(&mut lexer)?;
        if let (Value::Text(Text::Name(Name::Descriptor(_))), Escape::Plain) = (&value, self.escape) {
            let message = "a request's value in a body whose type has no known escapes";
            return Err(lexer.fault(value_at, message).help("use a content type of JSON, HTML or XML"));
        }
        let mut insert = Insert {
            source: match value {
                Value::Number(number) => Source::Number(number),
                Value::Text(text) => Source::Text(text),
                Value::Denied => Source::Denied,
            },
            quoted: false,
        };
        loop {
            match lexer.next()? {
                (Token::Symbol("}}"), _) => break,
                (Token::Symbol("|"), _) => self.filter(&mut lexer, &mut insert)?,
                (token, at) => return Err(unexpected(&lexer, &token, at, "`|` or `}}`")),
            }
        }
        self.pieces.push(Piece::Insert(insert));
        Ok(lexer.at())
    }

    fn filter(&self, lexer: &mut Lexer<'_>, insert: &mut Insert) -> Result<(), Fault> {
        let (name, at) = match lexer.next()? {
            (Token::Word(name), at) => (name, at),
            (token, at) => return Err(unexpected(lexer, &token, at, "a filter")),
        };
        if !FILTERS.contains(&name.as_str()) {
            let fault = lexer.fault(at, format!("unknown filter `{name}`"));
            return Err(fault.help_or(did_you_mean(&name, FILTERS), || format!("filters are {}", listed(&FILTERS))));
        }
        if insert.quoted {
            return Err(lexer.fault(at, format!("`{name}` behind `json`")).help("`json` comes last"));
        }
        if name == "json" {
            insert.quoted = true;
            if self.escape != Escape::Json {
                return Err(lexer.fault(at, "`json` outside of a JSON body"));
            }
            return Ok(());
        }
        let Source::Number(number) = &insert.source else {
            let such_as = match self.vocabulary {
                Vocabulary::Answer => "retry_after",
                Vocabulary::UsagePage => "window.NAME.reset",
            };
            return Err(lexer.fault(at, format!("`{name}` needs a number of seconds, such as `{such_as}`")));
        };
        let number = number.clone();
        insert.source = match name.as_str() {
            "humanize" => Source::Humanized(number),
            "epoch" => Source::Epoch(number),
            _ => Source::HttpDate(number),
        };
        Ok(())
    }

    /// `{% if … %}` and what belongs to it.
    fn block(&mut self, at: usize) -> Result<usize, Fault> {
        let mut lexer = Lexer::new(self.text, at + "{%".len(), self.vocabulary);
        let (keyword, keyword_at) = match lexer.next()? {
            (Token::Word(keyword), keyword_at) => (keyword, keyword_at),
            (token, at) => return Err(unexpected(&lexer, &token, at, "`if`, `elif`, `else` or `endif`")),
        };
        match keyword.as_str() {
            "if" => {
                let skip = self.pieces.len();
                self.pieces.push(Piece::SkipUnless(condition(&mut lexer)?, 0));
                self.open.push(Branches { at, skip: Some(skip), leave: Vec::new() });
            }
            "elif" => {
                let condition = condition(&mut lexer)?;
                self.next_branch(&lexer, keyword_at, "elif", Some(condition))?;
            }
            "else" => self.next_branch(&lexer, keyword_at, "else", None)?,
            "endif" => self.end(&lexer, keyword_at)?,
            _ => {
                const KEYWORDS: [&str; 4] = ["if", "elif", "else", "endif"];
                let fault = lexer.fault(keyword_at, format!("unknown tag `{keyword}`"));
                return Err(
                    fault.help_or(did_you_mean(&keyword, KEYWORDS), || format!("tags are {}", listed(&KEYWORDS)))
                );
            }
        }
        match lexer.next()? {
            (Token::Symbol("%}"), _) => Ok(lexer.at()),
            (token, at) => Err(unexpected(&lexer, &token, at, "`%}`")),
        }
    }

    /// Ends the present branch and begins the next: `elif` with a condition, `else` without.
    fn next_branch(
        &mut self,
        lexer: &Lexer<'_>,
        at: usize,
        keyword: &str,
        condition: Option<Condition>,
    ) -> Result<(), Fault> {
        let Some(branches) = self.open.last_mut() else {
            return Err(lexer.fault(at, format!("`{keyword}` without an `if`")));
        };
        let Some(skip) = branches.skip.take() else {
            return Err(lexer.fault(at, format!("`{keyword}` behind `else`")));
        };
        branches.leave.push(self.pieces.len());
        self.pieces.push(Piece::Skip(0));
        let here = self.pieces.len();
        if let Some(condition) = condition {
            branches.skip = Some(here);
            self.pieces.push(Piece::SkipUnless(condition, 0));
        }
        self.aim(skip, here);
        Ok(())
    }

    fn end(&mut self, lexer: &Lexer<'_>, at: usize) -> Result<(), Fault> {
        let Some(branches) = self.open.pop() else {
            return Err(lexer.fault(at, "`endif` without an `if`"));
        };
        let here = self.pieces.len();
        for piece in branches.leave.into_iter().chain(branches.skip) {
            self.aim(piece, here);
        }
        Ok(())
    }

    /// Makes the skip at `piece` go on at `to`.
    fn aim(&mut self, piece: usize, to: usize) {
        if let Some(Piece::Skip(target) | Piece::SkipUnless(_, target)) = self.pieces.get_mut(piece) {
            *target = to;
        }
    }
}
