//! What the house asks of the server beside charges: who else is there, what was ordered. Scripts that no request waits
//! for, now and then, over the connection that is no core's.

use std::sync::Arc;

use redis::{Cmd, Value};
use tokio::time::timeout;

use super::{
    Away, Redis,
    key::HOUSE,
    node::{Hop, Node},
    script::{How, Runnable},
    slots::Slot,
};
use crate::bounds::REDIS_ERRAND_DEADLINE;

/// One call of a script of the house.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand<'e> {
    pub script: &'e Runnable,
    /// All in one slot of a cluster: they begin with [`HOUSE`].
    pub keys: &'e [&'e str],
    pub arguments: &'e [&'e [u8]],
}

impl Redis {
    /// Runs a script that no request waits for, where the server that has its keys is not known to be away. None goes twice:
    /// what failed may have run.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether it ran.
    pub(super) async fn run_errand(&self, errand: &Errand<'_>) -> Result<Value, Away> {
        let slot = Slot::of(HOUSE.as_bytes());
        let node = self.servers.node_of(slot);
        if node.is_away() {
            return Err(Away::HeldBack);
        }
        let command = |how, _: &Node| {
            let mut command = errand.script.command(how);
            command.arg(errand.keys.len()).arg(errand.keys).arg(errand.arguments);
            command
        };
        self.run_patiently(slot, command, node).await
    }

    /// Runs a script that people wait for, or nobody, beginning at `node`.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether it ran.
    pub(super) async fn run_patiently(
        &self,
        slot: Slot,
        command: impl Fn(How, &Node) -> Cmd,
        node: Arc<Node>,
    ) -> Result<Value, Away> {
        let mut hop = Hop::anyway(node);
        let answered = timeout(REDIS_ERRAND_DEADLINE, self.servers.follow(slot, command, None, &mut hop)).await;
        answered.unwrap_or_else(|_| {
            // Where no requests are made, nobody else finds out that a connection is dead.
            hop.node().hang_up_alone();
            Err(Away::Late)
        })
    }
}
