use super::{check::parse_duration, *};
use crate::{bounds, store::memory::Memory, store_address::ClientCertificate, trace};

fn gather(
    flags: &[(&str, &str)],
    environment: &[(&str, &str)],
    file: Option<&str>,
) -> Result<RawSettings, SettingsError> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tallygate.yaml");
    if let Some(text) = file {
        std::fs::write(&path, text).expect("writable");
    }
    let path = path.to_string_lossy().into_owned();
    let find = |list: &[(&str, &str)], key: &str| {
        list.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned())
    };
    RawSettings::gather(
        "tallygate",
        |key| find(flags, key).or_else(|| (key == "settings" && file.is_some()).then(|| path.clone())),
        |name| find(environment, name),
    )
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let file = Some("grpc: from-file\nhttp: from-file\nadmin: from-file\nmax_counters: 5\ncount_denied: yes\n");
    let raw = gather(&[("grpc", "flag")], &[("TALLYGATE_GRPC", "env"), ("TALLYGATE_HTTP", "env")], file).expect("good");
    let rows: Vec<_> = raw.rows().map(|(key, value, source)| format!("{key}={value} ({source})")).collect();
    for row in ["grpc=flag (flag)", "http=env (environment)", "admin=from-file (file)", "store=memory (default)"] {
        assert!(rows.contains(&row.to_owned()), "{row} in {rows:?}");
    }
    let settings = raw.check().expect("good");
    assert_eq!((settings.max_counters, settings.count_denied), (5, true));
}

#[test]
fn the_counters_that_there_is_place_for_follow_the_memory_of_the_control_group() {
    let counters = |max_counters: &str, bytes: &str| {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in [
            ("proc/meminfo", "MemTotal:       16777216 kB\n"),
            ("proc/self/cgroup", "0::/pod\n"),
            ("sys/fs/cgroup/pod/memory.max", bytes),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("writable");
            std::fs::write(path, text).expect("writable");
        }
        let settings = gather(&[("max_counters", max_counters)], &[], None).expect("gathers");
        let store = Memory::new(settings.check_on(root.path()).expect("good").max_counters);
        store.fill().max_counters
    };
    for (bytes, expected) in [
        ("536870912\n", 2_684_354),
        ("8589934592\n", 42_949_672),
        // More than the machine has, and nothing said: the machine counts.
        ("99999999999999\n", 85_899_345),
        ("max\n", 85_899_345),
        // Too little for anything, and still place for some.
        ("1\n", 100_000),
    ] {
        assert_eq!(counters("auto", bytes), expected, "{bytes}");
    }
    assert_eq!(counters("5_000", "536870912\n"), 5_000, "who asks for a number gets it");
}

#[test]
fn every_bad_value_is_named_with_its_source() {
    let raw = gather(&[("cores", "many"), ("store", "redis://x:y")], &[("LOG_FORMAT", "xml")], None).expect("gathers");
    let errors: Vec<_> = raw.check().expect_err("three errors").iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "setting `store` (from flag) is `redis://x:y`: `x:y` is no HOST:PORT: the port is no number from 1 to 65535; \
             for example `redis://redis.internal:6379`",
            "setting `cores` (from flag) is `many`: expected a number from 0 to 256",
            "setting `log_format` (from environment) is `xml`: expected `text`, `json` or `auto`",
        ]
    );
}

#[test]
fn only_loopback_is_local() {
    for (address, local) in [
        ("127.0.0.1:8080", true),
        ("127.9.9.9:0", true),
        ("[::1]:8080", true),
        ("localhost:8080", true),
        ("0.0.0.0:8080", false),
        ("[::]:8080", false),
        (":8080", false),
        ("10.0.0.1:8080", false),
        ("gateway:8080", false),
    ] {
        let raw = gather(&[("http", address)], &[], None).expect("gathers");
        assert_eq!(raw.check().expect("good").http_is_local(), local, "{address}");
    }
}

#[test]
fn the_path_of_the_metrics_is_one_that_requests_can_have() {
    for (path, good) in [
        ("/metrics", true),
        ("/", true),
        ("/a/{b}*:", true),
        ("metrics", false),
        ("", false),
        ("/a?b", false),
        ("/a#b", false),
        ("/a b", false),
        ("/ä", false),
    ] {
        let checked = gather(&[("metrics_path", path)], &[], None).expect("gathers").check();
        assert_eq!(checked.is_ok_and(|settings| settings.metrics_path == path), good, "{path}");
    }
}

