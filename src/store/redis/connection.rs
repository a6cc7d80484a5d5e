//! A connection that is open.

use std::sync::Arc;

use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value, aio::MultiplexedConnection};
use tokio::task::AbortHandle;

use super::{Away, place::Stream};

/// A connection to one server, on which any number of callers ask at once. It ends with its last clone, also where the
/// server takes in nothing more, not even that.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    redis: MultiplexedConnection,
    _driver: Arc<Driver>,
}

impl Connection {
    /// Says `entry` over a `stream` that is open. Its driver runs on the runtime that this is called on.
    ///
    /// # Errors
    ///
    /// Why the server does not let us in.
    pub async fn begin(stream: Box<dyn Stream>, entry: &RedisConnectionInfo) -> Result<Self, Away> {
        // Our own deadlines stand around every call.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let begun = MultiplexedConnection::new_with_config(entry, stream, config).await;
        let (redis, driver) = begun.map_err(|error| Away::of(&error))?;
        Ok(Self { redis, _driver: Arc::new(Driver(tokio::spawn(driver).abort_handle())) })
    }

    /// Sends a command, and waits for its answer as long as that takes.
    ///
    /// # Errors
    ///
    /// What the server says instead, or why it says nothing.
    pub async fn ask(&mut self, command: &Cmd) -> Result<Value, Away> {
        let answer = self.redis.send_packed_command(command).await;
        answer.and_then(Value::extract_error).map_err(|error| Away::of(&error))
    }

    /// Sends a command for keys that are on their way to the server: next to each other on the connection, as what comes after
    /// `ASKING` is what it is said for.
    ///
    /// # Errors
    ///
    /// What the server says instead, or why it says nothing.
    pub async fn ask_ahead(&mut self, command: &Cmd) -> Result<Value, Away> {
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command.clone());
        let answers = self.redis.send_packed_commands(&both, 0, 2).await.map_err(|error| Away::of(&error))?;
        let answers: Result<Vec<Value>, _> = answers.into_iter().map(Value::extract_error).collect();
        answers.map_err(|error| Away::of(&error))?.pop().ok_or(Away::Garbled)
    }
}

/// The task that reads and writes.
#[derive(Debug)]
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
