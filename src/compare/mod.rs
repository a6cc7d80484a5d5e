//! Two services side by side: the same requests to both, and every difference between their answers.
//!
//! | step | file |
//! |---|---|
//! | requests that were recorded, one a line | [`recorded`] |
//! | requests made from rule files | [`generated`] |
//! | one service asked, with TLS or without | [`side`] |
//! | both asked at the same time, one request after the other | [`Sides`] |
//! | what differs between two answers | [`difference`] |

pub mod difference;
pub mod generated;
pub mod recorded;
pub mod side;

pub use side::{Side, Tls};

use crate::grpc::proto::{RateLimitRequest, RateLimitResponse};

/// What a service answered, or the status that stands for an answer.
pub type Answer = Result<RateLimitResponse, String>;

/// The two services.
#[derive(Debug)]
pub struct Sides {
    ours: Side,
    theirs: Side,
}

impl Sides {
    /// Connects to both, given as [`Side::connect`] takes them.
    ///
    /// # Errors
    ///
    /// Which of them cannot be reached, and why.
    pub async fn connect(ours: &str, theirs: &str, tls: &Tls) -> anyhow::Result<Self> {
        Ok(Self { ours: Side::connect(ours, tls).await?, theirs: Side::connect(theirs, tls).await? })
    }

    /// Asks both at the same time: windows end for both while neither is asked, or for both before.
    pub async fn ask(&mut self, request: &RateLimitRequest) -> (Answer, Answer) {
        tokio::join!(self.ours.ask(request), self.theirs.ask(request))
    }
}
