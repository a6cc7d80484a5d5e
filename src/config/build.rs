//! From checked rules to compiled ones: numbers, names, counters, and the levels that find them.

use std::{borrow::Cow, collections::BTreeSet, fmt::Write as _, hash::Hash, sync::Arc};

use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use super::{
    DomainDefaults,
    document::DomainDraft,
    fields::brief,
    labels,
    limits::Limits,
    matching::{Kind, stable_hash},
    pointless,
    report::{Report, Spot},
    response::{Look, Looks},
    rule::{ADDRESS_KEY, Act, Child, Count, Draft, DraftId},
    suggest::did_you_mean,
    unreachable, warnings,
};
use crate::{
    bounds::{LEVELS_MAX, NAME_MAX_CHARS, RULES_MAX, SIBLINGS_TOLD_MAX},
    limit::{Algorithm, Limit, Window},
    rules::{
        Action, Block, Counted, Counting, Domain, Level, Matcher, Mode, NameId, OnStoreError, Place, RequestLimits,
        Rule, RuleIndex, RuleLimit, Rules, Slots, ToldAs, blocks, identity::window_salt,
    },
    telemetry::compat::label::RuleLabels,
    units::Nanos,
};

/// Bits of an IPv6 address that name its counter: one subscriber usually has a /64 to himself.
const IPV6_PREFIX: u8 = 64;
/// The same in rules of envoyproxy/ratelimit's form, which knows no networks.
const IPV6_PREFIX_CLASSIC: u8 = 128;
/// What the rule is called that stands in where a request brings its own limit and matches none.
const REQUEST_RULE: &str = "request-limit";

/// Numbers that run through all domains.
pub(super) struct Build<'b> {
    pub drafts: &'b [Draft],
    pub looks: &'b mut Looks,
    pub report: &'b mut Report,
    pub defaults: DomainDefaults,
    pub rules: Rules,
    /// By [`Rule::id`]; none unless they are asked for.
    pub labels: Vec<RuleLabels>,
    limit_names: HashMap<Box<str>, NameId>,
    /// What windows are called, each name once.
    window_names: HashSet<Arc<str>>,
    /// What rules count, each kind once.
    kinds_of_counting: HashSet<Arc<Counting>>,
    /// Rules so far, values of lists and what `extends` adds counted each.
    weight: usize,
}

/// One domain while it is built.
struct Part {
    rules: Vec<Rule>,
    count_denied: bool,
    slots: Slots,
    /// Of each rule.
    spots: Vec<Spot>,
    names: HashSet<Box<str>>,
    /// In order, so that what is suggested does not depend on chance.
    limit_names: BTreeSet<Box<str>>,
    replaced: Vec<(Spot, String)>,
}

/// What a level needs to know of the rules above it.
struct Above {
    levels: SmallVec<[DraftId; 4]>,
    look: Look,
    /// The keys of the levels, for default names.
    keys: String,
    /// The name of the rule above.
    name: Box<str>,
    /// How those below are told if they are too many.
    told_as: ToldAs,
    /// A rule above came through `extends`: names written below belong to someone else.
    taken_over: bool,
}

impl<'b> Build<'b> {
    pub(super) fn new(
        drafts: &'b [Draft],
        looks: &'b mut Looks,
        report: &'b mut Report,
        defaults: DomainDefaults,
    ) -> Self {
        let (window_names, kinds_of_counting) = (HashSet::new(), HashSet::new());
        let rules =
            Rules { count_max: defaults.count_max, repeats_request: defaults.request_metadata, ..Rules::default() };
        let (limit_names, labels) = (HashMap::new(), Vec::new());
        Self { drafts, looks, report, defaults, rules, labels, limit_names, window_names, kinds_of_counting, weight: 0 }
    }

