//! Holds the source against the table of layers in `src/lib.rs`'s documentation, and against the laws of the house.
//!
//! Not only the `use` lines are read but every path: in types, expressions, attributes and macros. Code under
//! `#[cfg(test)]` is free to know more than what it tests.

mod source;

use std::{collections::BTreeMap, fmt, path::Path};

use source::Module;

/// What may be named only by some, and why.
struct Law {
    why: &'static str,
    /// A path matches if it begins with one of these, or is a glob import of what they stand in.
    paths: &'static [&'static str],
    /// Method calls that are as good as naming a path.
    methods: &'static [&'static str],
    allowed: Allowed,
}

enum Allowed {
    /// These modules and what stands in them.
    In(&'static [&'static str]),
    /// Modules of this layer or above.
    FromLayer(u32),
}

const PURE: Law = Law {
    why: "the core never awaits, logs, locks, reads the world, or knows a wire format",
    paths: &[
        "arc_swap",
        "axum",
        "h2",
        "http",
        "hyper",
        "log",
        "metrics",
        "parking_lot",
        "prost",
        "redis",
        "serde",
        "serde_json",
        "serde_yaml",
        "std::env",
        "std::fs",
        "std::net::TcpListener",
        "std::net::TcpStream",
        "std::net::UdpSocket",
        "std::os::unix::net",
        "std::process",
        "std::sync::Mutex",
        "std::sync::RwLock",
        "std::thread",
        "std::time::Instant",
        "std::time::SystemTime",
        "tokio",
        "tonic",
        "tracing",
    ],
    methods: &[],
    allowed: Allowed::FromLayer(5),
};

const TIME: Law = Law {
    why: "only `clock` reads time; everybody else is told",
    paths: &["jiff::Timestamp::now", "jiff::Zoned::now", "std::time::Instant::now", "std::time::SystemTime::now"],
    methods: &[],
    // Not tokio's Instant: deadlines and timers are made of it, and tests can pause it. The core never sees tokio.
    allowed: Allowed::In(&["clock"]),
};

const NOW: Law = Law {
    why: "a request is given the time once, by who received it; whatever it passes through is told. A call that failed did so later",
    paths: &["crate::clock::Clock::now"],
    methods: &["now"],
    allowed: Allowed::In(&["admin", "app", "cli::explain", "clock", "decide", "http::usage_page", "store::guard"]),
};

const SPAWN: Law = Law {
    why: "`app` owns what lives as long as the process, `grpc::server` and `serve_http` their connections, `grpc::handshakes` what comes before those, `grpc::call` calls that wait, `store::redis` a connection that opens (`link`) and one that is open; nobody else spawns",
    paths: &["std::thread::Builder", "std::thread::spawn", "tokio::spawn", "tokio::task::spawn"],
    methods: &["spawn", "spawn_blocking", "spawn_local", "spawn_on"],
    // What `server` needs a thread or a task for stands in files of their own beside it.
    allowed: Allowed::In(&[
        "app",
        "grpc::accept",
        "grpc::call",
        "grpc::core",
        "grpc::handshakes",
        "grpc::server",
        "serve_http",
        "store::redis::connection",
        "store::redis::link",
    ]),
};

const YAML: Law = Law {
    why: "only `config` knows YAML",
    paths: &["granit_parser", "serde_yaml"],
    methods: &[],
    allowed: Allowed::In(&["config"]),
};

const PROTOBUF: Law = Law {
    why: "only `grpc` knows protobuf, and `trace` that of collectors",
    paths: &["prost"],
    methods: &[],
    allowed: Allowed::In(&["grpc", "trace::proto", "trace::send"]),
};

const REDIS: Law = Law {
    why: "only `store::redis` knows Redis",
    paths: &["redis"],
    methods: &[],
    allowed: Allowed::In(&["store::redis"]),
};

#[test]
fn modules_import_only_from_layers_below() {
    let layers = Layers::of_this_crate();
    assert_none(source::of_this_crate().iter().flat_map(|module| layers.broken_by(module)));
}

