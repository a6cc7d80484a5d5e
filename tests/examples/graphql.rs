//! What the example `flash` finds in GraphQL requests, honest and hostile: its Lua runs in a real Envoy.

use std::fs;

use serde_json::json;

use crate::{
    client::{Response, exchange},
    process::{Process, free_ports},
    programs::start_envoy,
    replay::examples,
};

/// What is asked: a request line's method and path, a content type and a body.
type Asked<'a> = (&'a str, &'a str, &'a str, &'a [u8]);

const JSON: &str = "application/json";
const GRAPHQL: &str = "application/graphql";

struct Stage {
    _envoy: Process,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let [port] = free_ports();
        let bootstrap = include_str!("graphql.yaml").replace("$LISTENER", &port.to_string());
        let envoy = start_envoy(dir.path(), &bootstrap, port);
        Self { _envoy: envoy, port, _dir: dir }
    }

    fn ask(&self, (method, path, content_type, body): Asked<'_>) -> Response {
        self.ask_with("", (method, path, content_type, body))
    }

    fn ask_with(&self, headers: &str, (method, path, content_type, body): Asked<'_>) -> Response {
        let content_type =
            if content_type.is_empty() { String::new() } else { format!("content-type: {content_type}\r\n") };
        let length = format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n{headers}{content_type}{length}");
        let bytes = [request.as_bytes(), body].concat();
        exchange(self.port, &bytes).unwrap_or_else(|error| panic!("{path} {}: {error}", body.escape_ascii()))
    }

    /// The names found in a query; `400` where there is none to be found.
    fn names(&self, query: &str) -> String {
        self.names_in_json(json!({ "query": query }).to_string())
    }

    fn names_in_json(&self, body: impl AsRef<[u8]>) -> String {
        told(&self.ask(("POST", "/graphql", JSON, body.as_ref())))
    }
}

fn told(answer: &Response) -> String {
    match answer.status {
        200 => answer.text().to_owned(),
        refused => refused.to_string(),
    }
}

#[test]
fn names_are_those_of_the_operation_and_of_its_top_level_fields() {
    let stage = Stage::start();
    for (query, names) in [
        ("{ quote }", "query.quote"),
        ("{quote}", "query.quote"),
        ("\u{feff}query Q{quote,me}", "query.Q query.quote query.me"),
        ("{ q: quote(symbol: \"X\") { price } }", "query.quote"),
        ("{ quote: me }", "query.me"),
        ("{ a: quote b: quote quote }", "query.quote"),
        ("query quote { quote }", "query.quote"),
        ("mutation { quote }", "mutation.quote"),
        ("subscription S { quote }", "subscription.S subscription.quote"),
        ("query($s: [String!]! = [\"}\"] @d(x: {y: 1})) @live { quote(s: $s) @skip(if: true) }", "query.quote"),
        // Deeper fields are not asked of the root.
        ("{ me { quote { me } } }", "query.me"),
        ("{ me(where: {quote: {a: [{b: 1}]}}) { id } }", "query.me"),
        ("{ me(a: -1.5e+3, b: 1) ...on Query { quote } }", "query.me query.quote"),
        // Fragments, also in circles and before they are used.
        ("{ ... { ... on Query @d { quote } } }", "query.quote"),
        ("{ ...A me } fragment A on Query { ...B } fragment B on Query { ...A quote { me } }", "query.me query.quote"),
        ("fragment query on Query { quote } { ...query @d(x: 1) }", "query.quote"),
        ("{ me } fragment A on Query { quote }", "query.me"),
        ("{ ...A }", "400"),
        ("{ ... on }", "400"),
        ("fragment A on Query { quote }", "400"),
        ("{ ...A } fragment A on Query { me } fragment A on Query { quote }", "400"),
        // What only looks like a field, and what only looks like none.
        ("{ me # } { quote \n}", "query.me"),
        ("{ me # \r quote }", "query.me query.quote"),
        ("{ me(s: \"\\\"} quote {\") }", "query.me"),
        ("{ me(s: \"\") quote(s: \"\\\\\") }", "query.me query.quote"),
        ("{ me(s: \"\"\" \" \\\"\"\" } { quote \"\"\") }", "query.me"),
        ("{ me(s: \"\"\"\\\\\"\"\" quote(x: \"\"\") }", "query.me"),
        ("{ me(s: \"\"\"\"\"\") quote }", "query.me query.quote"),
        ("\"what it is for\" query A { me }", "query.A query.me"),
        ("{ me(s: \"\n\") }", "400"),
        ("{ me(s: \") }", "400"),
        ("{ me(s: \"\"\" \") }", "400"),
        // Keywords are names, too.
        (
            "{ query mutation on fragment true null }",
            "query.query query.mutation query.on query.fragment query.true query.null",
        ),
        ("query query { query }", "query.query"),
        ("{ __typename __schema { types } }", "query.__typename query.__schema"),
        // No GraphQL, or no document to be run.
        ("", "400"),
        ("# nothing", "400"),
        ("{ }", "400"),
        ("{ me } }", "400"),
        ("{ me ", "400"),
        ("{ me(", "400"),
        ("{ me: }", "400"),
        ("{ 5 }", "400"),
        ("{ $me }", "400"),
        ("{ m\u{fc} }", "400"),
        ("{ me ; quote }", "400"),
        ("schema { query: Q }", "400"),
        ("{ me } { quote }", "400"),
        ("query A { me } query B { quote }", "400"),
    ] {
        assert_eq!(stage.names(query), names, "{query}");
        let plain = told(&stage.ask(("POST", "/graphql", GRAPHQL, query.as_bytes())));
        assert_eq!(plain, names, "as application/graphql: {query}");
    }
}

