//! The rule files that envoyproxy/ratelimit and Istio publish as examples, the same rules in our hand: they load without a
//! word and decide as there.

use tallygate::{
    compare::difference::metadata,
    config::DomainDefaults,
    grpc::proto::{RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry, rate_limit_response::Code},
};

use crate::here::{Here, load, to_the_letter};

const NOW: u64 = 1_767_873_600;

/// Asks for `KEY=VALUE,KEY=VALUE`, several descriptors with a blank between; tells the codes, the descriptors' first and the
/// request's last.
fn codes(rules: &Here, domain: &str, request: &str) -> String {
    let descriptor = |text: &str| {
        let entry = |text: &str| {
            let (key, value) = text.split_once('=').unwrap();
            Entry { key: key.into(), value: value.into() }
        };
        RateLimitDescriptor { entries: text.split(',').map(entry).collect(), ..RateLimitDescriptor::default() }
    };
    let descriptors = request.split(' ').map(descriptor).collect();
    let answer = rules.answer(&RateLimitRequest { domain: domain.into(), descriptors, hits_addend: 0 }, NOW);
    let word = |code| if code == Code::Ok { "ok" } else { "over" };
    let statuses: Vec<_> = answer.statuses.iter().map(|status| word(status.code())).collect();
    format!("{}: {}", statuses.join(" "), word(answer.overall_code()))
}

/// A file, and what its author may expect of it: how often a request passes, and what is answered then.
struct Published {
    domain: &'static str,
    descriptors: &'static str,
    /// Request, how often it is sent, what is answered in the end.
    asked: &'static [(&'static str, u32, &'static str)],
}

/// `examples/ratelimit/config` of that service, the examples of its manual, and those of Istio's manual and sample.
const PUBLISHED: &[Published] = &[
    Published {
        domain: "rl",
        descriptors: "
- {key: source_cluster, value: proxy, descriptors: [
    {key: destination_cluster, value: mock, rate_limit: {unit: minute, requests_per_unit: 1}}]}
- key: foo
  rate_limit: {unit: minute, requests_per_unit: 2}
  descriptors:
  - {key: bar, rate_limit: {unit: minute, requests_per_unit: 3}}
  - {key: bar, value: banned, rate_limit: {unit: minute, requests_per_unit: 0}}
  - {key: baz, rate_limit: {unit: second, requests_per_unit: 1}}
  - {key: bay, rate_limit: {unlimited: true}}
  - {key: baz, value: shady, rate_limit: {unit: minute, requests_per_unit: 1}, shadow_mode: true}
- {key: qux, rate_limit: {unlimited: true}}",
        asked: &[
            ("source_cluster=proxy,destination_cluster=mock", 1, "ok: ok"),
            ("source_cluster=proxy,destination_cluster=mock", 1, "over: over"),
            ("source_cluster=proxy,destination_cluster=other", 9, "ok: ok"),
            ("foo=1", 2, "ok: ok"),
            ("foo=1", 1, "over: over"),
            ("foo=1,bar=x", 3, "ok: ok"),
            ("foo=1,bar=x", 1, "over: over"),
            ("foo=1,bar=banned", 1, "over: over"),
            ("foo=1,baz=x", 1, "ok: ok"),
            ("foo=1,baz=x", 1, "over: over"),
            ("foo=1,bay=x", 99, "ok: ok"),
            ("foo=1,baz=shady", 9, "ok: ok"),
            ("qux=x", 99, "ok: ok"),
        ],
    },
    Published {
        domain: "mongo_cps",
        descriptors: "
- {key: database, value: users, rate_limit: {unit: minute, requests_per_unit: 5}}
- {key: database, value: default, rate_limit: {unit: minute, requests_per_unit: 5}}",
        asked: &[("database=users", 5, "ok: ok"), ("database=users", 1, "over: over"), ("database=other", 9, "ok: ok")],
    },
    Published {
        domain: "quota",
        descriptors: "
- {key: service, value: service_1, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 1}}
- {key: service, value: service_2, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 2}}",
        asked: &[
            ("service=service_1 service=service_2", 1, "ok ok: ok"),
            ("service=service_1 service=service_2", 1, "over ok: ok"),
            ("service=service_1 service=service_2", 1, "over over: over"),
        ],
    },
    Published {
        domain: "messaging",
        descriptors: "
- key: message_type
  value: marketing
  descriptors: [{key: to_number, rate_limit: {unit: day, requests_per_unit: 5}}]
- {key: to_number, rate_limit: {unit: day, requests_per_unit: 100}}",
        asked: &[
            ("message_type=marketing,to_number=2061111111 to_number=2061111111", 5, "ok ok: ok"),
            ("message_type=marketing,to_number=2061111111 to_number=2061111111", 1, "over ok: over"),
            ("message_type=other,to_number=2061111111", 9, "ok: ok"),
        ],
    },
    Published {
        domain: "edge_proxy_per_ip",
        descriptors: "
- {key: remote_address, rate_limit: {unit: second, requests_per_unit: 10}}
- {key: remote_address, value: 50.0.0.5}",
        asked: &[
            ("remote_address=192.0.2.1", 10, "ok: ok"),
            ("remote_address=192.0.2.1", 1, "over: over"),
            ("remote_address=50.0.0.5", 99, "ok: ok"),
        ],
    },
    Published {
        domain: "example6",
        descriptors: "
- {key: A, rate_limit: {unit: second, requests_per_unit: 10, name: specific_limit}}
- key: B
  rate_limit: {unit: second, requests_per_unit: 2, replaces: [{name: specific_limit}]}",
        asked: &[
            ("A=1 B=1", 2, "ok ok: ok"),
            ("A=1 B=1", 1, "ok over: over"),
            ("A=1", 10, "ok: ok"),
            ("A=1", 1, "over: over"),
        ],
    },
    Published {
        domain: "wildcards",
        descriptors: "
- {key: path, value: 'files/*', share_threshold: true, rate_limit: {unit: hour, requests_per_unit: 2}}
- {key: path, value: '*/index', rate_limit: {unit: hour, requests_per_unit: 1}, detailed_metric: true}
- {key: tenant, value_to_metric: true, descriptors: [{key: plan, rate_limit: {unit: hour, requests_per_unit: 1}}]}",
        asked: &[
            ("path=files/a", 1, "ok: ok"),
            ("path=files/b", 1, "ok: ok"),
            ("path=files/c", 1, "over: over"),
            ("path=a/index", 1, "ok: ok"),
            ("path=b/index", 1, "ok: ok"),
            ("path=b/index", 1, "over: over"),
            ("tenant=t,plan=p", 1, "ok: ok"),
        ],
    },
    // Istio
    Published {
        domain: "ratelimit",
        descriptors: "
- {key: PATH, value: /productpage, rate_limit: {unit: minute, requests_per_unit: 1}}
- {key: PATH, value: api, rate_limit: {unit: minute, requests_per_unit: 2}}
- {key: PATH, rate_limit: {unit: minute, requests_per_unit: 100}}",
        asked: &[
            ("PATH=/productpage", 1, "ok: ok"),
            ("PATH=/productpage", 1, "over: over"),
            ("PATH=/static/app.css", 100, "ok: ok"),
            ("PATH=/static/app.css", 1, "over: over"),
        ],
    },
    Published {
        domain: "echo-ratelimit",
        descriptors: "
- {key: PATH, value: '/', rate_limit: {unit: minute, requests_per_unit: 1}}
- {key: PATH, rate_limit: {unit: minute, requests_per_unit: 100}}",
        asked: &[("PATH=/", 1, "ok: ok"), ("PATH=/", 1, "over: over"), ("PATH=/other", 100, "ok: ok")],
    },
];

