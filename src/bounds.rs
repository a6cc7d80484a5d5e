//! Every bound we put on ourselves, with its reason. A bound that stands elsewhere is a bug.

use std::time::Duration;

use crate::units::Nanos;

/// Shortest window. Below a millisecond the network's jitter, not the limit, would decide.
pub const WINDOW_MIN: Nanos = Nanos::from_millis(1);
/// Longest window: ten years of 366 days. Longer ones are contracts, not rate limits.
pub const WINDOW_MAX: Nanos = Nanos::from_secs(10 * 366 * 86_400);

/// Shortest block: `Retry-After` speaks in seconds.
pub const BLOCK_MIN: Nanos = Nanos::SECOND;
/// Longest block: who is to stay away for longer gets a rule that says so.
pub const BLOCK_MAX: Nanos = WINDOW_MAX;

/// Largest message that is decoded and decided, in bytes; a larger one is answered `OVER_LIMIT`. Sixteen 1 MiB headers
/// in one request: far beyond what any Envoy lets in (60 KiB a request by default), and still cheap to hold.
pub const MESSAGE_MAX_BYTES: usize = 16 << 20;
/// Descriptors of one request; more are answered `OVER_LIMIT`. An Envoy sends one for each `rate_limits` entry of a
/// route, a handful; an empty one takes two bytes of the message and twenty times that here.
pub const DESCRIPTORS_PER_REQUEST_MAX: usize = 100_000;
/// Entries of all descriptors of one request; more are answered `OVER_LIMIT`, for the same reason.
pub const ENTRIES_PER_REQUEST_MAX: usize = 400_000;
/// Messages that come in parts, all connections together, in bytes; what finds no room is answered `OVER_LIMIT`. Sixteen
/// of the largest: real messages come in one part and take none of it.
pub const BUFFERED_MAX_BYTES: usize = 16 * MESSAGE_MAX_BYTES;
/// A message must be there so long after its headers. An Envoy sends both at once, and gives up after 20 ms by default.
pub const MESSAGE_DEADLINE: Duration = Duration::from_secs(1);
/// Largest message of a call of another service than ours, in bytes: a health check names a service.
pub const OTHER_MESSAGE_MAX_BYTES: usize = 4 << 10;

