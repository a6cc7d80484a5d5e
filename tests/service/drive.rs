//! Calls that many clients make at once, and what of them was let through.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tallygate::grpc::proto::{
    RateLimitDescriptor, RateLimitResponse, rate_limit_response::Code,
    rate_limit_service_client::RateLimitServiceClient,
};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::harness::{Service, descriptor, request};

/// What is asked in one call: of each descriptor the key, the value and the hits.
pub type Call = Vec<(&'static str, &'static str, u64)>;
/// The hits that were let through, by key and value.
pub type Admitted = BTreeMap<(&'static str, &'static str), u64>;

/// The keys of rules that [`by_algorithm`] writes. Every window is one of years, and lasts longer than a test; what drains
/// of a bucket meanwhile is less than a hit.
pub const ALGORITHMS: [&str; 3] = ["fixed_window", "sliding_window", "token_bucket"];

/// A rule for each algorithm, named by it, with these windows.
pub fn by_algorithm(windows: &[(&str, &str)]) -> String {
    let rule = |algorithm: &str| {
        let limit = |(count, window): &(&str, &str)| format!("{{rate: {count}/{window}, algorithm: {algorithm}}}");
        let limits: Vec<String> = windows.iter().map(limit).collect();
        format!("- {{key: {algorithm}, limits: [{}]}}\n", limits.join(", "))
    };
    format!("domain: shop\ndescriptors:\n{}", ALGORITHMS.map(rule).concat())
}

/// Each in turn.
pub fn algorithm(n: u64) -> &'static str {
    ALGORITHMS[usize::try_from(n % 3).unwrap()]
}

/// Makes the calls that `call` names by their numbers, from 0 until it names none, `outstanding` at once on each of the
/// `connections`, and adds up what is let through. The clients run in `service`.
pub fn drive(
    service: &Service,
    connections: Vec<Channel>,
    outstanding: usize,
    call: impl Fn(u64) -> Option<Call> + Send + Sync + 'static,
) -> Admitted {
    let (call, number) = (Arc::new(call), Arc::new(AtomicU64::new(0)));
    service.block_on(async move {
        let mut callers = JoinSet::new();
        for connection in connections {
            for _ in 0..outstanding {
                let (call, number) = (Arc::clone(&call), Arc::clone(&number));
                callers.spawn(make_calls(connection.clone(), move || call(number.fetch_add(1, Relaxed))));
            }
        }
        let mut admitted = Admitted::new();
        for (counter, hits) in callers.join_all().await.into_iter().flatten() {
            *admitted.entry(counter).or_default() += hits;
        }
        admitted
    })
}

/// Makes one call after the other. Every one must be answered.
async fn make_calls(connection: Channel, next: impl Fn() -> Option<Call>) -> Admitted {
    let mut client = RateLimitServiceClient::new(connection);
    let mut admitted = Admitted::new();
    while let Some(call) = next() {
        let descriptors = call.iter().map(|&(key, value, hits)| asking(key, value, hits)).collect();
        let answer = client.should_rate_limit(request(descriptors)).await.unwrap().into_inner();
        let let_through = is_let_through(&answer, call.len());
        for (key, value, hits) in call {
            *admitted.entry((key, value)).or_default() += if let_through { hits } else { 0 };
        }
    }
    admitted
}

/// An answer has a status for each descriptor, and refuses where one of them does.
fn is_let_through(answer: &RateLimitResponse, descriptors: usize) -> bool {
    assert_eq!(answer.statuses.len(), descriptors);
    let refused = answer.statuses.iter().any(|status| status.code() == Code::OverLimit);
    let told = if refused { Code::OverLimit } else { Code::Ok };
    assert_eq!(answer.overall_code(), told, "{answer:?}");
    !refused
}

/// What is left of a counter, by a look.
pub fn left(service: &Service, key: &str, value: &str) -> u64 {
    service.call(request(vec![asking(key, value, 0)])).unwrap().statuses[0].limit_remaining.into()
}

fn asking(key: &str, value: &str, hits: u64) -> RateLimitDescriptor {
    RateLimitDescriptor { hits_addend: Some(hits), ..descriptor(key, value) }
}
