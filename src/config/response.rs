//! `response`: how answers look. Texts that are equal are checked once and share one entry.

use std::{rc::Rc, sync::Arc};

use hashbrown::HashMap;

use super::{
    DomainDefaults,
    fields::{Fields, brief},
    report::{Report, Spot},
    settings::Compat,
    shape::{Form, Shape, key},
    suggest::choice,
    yaml::{Content, Node},
};
use crate::{
    render::{
        Fault, Response,
        body::Body,
        content_type::ContentType,
        headers::{
            HeaderNames, Headers,
            list::{Header, List, On, check_name},
        },
        rehearse,
    },
    rules::{Expose, Report as Reported},
};

pub(super) const RESPONSE: Shape = Shape {
    id: "response",
    name: "`response`",
    keys: &[
        key(
            "headers",
            Form::Either(&[Form::Words(&Headers::NAMES), Form::List(&Form::Map("header"))]),
            "a profile, or a list of headers",
        ),
        key("expose", Form::Words(&["always", "on_deny", "never"]), "when the client sees figures"),
        key("report", Form::Words(&["nearest", "first"]), "which window an accepted request tells of"),
        key("retry_after", Form::Boolean, "whether refusals carry `Retry-After`; they do if nothing is said"),
        key("body", Form::Either(&[Form::Words(&["none", "problem+json"]), Form::Map("body")]), "the body of refusals"),
    ],
    needs: &[],
    exclusive: &[],
    unavailable: &[],
};

pub(super) const HEADER: Shape = Shape {
    id: "header",
    name: "a header",
    keys: &[
        key("name", Form::Text, "the header's name"),
        key("value", Form::Text, "a template; an empty value sends nothing"),
        key("on", Form::Words(&["always", "deny"]), "on which answers it is sent"),
    ],
    needs: &[&["name", "value"]],
    exclusive: &[],
    unavailable: &[],
};

pub(super) const BODY: Shape = Shape {
    id: "body",
    name: "`body`",
    keys: &[
        key("content_type", Form::Text, "what it is, and how values are escaped in it"),
        key("template", Form::Text, "the text, with `{{ variables }}`"),
    ],
    needs: &[&["content_type", "template"]],
    exclusive: &[],
    unavailable: &[],
};

/// The keys of a `response` that are set; the others come from further up, one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Numbers of [`Looks`].
    headers: Option<u32>,
    body: Option<u32>,
    pub expose: Option<Expose>,
    pub report: Option<Reported>,
    retry_after: Option<bool>,
}

impl Look {
    /// What it says itself, and `further_up` where it says nothing.
    pub(super) fn or(self, further_up: Self) -> Self {
        Self {
            headers: self.headers.or(further_up.headers),
            body: self.body.or(further_up.body),
            expose: self.expose.or(further_up.expose),
            report: self.report.or(further_up.report),
            retry_after: self.retry_after.or(further_up.retry_after),
        }
    }
}