/// Connections at once; more are closed as they come. An Envoy keeps one a worker: 64 Envoys of 64 workers.
pub const CONNECTIONS_MAX: usize = 4_096;
/// A client that is not an Envoy's may sit there, and not ask. One that has asked nothing so long after it came makes room
/// when places are scarce. An Envoy connects when it has something to ask.
pub const ASKS_WITHIN: Duration = Duration::from_secs(1);
/// So does one that has asked, and nothing more for so long. An Envoy that is told to go comes back when it has something
/// to ask, and loses nothing.
pub const IDLE_AFTER: Duration = Duration::from_secs(10);
/// Whoever is told to make room says good-bye within that, or is closed.
pub const ROOM_WITHIN: Duration = Duration::from_secs(1);
/// Connections that wait in the kernel's queue of a port until they are accepted: as many as may come back at once after a
/// restart. The system has a bound of its own, which is the same (`net.core.somaxconn`).
pub const CONNECTIONS_WAITING_MAX: u32 = 4_096;
/// Connections on their way to one core. It takes them in microseconds; more wait only where it hangs.
pub const DEALT_MAX: usize = 1_024;
/// New connections that a core takes on until the others' turn: to greet one takes some 30 µs, so a thousand that come at
/// once would keep those who ask waiting for as long as they all take.
pub const DEALT_PER_TURN: usize = 8;
/// Calls at once on one connection. Told in the first SETTINGS; Envoy opens another connection beyond.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// Calls that a client resets before they were looked at, until its connection is closed. h2's 20 closes Envoy's
/// connection after a stall of 100 ms, in which Envoy's deadline of 20 ms resets every call.
pub const PENDING_RESETS_MAX: usize = 10_000;
/// Streams of one connection that we had to reset for its errors, until it is closed ("made you reset").
pub const LOCAL_RESETS_MAX: usize = 1_024;
/// What a client may send on one stream before we read it, in bytes.
pub const STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// The same for one connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What is read of one connection until it is the others' turn, in bytes, at the most: what h2 reads at once, some 50
/// calls.
pub const READ_PER_TURN_MAX_BYTES: u64 = 8 << 10;
/// The same at the least, however dear it proves: two calls.
pub const READ_PER_TURN_MIN_BYTES: u64 = 512;
/// How long one connection may take what it says until the others' turn: 50 plain calls take no longer, and ten who attack
/// together leave the others within Envoy's 20 ms.
pub const TURN_MAX: Nanos = Nanos(500_000);
/// All headers of one call, in bytes. Envoy sends some 300.
pub const HEADER_LIST_MAX_BYTES: u32 = 16 << 10;
/// Answers of one stream that wait for a slow reader, in bytes: the largest body.
pub const SEND_BUFFER_MAX_BYTES: usize = 64 << 10;
/// A client that connects must have said the HTTP/2 preface and its first SETTINGS by then.
pub const PREFACE_DEADLINE: Duration = Duration::from_secs(5);
/// TLS handshakes under way at once; for one more, the oldest makes room. With 10,000 a second that come to stay, one
/// that means it has 50 ms for its two round trips; and whatever shares their threads waits for so many at most.
pub const HANDSHAKES_MAX: usize = 512;
/// A TLS handshake must be done by then: two round trips, over any distance, on a busy machine.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// From one line in the log about handshakes that failed to the next: who knocks at the door must not fill the disk.
pub const HANDSHAKE_FAILURES_TOLD_APART: Duration = Duration::from_secs(10);
/// Names of clients that may come. A handshake looks through all of them, in a fraction of what it takes otherwise.
pub const CLIENT_NAMES_MAX: usize = 1_000;
/// Files of TLS are read again so often: those of a cluster take a minute to arrive anyway, people wait for seconds.
pub const TLS_LOOK_EVERY: Duration = Duration::from_secs(1);
/// A connection that nothing was heard from in such an interval is asked whether it still lives.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// So long it may take to say so.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that answers wait for and that takes none for so long is closed, at the latest after twice that: an Envoy
/// reads at once.
pub const READER_PATIENCE: Duration = Duration::from_secs(15);
/// A connection is closed with a GOAWAY at this age, more or less a tenth, unless `max_connection_age` says otherwise: so
/// that Envoys spread over new replicas within the hour, for one connection more a worker and hour.
pub const CONNECTION_AGE: Duration = Duration::from_hours(1);
/// Longest `max_connection_age` and grace: a year. No process runs as long, and no timer must end after it.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_hours(366 * 24);
/// Calls of such a connection may take so long to end; none takes a second.
pub const CONNECTION_AGE_GRACE: Duration = Duration::from_secs(30);
/// The same when the process stops: within Kubernetes' 30 s from SIGTERM, after the drain delay and before the
/// snapshot.
pub const DRAIN_GRACE: Duration = Duration::from_secs(5);
/// First pause after the system has no more handles or memory for a connection; doubled each time in a row.
pub const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest such pause: clients then wait in the kernel's queue for less than a reconnect takes.
pub const ACCEPT_PAUSE_MAX: Duration = Duration::from_millis(100);

