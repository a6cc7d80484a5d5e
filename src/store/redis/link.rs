//! The connection of one core, made on that core: an answer that crossed from one runtime to another would cost more
//! than all the rest.

use std::sync::Arc;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;

use super::{Away, Scripts, door::Door};

/// The connection of one core, opened when it is first needed and again when it broke.
#[derive(Debug, Default)]
pub(super) struct Link {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the connection that is open or opening: what is said of an older one means nothing.
    number: u64,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Closed,
    Opening(watch::Receiver<Option<Result<MultiplexedConnection, Away>>>),
    Open(MultiplexedConnection),
}

/// A connection, and which of its link's it is.
pub(super) struct Line {
    pub connection: MultiplexedConnection,
    number: u64,
}

impl Link {
    /// The connection, as soon as it is open. All who ask meanwhile wait for the same one; it goes on opening when they
    /// give up.
    ///
    /// # Errors
    ///
    /// Why it could not be opened.
    pub async fn line(self: &Arc<Self>, door: &Arc<Door>, scripts: &Arc<Scripts>) -> Result<Line, Away> {
        let (mut opening, number) = {
            let mut state = self.state.lock();
            match &state.stage {
                Stage::Open(connection) => {
                    return Ok(Line { connection: connection.clone(), number: state.number });
                }
                Stage::Opening(opening) => (opening.clone(), state.number),
                Stage::Closed => {
                    let (tell, opening) = watch::channel(None);
                    state.number += 1;
                    state.stage = Stage::Opening(opening.clone());
                    let (link, door, scripts) = (Arc::clone(self), Arc::clone(door), Arc::clone(scripts));
                    let number = state.number;
                    tokio::spawn(async move {
                        let opened = door.open(&scripts.all()).await;
                        link.opened(number, &opened);
                        tell.send_replace(Some(opened));
                    });
                    (opening, state.number)
                }
            }
        };
        let opened = opening.wait_for(Option::is_some).await.map_err(|_| Away::Lost)?;
        let connection = opened.clone().ok_or(Away::Lost)??;
        Ok(Line { connection, number })
    }

    fn opened(&self, number: u64, opened: &Result<MultiplexedConnection, Away>) {
        let mut state = self.state.lock();
        if state.number == number {
            state.stage = opened.as_ref().map_or(Stage::Closed, |connection| Stage::Open(connection.clone()));
        }
    }

    /// A connection broke: the next who asks opens another.
    pub fn broke(&self, line: &Line) {
        let mut state = self.state.lock();
        if state.number == line.number {
            state.stage = Stage::Closed;
        }
    }

    /// Whatever is open is given up.
    pub fn close(&self) {
        self.state.lock().stage = Stage::Closed;
    }
}
