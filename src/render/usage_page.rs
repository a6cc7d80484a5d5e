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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::scene::Scene;

    fn window(name: &str, current: u64, limit: u64) -> WindowFacts<'_> {
        WindowFacts { name, current, limit, remaining: limit.saturating_sub(current), reset_secs: 59 }
    }

    /// A page of so many descriptors, filled for a client of `ip=203.0.113.9`.
    fn page(descriptors: usize, template: Option<&str>, looked: &[(&Rule, Vec<WindowFacts<'_>>)]) -> String {
        let entry = PageEntry { key: "ip".into(), value: PageValue::Header("x-client-ip".into()) };
        let template = template.map(|text| UsagePage::template(text).unwrap());
        let descriptors = vec![[entry].into(); descriptors].into();
        let page = UsagePage { domain: "shop".into(), descriptors, template };
        let looked: Vec<_> = looked.iter().map(|(rule, windows)| Looked { rule, windows: windows.clone() }).collect();
        let entries = [Entry { key: b"ip", value: b"203.0.113.9\"" }];
        let (scene, mut out) = (Scene::new("shop", ""), Vec::new());
        page.fill(Timestamp::from_secs(1_000), Some(&scene.domain), &looked, &entries, &mut out);
        let text = String::from_utf8(out).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        text
    }

    fn rule(id: u32, name: &str) -> Rule {
        Rule { id, ..Scene::new("shop", name).rule }
    }

    #[test]
    fn without_a_template_one_descriptor_is_its_windows_and_several_are_an_object_a_rule() {
        let (address, key) = (rule(1, "per-address"), rule(2, "say \"hi\""));
        let both = || vec![window("minute", 12, 30), window("day", 47, 1_000)];
        assert_eq!(
            page(1, None, &[(&address, both())]),
            r#"{"rateLimit":{"minute":{"current":12,"limit":30},"day":{"current":47,"limit":1000}}}"#
        );
        assert_eq!(
            page(3, None, &[(&address, both()), (&key, vec![window("a\\b", 1, 2)]), (&address, vec![])]),
            r#"{"rateLimit":{"per-address":{"minute":{"current":12,"limit":30},"day":{"current":47,"limit":1000}},"say \"hi\"":{"a\\b":{"current":1,"limit":2}},"per-address-2":{}}}"#
        );
        assert_eq!(page(2, None, &[(&key, vec![])]), r#"{"rateLimit":{"say \"hi\"":{}}}"#);
    }

    #[test]
    fn a_template_names_windows_and_what_the_client_came_with() {
        let address = rule(1, "per-address");
        let looked = [(&address, vec![window("minute", 12, 30), window("per day", 47, 1_000)])];
        for (template, expected) in [
            (
                r#"{"used": {{ window.minute.current }}, "of": {{ window.minute.limit }}, "left": {{ window.minute.remaining }}}"#,
                r#"{"used": 12, "of": 30, "left": 18}"#,
            ),
            (
                r#"{"day": {{ window["per day"]["limit"] }}, "in": "{{ window["per day"]["reset"] | humanize }}"}"#,
                r#"{"day": 1000, "in": "1 min"}"#,
            ),
            (r#"{"at": {{ window.minute.reset | epoch }}}"#, r#"{"at": 1059}"#),
            (r#"["{{ domain }}", "{{ descriptor.ip }}"]"#, r#"["shop", "203.0.113.9\""]"#),
            (r"[{% if window.week.limit %}1{% else %}{{ window.week.limit }}{% endif %}]", "[0]"),
            (r"[{% if window.minute.remaining > 10 and not window.week.limit %}true{% endif %}]", "[true]"),
        ] {
            assert_eq!(page(1, Some(template), &looked), expected, "{template}");
        }
    }

    #[test]
    fn what_a_page_does_not_have_is_a_fault_with_its_place() {
        for (template, at, message, help) in [
            (
                "{{ limit }}",
                3,
                "unknown variable `limit`",
                "variables are `window.NAME.current`, `window.NAME.limit`, ",
            ),
            ("{{ retry_after }}", 3, "unknown variable `retry_after`", "variables are "),
            ("{{ window }}", 3, "`window` needs a name and a figure", "write `window.minute.limit` or "),
            ("{{ window.minute }}", 3, "`window` needs a name and a figure", "write "),
            ("{{ window.limit }}", 3, "`window` needs a name and a figure", "write "),
            ("{{ window..limit }}", 3, "`window` needs a name and a figure", "write "),
            ("{{ window['a'] }}", 3, "`window` needs a name and a figure", "write "),
            ("{{ window.minute.limits }}", 3, "a window has no figure `limits`", "did you mean `limit`?"),
            ("{{ window.minute.used }}", 3, "a window has no figure `used`", "figures are `current`, `limit`, "),
            ("{{ domain | humanize }}", 12, "`humanize` needs a number of seconds, such as `window.NAME.reset`", ""),
        ] {
            let fault = UsagePage::template(template).unwrap_err();
            assert_eq!((fault.at, &*fault.message), (at, message), "{template}");
            assert!(fault.help.as_deref().unwrap_or_default().starts_with(help), "{template}: {fault:?}");
        }
        // And the other way round: an answer has one window that it reports, and none by name.
        assert!(Template::parse("{{ window.minute.limit }}", Escape::Json).is_err());
        assert!(Template::parse("{{ window }}", Escape::Json).is_ok());
    }

    #[test]
    fn a_page_that_could_grow_too_long_is_a_fault() {
        let long = format!("[{}0]", "\"{{ descriptor.ip }}\",".repeat(100));
        assert!(UsagePage::template(&long).unwrap_err().message.contains("bytes long, at most 65536"));
    }
}