/// HTTP connections to the neighbourhood's port at once; the next waits in the kernel's queue. Probes and scrapes need a
/// few; usage pages come through Envoy, one connection a worker and request under way.
pub const HTTP_CONNECTIONS_MAX: usize = 1_024;
/// The same for the admin port: people and their scripts.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// The same for the debug pages. Where they share the admin API's listener, more are closed as they come: whoever can
/// reach them must not keep operators out.
pub const DEBUG_CONNECTIONS_MAX: usize = 64;
/// An HTTP client must have sent a request's headers so long after it connected or had its last answer. Slow ones do
/// not hold a place for longer; those that were only idle come back.
pub const HTTP_HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// All headers of one HTTP request, in bytes. Envoy's own bound is 60 KiB, and usage pages get what it lets in.
pub const HTTP_HEADERS_MAX_BYTES: usize = 64 << 10;
/// An HTTP client that reads nothing of an answer for so long is left.
pub const HTTP_READER_PATIENCE: Duration = Duration::from_secs(10);
/// What is read of the body of an HTTP request that is too large, in bytes, only to be thrown away: enough for an honest
/// mistake.
pub const HTTP_BODY_DROPPED_MAX_BYTES: usize = 1 << 20;
/// The body of one request to `/json`, in bytes; a larger one is answered `OVER_LIMIT`. Headers of 60 KiB, escaped, are
/// less, and as many as there are connections take as much memory as gRPC's messages in parts.
pub const JSON_BODY_MAX_BYTES: usize = 256 << 10;
/// The body of one admin request, in bytes: 32 entries of usual length take a few KB, and each value is bounded itself.
pub const ADMIN_BODY_MAX_BYTES: usize = 64 << 10;
/// The body must be there so long after its headers.
pub const ADMIN_BODY_DEADLINE: Duration = Duration::from_secs(10);
/// A domain, or a key or value of a descriptor, in an admin request, in bytes: intermediaries refuse headers above this,
/// and values are headers or shorter.
pub const ADMIN_TEXT_MAX_BYTES: usize = 8 << 10;
/// Shortest admin token, in bytes: 16 random hexadecimal digits are 64 bits, which nobody tries through over HTTP.
pub const ADMIN_TOKEN_MIN_BYTES: usize = 16;
/// Largest file that an admin token is read from, in bytes: no header could carry more.
pub const ADMIN_TOKEN_MAX_BYTES: u64 = 4_096;
/// The commands wait so long for the service's whole answer.
pub const ADMIN_ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// And read so much of it, in bytes: lists of a hundred thousand entries.
pub const ADMIN_ANSWER_MAX_BYTES: usize = 64 << 20;

