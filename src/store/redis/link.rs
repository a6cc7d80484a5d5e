//! The connection of one core, made on that core: an answer that crossed from one runtime to another would cost more
//! than all the rest.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Away, connection::Connection, node::Way};

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
    Opening(watch::Receiver<Option<Result<Connection, Away>>>),
    Open(Connection),
}

/// A connection, and which of its link's it is.
pub(super) struct Open {
    pub connection: Connection,
    number: u64,
}

impl Link {
    /// The connection, as soon as it is open. All who ask meanwhile wait for the same one; it goes on opening when they
    /// give up.
    ///
    /// # Errors
    ///
    /// Why it could not be opened.
    pub async fn open(self: &Arc<Self>, way: &Arc<Way>) -> Result<Open, Away> {
        let (mut opening, number) = {
            let mut state = self.state.lock();
            match &state.stage {
                Stage::Open(connection) => {
                    return Ok(Open { connection: connection.clone(), number: state.number });
                }
                Stage::Opening(opening) => (opening.clone(), state.number),
                Stage::Closed => {
                    let (tell, opening) = watch::channel(None);
                    state.number += 1;
                    state.stage = Stage::Opening(opening.clone());
                    let (link, way) = (Arc::clone(self), Arc::clone(way));
                    let number = state.number;
                    tokio::spawn(async move {
                        let opened = way.open().await;
                        link.opened(number, &opened);
                        tell.send_replace(Some(opened));
                    });
                    (opening, state.number)
                }
            }
        };
        let opened = opening.wait_for(Option::is_some).await.map_err(|_| Away::Lost)?;
        let connection = opened.clone().ok_or(Away::Lost)??;
        Ok(Open { connection, number })
    }

    fn opened(&self, number: u64, opened: &Result<Connection, Away>) {
        let mut state = self.state.lock();
        if state.number == number {
            state.stage = opened.as_ref().map_or(Stage::Closed, |connection| Stage::Open(connection.clone()));
        }
    }

    /// A connection broke: the next who asks opens another.
    pub fn broke(&self, open: &Open) {
        let mut state = self.state.lock();
        if state.number == open.number {
            state.stage = Stage::Closed;
        }
    }

    /// Whatever is open is given up. What is being opened may serve the next who asks: opened anew for each outage, a slow one
    /// would never be ready.
    pub fn close(&self) {
        self.state.lock().stage = Stage::Closed;
    }

    /// Whatever is open is given up, and what is being opened: it may lead where nobody is to go any more.
    pub fn leave(&self) {
        let mut state = self.state.lock();
        state.number += 1;
        state.stage = Stage::Closed;
    }
}