    pub(super) fn domain(&mut self, draft: &DomainDraft) {
        let count_denied = draft.count_denied.map_or(self.defaults.count_denied, |(_, denied)| denied);
        let look = draft.look.map(|(_, look)| look).unwrap_or_default();
        let look = look.or(self.looks.default_look(&self.defaults, count_denied));
        let slots = draft.slots.map(|(_, slots)| slots).unwrap_or_default();
        let mut part = Part {
            count_denied,
            slots,
            rules: Vec::new(),
            spots: Vec::new(),
            names: HashSet::from([REQUEST_RULE.into()]),
            limit_names: BTreeSet::new(),
            replaced: Vec::new(),
        };
        self.written_names(&draft.children, &mut part);
        let request_rule = self.request_rule(look);
        let above = Above {
            levels: SmallVec::new(),
            look,
            keys: String::new(),
            name: "".into(),
            told_as: ToldAs::Domain,
            taken_over: false,
        };
        let top = self.level(&draft.children, &above, &mut part);
        self.replaced_names(&part);
        let domain = Domain {
            name: draft.name.clone(),
            count_denied,
            shadow: self.defaults.shadow_mode,
            all_quota: self.defaults.quota_mode,
            slots,
            request_limits: draft.request_limits.map_or(RequestLimits::Use, |(_, limits)| limits),
            blocks: blocks::connect(&mut part.rules),
            request_rule,
            override_limit: next(&mut self.rules.limit_count),
            top,
            rules: part.rules,
        };
        self.rules.domains.insert(draft.name.as_bytes().into(), domain);
    }

    /// Names that are written come first: default ones make way for them.
    fn written_names(&mut self, level: &[Child], part: &mut Part) {
        for draft in level.iter().filter(|child| !child.taken_over).map(|child| &self.drafts[child.draft.0]) {
            if let Some((spot, name)) = &draft.name
                && !part.names.insert(name.clone())
                && **name == *REQUEST_RULE
            {
                let message = format!("the name `{REQUEST_RULE}` is taken: it stands for limits that requests bring");
                self.report.error(*spot, message);
            }
            self.written_names(&draft.children, part);
        }
    }

    fn level(&mut self, children: &[Child], above: &Above, part: &mut Part) -> Level {
        let mut level = Level::default();
        if above.levels.len() >= LEVELS_MAX && !children.is_empty() {
            if let Some(id) = above.levels.last() {
                let spot = self.drafts[id.0].spot;
                self.report.error(spot, format!("rules stand more than {LEVELS_MAX} levels deep, `extends` included"));
            }
            return level;
        }
        warnings::level(children, self.drafts, self.report);
        unreachable::level(children, self.drafts, self.report);
        part.rules.reserve(children.len());
        part.spots.reserve(children.len());
        part.names.reserve(children.len());
        let told_as = if children.len() > SIBLINGS_TOLD_MAX { above.told_as } else { ToldAs::Itself };
        for child in children {
            self.rule(*child, above, told_as, &mut level, part);
        }
        level
    }

    fn rule(&mut self, child: Child, above: &Above, told_as: ToldAs, level: &mut Level, part: &mut Part) {
        let drafts = self.drafts;
        let draft = &drafts[child.draft.0];
        self.weight += draft.matching.matchers.len();
        if self.weight > RULES_MAX {
            let message =
                format!("there are more than {RULES_MAX} rules, each value of a list and each `extends` counted");
            // Where the bound is passed says nothing, so it is said once.
            if self.weight - draft.matching.matchers.len() <= RULES_MAX {
                self.report.error(draft.spot, message);
            }
            return;
        }
        let index = RuleIndex(number(part.rules.len()));
        if !self.insert(draft, child.taken_over, index, level, part) {
            return;
        }
        let mut here = Above {
            levels: above.levels.iter().copied().chain([child.draft]).collect(),
            look: draft.settings.look.or(above.look),
            keys: default_name(above, draft),
            name: Box::default(),
            told_as: told_as.of_those_below(index),
            taken_over: above.taken_over || child.taken_over,
        };
        here.name = part.name(draft, above, &here);
        let rule = Rule { told_as, ..self.compiled(draft, &here, part) };
        part.rules.push(rule);
        part.spots.push(draft.spot);
        let children = self.level(&draft.children, &here, part);
        part.rules[index.0 as usize].children = children;
    }