/// Deepest tree of rules, in levels. Real descriptors have up to six entries; the walk keeps its place on the stack.
pub const LEVELS_MAX: usize = 32;
/// Descriptors of one usage page: each is a look at the store, and nobody reads more.
pub const USAGE_DESCRIPTORS_MAX: usize = 16;
/// Descriptors of one request that are explained: Envoy sends a handful, and each is walked and drawn.
pub const EXPLAIN_DESCRIPTORS_MAX: usize = 32;
/// Rules of one level that an explanation lists; it says how many more there are. As many as a screen shows at once.
pub const EXPLAIN_RULES_MAX: usize = 16;
/// Keys of one level that an explanation names where the descriptor has none of them: the choice must fit into a line.
pub const EXPLAIN_KEYS_MAX: usize = 8;
/// Places of a core for unknown domains, as many for descriptors that match nothing, and as many for clients that are
/// refused: more than anybody sees to in an afternoon, and few enough to be read through for each (512 bytes of hashes).
pub const FREQUENT_PLACES: usize = 64;
/// Characters kept of one domain or key there: longer than any that people give, and 64 places stay small.
pub const UNMATCHED_NAME_CHARS: usize = 64;
/// Keys kept of one descriptor there; real ones have up to six.
pub const UNMATCHED_KEYS_MAX: usize = 8;
/// Series by the names of envoyproxy/ratelimit that show values of requests, as a rule asked for: each is up to six lines
/// of a scrape, which so stays below ten megabytes.
pub const COMPAT_SERIES_MAX: usize = 4_096;
/// Bytes of a value, or of the key of a limit that came with a request, that such a series shows: longer than names,
/// addresses and most paths, shorter than tokens, which are nobody's business there.
pub const COMPAT_TEXT_MAX_BYTES: usize = 128;
/// Descriptors of one request that are noted there: a request of a hundred thousand takes no longer for it.
pub const UNMATCHED_NOTED_MAX: usize = 16;
/// Bytes kept of a domain, key or value of a client that is refused: more than keys and addresses have. All places of a core
/// then take 140 KiB at most.
pub const REFUSED_TEXT_MAX_BYTES: usize = 128;
/// Entries kept of the descriptor of such a client; real ones have up to six.
pub const REFUSED_ENTRIES_MAX: usize = 8;
/// Refusals that a core notes one by one: whoever tries the service by hand sees each of them.
pub const REFUSED_SAMPLED_FROM: u64 = 256;
/// Of later ones one in so many is noted, and counts for all: noting costs a fifth of a refusal, and a fortieth then.
pub const REFUSED_SAMPLED_ONE_IN: u64 = 8;
/// Descriptors that one refused request is noted for: hardly one is refused for more than one.
pub const REFUSED_NOTED_MAX: usize = 4;
/// Windows of one rule. They are decided under one lock, and the headers name every one.
pub const LIMITS_PER_RULE_MAX: usize = 16;
/// Rules of all files together, values of lists counted each. At some 500 bytes a rule this is half a gigabyte.
pub const RULES_MAX: usize = 1_000_000;
/// One rule file, in bytes: a hundred thousand rules take some 8 MB.
pub const RULE_FILE_MAX_BYTES: u64 = 64 << 20;
/// Rule files in all.
pub const RULE_FILES_MAX: usize = 10_000;
/// All of them together, in bytes: a million rules, each with 250 bytes. They are in memory twice while they are compiled.
pub const RULE_FILES_MAX_BYTES: usize = 256 << 20;
/// A rule set that lost so many rules waits to be confirmed, if they are also more than the share below: what a broken copy
/// leaves of a file may load as well as the whole. Nobody takes out twenty rules by hand and in passing.
pub const LOST_RULES_DOUBTED: usize = 20;
/// More than one in so many: half. An edit leaves most of a large set as it was.
pub const LOST_SHARE_DOUBTED: usize = 2;
/// Who asks for a reload waits so long for one that is under way. Rules on a dead network share are read for ever.
pub const RELOAD_PATIENCE: Duration = Duration::from_secs(5);
/// And for files that are being written so many times from one reading to the next: two seconds.
pub const RELOAD_TRIES: usize = 8;
/// A rule that refuses is told of in the log so rarely, with how often it refused since: who watches it sees that it goes on.
pub const REFUSAL_LINES_APART_SECS: u32 = 10;
/// Lines about refusals of all rules together, a second: a screen of them, and less than a megabyte in ten minutes.
pub const REFUSAL_LINES_PER_SECOND_MAX: u64 = 10;
/// Rules beside each other that have series of their own; more are told as the rule above them. Prometheus keeps some
/// kilobytes for each series, and nobody looks at ten thousand lines.
pub const SIBLINGS_TOLD_MAX: usize = 10_000;
/// Series of one rule's decisions that name a limit; beyond it they are told without one. With eight that name none (accepted,
/// refused or would-be-refused, by the three sources, of which cached ones are never accepted) and the one about blocks
/// they are twenty at most.
pub const NAMED_SERIES_PER_RULE_MAX: usize = 11;
/// Rules that `/v1/top` lists, those that refused most: more than any screen has lines.
pub const TOP_RULES_MAX: usize = 100;
/// Rules that one answer lists: their names and limits take some 5 MB. Whoever has more asks for one domain.
pub const RULES_LISTED_MAX: usize = 10_000;
/// Errors in an answer of the admin API: as many as anybody mends at once. `check` shows all.
pub const DIAGNOSTICS_SHOWN_MAX: usize = 20;
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

/// The share of the memory this process may use that counters take, until the operator says otherwise: one part in so
/// many. Rules may take half a gigabyte, messages in parts a quarter; a restart may overlap with the old process; and
/// whoever is killed for memory forgets every counter.
pub const MEMORY_PER_COUNTERS: u64 = 4;
/// What a counter takes, in bytes, with its part of pages that are not full: measured 46 to 49.
pub const COUNTER_BYTES: u64 = 50;
/// Counters in memory that there are place for in any case: 5 MB.
pub const COUNTERS_FLOOR: usize = 100_000;
/// Counters in memory that an operator can ask for at most: beyond what one machine has memory for.
pub const COUNTERS_CEILING: usize = 1_000_000_000;
/// Limits at once whose counters without a place are counted in a sketch: each takes an attack of its own, and each
/// takes a hundredth of what the counters take.
pub const SKETCHES_MAX: usize = 8;
/// One cell in each row of a sketch for so many counters: its 96 bytes (four rows) are then a thirtieth of theirs.
pub const COUNTERS_PER_SKETCH_CELL: usize = 128;
/// Cells of one row of a sketch at most, 6 MB in all rows: a cell is chosen by 16 bits of a hash.
pub const SKETCH_WIDTH_MAX: usize = 1 << 16;

