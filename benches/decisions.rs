//! How long decisions take, without sockets: `cargo bench --bench decisions`, or only some: `-- accepted refused`.
//!
//! Every case of `cases` through the whole service, then the steps of an accepted decision by themselves. A row is the
//! median of several rounds with the least and the spread beside it: compare rows of one run, and runs of one machine.
//! Under `cargo test` every case makes one small round, and its answers are checked.

mod cases;

use std::{env, hint::black_box};

use bytes::Bytes;
use cases::{CASES, Size, Stage};
use tallygate::{
    charge::Verdicts,
    clock::Clock,
    decision::{Decision, Plan, decide, plan},
    grpc::codec::{Answer, receive},
    live::Generation,
    render::{Beside, render},
    request::{Descriptor, Request},
    rules::{Domain, find::Found},
};

/// As the service has it: figures of another allocator would be of another program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As many clients as quality figures speak of: their counters and messages do not fit into the caches of a core.
const BENCH: Size = Size { clients: 100_000, rules: 100_000 };
const TEST: Size = Size { clients: 10, rules: 100 };
/// Enough for a median that one busy moment of the machine does not move.
const ROUNDS: usize = 9;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // `cargo bench` says so; `cargo test` does not.
    let measuring = arguments.iter().any(|it| it == "--bench");
    let (size, rounds) = if measuring { (BENCH, ROUNDS) } else { (TEST, 1) };
    let wanted: Vec<&String> = arguments.iter().filter(|it| !it.starts_with("--")).collect();
    let wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));

    let stage = Stage::set(size);
    let mut table = Table { rounds, rows: Vec::new() };
    let cases: Vec<_> = CASES.iter().filter(|case| wanted(case.name)).collect();
    let messages: Vec<Vec<Bytes>> = cases.iter().map(|case| mixed(&stage.messages(case))).collect();
    for _ in 0..rounds {
        for (case, messages) in cases.iter().zip(&messages) {
            table.take(case.name, messages, |message| stage.decide(message.clone()));
        }
    }
    if wanted("steps") {
        steps(&stage, &mixed(&stage.messages(&CASES[0])), &mut table);
    }
    // Times of so few decisions would only mislead.
    if measuring {
        table.print();
    }
}

/// The same messages in an order in which no rule and no counter lies behind the one before: real clients do not come
/// in the order of a file, and what a processor can foresee it fetches early.
fn mixed(messages: &[Bytes]) -> Vec<Bytes> {
    /// Has no factor of 2 or 5 in it, as the counts of clients have no other: so it comes to every one of them.
    const STRIDE: usize = 61_803;
    (0..messages.len()).map(|place| messages[place * STRIDE % messages.len()].clone()).collect()
}

/// The steps of one decision, each over what the one before it left.
fn steps(stage: &Stage, messages: &[Bytes], table: &mut Table) {
    let (decider, generation) = (&stage.decider, stage.decider.live.snapshot());
    let generation: &Generation = generation.as_deref().expect("rules are live");
    let (now, memory) = (decider.clock.now(), decider.store.in_process());
    let requests: Vec<Request<'_>> = messages.iter().map(|message| receive(message).expect("a request")).collect();
    let domain = generation.rules.domains.get(requests[0].domain);
    let find = |request: &Request<'_>| found(domain, request, stage);
    let matches: Vec<Vec<Found<'_>>> = requests.iter().map(find).collect();
    let asked: Vec<(&Request<'_>, &[Found<'_>])> = requests.iter().zip(matches.iter().map(Vec::as_slice)).collect();
    let plans: Vec<Plan<'_>> = asked.iter().map(|(request, found)| plan(domain, request, found)).collect();
    let verdicts: Vec<Verdicts> = plans.iter().map(|plan| memory.charge(now, &plan.charges)).collect();
    let known: Vec<_> = matches.iter().zip(&plans).zip(&verdicts).collect();
    let decisions = known.iter().map(|((found, plan), verdicts)| decide(now, domain, found, plan, verdicts));
    let decisions: Vec<(&Request<'_>, Decision<'_>)> = requests.iter().zip(decisions).collect();
    let (mut room, mut scratch) = (Vec::new(), Vec::new());
    for _ in 0..table.rounds {
        // As often as the service does: when it begins, for the windows, when it ends.
        table.take("  clock", messages, |_| (decider.clock.stopwatch(), decider.clock.now()).0.elapsed());
        table.take("  snapshot", messages, |_| decider.live.snapshot().is_some());
        table.take("  receive", messages, |message| receive(message).map(|request| request.hits));
        table.take("  match", &requests, |request| find(request).len());
        table.take("  plan", &asked, |(request, found)| plan(domain, request, found).exempt);
        table.take("  charge", &plans, |plan| memory.charge(now, &plan.charges).refused);
        table.take("  decide", &known, |((found, plan), verdicts)| {
            black_box(decide(now, domain, found, plan, verdicts)).refused
        });
        table.take("  render", &decisions, |(request, decision)| {
            let mut answer = Answer::to(decision, &mut room);
            let beside = Beside { store: decider.store.name(), repeats_request: false };
            render(decision, request, &generation.responses, beside, &mut scratch, &mut answer);
            answer.finish()
        });
    }
}

fn found<'r>(domain: Option<&'r Domain>, request: &Request<'_>, stage: &Stage) -> Vec<Found<'r>> {
    let domain = domain.expect("the domain has rules");
    let find = |descriptor: &Descriptor| {
        domain.find(request.entries_of(descriptor), descriptor.limit, &stage.decider.hash_key)
    };
    request.descriptors.iter().map(find).collect()
}

/// What was measured, in nanoseconds: a row a name, a figure a round.
struct Table {
    rounds: usize,
    rows: Vec<(&'static str, Vec<f64>)>,
}

impl Table {
    /// Measures one round: `step` over each of `inputs`.
    fn take<T, R>(&mut self, name: &'static str, inputs: &[T], mut step: impl FnMut(&T) -> R) {
        let stopwatch = Clock.stopwatch();
        for input in inputs {
            black_box(step(black_box(input)));
        }
        let nanos = stopwatch.elapsed().0 as f64 / inputs.len() as f64;
        match self.rows.iter_mut().find(|(row, _)| *row == name) {
            Some((_, figures)) => figures.push(nanos),
            None => self.rows.push((name, vec![nanos])),
        }
    }

    fn print(&mut self) {
        println!("{:<32} | median ns | least ns | spread", "a decision");
        for (name, figures) in &mut self.rows {
            figures.sort_by(f64::total_cmp);
            let (least, median, most) = (figures[0], figures[figures.len() / 2], figures[figures.len() - 1]);
            let spread = (most - least) / median * 100.0;
            println!("{name:<32} | {median:>9.0} | {least:>8.0} | {spread:>4.0} %");
        }
    }
}