/// All headers and bodies of a load, each once.
#[derive(Debug)]
pub(super) struct Looks {
    /// Of the profile `envoyproxy`.
    names: Arc<HeaderNames>,
    headers: Numbered<HeadersText>,
    bodies: Numbered<BodyText>,
    responses: HashMap<(Option<u32>, Option<u32>, bool), u32>,
    pub compiled: Vec<Response>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum HeadersText {
    Profile(String),
    List(Vec<(String, String, Option<bool>)>),
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum BodyText {
    None,
    ProblemJson,
    Template { content_type: String, template: String },
}

impl Looks {
    pub(super) fn new(names: Arc<HeaderNames>) -> Self {
        let (headers, bodies) = (Numbered::default(), Numbered::default());
        Self { names, headers, bodies, responses: HashMap::new(), compiled: Vec::new() }
    }

    /// What the settings say of domains that say nothing.
    pub(super) fn default_look(&mut self, defaults: &DomainDefaults, count_denied: bool) -> Look {
        let headers = Some(self.headers.number(HeadersText::Profile(defaults.headers.clone())).0);
        // Where answers are envoyproxy/ratelimit's to the letter, they have no header of ours.
        let to_the_letter = defaults.compat == Compat::Ratelimit && count_denied;
        Look { headers, retry_after: to_the_letter.then_some(false), ..Look::default() }
    }

    /// The place of the response that `look` describes in [`compiled`](Self::compiled).
    pub(super) fn response(&mut self, look: Look) -> u32 {
        let retry_after = look.retry_after.unwrap_or(true);
        let key = (look.headers, look.body, retry_after);
        if let Some(response) = self.responses.get(&key) {
            return *response;
        }
        // What does not compile has been reported when it was read.
        let headers =
            look.headers.and_then(|number| self.headers.get(number).compile(&self.names).ok()).unwrap_or_default();
        let body = look.body.and_then(|number| self.bodies.get(number).compile().ok()).unwrap_or_default();
        let place = u32::try_from(self.compiled.len()).unwrap_or(u32::MAX);
        self.compiled.push(Response { headers, retry_after, body });
        self.responses.insert(key, place);
        place
    }

    /// Reads the `response` of a domain or a rule.
    pub(super) fn read(&mut self, of: &Fields<'_, '_>, report: &mut Report) -> Look {
        let Some(fields) = of.node("response").and_then(|node| Fields::of(node, &RESPONSE, report)) else {
            return Look::default();
        };
        let expose = [("always", Expose::Always), ("on_deny", Expose::OnDeny), ("never", Expose::Never)];
        let reported = [("nearest", Reported::Nearest), ("first", Reported::First)];
        Look {
            headers: fields.node("headers").and_then(|node| self.read_headers(node, report)),
            body: fields.node("body").and_then(|node| self.read_body(node, report)),
            expose: fields.word("expose", &expose, report),
            report: fields.word("report", &reported, report),
            retry_after: fields.boolean("retry_after", report),
        }
    }

    fn read_headers(&mut self, node: &Node<'_>, report: &mut Report) -> Option<u32> {
        let text = match &node.content {
            Content::Scalar(profile) => {
                if Headers::named(&profile.text, &self.names).is_none() {
                    let message = format!("there are no headers `{}`", brief(&profile.text));
                    report.error_help(node.spot, message, choice(&profile.text, &Headers::NAMES));
                    return None;
                }
                HeadersText::Profile(profile.text.to_string())
            }
            Content::List(nodes) => {
                let headers: Vec<_> = nodes.iter().map(|node| read_header(node, report)).collect();
                let headers: Vec<_> = headers.into_iter().collect::<Option<_>>()?;
                HeadersText::List(headers)
            }
            Content::Map(_) => {
                report.error(node.spot, "`headers` is a profile's name or a list, this is a map");
                return None;
            }
        };
        let (number, new) = self.headers.number(text);
        if let (true, Err(fault)) = (new, self.headers.get(number).compile(&self.names)) {
            fault_at(node.spot, fault, report);
        }
        Some(number)
    }

    fn read_body(&mut self, node: &Node<'_>, report: &mut Report) -> Option<u32> {
        if let Content::Scalar(word) = &node.content {
            let text = match &*word.text {
                "none" => BodyText::None,
                "problem+json" => BodyText::ProblemJson,
                other => {
                    let message = format!("`body` cannot be `{}`", brief(other));
                    let help = "`none`, `problem+json`, or a map of `content_type` and `template`".to_owned();
                    report.error_help(node.spot, message, help);
                    return None;
                }
            };
            return Some(self.bodies.number(text).0);
        }
        let fields = Fields::of(node, &BODY, report)?;
        for missing in BODY.names().filter(|key| fields.node(key).is_none()) {
            report.error(fields.spot, format!("`body` has no `{missing}`"));
        }
        let content_type = fields.text("content_type", report);
        let template = fields.text("template", report);
        let (type_spot, content_type) = content_type?;
        if let Err(fault) = ContentType::parse(content_type) {
            fault_at(type_spot, fault, report);
            return None;
        }
        let (spot, template) = template?;
        let text = BodyText::Template { content_type: content_type.to_owned(), template: template.to_owned() };
        let (number, new) = self.bodies.number(text);
        if new {
            check_body(self.bodies.get(number), spot, report);
        }
        Some(number)
    }
}

fn read_header(node: &Node<'_>, report: &mut Report) -> Option<(String, String, Option<bool>)> {
    let fields = Fields::of(node, &HEADER, report)?;
    if fields.node("name").is_none() {
        report.error(fields.spot, "the header has no `name`");
    }
    if fields.key_spot("value").is_none() {
        report.error(fields.spot, "the header has no `value`");
    }
    let on = fields.word("on", &[("always", true), ("deny", false)], report);
    let (name_spot, name) = fields.text("name", report)?;
    let (value_spot, value) = fields.text("value", report)?;
    let header = (name.to_owned(), value.to_owned(), on);
    match compile_header(&header) {
        Ok(_) => Some(header),
        Err(fault) => {
            fault_at(if check_name(name).is_err() { name_spot } else { value_spot }, fault, report);
            None
        }
    }
}

/// Renders the body with hostile values: what calls itself JSON must still be JSON.
fn check_body(text: &BodyText, spot: Spot, report: &mut Report) {
    let body = match text.compile() {
        Ok(body) => body,
        Err(fault) => return fault_at(spot, fault, report),
    };
    let response = Response { body, ..Response::default() };
    let fault = rehearse(&response)
        .into_iter()
        .filter(|rehearsed| rehearsed.is_json)
        .find_map(|rehearsed| serde_json::from_slice::<serde::de::IgnoredAny>(&rehearsed.body).err());
    if let Some(fault) = fault {
        let help = "text stands in quotes, numbers do not: `\"{{ message }}\"`, `{{ retry_after }}`".to_owned();
        report.error_help(spot, format!("the body is not JSON once it is filled: {fault}"), help);
    }
}

pub(super) fn fault_at(spot: Spot, fault: Fault, report: &mut Report) {
    let place = if fault.at == 0 { String::new() } else { format!(" (character {} of the text)", fault.at + 1) };
    report.error_help(spot, format!("{}{place}", fault.message), fault.help);
}

impl HeadersText {
    fn compile(&self, names: &Arc<HeaderNames>) -> Result<Headers, Fault> {
        match self {
            Self::Profile(name) => Ok(Headers::named(name, names).unwrap_or_default()),
            Self::List(headers) => {
                let headers: Result<Vec<_>, _> = headers.iter().map(compile_header).collect();
                Ok(Headers::List(List::new(headers?)?))
            }
        }
    }
}

fn compile_header((name, value, on): &(String, String, Option<bool>)) -> Result<Header, Fault> {
    Header::new(name, value, on.map(when))
}

const fn when(always: bool) -> On {
    if always { On::Always } else { On::Deny }
}

impl BodyText {
    fn compile(&self) -> Result<Body, Fault> {
        match self {
            Self::None => Ok(Body::None),
            Self::ProblemJson => Ok(Body::ProblemJson),
            Self::Template { content_type, template } => Body::template(content_type, template),
        }
    }
}

/// Things with numbers: equal ones have the same.
#[derive(Debug)]
struct Numbered<T> {
    numbers: HashMap<Rc<T>, u32>,
    things: Vec<Rc<T>>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), things: Vec::new() }
    }
}

impl<T: Eq + std::hash::Hash> Numbered<T> {
    /// The number of `thing`, and whether it is new.
    fn number(&mut self, thing: T) -> (u32, bool) {
        if let Some(number) = self.numbers.get(&thing) {
            return (*number, false);
        }
        let number = u32::try_from(self.things.len()).unwrap_or(u32::MAX);
        let thing = Rc::new(thing);
        self.things.push(Rc::clone(&thing));
        self.numbers.insert(thing, number);
        (number, true)
    }

    fn get(&self, number: u32) -> &T {
        &self.things[number as usize]
    }
}