/// Runtimes that serve gRPC: larger machines than this run several processes.
pub const CORES_MAX: usize = 256;

/// Largest count or burst of a limit whose counters are in Redis: its scripts count in doubles, which are exact up to
/// 2^53, and from one more on two numbers would look alike.
pub const REDIS_COUNT_MAX: u64 = (1 << 53) - 1;
/// Longest `store_key_prefix`. It stands in every key, which has some sixty bytes besides.
pub const STORE_KEY_PREFIX_MAX_BYTES: usize = 64;
/// Shortest `store_deadline`. A round trip on one machine takes a tenth of it; with less, every hiccup of the scheduler
/// would count as a failure of Redis.
pub const STORE_DEADLINE_MIN: Duration = Duration::from_millis(1);
/// Longest `store_deadline`. Envoy gives up after 20 ms by default: who waits for a second waits for nobody.
pub const STORE_DEADLINE_MAX: Duration = Duration::from_secs(1);
/// A call to the store may take this part of the time that a client waits (`grpc-timeout`): the answer needs time for its
/// way too, and for what decides in the store's place. Of Envoy's 20 ms it leaves the default deadline of 10.
pub const STORE_PART_OF_TIMEOUT: u32 = 2;
/// Processes that share their counters at most: each holds a connection a core, and a Redis takes 10,000 clients by
/// default.
pub const REPLICAS_MAX: u32 = 10_000;
/// From one sign of life of a replica to the next: a few microseconds of the Redis that they share for each.
pub const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(1);
/// A replica that showed no sign of life for so long is gone: two may be lost, and the third be late.
pub const REPLICA_GONE_AFTER: Nanos = Nanos::from_millis(3_500);

/// Counters of one section of a segment at most: what a restore must find room for at once. 128 KiB, a sensible piece
/// to read and write.
pub const SECTION_SLOTS_MAX: usize = 4_096;
/// Segments a restore looks at, newest first: as many may be damaged as can be of use.
pub const SEGMENTS_LOOKED_AT_MAX: usize = 128;
/// Damaged segments kept for whoever wants to know what happened to them.
pub const SEGMENTS_SET_ASIDE_MAX: usize = 4;
/// Longest pause, in walks, after segments could not be written: a disk that has room again is found within about a
/// minute.
pub const WALKS_PAUSED_MAX: u32 = 64;
/// When the process stops: the last walk may take so long. Ten million counters take less than a second where the disk
/// is alive, and Kubernetes kills 30 s after SIGTERM.
pub const LAST_WALK_DEADLINE: Duration = Duration::from_secs(4);

