//! Signs of life: each replica shows one now and then, and is told how many do.

use redis::Value;

use super::{Away, Redis, errands::Errand};
use crate::bounds::{REPLICA_GONE_AFTER, REPLICAS_MAX};

impl Redis {
    /// Shows that the replica of this `id` lives, and counts those that do by the server's clock.
    ///
    /// # Errors
    ///
    /// Why they could not be counted.
    pub async fn show_sign_of_life(&self, id: u128) -> Result<u32, Away> {
        let key = self.names.of_house("replicas");
        let arguments = [format!("{id:032x}"), (REPLICA_GONE_AFTER.0 / 1_000).to_string(), REPLICAS_MAX.to_string()];
        let errand = Errand {
            script: &self.scripts.replicas,
            keys: &[&key],
            arguments: &arguments.each_ref().map(String::as_bytes),
        };
        let Value::Int(count) = self.run_errand(&errand).await? else { return Err(Away::Garbled) };
        u32::try_from(count).ok().filter(|count| (1..=REPLICAS_MAX).contains(count)).ok_or(Away::Garbled)
    }
}
