//! Path templates as rules write them: `/v1/orders/{id}/items`, `/files/{*rest}`.

use std::fmt;

use super::Path;

/// A checked path template. Templates that differ only in the names of their parameters are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    segments: Box<[Segment]>,
    canonical: Box<str>,
}

/// What stands between two slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    /// These bytes, normalised as requests are.
    Fixed(Box<[u8]>),
    /// `{name}`: one segment.
    One,
    /// `{*name}`: all that follows, nothing included. Only the last.
    Rest,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct TemplateError {
    /// Where in the text, in characters from 0.
    pub at: usize,
    pub fault: TemplateFault,
}

/// What is wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    #[error("a path template begins with `/`")]
    NoSlash,
    #[error("a path ends before `?` or `#`, so nothing can follow here")]
    Query,
    #[error("an empty segment never matches: `//` in requests is read as `/`")]
    EmptySegment,
    #[error("`.` and `..` never match: they are resolved in requests")]
    DotSegment,
    #[error("`{{name}}` is a whole segment: nothing stands beside it between the slashes")]
    Brace,
    #[error("a parameter needs a name, such as `{{id}}`")]
    NoName,
    #[error("`*` stands only before the name, as in `{{*rest}}`")]
    Star,
    #[error("`{{*rest}}` takes all that follows, so it is the last segment")]
    RestNotLast,
}

impl Template {
    /// Reads a template. One final `/` means nothing, as in requests.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        parse(text).map_err(|(at, fault)| TemplateError { at: text[..at].chars().count(), fault })
    }

    /// The template without the names: `/v1/orders/{}/items`, `/files/{*}`. Equal templates have equal canonical texts.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.canonical)
    }
}

fn parse(text: &str) -> Result<Template, (usize, TemplateFault)> {
    let Some(inner) = text.strip_prefix('/') else { return Err((0, TemplateFault::NoSlash)) };
    if let Some(at) = text.find(['?', '#']) {
        return Err((at, TemplateFault::Query));
    }
    let inner = inner.strip_suffix('/').filter(|shorter| !shorter.is_empty()).unwrap_or(inner);
    let mut segments = Vec::new();
    let mut at = 1;
    for written in inner.split('/') {
        if segments.last() == Some(&Segment::Rest) {
            return Err((at - 1, TemplateFault::RestNotLast));
        }
        if !inner.is_empty() {
            segments.push(segment(written).map_err(|(offset, fault)| (at + offset, fault))?);
        }
        at += written.len() + 1;
    }
    Ok(Template { canonical: canonical(&segments), segments: segments.into() })
}

fn segment(written: &str) -> Result<Segment, (usize, TemplateFault)> {
    if written.is_empty() {
        return Err((0, TemplateFault::EmptySegment));
    }
    if let Some(name) = written.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return parameter(name).map_err(|(offset, fault)| (offset + 1, fault));
    }
    if let Some(at) = written.find(['{', '}']) {
        return Err((at, TemplateFault::Brace));
    }
    // Requests are normalised before they are compared, so what they are compared with is, too.
    let path = format!("/{written}");
    match Path::parse(path.as_bytes()).as_ref().map(Path::text) {
        Some([b'/', fixed @ ..]) if !fixed.is_empty() => Ok(Segment::Fixed(fixed.into())),
        _ => Err((0, TemplateFault::DotSegment)),
    }
}

fn parameter(name: &str) -> Result<Segment, (usize, TemplateFault)> {
    let (kind, name, offset) = match name.strip_prefix('*') {
        Some(name) => (Segment::Rest, name, 1),
        None => (Segment::One, name, 0),
    };
    if name.is_empty() {
        return Err((offset, TemplateFault::NoName));
    }
    if let Some(at) = name.find(['{', '}']) {
        return Err((offset + at, TemplateFault::Brace));
    }
    if let Some(at) = name.find('*') {
        return Err((offset + at, TemplateFault::Star));
    }
    Ok(kind)
}

fn canonical(segments: &[Segment]) -> Box<str> {
    if segments.is_empty() {
        return "/".into();
    }
    let mut text = String::new();
    for segment in segments {
        text.push('/');
        match segment {
            // Made from a str by decoding ASCII only, so it is one still.
            Segment::Fixed(fixed) => text.push_str(&String::from_utf8_lossy(fixed)),
            Segment::One => text.push_str("{}"),
            Segment::Rest => text.push_str("{*}"),
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_forgotten_and_the_rest_is_normalised() {
        for (text, canonical) in [
            ("/", "/"),
            ("/{*all}", "/{*}"),
            ("/v1/orders", "/v1/orders"),
            ("/v1/orders/", "/v1/orders"),
            ("/v1/{id}/x", "/v1/{}/x"),
            ("/v1/{order id}/x/", "/v1/{}/x"),
            ("/v1/{*rest}", "/v1/{*}"),
            ("/v1/{*rest}/", "/v1/{*}"),
            ("/%7Eme/a%2fb", "/~me/a%2Fb"),
            ("/café/.well-known", "/café/.well-known"),
        ] {
            assert_eq!(Template::parse(text).unwrap().canonical(), canonical, "{text}");
        }
        assert_eq!(Template::parse("/{a}/{b}"), Template::parse("/{b}/{a}"));
        assert_ne!(Template::parse("/{a}/b"), Template::parse("/a/{b}"));
    }

    #[test]
    fn an_error_says_where_and_why() {
        use TemplateFault::*;
        for (text, at, fault) in [
            ("", 0, NoSlash),
            ("v1", 0, NoSlash),
            ("{*rest}", 0, NoSlash),
            ("/v1?x=1", 3, Query),
            ("/v1#x", 3, Query),
            ("//", 1, EmptySegment),
            ("/v1//x", 4, EmptySegment),
            ("/v1///", 4, EmptySegment),
            ("/v1/./x", 4, DotSegment),
            ("/é/..", 3, DotSegment),
            ("/v1/%2e%2E", 4, DotSegment),
            ("/v1/a{id}", 5, Brace),
            ("/v1/{id}a", 4, Brace),
            ("/v1/{id", 4, Brace),
            ("/v1/id}", 6, Brace),
            ("/v1/{a}{b}", 6, Brace),
            ("/v1/{}", 5, NoName),
            ("/v1/{*}", 6, NoName),
            ("/v1/{a*}", 6, Star),
            ("/v1/{**a}", 6, Star),
            ("/v1/{*rest}/x", 11, RestNotLast),
            ("/{*a}/{*b}", 5, RestNotLast),
        ] {
            assert_eq!(Template::parse(text), Err(TemplateError { at, fault }), "{text}");
        }
    }
}