    /// Puts a rule's matchers into its level; false where none of them has a place there.
    fn insert(&mut self, draft: &Draft, yields: bool, index: RuleIndex, level: &mut Level, part: &Part) -> bool {
        let mut placed = false;
        for (spot, matcher) in &draft.matching.matchers {
            let many = draft.matching.matchers.len() > 1;
            match level.insert(draft.key.as_bytes(), matcher.clone(), index) {
                Ok(()) => placed = true,
                Err(first) if first == index => self.report.error(*spot, "this is given twice in its list"),
                Err(_) if yields => {}
                Err(first) => {
                    let first = part.spots.get(first.0 as usize).copied().unwrap_or_default();
                    let place = self.report.place(first);
                    let key = brief(&draft.key);
                    let message = match matcher {
                        _ if many => format!("a rule for this value of `{key}` is given twice, first at {place}"),
                        Matcher::Any => format!("the rule for any `{key}` is given twice, first at {place}"),
                        _ => format!("this rule for `{key}` is given twice, first at {place}"),
                    };
                    self.report.error(if many { *spot } else { draft.spot }, message);
                }
            }
        }
        placed
    }

    fn compiled(&mut self, draft: &Draft, here: &Above, part: &mut Part) -> Rule {
        let settings = &draft.settings;
        let mode = match settings.mode.unwrap_or_default() {
            Mode::Enforce if self.defaults.quota_mode => Mode::Quota,
            mode => mode,
        };
        if mode == Mode::Quota && part.slots == Slots::Spread {
            let help = "without `slots: spread`, or in a domain of its own".to_owned();
            self.report.error_help(draft.spot, "`mode: quota` and `slots: spread` exclude each other", help);
        }
        let limits = match &settings.action {
            Some(Act::Limits(limits)) => Arc::clone(limits),
            _ => Arc::default(),
        };
        let action = match &settings.action {
            Some(Act::Limits(limits)) if limits.unlimited => Action::Unlimited,
            Some(Act::Limits(limits)) if !limits.list.is_empty() => Action::Limits,
            Some(Act::Exempt) => Action::Exempt,
            Some(Act::Deny) => Action::Deny,
            Some(Act::Limits(_) | Act::Open) | None => Action::Open,
        };
        if action == Action::Exempt {
            warnings::exempt(draft, here.levels.iter().map(|id| &self.drafts[id.0]), self.report);
        }
        let prefix = if limits.classic { IPV6_PREFIX_CLASSIC } else { IPV6_PREFIX };
        part.replaced.extend(limits.replaces.iter().cloned());
        let first_limit = self.rules.limit_count;
        let counting =
            Counting { limits: self.limits(&limits, mode, part), counted: self.counted(&here.levels, prefix) };
        let charged_within = mode == Mode::Enforce && settings.overdraw != Some(true) && !part.count_denied;
        // Where there are errors, what was meant is still open.
        if charged_within && limits.list.len() > 1 && !self.report.failed() {
            let enforced: SmallVec<[_; 4]> = limits.list.iter().filter(|one| !one.is_shadow(mode)).collect();
            pointless::limits(&enforced, self.report);
        }
        self.rules.limit_count += number(counting.limits.len());
        if self.defaults.compat_metrics {
            let levels: SmallVec<[_; 4]> = here.levels.iter().map(|id| &self.drafts[id.0]).collect();
            self.labels.push(labels::of(&levels, &counting.counted));
        }
        Rule {
            id: next(&mut self.rules.rule_count),
            first_limit,
            name: (*here.name).into(),
            place: Place { file: self.report.file(draft.spot), line: draft.spot.line },
            action,
            mode,
            overdraw: settings.overdraw.unwrap_or(false),
            on_store_error: settings.on_store_error.unwrap_or_default(),
            on_exceed: if action == Action::Limits { self.block(draft, here, part) } else { None },
            blocked_as: Vec::new(),
            counting: shared(&mut self.kinds_of_counting, counting),
            replaces: limits.replaces.iter().map(|(_, name)| self.limit_name(name)).collect(),
            expose: here.look.expose.unwrap_or_default(),
            report: here.look.report.unwrap_or_default(),
            response: self.looks.response(here.look),
            metadata: settings.metadata.clone(),
            children: Level::default(),
            told_as: ToldAs::default(),
        }
    }

