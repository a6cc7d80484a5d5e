//! Load for a rate-limit service, on loopback: calls as Envoy sends them, every answer checked, and one line of JSON.
//!
//! | module | its story |
//! |---|---|
//! | [`options`] | the command line |
//! | [`call`] | the bytes of a call, made once; only its stream and its key change |
//! | [`connection`] | just enough of HTTP/2 to send calls and count answers |
//! | [`load`] | when to send: closed loop and open loop |
//! | [`tally`] | what came back |
//! | [`process`] | the server's processor time and memory, as the system accounts for them |
//!
//! It speaks HTTP/2 itself because load and server share one machine: what a general client would take for each call, with
//! its tasks and its tables, the server could not have.

mod call;
mod connection;
mod load;
mod options;
mod process;
mod tally;

use std::{
    error::Error,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use load::{Plan, Thread};
use options::{Options, Stop};
use process::Process;
use tally::Tally;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("load: {error}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    match measure(&options) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the load and says in one line what came of it.
fn measure(options: &Options) -> Result<String, Box<dyn Error>> {
    let threads = (0..options.threads).map(|number| Thread::connect(options, number)).collect::<Result<Vec<_>, _>>()?;
    let server = options.pid.map(Process);
    let plan = Plan::from(Instant::now(), options.stop);
    let (tally, used) = thread::scope(|scope| {
        let running: Vec<_> = threads.into_iter().map(|load| scope.spawn(move || load.run(plan))).collect();
        // What the server uses while it is warmed up is not counted; nor what it uses when the time is over.
        thread::sleep(plan.begin.saturating_duration_since(Instant::now()));
        let before = server.map(Process::cpu).transpose()?;
        let by_the_clock = match plan.end {
            Some(end) => {
                thread::sleep(end.saturating_duration_since(Instant::now()));
                server.map(Process::cpu).transpose()?
            }
            None => None,
        };
        let mut tally = Tally::new();
        for thread in running {
            tally.add(&thread.join().map_err(|_| "a thread of the load panicked")??);
        }
        let after = match by_the_clock {
            Some(after) => Some(after),
            None => server.map(Process::cpu).transpose()?,
        };
        let used = before.zip(after).map(|(before, after)| after.saturating_sub(before));
        Ok::<_, Box<dyn Error>>((tally, used))
    })?;
    let took = match options.stop {
        Stop::After { measured, .. } => measured,
        Stop::Calls(_) => plan.begin.elapsed(),
    };
    tally.check(options.expect)?;
    Ok(report(&tally, took, used, server.map(Process::resident_bytes).transpose()?))
}

/// Times in microseconds.
fn report(tally: &Tally, took: Duration, used: Option<Duration>, resident_bytes: Option<u64>) -> String {
    let answered = tally.answered() as f64;
    let cpu_us = used.map(|used| used.as_secs_f64() * 1e6 / answered);
    let quantile = |q| tally.latency_us.value_at_quantile(q);
    format!(
        concat!(
            "{{\"rate\": {:.0}, \"cpu_us\": {}, \"p50_us\": {}, \"p99_us\": {}, \"p999_us\": {}, \"max_us\": {}, ",
            "\"ok\": {}, \"over_limit\": {}, \"seconds\": {:.3}, \"resident_bytes\": {}}}"
        ),
        answered / took.as_secs_f64(),
        or_null(cpu_us.map(|cpu| format!("{cpu:.3}"))),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        tally.latency_us.max(),
        tally.ok,
        tally.over_limit,
        took.as_secs_f64(),
        or_null(resident_bytes.map(|bytes| bytes.to_string())),
    )
}

fn or_null(text: Option<String>) -> String {
    text.unwrap_or_else(|| "null".to_owned())
}