/// Overrides at most, and as many blocks and resets of beginnings: what people decide one by one. Each change puts all of
/// them into force anew, which takes some milliseconds for so many.
pub const ORDERS_MAX: usize = 10_000;
/// How long a reset of a beginning is kept: as long as any counter or block from before it may matter.
pub const RESET_KEPT: Nanos = WINDOW_MAX;
/// Orders that replicas share at most: the three kinds, and as many that were taken back.
pub const SHARED_ENTRIES_MAX: usize = 4 * ORDERS_MAX;
/// One of them, in bytes: a request to the admin API, where every byte is none of a text and written as a number.
pub const SHARED_ENTRY_MAX_BYTES: usize = 4 * ADMIN_BODY_MAX_BYTES;
/// Orders that one call to Redis tells or returns at most: everybody else waits for the script meanwhile, about as long as
/// for that of the largest request.
pub const SHARED_PAGE_ENTRIES: usize = 100;
/// The same in bytes, though one entry is always returned: it must be there within the deadline of a call.
pub const SHARED_PAGE_MAX_BYTES: usize = 128 << 10;
/// Orders whose end is told to Redis at once; and as many deletions that need not be kept to their end.
pub const SHARED_OVER_MAX: usize = 250;
/// Entries that one exchange of orders tells and reads at most: all are read, all are told, and what was told is read
/// again; as many for what others write meanwhile. A call that moves none counts as a page. Whoever needs more goes round
/// in circles.
pub const EXCHANGE_ENTRIES_MAX: usize = 4 * SHARED_ENTRIES_MAX;
/// The pause from one look at the shared orders to the next: one that was written on another replica is in force here
/// within a second.
pub const ORDERS_PAUSE: Duration = Duration::from_millis(500);
/// After so many looks all that there is is compared: a minute. Whatever was lost in Redis without anybody's knowing is
/// written there again.
pub const LOOKS_PER_COMPARISON: u32 = 120;
/// By how much the clock of Redis may move against ours until orders are put into force anew by it: more than the
/// round trips by which it is known, less than the second in which clients are told when to come back.
pub const CLOCK_MOVED: Nanos = Nanos::from_millis(100);
/// How long an override or an ordered block may hold: what is meant for longer belongs into a rule.
pub const ORDER_LENGTH_MAX: Nanos = Nanos::from_secs(366 * 86_400);
/// Blocks started by refusals that are remembered by name, for people to list: some 2 MB. Those beyond hold all the
/// same.
pub const STARTED_BLOCKS_LISTED_MAX: usize = 10_000;

/// Counters and blocks of one request that one script may meet; a request with more is decided as if Redis were away. At a
/// microsecond each, everybody else waits for a millisecond.
pub const REDIS_COUNTERS_PER_REQUEST_MAX: usize = 1_000;
/// Descriptors of one request whose counters may stand in slots of their own: each is a call, all at the same time. Envoy sends
/// a few.
pub const REDIS_PARTS_PER_REQUEST_MAX: usize = 32;
/// A connection to Redis must be open and greeted so long after it was begun: a handshake of TLS across a continent. Calls
/// do not wait for it: each has its own deadline.
pub const REDIS_CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// Masters of a cluster at most: as many nodes as its specification recommends. Each core has a connection to each that
/// it calls.
pub const REDIS_SERVERS_MAX: usize = 1_000;
/// Servers that calls are sent on to before the map of the cluster knows them: a reshard to new ones is one or a few.
pub const REDIS_STRANGERS_MAX: usize = 16;
/// A host that a server of a cluster names, in bytes: as long as a name may be in the DNS.
pub const REDIS_HOST_MAX_BYTES: usize = 253;
/// Servers that one call asks at most, the first included, while a slot moves: as many as clients of a cluster commonly do.
pub const REDIS_HOPS_MAX: u32 = 6;
/// How long it waits in between from the second on, until servers have heard of each other: a fraction of its deadline.
pub const REDIS_MOVING_PAUSE: Duration = Duration::from_millis(1);
/// From one question for the map of a cluster to the next, at the least: many calls may find it old, and one of their
/// servers may not know better.
pub const REDIS_MAPS_APART: Duration = Duration::from_millis(20);
/// One probe's pause in so many, at random, ends with such a question though nothing was wrong: each half a minute on
/// average, and never all replicas at once.
pub const REDIS_MAP_ODDS: u64 = 300;
/// How long one of several addresses of a server's name may take to be connected to, the last excepted: as long as RFC 8305
/// recommends to wait before the next is tried.
pub const REDIS_ADDRESS_PATIENCE: Duration = Duration::from_millis(250);
/// A file with certificates, in bytes. Those of all authorities that a browser trusts take a fifth of it.
pub const TLS_FILE_MAX_BYTES: u64 = 1 << 20;
/// How long the difference between Redis' clock and ours counts as known: clocks drift by less than a tenth of a
/// millisecond in ten seconds, and a call in so many that asks for the time costs nothing.
pub const SERVER_CLOCK_KNOWN_FOR: Nanos = Nanos::from_secs(10);
/// What the house asks of Redis beside charges is answered within so long, or asked again another time: no request waits
/// for it, people who give orders do.
pub const REDIS_ERRAND_DEADLINE: Duration = Duration::from_millis(250);
/// Decisions that are traced in a second at most: more than anybody looks at, and few to a service that makes a hundred
/// thousand.
pub const SPANS_PER_SECOND: usize = 1_000;
/// Of those, so many wait to be exported: four seconds' worth, some 2 MB.
pub const SPANS_QUEUED_MAX: usize = 4_096;
/// So many go in one message, of some 300 KB: collectors take 4 MB.
pub const SPANS_PER_BATCH: usize = 512;
/// How long a span waits for others to go with.
pub const TRACE_LINGER: Duration = Duration::from_millis(500);
/// How long the collector may take for a message, connecting included: half of what OpenTelemetry's own exporters grant.
pub const TRACE_SEND_DEADLINE: Duration = Duration::from_secs(5);
/// How often a message is tried to be sent: a collector that is restarted in between loses none.
pub const TRACE_TRIES: u32 = 3;
/// From a failure to the next try; doubled from one to the next ...
pub const TRACE_PAUSE_MIN: Duration = Duration::from_secs(1);
/// ... up to this, after which a collector that is back gets spans again at the latest.
pub const TRACE_PAUSE_MAX: Duration = Duration::from_secs(30);
/// From one log line about a collector that takes nothing to the next.
pub const TRACE_FAILURES_TOLD_APART: Duration = Duration::from_mins(1);
/// How long the end of the process waits for the collector: less than for HTTP clients that finish reading.
pub const TRACE_FLUSH_DEADLINE: Duration = Duration::from_millis(800);
/// What a collector may answer, in bytes: a number and a sentence.
pub const TRACE_ANSWER_MAX_BYTES: usize = 64 << 10;
/// A file with a password, in bytes.
pub const SECRET_FILE_MAX_BYTES: u64 = 4 << 10;

