//! The table of settings.

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The key in the settings file. The flag is `--key-with-dashes`.
    pub key: &'static str,
    /// The environment variables, first come first served.
    pub env: &'static [&'static str],
    /// What the value is, for the help text.
    pub value: &'static str,
    pub default: &'static str,
    pub help: &'static str,
}

/// The table. Its order is that of the help text.
pub const ALL: &[Setting] = &[
    Setting {
        key: "grpc",
        env: &["TALLYGATE_GRPC"],
        value: "HOST:PORT or unix:PATH",
        default: "127.0.0.1:8081",
        help: "Where Envoy asks: the rate-limit service and gRPC health",
    },
    Setting {
        key: "http",
        env: &["TALLYGATE_HTTP"],
        value: "HOST:PORT",
        default: "127.0.0.1:8080",
        help: "Probes, metrics, usage pages: /healthcheck /livez /readyz /metrics, and what rules add",
    },
    Setting {
        key: "usage_secret_file",
        env: &["TALLYGATE_USAGE_SECRET_FILE"],
        value: "FILE",
        default: "",
        help: "A file with what the header x-usage-secret must hold for a usage page; none: anybody may read them",
    },
    Setting {
        key: "admin",
        env: &["TALLYGATE_ADMIN"],
        value: "HOST:PORT",
        default: "127.0.0.1:6070",
        help: "Admin API (/v1/...); beyond loopback only with admin_token_file",
    },
    Setting {
        key: "admin_token_file",
        env: &["TALLYGATE_ADMIN_TOKEN_FILE"],
        value: "FILE",
        default: "",
        help: "A file with the token that the admin API asks for, 16 characters or more; none: only loopback, and no token",
    },
    Setting {
        key: "rules",
        env: &["TALLYGATE_RULES"],
        value: "PATH",
        default: "config/rules",
        help: "The rule files: a file, or a directory of *.yaml and *.yml; watched for changes",
    },
    Setting {
        key: "settings",
        env: &["TALLYGATE_SETTINGS"],
        value: "FILE",
        default: "config/tallygate.yaml",
        help: "A file with these settings; the default need not exist",
    },
    Setting {
        key: "store",
        env: &["TALLYGATE_STORE"],
        value: "STORE",
        default: "memory",
        help: "Where counters live: memory, or the URL of a Redis that replicas share: redis://[USER@]HOST[:PORT][/DB], …",
    },
    Setting {
        key: "store_password_file",
        env: &["TALLYGATE_STORE_PASSWORD_FILE"],
        value: "FILE",
        default: "",
        help: "A file with the password for Redis, read again on every connection; none: no password",
    },
    Setting {
        key: "store_tls_ca_file",
        env: &["TALLYGATE_STORE_TLS_CA_FILE"],
        value: "FILE",
        default: "",
        help: "Who may have signed the certificate of a Redis with TLS, in PEM; none: whom this machine trusts",
    },
    Setting {
        key: "store_tls_cert_file",
        env: &["TALLYGATE_STORE_TLS_CERT_FILE"],
        value: "FILE",
        default: "",
        help: "The certificate that we show a Redis with TLS, in PEM; only with store_tls_key_file",
    },
    Setting {
        key: "store_tls_key_file",
        env: &["TALLYGATE_STORE_TLS_KEY_FILE"],
        value: "FILE",
        default: "",
        help: "The key of that certificate, in PEM",
    },
    Setting {
        key: "store_deadline",
        env: &["TALLYGATE_STORE_DEADLINE"],
        value: "DURATION",
        default: "10ms",
        help: "How long a decision waits for Redis, from 1ms to 1s; then its rules' on_store_error decides",
    },
    Setting {
        key: "replicas",
        env: &["TALLYGATE_REPLICAS"],
        value: "NUMBER",
        default: "1",
        help: "How many processes share the Redis: while it is away, each counts its part of a limit (on_store_error)",
    },
    Setting {
        key: "state",
        env: &["TALLYGATE_STATE"],
        value: "DIR",
        default: "",
        help: "What outlives the process: counters, the last good rules; default: state/ beside the settings file",
    },
    Setting {
        key: "snapshot",
        env: &["TALLYGATE_SNAPSHOT"],
        value: "WHERE",
        default: "state",
        help: "Where counters are kept every second, to go on after a restart: state (in `state`), or none",
    },
    Setting {
        key: "count_denied",
        env: &["TALLYGATE_COUNT_DENIED"],
        value: "BOOL",
        default: "false",
        help: "Charge refused requests too, as envoyproxy/ratelimit does; the default of every domain",
    },
    Setting {
        key: "max_counters",
        env: &["TALLYGATE_MAX_COUNTERS"],
        value: "NUMBER",
        default: "auto",
        help: "Counters held in memory at most, 50 bytes each; auto: a quarter of the memory this process may use",
    },
    Setting {
        key: "cores",
        env: &["TALLYGATE_CORES"],
        value: "NUMBER",
        default: "0",
        help: "Cores that serve gRPC, one runtime each; 0: all this process may use",
    },
    Setting {
        key: "drain_delay",
        env: &["TALLYGATE_DRAIN_DELAY"],
        value: "DURATION",
        default: "5s",
        help: "On SIGTERM: serve on for so long after telling health checks that we leave",
    },
    Setting {
        key: "drain_deadline",
        env: &["TALLYGATE_DRAIN_DEADLINE"],
        value: "DURATION",
        default: "25s",
        help: "On SIGTERM: be gone after so long, whatever is still open",
    },
    Setting {
        key: "log_level",
        env: &["LOG_LEVEL", "RUST_LOG"],
        value: "LEVEL",
        default: "info",
        help: "error, warn, info, debug or trace; or a filter such as info,tallygate::reload=debug",
    },
    Setting {
        key: "log_format",
        env: &["TALLYGATE_LOG_FORMAT", "LOG_FORMAT"],
        value: "FORMAT",
        default: "auto",
        help: "text, json, or auto: text on a terminal, else text without colours",
    },
];
