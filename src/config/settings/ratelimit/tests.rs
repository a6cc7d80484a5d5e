use super::{variables::Meaning, *};

fn read(environment: &[(&str, &str)]) -> Translated {
    translated(&|name| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

fn settings(environment: &[(&str, &str)]) -> Vec<String> {
    let translated = read(environment);
    assert!(translated.errors.is_empty(), "{environment:?}: {:?}", translated.errors);
    translated.settings.iter().map(|(key, value, variable)| format!("{key}={value} ({variable})")).collect()
}

#[test]
fn an_empty_environment_says_nothing() {
    let Translated { settings, errors, without_effect } = read(&[]);
    assert!(settings.is_empty() && errors.is_empty() && without_effect.is_empty());
}

#[test]
fn each_variable_that_means_something_becomes_a_setting() {
    for (environment, expected) in [
        (&[("HOST", "::")][..], &["http=[::]:8080 (HOST)"][..]),
        (&[("PORT", "80")], &["http=0.0.0.0:80 (PORT)"]),
        (&[("GRPC_HOST", "10.0.0.1"), ("GRPC_PORT", "81")], &["grpc=10.0.0.1:81 (GRPC_HOST)"]),
        (&[("GRPC_UDS", "/run/rl.sock")], &["grpc=unix:/run/rl.sock (GRPC_UDS)"]),
        (&[("DEBUG_PORT", "7070")], &["debug=0.0.0.0:7070 (DEBUG_PORT)"]),
        (&[("GRPC_MAX_CONNECTION_AGE", "1h30m")], &["max_connection_age=5400000ms (GRPC_MAX_CONNECTION_AGE)"]),
        (
            &[("RUNTIME_ROOT", "/data"), ("RUNTIME_SUBDIRECTORY", "ratelimit")],
            &["rules=/data/ratelimit/config (RUNTIME_ROOT)"],
        ),
        (&[("RUNTIME_APPDIRECTORY", "limits")], &["rules=/srv/runtime_data/current/limits (RUNTIME_APPDIRECTORY)"]),
        (&[("RUNTIME_IGNOREDOTFILES", "true")], &["rule_files=visible (RUNTIME_IGNOREDOTFILES)"]),
        (&[("RUNTIME_IGNOREDOTFILES", "false"), ("RUNTIME_WATCH_ROOT", "false")], &[]),
        (&[("MERGE_DOMAIN_CONFIG", "1")], &["merge_domains=true (MERGE_DOMAIN_CONFIG)"]),
        (
            &[("FORCE_START_WITHOUT_INITIAL_CONFIG", "true")],
            &["ready_without_rules=true (FORCE_START_WITHOUT_INITIAL_CONFIG)"],
        ),
        (
            &[("FORCE_START_WITHOUT_INITIAL_CONFIG", "true"), ("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED", "true")],
            &["ready_without_rules=false (HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED)"],
        ),
        (&[("SHADOW_MODE", "true")], &["shadow_mode=true (SHADOW_MODE)"]),
        (&[("QUOTA_MODE", "T")], &["quota_mode=true (QUOTA_MODE)"]),
        (&[("RESPONSE_DYNAMIC_METADATA", "true")], &["request_metadata=true (RESPONSE_DYNAMIC_METADATA)"]),
        (
            &[("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT", "true")],
            &["count_denied=false (STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT)"],
        ),
        (
            &[("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT", "false")],
            &["count_denied=true (STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT)"],
        ),
        (
            &[("LIMIT_RESPONSE_HEADERS_ENABLED", "true"), ("LIMIT_RESET_HEADER", "X-Reset")],
            &["headers=envoyproxy (LIMIT_RESPONSE_HEADERS_ENABLED)", "reset_header=X-Reset (LIMIT_RESET_HEADER)"],
        ),
        (
            &[("USE_PROMETHEUS", "true"), ("USE_STATSD", "false"), ("NEAR_LIMIT_RATIO", "0.9")],
            &[
                "near_limit_ratio=0.9 (NEAR_LIMIT_RATIO)",
                "compat_metrics=true (USE_PROMETHEUS)",
                "metrics=:9090 (USE_PROMETHEUS)",
            ],
        ),
        (
            &[("USE_PROMETHEUS", "true"), ("PROMETHEUS_ADDR", ":19001"), ("PROMETHEUS_PATH", "/m")],
            &[
                "compat_metrics=true (USE_PROMETHEUS)",
                "metrics=:19001 (PROMETHEUS_ADDR)",
                "metrics_path=/m (PROMETHEUS_PATH)",
            ],
        ),
        (&[("USE_PROMETHEUS", "false"), ("PROMETHEUS_ADDR", ":19001")], &[]),
        (
            &[
                ("GRPC_SERVER_USE_TLS", "true"),
                ("GRPC_SERVER_TLS_CERT", "c.pem"),
                ("GRPC_SERVER_TLS_KEY", "k.pem"),
                ("GRPC_CLIENT_TLS_CACERT", "ca.pem"),
                ("GRPC_CLIENT_TLS_SAN", "envoy"),
            ],
            &[
                "grpc_tls_cert_file=c.pem (GRPC_SERVER_TLS_CERT)",
                "grpc_tls_key_file=k.pem (GRPC_SERVER_TLS_KEY)",
                "grpc_tls_client_ca_file=ca.pem (GRPC_CLIENT_TLS_CACERT)",
                "grpc_tls_client_san=envoy (GRPC_CLIENT_TLS_SAN)",
            ],
        ),
        (&[("GRPC_SERVER_TLS_CERT", "c.pem")], &[]),
        (
            &[("TRACING_ENABLED", "true")],
            &[
                "trace_endpoint=http://localhost:4318 (TRACING_ENABLED)",
                "trace_ratio=1 (TRACING_ENABLED)",
                "trace_service_name=RateLimit (TRACING_ENABLED)",
                "trace_protocol=http/protobuf (TRACING_ENABLED)",
            ],
        ),
        (
            &[
                ("TRACING_ENABLED", "true"),
                ("TRACING_EXPORTER_PROTOCOL", "grpc"),
                ("TRACING_SERVICE_NAME", "name"),
                ("TRACING_SERVICE_NAMESPACE", "namespace"),
                ("TRACING_SERVICE_INSTANCE_ID", "instance"),
                ("TRACING_SAMPLING_RATE", "0.6"),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
            ],
            &[
                "trace_endpoint=http://collector:4317 (OTEL_EXPORTER_OTLP_ENDPOINT)",
                "trace_ratio=0.6 (TRACING_SAMPLING_RATE)",
                "trace_service_name=name (TRACING_SERVICE_NAME)",
                "trace_service_namespace=namespace (TRACING_SERVICE_NAMESPACE)",
                "trace_service_instance=instance (TRACING_SERVICE_INSTANCE_ID)",
                "trace_protocol=grpc (TRACING_EXPORTER_PROTOCOL)",
            ],
        ),
        (&[("TRACING_ENABLED", "false"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")], &[]),
    ] {
        assert_eq!(settings(environment), expected, "{environment:?}");
    }
}

#[test]
fn redis_is_where_its_url_says_in_each_of_its_forms() {
    for (environment, store) in [
        (&[("REDIS_URL", "redis:6379"), ("REDIS_SOCKET_TYPE", "tcp")][..], "redis://redis:6379"),
        (&[("REDIS_URL", "/run/redis.sock")], "redis+unix:///run/redis.sock"),
        (&[("REDIS_URL", "redis://me:pw@redis:6379/2")], "redis://me:pw@redis:6379/2"),
        (&[("REDIS_URL", "redis://me:pw@redis:6379/2"), ("REDIS_AUTH", "x")], "redis://me:pw@redis:6379/2"),
        (&[("REDIS_URL", "redis://redis"), ("REDIS_AUTH", "p/w")], "redis://:p%2Fw@redis"),
        (&[("REDIS_URL", "redis:6379"), ("REDIS_AUTH", "me:p@w:x")], "redis://me:p%40w%3Ax@redis:6379"),
        (&[("REDIS_URL", "redis:6379"), ("REDIS_TLS", "true")], "rediss://redis:6379"),
        (&[("REDIS_URL", "redis://redis:6379"), ("REDIS_TLS", "true")], "rediss://redis:6379"),
        (&[("REDIS_URL", "a:1,b:2"), ("REDIS_TYPE", "cluster")], "redis-cluster://a:1,b:2"),
        (&[("REDIS_URL", "main,a:1,b:2"), ("REDIS_TYPE", "SENTINEL")], "redis-sentinel://a:1,b:2/main"),
        (
            &[("REDIS_URL", "main,a:1"), ("REDIS_TYPE", "Sentinel"), ("REDIS_TLS", "1"), ("REDIS_AUTH", "x")],
            "rediss-sentinel://:x@a:1/main",
        ),
    ] {
        assert_eq!(settings(environment)[0], format!("store={store} (REDIS_URL)"), "{environment:?}");
        assert!(crate::store_address::StoreAddress::parse(store).is_ok(), "{store}");
    }
    assert_eq!(
        settings(&[("REDIS_URL", "r:1"), ("CACHE_KEY_PREFIX", "a_")])[1],
        "store_key_prefix=a_tallygate: (CACHE_KEY_PREFIX)"
    );
    assert!(
        settings(&[("REDIS_AUTH", "pw"), ("CACHE_KEY_PREFIX", "a")]).is_empty(),
        "without a Redis they say nothing"
    );
    assert_eq!(settings(&[("BACKEND_TYPE", "memory"), ("REDIS_URL", "r:1")]), ["store=memory (BACKEND_TYPE)"]);
}

#[test]
fn what_cannot_be_carried_out_and_matters_stops_the_start_with_what_to_do() {
    for (environment, said) in [
        (&[("BACKEND_TYPE", "memcache")][..], "the variable BACKEND_TYPE is `memcache`, which cannot be done: set"),
        (
            &[("CONFIG_TYPE", "GRPC_XDS_SOTW")],
            "the variable CONFIG_TYPE is `GRPC_XDS_SOTW`, which cannot be done: rules",
        ),
        (
            &[("GRPC_SERVER_USE_TLS", "true")],
            "the variable GRPC_SERVER_USE_TLS is `true`, which cannot be done: set GRPC_",
        ),
        (
            &[("REDIS_URL", "r:1"), ("REDIS_TLS", "true"), ("REDIS_TLS_SKIP_HOSTNAME_VERIFICATION", "true")],
            "the variable REDIS_TLS_SKIP_HOSTNAME_VERIFICATION is `true`, which cannot be done: who",
        ),
        (
            &[("REDIS_URL", "m,r:1"), ("REDIS_TYPE", "sentinel"), ("REDIS_SENTINEL_AUTH", "canary")],
            "the variable REDIS_SENTINEL_AUTH is `***`",
        ),
        (&[("REDIS_URL", "r:1"), ("REDIS_TYPE", "ring")], "the variable REDIS_TYPE is `ring`: expected `SINGLE`"),
        (
            &[("REDIS_URL", "r:1"), ("REDIS_TYPE", "sentinel")],
            "the variable REDIS_URL is `r:1`: expected the master's name",
        ),
        (
            &[("TRACING_ENABLED", "true"), ("TRACING_EXPORTER_PROTOCOL", "udp")],
            "the variable TRACING_EXPORTER_PROTOCOL is `udp`: expected `http` or `grpc`",
        ),
        (&[("SHADOW_MODE", "yes")], "the variable SHADOW_MODE is `yes`: expected `true` or `false`"),
        (&[("PORT", "http")], "the variable PORT is `http`: expected a port from 0 to 65535"),
        (&[("GRPC_MAX_CONNECTION_AGE", "1d")], "the variable GRPC_MAX_CONNECTION_AGE is `1d`: expected a duration"),
    ] {
        let errors: Vec<String> = read(environment).errors.iter().map(ToString::to_string).collect();
        assert!(errors.first().is_some_and(|error| error.starts_with(said)), "{environment:?}: {errors:?}");
        assert!(!errors.concat().contains("canary"), "{errors:?}");
    }
}

#[test]
fn what_has_no_effect_is_named_once_unless_it_is_switched_off() {
    let told = |environment| read(environment).without_effect;
    assert_eq!(
        told(&[("USE_STATSD", "true"), ("REDIS_POOL_SIZE", "5")]),
        [
            "USE_STATSD has no effect: metrics are scraped by Prometheus, and sent to nobody",
            "REDIS_POOL_SIZE has no effect: there is one connection to Redis for each core, and calls share it",
        ]
    );
    assert!(told(&[("USE_STATSD", "false"), ("RUNTIME_WATCH_ROOT", "true"), ("REDIS_SOCKET_TYPE", "tcp")]).is_empty());
}

#[test]
fn every_setting_that_a_variable_becomes_is_one_of_ours() {
    let ours = |key: &str| crate::config::settings::ALL.iter().any(|setting| setting.key == key);
    for variable in variables::ALL {
        if let Meaning::Setting(key) = variable.meaning {
            assert!(ours(key), "{} becomes `{key}`", variable.name);
        }
    }
    for (key, _) in DEFAULTS {
        assert!(ours(key), "{key}");
    }
    let mut names: Vec<_> = variables::ALL.iter().map(|variable| variable.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a variable stands in the table twice");
}

#[test]
fn the_manual_has_every_variable_and_what_it_comes_to() {
    let manual = include_str!("../../../../docs/migrating.md");
    for Variable { name, meaning } in variables::ALL {
        let comes_to = match meaning {
            Meaning::Setting(key) => format!("the setting `{key}`"),
            Meaning::AsItIs(why) => format!("nothing to do: {why}"),
            Meaning::WithoutEffect(why) => format!("no effect: {why}"),
            Meaning::Stops(why) => format!("stops the start: {why}"),
        };
        let row = format!("| `{name}` | {comes_to} |");
        assert!(manual.contains(&row), "docs/migrating.md lacks:\n{row}");
    }
}
