//! One call, on its way to the server that has its keys.
//!
//! In a cluster slots move from one server to another, and a server that has no keys of a call says who has them. Followed is
//! only what proves that nothing ran:
//!
//! | answer | what it says | what is done |
//! |---|---|---|
//! | `MOVED` | the slot is that server's | it is asked, and the map is wanted again |
//! | `ASK` | the keys have moved there, the slot has not yet | it is asked, with `ASKING` |
//! | `TRYAGAIN` | some keys have moved, some have not; or new ones would stand on either side | it begins again, after a millisecond |
//!
//! Servers that have not heard of each other's doings send a call to and fro: from the second time on it pauses before it
//! goes on, and after a few it is given up. All that is within its deadline.

use std::sync::Arc;

use redis::{Cmd, Value};
use tokio::time::sleep;

use super::{
    Away,
    cluster::Cluster,
    node::{Hop, Node},
    script::How,
    slots::Slot,
};
use crate::bounds::{REDIS_HOPS_MAX, REDIS_MOVING_PAUSE};

/// The servers of a store.
#[derive(Debug)]
pub(super) enum Servers {
    One(Arc<Node>),
    Cluster(Box<Cluster>),
}

impl Servers {
    /// Who has the keys of a slot, as far as is known.
    pub fn node_of(&self, slot: Slot) -> Arc<Node> {
        match self {
            Self::One(node) => Arc::clone(node),
            Self::Cluster(cluster) => cluster.node_of(slot),
        }
    }

    /// Every server that calls may be made to.
    pub fn all(&self) -> Vec<Arc<Node>> {
        match self {
            Self::One(node) => vec![Arc::clone(node)],
            Self::Cluster(cluster) => cluster.all(),
        }
    }

    pub fn cluster(&self) -> Option<&Cluster> {
        match self {
            Self::One(_) => None,
            Self::Cluster(cluster) => Some(cluster),
        }
    }

    /// Runs a script over keys of one slot, on the connections of `core`. `hop` stands where it begins, and then wherever it
    /// is.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether it ran.
    pub async fn follow(
        &self,
        slot: Slot,
        command: impl Fn(How, &Node) -> Cmd,
        core: Option<usize>,
        hop: &mut Hop,
    ) -> Result<Value, Away> {
        let Some(cluster) = self.cluster() else { return hop.node().run(&command, core, false).await };
        let mut asking = false;
        for sent_on in 0..REDIS_HOPS_MAX {
            if cluster.is_nobody(hop.node()) {
                hop.move_on(cluster.somebody(slot).await?)?;
            }
            let next = match hop.node().run(&command, core, asking).await {
                Err(Away::Elsewhere(elsewhere)) => {
                    asking = elsewhere.asking;
                    if !asking {
                        cluster.want_map();
                    }
                    if sent_on > 0 && sent_on + 1 < REDIS_HOPS_MAX {
                        sleep(REDIS_MOVING_PAUSE).await;
                    }
                    cluster.sent_on(hop.node(), &elsewhere)?
                }
                Err(Away::Moving) if sent_on + 1 < REDIS_HOPS_MAX => {
                    asking = false;
                    sleep(REDIS_MOVING_PAUSE).await;
                    cluster.node_of(slot)
                }
                Err(why @ (Away::Lost | Away::Unable(_))) => {
                    // Its place may be another's by now.
                    cluster.want_map();
                    return Err(why);
                }
                answer => return answer,
            };
            hop.move_on(next)?;
        }
        Err(Away::Moving)
    }
}