#[test]
fn json_is_read_as_strictly_as_it_can_be() {
    let stage = Stage::start();
    let two = "query A { me } query B { quote }";
    let bodies: &[(&str, &str)] = &[
        (r#"{"query": "{ quote }"}"#, "query.quote"),
        (
            r#" { "variables" : {"query": [1, -0.5e+3, true, null, "\u00e9\ud83d\ude00"]}, "query" : "{\tquote }" } "#,
            "query.quote",
        ),
        (r#"{"qu\u0065ry": "\u007b q\u0075ote \u007D"}"#, "query.quote"),
        (r#"{"query": "{ me(s: \"\ud83d\ude00\") \/\/ }"}"#, "400"),
        (r#"{"query": "{ me }", "query": "{ quote }"}"#, "400"),
        (r#"{"query": "{ me }", "qu\u0065ry": "{ quote }"}"#, "400"),
        (r#"{"query": "{ me }", "QUERY": "{ quote }"}"#, "400"),
        (r#"{"query": "{ me }", "variables": {"a": 1, "a": 2}}"#, "400"),
        (r#"{"query": "{ me }", "operationName": null, "extensions": {}}"#, "query.me"),
        (r#"{"query": "{ me }", "operationName": "B"}"#, "400"),
        (r#"{"query": "{ me }", "operationName": 5}"#, "400"),
        (r#"{"query": ["{ me }"]}"#, "400"),
        (r#"{"query": null}"#, "400"),
        (r#"{"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "00"}}}"#, "400"),
        // A batch is one request: each name once.
        (r#"[{"query": "{ quote }"}, {"query": "{ a: quote me }"}]"#, "query.quote query.me"),
        (r#"[{"query": "{ quote }"}, {"query": "{ quote"}]"#, "400"),
        (r#"[{"query": "{ me }"}, null]"#, "400"),
        (r#"[{"query": "{ me }"}, 5]"#, "400"),
        (r#"[[{"query": "{ me }"}]]"#, "400"),
        ("[]", "400"),
        // Broken JSON, or none.
        ("", "400"),
        ("null", "400"),
        ("5", "400"),
        ("\"{ quote }\"", "400"),
        ("{ quote }", "400"),
        (r#"{"query": "{ me }"} {"query": "{ quote }"}"#, "400"),
        (r#"{"query": "{ me }",}"#, "400"),
        (r#"{"query": "{ me }" "a": 1}"#, "400"),
        (r#"{"query": "{ me }"#, "400"),
        (r#"{"query": "{ me }\"#, "400"),
        (r#"{"query": "{ me }\u12"#, "400"),
        (r#"{"query": "{ me } #\x41"}"#, "400"),
        (r#"{"query": "{ me } #\ud83d"}"#, "400"),
        (r#"{"query": "{ me } #\ude00\ud83d"}"#, "400"),
        ("{\"query\": \"{ me\n}\"}", "400"),
        ("{\"query\": \"{ me\0}\"}", "400"),
        (r"{'query': '{ me }'}", "400"),
        (r#"{"query": "{ me }", "a": 01}"#, "400"),
        (r#"{"query": "{ me }", "a": NaN}"#, "400"),
        (r#"{"query": "{ me }", "a": truer}"#, "400"),
        (r#"{"query": "{ me }"} // quote"#, "400"),
        ("\u{feff}{\"query\": \"{ me }\"}", "400"),
    ];
    for (body, names) in bodies {
        assert_eq!(stage.names_in_json(body), *names, "{body}");
    }
    for (name, names) in [("A", "query.A query.me"), ("B", "query.B query.quote"), ("C", "400"), ("", "400")] {
        let body = json!({ "query": two, "operationName": name }).to_string();
        assert_eq!(stage.names_in_json(body), names, "the operation {name}");
    }
}

#[test]
fn a_query_is_where_it_belongs_and_nowhere_else() {
    let stage = Stage::start();
    let query = br#"{"query": "{ quote }"}"#;
    let asked: &[(Asked<'_>, &str)] = &[
        (("GET", "/graphql?query=%7B+q%3A%20quote%20%7D&variables=%7B%7D", "", b""), "query.quote"),
        (("GET", "/graphql?%71uery={quote}", "", b""), "query.quote"),
        (("GET", "/graphql?a?query=x&query={quote}", "", b""), "query.quote"),
        (("GET", "/graphql?query=query+A{me}+query+B{quote}&operationName=B", "", b""), "query.B query.quote"),
        (("GET", "/graphql?query={me}&operationName=", "", b""), "query.me"),
        (("GET", "/graphql?query={me}&query={quote}", "", b""), "400"),
        (("GET", "/graphql?query={me}&Query={quote}", "", b""), "400"),
        (("GET", "/graphql?query={me};query={quote}", "", b""), "400"),
        (("GET", "/graphql?query={me}%", "", b""), "400"),
        (("GET", "/graphql", "", b""), "400"),
        (("GET", "/graphql?query={me}", JSON, query), "400"),
        (("POST", "/graphql?query={me}", JSON, query), "400"),
        (("POST", "/graphql?operationName=B", GRAPHQL, b"query A { me } query B { quote }"), "query.B query.quote"),
        (("POST", "/graphql?query={quote}", JSON, b"{}"), "query.quote"),
        (("PUT", "/graphql", JSON, query), "400"),
        (("POST", "/graphql", "application/json; charset=utf-8", query), "query.quote"),
        (("POST", "/graphql", "Application/JSON;charset=\"UTF-8\"", query), "query.quote"),
        (("POST", "/graphql", "application/graphql; charset=UTF-8", b"{ quote }"), "query.quote"),
        (("POST", "/graphql", "application/json; charset=utf-16", query), "415"),
        (("POST", "/graphql", "application/json; charset=utf-8; charset=utf-7", query), "415"),
        (("POST", "/graphql", "application/json; charset*=utf-7", query), "415"),
        (("POST", "/graphql", "application/json, text/plain", query), "415"),
        (("POST", "/graphql", "text/plain", query), "415"),
        (("POST", "/graphql", "application/x-www-form-urlencoded", b"query={quote}"), "415"),
        (("POST", "/graphql", "multipart/form-data; boundary=b", query), "415"),
        (("POST", "/graphql", "", query), "415"),
    ];
    for (asked, names) in asked {
        assert_eq!(told(&stage.ask(*asked)), *names, "{asked:?}");
    }
    for header in ["content-encoding: gzip\r\n", "content-type: text/plain\r\n"] {
        assert_eq!(told(&stage.ask_with(header, ("POST", "/graphql", JSON, query))), "415", "{header}");
    }
    assert_eq!(
        told(&stage.ask_with("content-encoding: identity\r\n", ("POST", "/graphql", JSON, query))),
        "query.quote"
    );
}

#[test]
fn there_are_as_many_names_as_envoy_has_descriptors() {
    let stage = Stage::start();
    let envoy = fs::read_to_string(examples().join("flash/envoy.yaml")).expect("the example has an envoy.yaml");
    let room = (1..100).take_while(|place| envoy.contains(&format!("{{key: name{place}}}"))).count();
    let fields: Vec<String> = (0..room).map(|place| format!("f{place}")).collect();
    assert_eq!(stage.names(&format!("{{ {} f0 }}", fields.join(" "))).split(' ').count(), room);
    assert_eq!(stage.names(&format!("{{ {} quote }}", fields.join(" "))), "400");
    assert_eq!(stage.names(&format!("{{ {} }}", "q".repeat(64))), format!("query.{}", "q".repeat(64)));
    assert_eq!(stage.names(&format!("{{ {} }}", "q".repeat(65))), "400");
}

#[test]
fn no_body_is_too_deep_or_too_long() {
    let stage = Stage::start();
    let nested = |open: &str, middle: &str, close: &str, depth| open.repeat(depth) + middle + &close.repeat(depth);
    let batch = |count| format!("[{}]", vec![r#"{"query":"{quote}"}"#; count].join(","));
    let most = 60_000; // of the 65,536 that Envoy passes to the reader
    let cases: [(String, &str); 12] = [
        (nested("[", "", "]", most / 2), "400"),
        (nested("{\"a\":", "1", "}", most / 6), "400"),
        ("[".repeat(most), "400"),
        (json!({ "query": nested("{ me ", "", "}", most / 6) }).to_string(), "query.me"),
        (json!({ "query": format!("{{ me(a: {}) }}", nested("[", "", "]", most / 2)) }).to_string(), "query.me"),
        (json!({ "query": nested("{ ... ", "{ quote }", "}", 62) }).to_string(), "query.quote"),
        (json!({ "query": nested("{ ... ", "{ quote }", "}", most / 7) }).to_string(), "400"),
        (json!({ "query": spreads(1_300) }).to_string(), "query.quote"),
        (batch(50), "query.quote"),
        (batch(51), "400"),
        (format!("{{\"query\": \"{{ me }} #{}\"}}", "\\u00e9".repeat(most / 6)), "query.me"),
        (format!("{{\"query\": \"{{ me(s: \\\"{}\\\") }}\"}}", "\\\\\\\\".repeat(most / 4)), "query.me"),
    ];
    for (body, names) in cases {
        assert_eq!(stage.names_in_json(&body), names, "{} bytes: {:.60}...", body.len(), body);
    }
    let long = |length: usize| {
        let body = json!({ "query": "{ me }" }).to_string();
        body.clone() + &" ".repeat(length - body.len())
    };
    assert_eq!(stage.names_in_json(long(1 << 16)), "query.me");
    assert_eq!(stage.names_in_json(long((1 << 16) + 1)), "413");
    // Envoy answers before it has read all of a very long one, and then the connection breaks: with luck after the answer.
    for length in [1 << 20, 1 << 24] {
        let head = format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-type: {JSON}\r\ncontent-length: {length}\r\n");
        let request = format!("{head}connection: close\r\n\r\n{}", long(length));
        if let Ok(answer) = exchange(stage.port, request.as_bytes()) {
            assert_eq!(told(&answer), "413", "{length} bytes");
        }
    }
    assert_eq!(stage.names("{ quote }"), "query.quote", "Envoy serves on");
}

/// A chain of fragments, each of which spreads the next one twice.
fn spreads(count: usize) -> String {
    let link = |place| format!("fragment F{place} on Q {{ ...F{next} ...F{next} }} ", next = place + 1);
    let chain: String = (0..count).map(link).collect();
    format!("{{ ...F0 }} {chain} fragment F{count} on Q {{ quote }}")
}