#[test]
fn every_module_has_a_layer() {
    let layers = Layers::of_this_crate();
    let missing = source::of_this_crate()
        .into_iter()
        .filter(|module| module.path.len() == 1 && !layers.0.contains_key(&module.path[0]))
        .map(|module| format!("{}: `{}` is missing from the table in src/lib.rs", module.file, module.path[0]));
    assert_none(missing);
}

#[test]
fn the_core_is_pure() {
    hold(&PURE);
}

#[test]
fn only_the_clock_reads_time() {
    hold(&TIME);
}

#[test]
fn a_request_reads_the_clock_once() {
    hold(&NOW);
    let modules = source::of_this_crate();
    for path in ["decide", "http::usage_page"] {
        let module = modules.iter().find(|module| module.path.join("::") == path).expect("it has not moved");
        assert_eq!(readings(module), 1, "{}: so often it calls `.now()`", module.file);
    }
}

/// One in a loop is more than one.
fn readings(module: &Module) -> usize {
    let paths = module.names.iter().filter(|name| name.ends_with("::now")).count();
    paths + module.methods.iter().filter(|method| *method == "now").count()
}

#[test]
fn only_the_app_and_the_servers_spawn() {
    hold(&SPAWN);
}

#[test]
fn yaml_protobuf_and_redis_stay_at_home() {
    hold(&YAML);
    hold(&PROTOBUF);
    hold(&REDIS);
}

fn hold(law: &Law) {
    let layers = Layers::of_this_crate();
    let modules = source::of_this_crate();
    assert!(modules.len() > 20, "only {} modules were found: is something wrong with the search?", modules.len());
    assert_none(modules.iter().flat_map(|module| law.broken_by(module, &layers)));
}