#[test]
fn unknown_keys_of_the_file_are_errors_with_a_suggestion() {
    let error = gather(&[], &[], Some("count-denied: true")).expect_err("unknown").to_string();
    assert!(error.ends_with("has an unknown key `count-denied`; did you mean `count_denied`?"), "{error}");
    let error = gather(&[], &[], Some("drain_dealy: 1s")).expect_err("unknown").to_string();
    assert!(error.ends_with("did you mean `drain_delay`?"), "{error}");
}

#[test]
fn values_of_the_file_are_single_ones_and_a_bad_one_is_named() {
    for (file, expected) in [
        ("cores: -1", "setting `cores` (from file) is `-1`: expected a number from 0 to 256"),
        ("drain_delay: 1.5", "setting `drain_delay` (from file) is `1.5`: expected a duration"),
        ("near_limit_ratio: 1.01", "setting `near_limit_ratio` (from file) is `1.01`: expected a number from 0 to 1"),
        ("near_limit_ratio: nan", "setting `near_limit_ratio` (from file) is `nan`: expected a number from 0 to 1"),
        ("log_level: verbose", "setting `log_level` (from file) is `verbose`: expected `error`, `warn`"),
        ("cores: [1]", "`cores` is a list or a map: expected one value"),
    ] {
        let error = match gather(&[], &[], Some(file)) {
            Ok(raw) => raw.check().expect_err(file)[0].to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(expected), "{error}");
    }
    assert!(gather(&[], &[], Some("state:")).expect("null is absent").check().is_ok());
}

#[test]
fn passwords_are_not_shown() {
    let raw = gather(&[("store", "redis://me:p@ss@host:6379")], &[], None).expect("gathers");
    let shown: Vec<String> = raw.rows().map(|(_, value, _)| value.into_owned()).collect();
    assert!(shown.contains(&"redis://***@host:6379".to_owned()), "{shown:?}");
    let settings = raw.check().expect("good");
    assert_eq!(settings.store.to_string(), "redis://***@host:6379");
    assert!(!format!("{settings:?}").contains("p@ss"), "{settings:?}");
    assert!(settings.warnings[0].ends_with("name that with `store_password_file`"), "{:?}", settings.warnings);

    let raw = gather(&[("store", "redis://me:canary@host:many")], &[], None).expect("gathers");
    let error = format!("{0:?} {0}", raw.check().expect_err("no port")[0]);
    assert!(error.contains("is `redis://***@host:many`") && !error.contains("canary"), "{error}");
}

#[test]
fn a_settings_file_that_is_no_yaml_shows_no_password_either() {
    for broken in ["grpc: [", "grpc: a\ngrpc: b", "\tx", "- a", "grpc: *none", "redis://:canary@host"] {
        for file in
            [format!("store: redis://:canary@host\n{broken}\n"), format!("{broken}\nstore: redis://:canary@host\n")]
        {
            let error = gather(&[], &[], Some(&file)).expect_err(&file);
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }
}

#[test]
fn the_store_is_the_memory_until_it_is_somewhere_else() {
    let memory = gather(&[], &[], None).expect("gathers").check().expect("good");
    assert_eq!((memory.store, memory.replicas), (StoreAddress::Memory, None));
    assert_eq!((memory.store_deadline, memory.store_password_file), (Duration::from_millis(10), None));
    assert_eq!(memory.store_tls, TlsFiles::default());

    let file = "store: rediss-sentinel://tallygate@a,b,c/main\nstore_password_file: p\nreplicas: 3\n\
                store_deadline: 5ms\nstore_tls_ca_file: ca.pem\nstore_tls_cert_file: c.pem\nstore_tls_key_file: k.pem\n";
    let redis = gather(&[], &[], Some(file)).expect("gathers").check().expect("good");
    assert_eq!(redis.store.to_string(), "rediss-sentinel://***@a:26379,b:26379,c:26379/main");
    assert_eq!((redis.replicas, redis.store_deadline), (NonZeroU32::new(3), Duration::from_millis(5)));
    assert_eq!(redis.store_password_file, Some("p".into()));
    let client = ClientCertificate { certificate: "c.pem".into(), key: "k.pem".into() };
    assert_eq!(redis.store_tls, TlsFiles { ca: Some("ca.pem".into()), client: Some(client) });
    assert!(redis.warnings.is_empty());
}

#[test]
fn settings_of_the_store_that_do_not_suit_each_other_or_are_out_of_bounds() {
    for (flags, said) in [
        (&[("store_deadline", "0ms")][..], "is `0ms`: expected a duration from 1ms to 1s such as `10ms`"),
        (&[("store_deadline", "2s")], "is `2s`: expected a duration from 1ms to 1s such as `10ms`"),
        (&[("replicas", "0")], "is `0`: expected `auto` or a number from 1 to 10000"),
        (&[("replicas", "10001")], "is `10001`: expected `auto` or a number from 1 to 10000"),
        (
            &[("store_tls_cert_file", "c")],
            "setting `store_tls_cert_file` (from flag) needs `store_tls_key_file` beside it",
        ),
        (
            &[("store_tls_key_file", "k")],
            "setting `store_tls_key_file` (from flag) needs `store_tls_cert_file` beside it",
        ),
        (
            &[("store", "redis://a"), ("store_tls_ca_file", "ca")],
            "setting `store_tls_ca_file` (from flag) needs a `store` with TLS, such as `rediss://redis.internal:6379`",
        ),
        (
            &[("store", "redis://:canary@a"), ("store_password_file", "p")],
            "setting `store_password_file` (from flag) needs a `store` without a password in its URL: which one holds?",
        ),
    ] {
        let errors = gather(flags, &[], None).expect("gathers").check().expect_err(said);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].to_string().ends_with(said), "{}", errors[0]);
    }
    let waiting = gather(&[("store_tls_ca_file", "ca"), ("store_password_file", "p")], &[], None).expect("gathers");
    assert!(waiting.check().is_ok(), "the memory needs none of them, and they do not hurt");
}

