//! The command line.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use crate::tally::Expect;

pub const HELP: &str = "\
load [options]: calls to a rate-limit service, every answer checked; prints one line of JSON, times in microseconds
  --to HOST:PORT       where the server listens                                     127.0.0.1:8081
  --pid N              its process: processor time a call and memory are told, too
  --domain NAME        the domain of every call                                     bench
  --descriptor KEY     one descriptor, with a value that names one of the keys; several for several
  --get PATH           requests to a proxy instead, the key in the header x-api-key; 200 is accepted
  --keys N             keys are drawn at random from so many                        100000
  --connections N                                                                   4
  --outstanding N      calls at once on each connection                             32
  --rate N             open loop: so many calls a second, whatever is answered; a call's latency begins when it was due
  --warm SECONDS       load before anything is counted                              0.5
  --secs SECONDS       load that is counted                                         3
  --calls N            instead of both: exactly so many calls, the keys in order
  --threads N          that make the load, each with its part of the connections    1
  --expect ANSWER      ok, over or either: any other answer is an error             ok";

#[derive(Debug)]
pub struct Options {
    pub to: SocketAddr,
    pub pid: Option<u32>,
    pub domain: String,
    pub descriptors: Vec<String>,
    pub get: Option<String>,
    pub keys: u64,
    pub connections: usize,
    pub outstanding: usize,
    /// Calls a second of all threads; none in a closed loop.
    pub rate: Option<f64>,
    pub stop: Stop,
    pub threads: usize,
    pub expect: Expect,
}

#[derive(Clone, Copy, Debug)]
pub enum Stop {
    After { warm: Duration, measured: Duration },
    Calls(u64),
}

impl Options {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            to: SocketAddr::from(([127, 0, 0, 1], 8081)),
            pid: None,
            domain: "bench".to_owned(),
            descriptors: Vec::new(),
            get: None,
            keys: 100_000,
            connections: 4,
            outstanding: 32,
            rate: None,
            stop: Stop::Calls(0),
            threads: 1,
            expect: Expect::Ok,
        };
        let (mut warm, mut measured, mut calls) = (0.5, 3.0, None);
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} wants a value"))?;
            match name.as_str() {
                "--to" => options.to = read(&name, &value)?,
                "--pid" => options.pid = Some(read(&name, &value)?),
                "--domain" => options.domain = value,
                "--descriptor" => options.descriptors.push(value),
                "--get" => options.get = Some(value),
                "--keys" => options.keys = at_least_one(&name, &value)?,
                "--connections" => options.connections = read(&name, &value)?,
                "--outstanding" => options.outstanding = read(&name, &value)?,
                "--rate" => options.rate = Some(read(&name, &value)?),
                "--warm" => warm = read(&name, &value)?,
                "--secs" => measured = read(&name, &value)?,
                "--calls" => calls = Some(at_least_one(&name, &value)?),
                "--threads" => options.threads = read(&name, &value)?,
                "--expect" => options.expect = expect(&value)?,
                _ => return Err(format!("there is no option {name}")),
            }
        }
        let seconds = |secs| Duration::try_from_secs_f64(secs).map_err(|error| format!("{secs} seconds: {error}"));
        options.stop = match calls {
            Some(calls) => Stop::Calls(calls),
            None => Stop::After { warm: seconds(warm)?, measured: seconds(measured)? },
        };
        options.check()
    }

    fn check(self) -> Result<Self, String> {
        if self.descriptors.is_empty() == self.get.is_none() {
            return Err("say either --descriptor or --get".to_owned());
        }
        if self.threads == 0 || self.outstanding == 0 || self.connections < self.threads {
            return Err("every thread needs a connection, and every connection a call".to_owned());
        }
        if self.rate.is_some_and(|rate| rate < 1.0) {
            return Err("--rate is one call a second at the least".to_owned());
        }
        if self.rate.is_some() && matches!(self.stop, Stop::Calls(_)) {
            return Err("--rate goes by the clock, --calls does not".to_owned());
        }
        Ok(self)
    }
}

fn read<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} cannot be {value}"))
}

fn at_least_one(name: &str, value: &str) -> Result<u64, String> {
    match read(name, value)? {
        0 => Err(format!("{name} cannot be 0")),
        number => Ok(number),
    }
}

fn expect(value: &str) -> Result<Expect, String> {
    match value {
        "ok" => Ok(Expect::Ok),
        "over" => Ok(Expect::OverLimit),
        "either" => Ok(Expect::Either),
        _ => Err(format!("--expect is ok, over or either, not {value}")),
    }
}