    fn block(&mut self, draft: &Draft, here: &Above, part: &Part) -> Option<Block> {
        let on_exceed = draft.settings.on_exceed.as_ref()?;
        if part.count_denied {
            let help = "`count_denied: false` in the domain, or no block".to_owned();
            self.report.error_help(on_exceed.spot, "`on_exceed` and `count_denied` exclude each other", help);
        }
        if part.slots == Slots::Spread {
            let help = "a hit that is about to be given back could start a block".to_owned();
            self.report.error_help(on_exceed.spot, "`on_exceed` and `slots: spread` exclude each other", help);
        }
        let keys: Vec<&str> = here.levels.iter().map(|id| &*self.drafts[id.0].key).collect();
        on_exceed.block(&keys, self.report)
    }

    fn limits(&mut self, limits: &Limits, mode: Mode, part: &mut Part) -> Box<[RuleLimit]> {
        let mut compiled: Vec<RuleLimit> = Vec::with_capacity(limits.list.len());
        for one in &limits.list {
            one.can_be_kept(part.count_denied, self.defaults.count_max, self.report);
            let shadow = one.is_shadow(mode);
            let salt = window_salt(&one.limit, shadow);
            let line_of = |first: usize| limits.list[first].spot.line;
            if let Some(first) = compiled.iter().position(|other| other.salt == salt) {
                let message =
                    format!("two limits of this rule share one counter, the first on line {}", line_of(first));
                self.report.error(one.spot, message);
            } else if let Some(first) = compiled.iter().position(|other| *other.name == *one.called()) {
                let (name, line) = (one.called(), line_of(first));
                let message = format!("two limits of this rule are called `{name}`, the first on line {line}");
                self.report.error_help(one.spot, message, "give one of them a `name`".to_owned());
            }
            let written_name = one.name.as_ref().map(|name| {
                part.limit_names.insert(name.as_str().into());
                self.limit_name(name)
            });
            compiled.push(RuleLimit {
                name: self.window_name(one.called()),
                written_name,
                limit: one.limit.clone(),
                shadow,
                salt,
            });
        }
        compiled.into()
    }

    fn counted(&self, levels: &[DraftId], prefix: u8) -> Box<[Counted]> {
        levels.iter().map(|id| counted(&self.drafts[id.0], prefix)).collect()
    }

    fn window_name(&mut self, name: &str) -> Arc<str> {
        Arc::clone(self.window_names.get_or_insert_with(name, |name| name.into()))
    }

    fn limit_name(&mut self, name: &str) -> NameId {
        let next = NameId(number(self.limit_names.len()));
        *self.limit_names.entry(name.into()).or_insert(next)
    }

    fn request_rule(&mut self, look: Look) -> Rule {
        let limit = Limit { count: 0, window: Window::Length(Nanos::SECOND), algorithm: Algorithm::FixedWindow };
        let salt = window_salt(&limit, false);
        if self.defaults.compat_metrics {
            self.labels.push(labels::of_request_limits(REQUEST_RULE));
        }
        let placeholder = RuleLimit { name: "request".into(), written_name: None, limit, shadow: false, salt };
        Rule {
            id: next(&mut self.rules.rule_count),
            first_limit: next(&mut self.rules.limit_count),
            name: REQUEST_RULE.into(),
            place: Place { file: "".into(), line: 0 },
            action: Action::Limits,
            mode: Mode::Enforce,
            overdraw: false,
            on_store_error: OnStoreError::default(),
            on_exceed: None,
            blocked_as: Vec::new(),
            counting: Arc::new(Counting { limits: [placeholder].into(), counted: Box::default() }),
            replaces: Box::default(),
            expose: look.expose.unwrap_or_default(),
            report: look.report.unwrap_or_default(),
            response: self.looks.response(look),
            metadata: None,
            children: Level::default(),
            told_as: ToldAs::default(),
        }
    }

