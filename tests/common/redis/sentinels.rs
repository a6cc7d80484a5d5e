//! A master and its replica, watched by three sentinels.

use std::time::Duration;

use redis::RedisResult;

use super::{
    RedisServer,
    process::{eventually, within},
};

/// What the sentinels call the master.
const MASTER: &str = "shop";
/// A failover is counted in a few of the sentinels' own ticks of 100 ms, and begins again where two of them wanted
/// different things.
const FAILOVER_WITHIN: Duration = Duration::from_secs(30);

/// A master, its replica, and three sentinels, two of which must agree that the master is gone.
pub struct Sentinels {
    pub servers: [RedisServer; 2],
    pub sentinels: [RedisServer; 3],
}

impl Sentinels {
    /// Starts them, and waits until everybody knows everybody.
    pub fn start() -> Self {
        // Without the delay a full copy begins at once.
        let master = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
        let port = master.port().to_string();
        let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]);
        eventually("the replica follows", || {
            replica.ask::<String>(&["INFO", "replication"]).contains("master_link_status:up")
        });
        // A sentinel first asks a server that it has just heard of after its period, a second or less; one that may be
        // silent for no longer than that is given up before it was asked, and the two change places for ever.
        let configuration = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {MASTER} 1500\n\
             sentinel failover-timeout {MASTER} 2000\n"
        );
        let sentinels = [(); 3].map(|()| RedisServer::start_sentinel(&configuration));
        for sentinel in &sentinels {
            eventually("the sentinels know each other and the replica", || {
                let known = |what: &str| sentinel.ask::<Vec<redis::Value>>(&["SENTINEL", what, MASTER]).len();
                known("replicas") == 1 && known("sentinels") == 2
            });
        }
        Self { servers: [master, replica], sentinels }
    }

    /// What `--store` takes.
    pub fn url(&self) -> String {
        let hosts: Vec<String> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        format!("redis-sentinel://{}/{MASTER}", hosts.join(","))
    }

    /// The port of the master, as far as this sentinel knows.
    fn told_by(sentinel: &RedisServer) -> RedisResult<u16> {
        let (_, port): (String, String) = sentinel.try_ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER])?;
        Ok(port.parse().expect("a port is a number"))
    }

    /// Which of the servers all sentinels call the master and is one; none while they disagree.
    pub fn master(&self) -> Option<usize> {
        let told = self.sentinels.each_ref().map(|sentinel| Self::told_by(sentinel).ok());
        let index = self.servers.iter().position(|server| told == [Some(server.port()); 3])?;
        let role = self.servers[index].try_ask::<Vec<redis::Value>>(&["ROLE"]).ok()?;
        (role.first() == Some(&redis::Value::BulkString(b"master".to_vec()))).then_some(index)
    }

    /// Kills the master and waits until the other has its place; which that is.
    pub fn fail_over(&mut self) -> usize {
        let master = self.master().expect("there is a master");
        self.servers[master].kill();
        self.until_master(1 - master);
        1 - master
    }

    /// Waits until this one of the servers is the master.
    pub fn until_master(&self, index: usize) {
        within(FAILOVER_WITHIN, "the replica is the master", || self.master() == Some(index));
    }
}