/// Requests whose calls to a store beyond this process may be under way at once, all cores together; who finds no place decides
/// without the store. A Redis at its best, 85,000 scripts a second, has 850 under way that end within their 10 ms.
pub const STORE_CALLS_MAX: usize = 1_024;
/// Failures since the last success that open the breaker. A lone slow call is no outage, and neither are some; with one
/// call in a hundred slow, so many in a row do not happen.
pub const BREAKER_FAILURES: u64 = 20;
/// Where calls are few, failures alone for so long open it, two at the least: five deadlines of 10 ms.
pub const BREAKER_PATIENCE: Nanos = Nanos::from_millis(50);
/// From one opening of the breaker to the next, at the least: a store that is well one moment and ill the next must not
/// send every replica to and fro, nor fill the log.
pub const BREAKER_OPENINGS_APART: Nanos = Nanos::SECOND;
/// While it is open, the pause from one probe to the next: the store is in use again well within a second of its return,
/// and ten asks a second from each replica harm none that is starting.
pub const PROBE_PAUSE: Nanos = Nanos::from_millis(100);
/// That pause is so much shorter or longer at most, a fifth, so that replicas that lost the store together do not come
/// back together.
pub const PROBE_JITTER: Nanos = Nanos::from_millis(20);
/// Longest time that a refusal is repeated without asking the store: refunds, resets, overrides and limits raised on other
/// replicas show within it.
pub const REFUSAL_KEPT: Nanos = Nanos::SECOND;
/// Refusals kept to be repeated, some 10 MB: clients over their limit within one second, beyond which some cost a call.
pub const REFUSALS_MAX: usize = 1 << 16;
/// Counters of a refusal that is kept; one of more costs a call each time. Three descriptors of two windows, with their
/// gates, are twelve.
pub const REFUSAL_COUNTERS_MAX: usize = 16;
/// How long a client is told to stay away where nothing but the store's absence stands in its way: the store is in use
/// again within a second of its return.
pub const STORE_AWAY_WAIT: Nanos = Nanos::SECOND;