#[test]
fn a_file_that_was_asked_for_must_exist_and_the_default_need_not() {
    assert!(gather(&[("settings", "/nowhere/x.yaml")], &[], None).is_err());
    assert!(gather(&[], &[], None).is_ok());
}

#[test]
fn grpc_is_plain_until_files_say_how_it_is_not() {
    let tls = |file: &str| gather(&[], &[], Some(file)).expect("gathers").check().expect("good").grpc_tls;
    assert_eq!(tls("grpc: unix:/run/tallygate.sock"), None);
    let ours = "grpc_tls_cert_file: c.pem\ngrpc_tls_key_file: k.pem\n";
    let plain = GrpcTls { certificate: "c.pem".into(), key: "k.pem".into(), clients: None };
    assert_eq!(tls(ours), Some(plain.clone()));
    let name = |text| ClientName::parse(text).expect("a name");
    for (line, names) in [
        ("", ClientNames::Any),
        ("grpc_tls_client_san_file: names", ClientNames::InFile("names".into())),
        (
            "grpc_tls_client_san: envoy.mesh, spiffe://mesh/envoy",
            ClientNames::Of(vec![name("envoy.mesh"), name("spiffe://mesh/envoy")]),
        ),
    ] {
        let clients = Some(GrpcClients { ca: "ca.pem".into(), names });
        let told = tls(&format!("{ours}grpc_tls_client_ca_file: ca.pem\n{line}"));
        assert_eq!(told, Some(GrpcTls { clients, ..plain.clone() }), "{line}");
    }
}

#[test]
fn settings_of_tls_that_do_not_suit_each_other() {
    let (cert, key) = (("grpc_tls_cert_file", "c"), ("grpc_tls_key_file", "k"));
    let (ca, san) = (("grpc_tls_client_ca_file", "ca"), ("grpc_tls_client_san", "envoy"));
    let file = ("grpc_tls_client_san_file", "names");
    for (flags, said) in [
        (&[cert][..], "setting `grpc_tls_cert_file` (from flag) needs `grpc_tls_key_file` beside it"),
        (&[key], "setting `grpc_tls_key_file` (from flag) needs `grpc_tls_cert_file` beside it"),
        (
            &[ca],
            "`grpc_tls_client_ca_file` (from flag) needs TLS: `grpc_tls_cert_file` and `grpc_tls_key_file` beside it",
        ),
        (
            &[cert, key, san],
            "`grpc_tls_client_san` (from flag) needs `grpc_tls_client_ca_file` beside it: a name that nobody vouches for is none",
        ),
        (
            &[cert, key, file],
            "`grpc_tls_client_san_file` (from flag) needs `grpc_tls_client_ca_file` beside it: a name that nobody vouches for is none",
        ),
        (&[cert, key, ca, san, file], "needs no `grpc_tls_client_san` beside it: which one holds?"),
        (
            &[cert, key, ca, ("grpc_tls_client_san", "envoy,*.mesh")],
            "is `envoy,*.mesh`: expected DNS names, addresses or URIs, comma between them",
        ),
        (
            &[cert, key, ("grpc", "unix:/run/x")],
            "needs a `grpc` with a port: who may use a socket, the rights of its file say",
        ),
    ] {
        let errors = gather(flags, &[], None).expect("gathers").check().expect_err(said);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].to_string().ends_with(said), "{}", errors[0]);
    }
}