#[test]
fn published_files_load_without_a_word_in_its_place_and_elsewhere() {
    for Published { domain, descriptors, .. } in PUBLISHED {
        let text = format!("---\ndomain: {domain}\ndescriptors:{descriptors}\n");
        for defaults in [to_the_letter(), DomainDefaults::default()] {
            let loaded = load(&text, defaults).unwrap_or_else(|errors| panic!("{domain}: {errors:?}"));
            assert!(loaded.warnings.is_empty(), "{domain}: {:?}", loaded.warnings);
        }
    }
}

#[test]
fn published_files_decide_as_there() {
    for Published { domain, descriptors, asked } in PUBLISHED {
        let rules = Here::with(&format!("---\ndomain: {domain}\ndescriptors:{descriptors}\n"), to_the_letter());
        for (request, times, expected) in *asked {
            let answers: Vec<String> = (0..*times).map(|_| codes(&rules, domain, request)).collect();
            assert!(answers.iter().all(|answer| answer == expected), "{domain}: {request}: {answers:?}");
        }
    }
}

#[test]
fn metadata_of_rules_is_returned_as_there() {
    let rules = Here::with(
        "domain: d\ndescriptors:\n\
         - {key: a, metadata: {team: red, deep: {one: 1}}, rate_limit: {unit: day, requests_per_unit: 1}}\n\
         - {key: b, metadata: {team: blue, deep: {two: 2}}, rate_limit: {unit: day, requests_per_unit: 9}}\n",
        DomainDefaults { request_metadata: true, ..to_the_letter() },
    );
    let entry = |key: &str| Entry { key: key.into(), value: b"v".to_vec() };
    let descriptor =
        |key: &str, hits| RateLimitDescriptor { entries: vec![entry(key)], hits_addend: hits, ..Default::default() };
    let descriptors = vec![descriptor("a", None), descriptor("b", Some(2))];
    let request = RateLimitRequest { domain: b"d".to_vec(), descriptors, hits_addend: 1 };
    let told = |at: &str| {
        let answer = rules.answer(&request, NOW);
        let metadata = answer.dynamic_metadata.map(|fields| metadata(&fields)).unwrap();
        metadata.pointer(at).cloned().unwrap_or_default()
    };
    let merged = serde_json::json!({"team": "red", "deep": {"one": 1.0, "two": 2.0}});
    assert_eq!(told("/metadata"), merged, "of two words the first counts");
    // The first descriptor is over now: its rule says nothing any more.
    assert_eq!(told("/metadata"), serde_json::json!({"team": "blue", "deep": {"two": 2.0}}));
    let request = serde_json::json!([{"entries": ["a=v"]}, {"entries": ["b=v"], "hitsAddend": 2.0}]);
    assert_eq!((told("/descriptors"), told("/domain"), told("/hitsAddend")), (request, "d".into(), 1.0.into()));
}
