//! Two services side by side: the same requests to both, and every difference between their answers.
//!
//! | step | file |
//! |---|---|
//! | requests that were recorded, one a line | [`recorded`] |
//! | requests made from rule files | [`generated`] |
//! | what differs between two answers | [`difference`] |
//! | both asked at the same time, one request after the other | [`Sides`]; one alone, [`Side`] |

pub mod difference;
pub mod generated;
pub mod recorded;

use std::time::Duration;

use tokio::time::timeout;
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

use crate::grpc::proto::{RateLimitRequest, RateLimitResponse, rate_limit_service_client::RateLimitServiceClient};

/// A service that has not answered by then will not: Envoy waits for 20 milliseconds.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// What a service answered, or the status that stands for an answer.
pub type Answer = Result<RateLimitResponse, String>;

/// The two services.
#[derive(Debug)]
pub struct Sides {
    ours: Side,
    theirs: Side,
}

/// One service.
#[derive(Debug)]
pub struct Side(RateLimitServiceClient<Channel>);

impl Sides {
    /// Connects to both, given as `HOST:PORT`.
    ///
    /// # Errors
    ///
    /// Which of them cannot be reached, and why.
    pub async fn connect(ours: &str, theirs: &str) -> anyhow::Result<Self> {
        Ok(Self { ours: Side::connect(ours).await?, theirs: Side::connect(theirs).await? })
    }

    /// Asks both at the same time: windows end for both while neither is asked, or for both before.
    pub async fn ask(&mut self, request: &RateLimitRequest) -> (Answer, Answer) {
        tokio::join!(self.ours.ask(request), self.theirs.ask(request))
    }
}

impl Side {
    /// Connects to the service at `HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    ///
    /// Why it cannot be reached.
    pub async fn connect(address: &str) -> anyhow::Result<Self> {
        let unreachable = |error: &dyn std::error::Error| {
            let mut deepest = error;
            while let Some(source) = deepest.source() {
                deepest = source;
            }
            anyhow::anyhow!("cannot reach the service at {address}: {deepest}")
        };
        let url = if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") };
        let endpoint = Endpoint::from_shared(url).map_err(|error| unreachable(&error))?;
        let channel = endpoint.connect_timeout(ANSWER_DEADLINE).connect().await.map_err(|error| unreachable(&error))?;
        Ok(Self(RateLimitServiceClient::new(channel)))
    }

    /// Asks it.
    ///
    /// # Errors
    ///
    /// What it answered instead.
    pub async fn ask(&mut self, request: &RateLimitRequest) -> Answer {
        match timeout(ANSWER_DEADLINE, self.0.should_rate_limit(Request::new(request.clone()))).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            // Messages are for people, and no part of what services have in common.
            Ok(Err(status)) => Err(format!("{:?}", status.code())),
            Err(_) => Err(format!("no answer within {ANSWER_DEADLINE:?}")),
        }
    }
}
