//! A caller who waits for less than a call to Redis may take has his answer all the same.

use std::time::Duration;

use tallygate::grpc::proto::{
    RateLimitResponse, protobuf::value::Kind, rate_limit_response::Code,
    rate_limit_service_client::RateLimitServiceClient,
};
use tonic::{Request, transport::Channel};

use crate::{
    harness::{Folder, Service, descriptor, request},
    servers::{Direction, Proxy, RedisServer, Weather},
};

const RULES: &str = "domain: shop
descriptors:
  - {key: local, limits: [1000000/3650d]}
  - {key: deny, limits: [1000000/3650d], on_store_error: deny}
";

type Client = RateLimitServiceClient<Channel>;

/// What the caller waits, less than Redis takes here and than a call may take by its own deadline.
const PATIENCE: Duration = Duration::from_millis(9);
const REDIS_TAKES: Duration = Duration::from_millis(40);
/// Answers asked for with it. More than half must be in time: a machine with other work makes some of them late, while of
/// a service that waits as long as the caller does all are.
const ASKED: usize = 40;

#[test]
fn an_answer_comes_within_the_callers_time_by_what_rules_do_without_redis() {
    let redis = RedisServer::start();
    let proxy = Proxy::to(redis.port());
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let service = Service::start(&folder, &["--store", &proxy.url(), "--store-deadline", "1s"]);
    service.until_ready();
    let mut client = RateLimitServiceClient::new(service.connect());
    let mut ask = |key, patience| ask(&service, &mut client, key, patience);
    assert_eq!(ask("deny", None), Some(("redis".to_owned(), Code::Ok)));
    proxy.set(Direction::ToClient, Weather::Slow(REDIS_TAKES));

    let mut in_time = 0;
    for _ in 0..ASKED / 2 {
        for (key, expected) in [("local", Code::Ok), ("deny", Code::OverLimit)] {
            let answer = ask(key, Some(PATIENCE));
            in_time += usize::from(answer.is_some());
            assert!(answer.is_none_or(|answer| answer == ("local".to_owned(), expected)), "{key}");
        }
        // Who waits longer is told what Redis says, which also tells that Redis is there.
        assert_eq!(ask("deny", None), Some(("redis".to_owned(), Code::Ok)));
    }
    assert!(in_time > ASKED / 2, "{in_time} of {ASKED} were in time");
    assert!(!service.log().contains("the store is away"), "it is there for who waits");
}

/// Who decided and what; None where that came too late.
fn ask(service: &Service, client: &mut Client, key: &str, patience: Option<Duration>) -> Option<(String, Code)> {
    let mut question = Request::new(request(vec![descriptor(key, "v")]));
    if let Some(patience) = patience {
        question.set_timeout(patience);
    }
    let answer = service.block_on(client.should_rate_limit(question)).ok()?.into_inner();
    Some((decided_by(&answer), answer.overall_code()))
}

fn decided_by(answer: &RateLimitResponse) -> String {
    match &answer.dynamic_metadata.as_ref().unwrap().fields["store"].kind {
        Some(Kind::StringValue(store)) => store.clone(),
        other => panic!("{other:?}"),
    }
}
