//! Every bound we put on ourselves, with its reason. A bound that stands elsewhere is a bug.

use crate::units::Nanos;

/// Shortest window. Below a millisecond the network's jitter, not the limit, would decide.
pub const WINDOW_MIN: Nanos = Nanos::from_millis(1);
/// Longest window: ten years of 366 days. Longer ones are contracts, not rate limits.
pub const WINDOW_MAX: Nanos = Nanos::from_secs(10 * 366 * 86_400);

/// Largest message that is decoded and decided, in bytes; a larger one is answered OVER_LIMIT. Sixteen 1 MiB headers
/// in one request: far beyond what any Envoy lets in (60 KiB a request by default), and still cheap to hold.
pub const MESSAGE_MAX_BYTES: usize = 16 << 20;

/// Deepest tree of rules, in levels. Real descriptors have up to six entries; the walk keeps its place on the stack.
pub const LEVELS_MAX: usize = 32;
/// Windows of one rule. They are decided under one lock, and the headers name every one.
pub const LIMITS_PER_RULE_MAX: usize = 16;
/// Rules of all files together, values of lists counted each. At some 500 bytes a rule this is half a gigabyte.
pub const RULES_MAX: usize = 1_000_000;
/// One rule file, in bytes: a hundred thousand rules take some 8 MB.
pub const RULE_FILE_MAX_BYTES: u64 = 64 << 20;
/// Rule files in all.
pub const RULE_FILES_MAX: usize = 10_000;
/// Errors and warnings that one load keeps; beyond it they are counted. Nobody reads more, and a file of nothing but
/// errors must not take more memory than one of rules.
pub const DIAGNOSTICS_MAX: usize = 1_000;
/// Rules that stand on each other by `extends`, from the first to the last: each is a step of a walk on the stack.
pub const EXTENDS_DEPTH_MAX: usize = 64;
/// Characters of text that weigh as much as one YAML node more: a long text repeated by aliases is a bomb too.
pub const YAML_NODE_CHARS: usize = 64;
/// Nesting of one YAML document: four per level of rules (list, map, `descriptors`), and headroom.
pub const YAML_DEPTH_MAX: usize = 4 * LEVELS_MAX;
/// YAML nodes of one file after aliases are resolved: what stops a "billion laughs".
pub const YAML_NODES_MAX: usize = 16_000_000;
/// One compiled regular expression, in bytes. Expressions over headers take a few KB; one that needs more is a mistake
/// such as `\w{500}{500}`, and every one is tried on every value that got so far.
pub const REGEX_MAX_BYTES: usize = 1 << 20;
/// Names of rules and limits, in characters: they stand in headers, metrics and logs.
pub const NAME_MAX_CHARS: usize = 128;

/// One value in a header that we send, in bytes; longer ones are cut. Intermediaries refuse headers above 8 KiB in all.
pub const HEADER_VALUE_MAX_BYTES: usize = 1_024;
/// The body of one answer, in bytes: a 429 is read by people and small clients.
pub const BODY_MAX_BYTES: usize = 64 << 10;
/// One request value inserted into a body, in bytes; longer ones are cut.
pub const INSERT_MAX_BYTES: usize = 1_024;

/// Nesting of parentheses in a template's condition: its parser recurses, and its evaluation keeps two bits a level in
/// a u64.
pub const TEMPLATE_NESTING_MAX: usize = 16;
/// Values that one template inserts or tests: each may be a search through the entries of the request.
pub const TEMPLATE_VALUES_MAX: usize = 256;
/// Headers of one list in a `response`. Envoy's own default bound is 100 headers a message, the upstream's included.
pub const HEADERS_PER_LIST_MAX: usize = 32;

/// Counters in memory at most, until the operator says otherwise: at 60 bytes each some 600 MB.
pub const COUNTERS_MAX: usize = 10_000_000;