    fn replaced_names(&mut self, part: &Part) {
        for (spot, name) in part.replaced.iter().filter(|(_, name)| !part.limit_names.contains(&**name)) {
            let help = did_you_mean(name, part.limit_names.iter().map(|name| &**name));
            self.report.warning(*spot, format!("no limit of the domain is called `{}`", brief(name)), help);
        }
    }
}

impl Part {
    /// What a rule is called: as written, else by the keys of its levels; never like another one.
    fn name(&mut self, draft: &Draft, above: &Above, here: &Above) -> Box<str> {
        match &draft.name {
            Some((_, name)) if !here.taken_over => name.clone(),
            Some((_, name)) => self.free_name(&format!("{}/{name}", above.name)),
            None => self.free_name(&here.keys),
        }
    }

    fn free_name(&mut self, wanted: &str) -> Box<str> {
        let mut base = Cow::Borrowed(wanted);
        if wanted.chars().count() > NAME_MAX_CHARS {
            // Room for a colon and the hash that keeps it apart from others that begin alike.
            let kept: String = wanted.chars().take(NAME_MAX_CHARS - 24).collect();
            base = format!("{kept}:{:016x}", stable_hash(&[wanted.as_bytes()])).into();
        }
        let mut name = base.clone().into_owned();
        let mut more = 2;
        while !self.names.insert(name.as_str().into()) {
            name = format!("{base}-{more}");
            more += 1;
        }
        name.into()
    }
}

/// `api_key/path:1f2e3d4c`: a hash for what is configured, for values may be secrets.
fn default_name(above: &Above, draft: &Draft) -> String {
    let mut name = above.keys.clone();
    if !name.is_empty() {
        name.push('/');
    }
    name += &draft.key;
    if draft.matching.kind != Kind::Any {
        // Eight digits tell a hundred thousand values apart but for one or two, which get a number.
        let hash = stable_hash(&[draft.matching.identity.as_bytes()]) >> 32;
        let _ = write!(name, ":{hash:08x}");
    }
    name
}

/// How a level names the counter of a rule that counts addresses by `prefix` bits.
fn counted(level: &Draft, prefix: u8) -> Counted {
    let kind = level.matching.kind;
    let default = if kind == Kind::Path { Count::Shared } else { Count::Each };
    match (level.settings.count.unwrap_or(default), kind) {
        // One value has one counter either way; named by the value it is that of a rule which counts each.
        (Count::Shared, Kind::Any | Kind::Values | Kind::Networks | Kind::Path | Kind::Wildcard | Kind::Regex) => {
            Counted::Shared(level.matching.identity.as_bytes().into())
        }
        (_, Kind::Networks) => Counted::Address { ipv6_prefix: level.settings.ipv6_prefix.unwrap_or(prefix) },
        _ if *level.key == *ADDRESS_KEY => {
            Counted::Address { ipv6_prefix: level.settings.ipv6_prefix.unwrap_or(prefix) }
        }
        (Count::Each, Kind::Path) => Counted::Path,
        _ => Counted::Value,
    }
}

/// The one of `all` that is equal.
fn shared<T: Eq + Hash>(all: &mut HashSet<Arc<T>>, one: T) -> Arc<T> {
    Arc::clone(all.get_or_insert(Arc::new(one)))
}

fn next(counter: &mut u32) -> u32 {
    let number = *counter;
    *counter += 1;
    number
}

/// Bounded by [`RULES_MAX`].
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
