//! Usage pages: what a client is shown of its windows, as the rules give it. Pure: who asks and how the windows stand is
//! brought along.

use hashbrown::HashMap;

use super::{
    Fault,
    facts::{Facts, WindowFacts},
    template::{Template, Vocabulary},
    text::{Escape, push_number},
};
use crate::{
    request::Entry,
    rules::{Domain, Rule},
    units::Timestamp,
};

/// The pages of all domains, by their paths.
pub type UsagePages = HashMap<Box<str>, UsagePage>;

/// Paths of the HTTP port that are answered already; so is everything below `/v1`.
pub const TAKEN_PATHS: [&str; 6] = ["/healthcheck", "/livez", "/readyz", "/metrics", "/json", "/v1"];

/// One page.
#[derive(Debug)]
pub struct UsagePage {
    pub domain: Box<str>,
    /// Whose windows it shows.
    pub descriptors: Box<[Box<[PageEntry]>]>,
    /// None: every window with `current` and `limit`.
    pub template: Option<Template>,
}

/// One entry of a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageEntry {
    pub key: Box<str>,
    pub value: PageValue,
}

/// Where the value of an entry comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageValue {
    /// The header of this name, in lower case.
    Header(Box<str>),
    Fixed(Box<str>),
}

/// How one descriptor of a page stands: as far as clients may know.
#[derive(Clone, Debug)]
pub struct Looked<'a> {
    pub rule: &'a Rule,
    pub windows: Vec<WindowFacts<'a>>,
}

impl UsagePage {
    /// Whatever the template says: it is rehearsed as JSON.
    pub const CONTENT_TYPE: &str = "application/json";

    /// A template of the rules.
    ///
    /// # Errors
    ///
    /// A fault in the text, or a page that could grow beyond what a body may be.
    pub fn template(text: &str) -> Result<Template, Fault> {
        let template = Template::parse_in(Vocabulary::UsagePage, text, Escape::Json)?;
        template.fits_a_body()?;
        Ok(template)
    }

    /// Appends the page for a client whose descriptors stand as `looked` says: those of them that a rule limits, in
    /// their order. `entries` are all that it asked with.
    pub fn fill(
        &self,
        now: Timestamp,
        domain: Option<&Domain>,
        looked: &[Looked<'_>],
        entries: &[Entry<'_>],
        out: &mut Vec<u8>,
    ) {
        match (&self.template, looked) {
            (Some(template), [first, ..]) => {
                let windows: Vec<_> = looked.iter().flat_map(|looked| &looked.windows).copied().collect();
                // A window that this client does not have stands as 0: the text around it must stay whole.
                let _ = template.fill(&Facts::of_page(now, domain, first.rule, &windows, entries), out);
            }
            // One descriptor needs no name, and the shape of a page is the same for every client.
            _ if self.descriptors.len() == 1 => {
                out.extend_from_slice(br#"{"rateLimit":"#);
                push_windows(looked.first().map_or(&[], |looked| &looked.windows), out);
                out.push(b'}');
            }
            _ => {
                out.extend_from_slice(br#"{"rateLimit":{"#);
                push_rules(looked, out);
                out.extend_from_slice(b"}}");
            }
        }
    }
}

/// `"per-key":{…},"per-address":{…}`: what one rule says of several descriptors is numbered.
fn push_rules(looked: &[Looked<'_>], out: &mut Vec<u8>) {
    for (place, one) in looked.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.push(b'"');
        Escape::Json.write(one.rule.name.as_bytes(), out);
        let before = looked[..place].iter().filter(|other| other.rule.id == one.rule.id).count();
        if before > 0 {
            out.push(b'-');
            push_number(before as u64 + 1, out);
        }
        out.extend_from_slice(b"\":");
        push_windows(&one.windows, out);
    }
}

/// `{"minute":{"current":12,"limit":30},…}`
fn push_windows(windows: &[WindowFacts<'_>], out: &mut Vec<u8>) {
    out.push(b'{');
    for (place, window) in windows.iter().enumerate() {
        out.extend_from_slice(if place > 0 { b",\"" } else { b"\"" });
        Escape::Json.write(window.name.as_bytes(), out);
        out.extend_from_slice(br#"":{"current":"#);
        push_number(window.current, out);
        out.extend_from_slice(br#","limit":"#);
        push_number(window.limit, out);
        out.push(b'}');
    }
    out.push(b'}');
}