#[test]
fn connections_grow_an_hour_old_unless_told_otherwise_and_0_is_never() {
    let ages = |flags: &[(&str, &str)]| {
        let settings = gather(flags, &[], None).expect("gathers").check().expect("good");
        (settings.max_connection_age, settings.max_connection_age_grace)
    };
    let (secs, hours) = (Duration::from_secs, Duration::from_hours);
    assert_eq!(ages(&[]), (Some(bounds::CONNECTION_AGE), bounds::CONNECTION_AGE_GRACE));
    assert_eq!(ages(&[("max_connection_age", "0s"), ("max_connection_age_grace", "0s")]), (None, secs(0)));
    assert_eq!(ages(&[("max_connection_age", "8784h")]), (Some(hours(8_784)), secs(30)));
    let errors = gather(&[("max_connection_age", "8785h")], &[], None).expect("gathers").check().expect_err("too long");
    assert!(
        errors[0].to_string().ends_with("is `8785h`: expected a duration up to `8784h` such as `30s`, `1h` or `24h`")
    );
}

#[test]
fn nothing_is_traced_until_an_endpoint_says_where_to() {
    let trace = |file: &str| gather(&[], &[], Some(file)).expect("gathers").check().expect("good").trace;
    assert_eq!(trace("trace_ratio: 1\ntrace_tls_ca_file: waits"), None);
    let told = trace("trace_endpoint: http://collector").expect("an endpoint");
    assert_eq!((told.collector.to_string(), told.ca), ("http://collector:4317".to_owned(), None));
    assert_eq!(Some(told.ratio), trace::Ratio::new(0.0));
    assert_eq!(told.service, trace::Service { name: "tallygate".to_owned(), ..trace::Service::default() });
    let told = trace(
        "trace_endpoint: https://collector/otlp\ntrace_protocol: http/protobuf\ntrace_ratio: 0.25\n\
         trace_tls_ca_file: ca.pem\ntrace_service_name: a\ntrace_service_namespace: b\ntrace_service_instance: c\n",
    )
    .expect("an endpoint");
    assert_eq!(
        (told.collector.to_string(), told.ca),
        ("https://collector:4318/otlp".to_owned(), Some("ca.pem".into()))
    );
    let service = trace::Service { name: "a".to_owned(), namespace: Some("b".into()), instance: Some("c".into()) };
    assert_eq!((told.service, Some(told.ratio)), (service, trace::Ratio::new(0.25)));
}

#[test]
fn settings_of_traces_that_do_not_suit_each_other_or_mean_nothing() {
    let endpoint = ("trace_endpoint", "http://collector");
    for (flags, said) in [
        (&[("trace_endpoint", "collector:4317")][..], "is `collector:4317`: expected `http://HOST[:PORT]` or"),
        (&[("trace_endpoint", "http://me:canary@host")], "is `http://***@host`: expected `http://HOST[:PORT]` or"),
        (&[("trace_protocol", "http/json")], "is `http/json`: expected grpc or http/protobuf"),
        (&[("trace_ratio", "2")], "is `2`: expected a number from 0 to 1"),
        (&[("trace_ratio", "NaN")], "is `NaN`: expected a number from 0 to 1"),
        (&[endpoint, ("trace_tls_ca_file", "ca")], "needs a `trace_endpoint` that begins with `https://`"),
    ] {
        let errors = gather(flags, &[], None).expect("gathers").check().expect_err(said);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].to_string().contains(said), "{}", errors[0]);
    }
}

#[test]
fn durations_have_a_unit_and_a_bound() {
    for (text, millis) in [("0s", Some(0)), ("500ms", Some(500)), ("1m", Some(60_000)), ("5", None), ("25h", None)] {
        assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
    }
}
