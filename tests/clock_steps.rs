//! A clock that is set, under a real process: back, forth, by years. No window starts twice where the clock was set back by
//! less than its length; no step gives more than one window of quota; and nothing fails.

#![cfg(feature = "test-clock")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "common/both_stores.rs"]
mod both_stores;
#[path = "envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
#[path = "service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use harness::{Folder, Service, command, servers};
use tallygate::grpc::proto::rate_limit_response::Code;

/// What every limit here lets through in one window.
const QUOTA: usize = 3;

/// Where the clock is set, one after the other. It begins within a minute, an hour and a day.
const STEPS: [(&str, &str); 7] = [
    ("at the start", "2026-01-05T12:30:30Z"),
    ("a second back", "2026-01-05T12:30:29Z"),
    ("an hour back", "2026-01-05T11:30:30Z"),
    ("an hour forth", "2026-01-05T12:30:30Z"),
    ("ten years forth", "2036-01-05T12:30:30Z"),
    ("back to before", "2026-01-05T12:30:30Z"),
    ("an hour forth again", "2026-01-05T13:30:30Z"),
];

/// One rule, and what a client that always asks for more is given after each step.
struct Row {
    name: &'static str,
    algorithm: &'static str,
    window: &'static str,
    block_for: Option<&'static str>,
    admitted: [usize; STEPS.len()],
}

const fn row(algorithm: &'static str, name: &'static str, window: &'static str, admitted: [usize; 7]) -> Row {
    Row { name, algorithm, window, block_for: None, admitted }
}

const TABLE: [Row; 11] = [
    // An hour is more than two of these windows: the clock has jumped, and each jump is worth one.
    row("fixed_window", "fixed-minute", "minute", [3, 0, 3, 3, 3, 3, 3]),
    // It ends an hour and a half ahead, within two of its lengths: the same window.
    row("fixed_window", "fixed-hour", "hour", [3, 0, 0, 0, 3, 3, 3]),
    row("fixed_window", "fixed-day", "day", [3, 0, 0, 0, 3, 3, 0]),
    // Ten years are no jump for a window of ten years.
    row("fixed_window", "fixed-decade", "3650d", [3, 0, 0, 0, 3, 0, 0]),
    row("sliding_window", "sliding-minute", "minute", [3, 0, 3, 3, 3, 3, 3]),
    row("sliding_window", "sliding-hour", "hour", [3, 0, 0, 0, 3, 3, 1]),
    row("sliding_window", "sliding-day", "day", [3, 0, 0, 0, 3, 3, 0]),
    // A bucket set back is neither filled nor drained, and drains on from there.
    row("token_bucket", "bucket-minute", "minute", [3, 0, 0, 3, 3, 0, 3]),
    row("token_bucket", "bucket-hour", "hour", [3, 0, 0, 0, 3, 0, 3]),
    row("token_bucket", "bucket-day", "day", [3, 0, 0, 0, 3, 0, 0]),
    // A block outlasts its window, and a clock set back by its length; a jump of years ends it.
    Row { block_for: Some("1h"), ..row("fixed_window", "blocked", "minute", [3, 0, 0, 0, 3, 3, 3]) },
];

#[test]
fn a_clock_that_is_set_gives_nobody_more_than_one_window_a_step() {
    let folder = Folder::with(&[("shop.yaml", &rules())]);
    let (service, hands) = start(&folder);
    let mut admitted = [[0; STEPS.len()]; TABLE.len()];
    for (step, (name, time)) in STEPS.iter().enumerate() {
        hands.set(time);
        for (row, admitted) in TABLE.iter().zip(&mut admitted) {
            admitted[step] = row.ask_for_more_than_there_is(&service, name);
        }
    }
    for (row, admitted) in TABLE.iter().zip(admitted) {
        assert_eq!(admitted, row.admitted, "{} after {:?}", row.name, STEPS.map(|(name, _)| name));
    }
    assert_eq!(service.metric("tallygate_panics_total"), "0");
    assert_eq!(service.get("/readyz").status, 200);
}

#[test]
fn a_clock_set_to_and_fro_within_a_window_starts_none_twice() {
    let folder = Folder::with(&[("shop.yaml", &rules())]);
    let (service, hands) = start(&folder);
    hands.set("2026-01-05T12:30:30Z");
    let of_days = |row: &&Row| row.window == "day";
    for row in TABLE.iter().filter(of_days) {
        assert_eq!(row.ask_for_more_than_there_is(&service, "at first"), QUOTA, "{}", row.name);
    }
    for _ in 0..10 {
        for time in ["2026-01-05T12:30:29.999Z", "2026-01-04T13:00:00Z", "2026-01-05T12:30:30Z", "2026-01-05T00:00:00Z"]
        {
            hands.set(time);
            for row in TABLE.iter().filter(of_days) {
                assert_eq!(row.ask_for_more_than_there_is(&service, time), 0, "{} at {time}", row.name);
            }
        }
    }
}

/// A rule for each row, with a key of its own.
fn rules() -> String {
    let rule = |row: &Row| {
        let block = row.block_for.map(|length| format!(", on_exceed: {{block_for: {length}}}")).unwrap_or_default();
        let Row { name, algorithm, window, .. } = row;
        format!("- {{key: {name}, limits: [{{rate: {QUOTA}/{window}, algorithm: {algorithm}}}]{block}}}\n")
    };
    format!("domain: shop\ndescriptors:\n{}", TABLE.each_ref().map(rule).concat())
}

impl Row {
    /// How many of some requests are let through. Those that are refused are told a time that may be waited for.
    fn ask_for_more_than_there_is(&self, service: &Service, step: &str) -> usize {
        let answers: Vec<_> = (0..QUOTA + 2).map(|_| service.ask(self.name, "acme").unwrap()).collect();
        let refused: Vec<bool> = answers.iter().map(|answer| answer.overall_code() == Code::OverLimit).collect();
        assert!(refused.is_sorted() && refused[QUOTA], "{} {step}: {refused:?}", self.name);
        let told = answers[QUOTA].statuses[0].duration_until_reset.as_ref().unwrap().seconds;
        assert!((1..=self.wait_max_secs()).contains(&told), "{} {step}: {told} s to wait", self.name);
        refused.iter().filter(|refused| !**refused).count()
    }

    /// A window ends at most two of its lengths ahead, or the clock has jumped; what slides may thin out in the next.
    fn wait_max_secs(&self) -> i64 {
        let length = match self.block_for.unwrap_or(self.window) {
            "minute" => 60,
            "hour" | "1h" => 3_600,
            "day" => 86_400,
            "3650d" => 3_650 * 86_400,
            other => panic!("how long is {other}?"),
        };
        3 * length
    }
}

/// A service that is told the time.
fn start(folder: &Folder) -> (Service, Hands) {
    let hands = Hands(folder.path("clock.sock"));
    let mut serve = command(folder);
    serve.env("TALLYGATE_TEST_CLOCK", &hands.0);
    let service = Service::start_by(serve, folder, &[]);
    service.until_ready();
    (service, hands)
}

/// The hands of its clock: the path of a socket.
struct Hands(PathBuf);

impl Hands {
    fn set(&self, time: &str) {
        let mut stream = UnixStream::connect(&self.0).unwrap();
        writeln!(stream, "set {time}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(answer.starts_with("ok "), "set {time}: {answer}");
    }
}
