//! Two replicas behind Envoy, restarted one after the other under load: no request may fail.
//!
//! A few times in `make test`; as often as `TALLYGATE_ROLLING` says by hand (`docs/restart.md`).

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    client::get,
    connections::{RULES, under_load},
    process::{Process, eventually, free_ports},
    programs::{Service, start_envoy},
    stage::{Plan, tcp},
    standstill::again_if_the_machine_stood_still,
    upstream::Upstream,
};

/// Rounds, in each of which both replicas are restarted.
const ROUNDS: usize = 3;

/// What the manual says of health checks, faster; and what they find is told to all threads of Envoy at once, not
/// gathered for a second.
const CLUSTER: &str = "
health_checks:
  - timeout: 10s
    interval: 0.05s
    no_traffic_interval: 0.05s
    unhealthy_threshold: 1
    healthy_threshold: 1
    grpc_health_check: {service_name: envoy.service.ratelimit.v3.RateLimitService}
common_lb_config: {update_merge_window: 0s}
";

#[test]
fn rolling_restarts_lose_no_request() {
    again_if_the_machine_stood_still(|| {
        let rounds = env::var("TALLYGATE_ROLLING").map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
        let dir = tempfile::tempdir().expect("a directory for the test");
        fs::write(dir.path().join("rules.yaml"), RULES).expect("the directory is ours");
        let mut replicas = [(); 2].map(|()| Replica::start(&dir.path().join("rules.yaml")));
        let upstream = Upstream::start();
        let [port, admin] = free_ports();
        let endpoints = replicas.each_ref().map(|replica| tcp(replica.grpc));
        let bootstrap = Plan { cluster: CLUSTER, ..Plan::default() }.bootstrap(port, &endpoints, upstream.port);
        let bootstrap = bootstrap + &format!("admin: {{address: {{{}}}}}\n", tcp(admin));
        let _envoy = start_envoy(dir.path(), &bootstrap, port);
        for replica in &replicas {
            replica.until(admin, Health::Serving);
        }

        let requests = under_load(port, || {
            for _ in 0..rounds {
                for one in 0..2 {
                    let [replica, other] = replicas.get_disjoint_mut([one, 1 - one]).expect("two");
                    replica.restart(admin, other);
                }
            }
        });
        assert!(counted(admin, "ratelimit.ok") >= requests, "Envoy asked for every one");
        assert_eq!(counted(admin, "ratelimit.error"), 0, "decisions that failed");
        println!("{rounds} rounds: {} restarts, {requests} requests, none failed", 2 * rounds);
    });
}

/// What Envoy's health checks say of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Serving,
    Away,
}

/// One of the processes that Envoy asks; always on the same ports.
struct Replica {
    process: Process,
    grpc: u16,
    http: u16,
    admin: u16,
    rules: PathBuf,
    dir: TempDir,
}

impl Replica {
    fn start(rules: &Path) -> Self {
        let [grpc, http, admin] = free_ports();
        let dir = tempfile::tempdir().expect("a directory for the replica");
        let process = start(dir.path(), rules, [grpc, http, admin]);
        Self { process, grpc, http, admin, rules: rules.to_owned(), dir }
    }

    /// As a deployment does it. The delay is as long as Envoy takes to notice: waited for, not guessed.
    fn restart(&mut self, envoy_admin: u16, other: &Self) {
        self.process.signal("TERM");
        self.until(envoy_admin, Health::Away);
        self.until_nobody_asks_it(other);
        self.process.signal("TERM"); // ends the delay
        self.process.wait_for_its_end();
        self.process = start(self.dir.path(), &self.rules, [self.grpc, self.http, self.admin]);
        self.until(envoy_admin, Health::Serving);
    }

    /// Envoy's threads hear of it one after the other.
    fn until_nobody_asks_it(&self, other: &Self) {
        /// A thread that asks both by turns would hardly pass it over so often.
        const ENOUGH: u64 = 50;
        let (mut here, mut there) = (self.decisions(), other.decisions());
        eventually("all ask the other replica", || {
            let asked = self.decisions();
            if asked != here {
                (here, there) = (asked, other.decisions());
            }
            other.decisions() >= there + ENOUGH
        });
    }

    fn decisions(&self) -> u64 {
        let page = get("/metrics").send(self.http);
        let lines = page.text().lines().filter(|line| line.starts_with("tallygate_decisions_total{"));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    fn until(&self, envoy_admin: u16, health: Health) {
        let prefix = format!("tallygate::127.0.0.1:{}::health_flags::", self.grpc);
        eventually(&format!("Envoy finds the replica {health:?}"), || {
            let page = get("/clusters").send(envoy_admin);
            let flags = page.text().lines().find_map(|line| line.strip_prefix(&*prefix)).expect("it is an endpoint");
            let told = if flags == "healthy" { Health::Serving } else { Health::Away };
            told == health
        });
    }
}

fn start(dir: &Path, rules: &Path, [grpc, http, admin]: [u16; 3]) -> Process {
    let address = format!("127.0.0.1:{grpc}");
    let arguments = &["--drain-delay", "10m", "--drain-deadline", "11m"];
    Service { grpc: &address, http, admin, rules, clock: None, store: None, arguments }.start(dir)
}

/// The sum of Envoy's counters whose names end so; those that never counted are not told.
fn counted(envoy_admin: u16, name: &str) -> usize {
    let page = get(&format!("/stats?filter={name}$")).send(envoy_admin);
    page.text().lines().filter_map(|line| line.split_once(": ")?.1.parse::<usize>().ok()).sum()
}