fn assert_none<T: fmt::Display>(found: impl IntoIterator<Item = T>) {
    let found: Vec<String> = found.into_iter().map(|one| one.to_string()).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

impl Law {
    fn broken_by(&self, module: &Module, layers: &Layers) -> Vec<String> {
        if self.allows(module, layers) {
            return Vec::new();
        }
        let paths = module.names.iter().filter(|name| self.paths.iter().any(|path| reaches(name, path)));
        let methods = module.methods.iter().filter(|method| self.methods.contains(&method.as_str()));
        let dotted = methods.map(|method| format!(".{method}()"));
        paths.cloned().chain(dotted).map(|what| format!("{}: `{what}`: {}", module.file, self.why)).collect()
    }

    fn allows(&self, module: &Module, layers: &Layers) -> bool {
        let path = module.path.join("::");
        match self.allowed {
            Allowed::In(homes) => homes.iter().any(|home| begins_with(&path, home)),
            Allowed::FromLayer(lowest) => module.layer(layers).is_none_or(|layer| layer.0 >= lowest),
        }
    }
}

/// Does naming `name` give access to `path`? It does by naming it or what is in it, or by a glob of what it is in.
/// `tokio::task::spawn_local` counts as `tokio::task::spawn`.
fn reaches(name: &str, path: &str) -> bool {
    match name.strip_suffix("::*") {
        Some(parent) => begins_with(path, parent) || begins_with(parent, path),
        None if path.ends_with("::spawn") => name.starts_with(path),
        None => begins_with(name, path),
    }
}

fn begins_with(path: &str, beginning: &str) -> bool {
    path.strip_prefix(beginning).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The layer of each top-level module.
struct Layers(BTreeMap<String, Layer>);

/// The number of its row, and its place between the semicolons of that row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Layer(u32, u32);

impl Layers {
    fn of_this_crate() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
        let layers = Self::parse(&std::fs::read_to_string(path).expect("src/lib.rs is readable"));
        assert!(layers.0.len() > 10, "the table of layers in src/lib.rs is not where it is looked for");
        layers
    }

    /// Reads the rows `//! | 6 | store, config |` and `//! | 0 | units; bounds, request |`.
    fn parse(source: &str) -> Self {
        let mut layers = BTreeMap::new();
        let rows = source.lines().filter_map(|line| line.strip_prefix("//! |")?.trim_end().strip_suffix('|'));
        for (number, modules) in rows.filter_map(|row| row.split_once('|')) {
            let Ok(number) = number.trim().parse() else { continue };
            for (place, group) in (0..).zip(modules.split(';')) {
                layers.extend(group.split(',').map(|module| (module.trim().to_owned(), Layer(number, place))));
            }
        }
        Self(layers)
    }

    fn broken_by(&self, module: &Module) -> Vec<String> {
        // The root only declares, and main.rs stands above everything.
        let Some(own) = module.layer(self) else { return Vec::new() };
        let judge = |name: &String| {
            let target = name.strip_prefix("crate::")?.split("::").next()?;
            if target == module.path[0] {
                return None;
            }
            let fault = match self.0.get(target) {
                Some(&layer) if layer < own => return None,
                Some(&layer) if layer == own => format!("a peer in layer {}", own.0),
                Some(layer) => format!("in layer {}, above its own {}", layer.0, own.0),
                None => "no module with a layer".to_owned(),
            };
            Some(format!("{}: `{name}`: `{target}` is {fault}", module.file))
        };
        module.names.iter().filter_map(judge).collect()
    }
}

impl Module {
    /// None for the root of the crate and for main.rs.
    fn layer(&self, layers: &Layers) -> Option<Layer> {
        layers.0.get(self.path.first()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "
        //! | layer | modules |
        //! |---|---|
        //! | 11 | app |
        //! | 10 | grpc, http |
        //! | 6 | store, config |
        //! | 5 | clock |
        //! | 2 | rules |
        //! | 1 | limit |
        //! | 0 | units; bounds |";

    fn layers() -> Layers {
        Layers::parse(&TABLE.replace("        //!", "//!"))
    }

    fn complaints(path: &str, source: &str) -> String {
        let module = source::parse(path, source);
        let laws = [PURE, TIME, NOW, SPAWN, YAML, PROTOBUF, REDIS];
        let broken = laws.iter().flat_map(|law| law.broken_by(&module, &layers()));
        layers().broken_by(&module).into_iter().chain(broken).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_table_is_read_from_the_documentation() {
        let layers = layers().0;
        assert_eq!(layers.len(), 10);
        assert_eq!([layers["http"], layers["config"], layers["units"]], [Layer(10, 0), Layer(6, 0), Layer(0, 0)]);
        assert_eq!(layers["bounds"], Layer(0, 1));
    }

    #[test]
    fn what_a_module_must_not_name_is_found_wherever_it_stands() {
        for (path, source, complaint) in [
            ("limit", "use crate::rules::Rule;", "above its own 1"),
            ("limit", "use crate::{units::Nanos, rules::{self}};", "above its own 1"),
            ("limit::fixed", "use super::super::rules;", "above its own 1"),
            ("limit", "mod inner { fn f() -> super::super::rules::Rule {} }", "above its own 1"),
            ("limit", "fn f() { g(crate::rules::MOST) }", "above its own 1"),
            ("limit", "struct S<T: crate::rules::Rule>(T);", "above its own 1"),
            ("limit", "fn f() { assert_eq!(crate::rules::MOST, 1) }", "above its own 1"),
            ("limit", "fn f() { println!(\"{}\", { let x = [crate::rules::MOST]; 1 }) }", "above its own 1"),
            ("limit", "#[derive(crate::rules::Derive)] struct S;", "above its own 1"),
            ("limit", "macro_rules! m { () => { $crate::rules::MOST } }", "above its own 1"),
            ("units", "use crate::bounds::MOST;", "above its own 0"),
            ("config", "use crate::store::Store;", "a peer"),
            ("config", "use crate::forgotten::Thing;", "no module with a layer"),
            ("config", "use crate::*;", "no module with a layer"),
            ("config", "use crate as house; fn f() { house::store::open() }", "a peer"),
            ("rules", "use serde::Deserialize;", "the core"),
            ("rules", "#[derive(serde::Deserialize)] struct S;", "the core"),
            ("rules", "#[serde(default)] struct S;", "the core"),
            ("rules", "async fn f() { tokio::select! { _ = x => {} } }", "the core"),
            ("rules", "fn f() { let home = std::env::var(\"HOME\"); }", "the core"),
            ("rules", "use std::net::*;", "the core"),
            ("http", "use std::time::Instant; fn f() { Instant::now(); }", "only `clock`"),
            ("http", "use std::time; fn f() { time::SystemTime::now(); }", "only `clock`"),
            ("http", "use std::time::Instant as Moment; fn f() { g(Moment::now) }", "only `clock`"),
            ("store::memory", "fn f(clock: Clock) { g(clock.now()) }", "given the time once"),
            ("grpc::codec", "fn f() { assert!(self.clock.now() > then) }", "given the time once"),
            ("render", "use crate::clock::Clock; fn f() { Clock::now(Clock) }", "given the time once"),
            ("http", "fn f() { tokio::spawn(async {}); }", "nobody else spawns"),
            ("http", "fn f() { tokio::task::spawn_blocking(g); }", "nobody else spawns"),
            ("http", "use tokio::task; fn f() { task::spawn_local(g); }", "nobody else spawns"),
            ("http", "fn f(tasks: &mut JoinSet<()>) { tasks.spawn(g()); }", "nobody else spawns"),
            ("http", "fn f() { vec![set.spawn(g())]; }", "nobody else spawns"),
            ("grpc::service", "fn f() { std::thread::spawn(g); }", "nobody else spawns"),
            ("http", "fn f() { serde_yaml::from_str(text) }", "YAML"),
            ("http", "use prost::Message;", "protobuf"),
            ("store::memory", "use redis::Client;", "Redis"),
        ] {
            assert!(complaints(path, source).contains(complaint), "in {path}: {source}\n{}", complaints(path, source));
        }
    }

    #[test]
    fn every_reading_of_the_clock_is_counted() {
        for (source, expected) in [
            ("fn f() { g(1) }", 0),
            ("fn f() { let (a, b) = (g()?, self.clock.now()); }", 1),
            ("fn f() { g(clock.now(), clock.now()) }", 2),
            ("fn f() { for one in all { g(one, clock.now()) } }", 2),
            ("fn f() { while clock.now() < end {} }", 2),
            ("fn f() { all.iter().map(|one| g(one, clock.now())) }", 2),
            ("fn f() { g(clock.now()); g(Clock::now(clock)) }", 2),
            ("#[cfg(test)] mod tests { fn f() { clock.now() } }", 0),
        ] {
            assert_eq!(readings(&source::parse("decide", source)), expected, "{source}");
        }
    }

    #[test]
    fn what_a_module_may_name_is_left_alone() {
        for (path, source) in [
            ("rules", "use crate::{limit::Limit, units::Nanos}; use super::units;"),
            ("bounds", "use crate::units::Nanos;"),
            ("rules::find", "use super::Rule; use crate::rules::Level; pub(crate) fn f() {}"),
            ("rules", "use std::{net::IpAddr, sync::Arc, time::Duration};"),
            ("rules", "fn f(http: u8) { let metrics = http; g(metrics) }"),
            ("rules", "/// See [`crate::store`].\nstruct S;"),
            ("rules", "#[cfg(test)] mod tests { use crate::store; use std::time::Instant; }"),
            ("rules", "impl S { #[cfg(test)] fn f() { std::env::var(\"X\"); } }"),
            ("rules", "mod inner { use super::Rule; }"),
            ("grpc::accept", "fn f() { sleep_until(tokio::time::Instant::now() + GRACE) }"),
            ("clock", "use std::time::SystemTime; fn now() { SystemTime::now(); }"),
            ("decide", "fn f(&self) { g(self.clock.now()) }"),
            ("http", "use std::time::{Duration, Instant}; fn f(at: Instant) {}"),
            ("grpc::server", "fn f() { tokio::spawn(async {}); connections.spawn(g()); }"),
            ("grpc::server::cores", "fn f() { std::thread::Builder::new().spawn(g); }"),
            ("store::redis", "use redis::Client;"),
        ] {
            assert_eq!(complaints(path, source), "", "in {path}: {source}");
        }
    }
}
