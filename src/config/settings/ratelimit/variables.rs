//! Every variable that envoyproxy/ratelimit reads, in one table: the manual lists them from here.

/// A variable of its environment.
#[derive(Debug)]
pub struct Variable {
    pub name: &'static str,
    pub meaning: Meaning,
}

/// What a variable comes to.
#[derive(Debug)]
pub enum Meaning {
    /// A setting of ours, alone or with others.
    Setting(&'static str),
    /// It is so here whatever it says, or all that matters of it; nobody needs to know.
    AsItIs(&'static str),
    /// Not carried out, which harms nobody: told once at the start.
    WithoutEffect(&'static str),
    /// Stops the start where it asks for what we do not do.
    Stops(&'static str),
}

use Meaning::{AsItIs, Setting, Stops, WithoutEffect};

const fn variable(name: &'static str, meaning: Meaning) -> Variable {
    Variable { name, meaning }
}

/// The row of a variable.
pub(super) fn of(name: &str) -> Option<&'static Variable> {
    ALL.iter().find(|variable| variable.name == name)
}

const NO_STATSD: &str = "metrics are scraped by Prometheus, and sent to nobody";
const NO_POOL: &str = "there is one connection to Redis for each core, and calls share it";
const ONE_REDIS: &str = "limits of a second are counted where the others are";
const NO_MEMCACHED: &str = "there is no memcached here";
const NO_XDS: &str = "rules come from files only";
const NO_WAIT: &str = "the start does not wait for Redis: while it is away, each rule's `on_store_error` decides";

/// The table, in the order of that service's own settings.
pub const ALL: &[Variable] = &[
    variable("HOST", Setting("http")),
    variable("PORT", Setting("http")),
    variable("DEBUG_HOST", Setting("debug")),
    variable("DEBUG_PORT", Setting("debug")),
    variable("GRPC_HOST", Setting("grpc")),
    variable("GRPC_PORT", Setting("grpc")),
    variable("GRPC_UDS", Setting("grpc")),
    variable("GRPC_MAX_CONNECTION_AGE", Setting("max_connection_age")),
    variable("GRPC_MAX_CONNECTION_AGE_GRACE", Setting("max_connection_age_grace")),
    variable("GRPC_SERVER_USE_TLS", Setting("grpc_tls_cert_file")),
    variable("GRPC_SERVER_TLS_CERT", Setting("grpc_tls_cert_file")),
    variable("GRPC_SERVER_TLS_KEY", Setting("grpc_tls_key_file")),
    variable("GRPC_CLIENT_TLS_CACERT", Setting("grpc_tls_client_ca_file")),
    variable("GRPC_CLIENT_TLS_SAN", Setting("grpc_tls_client_san")),
    variable(
        "GRPC_SERVER_TLS_CA_CERT",
        WithoutEffect("envoyproxy/ratelimit reads GRPC_CLIENT_TLS_CACERT, and so do we: clients need no certificate"),
    ),
    variable("LOG_LEVEL", Setting("log_level")),
    variable("LOG_FORMAT", Setting("log_format")),
    variable("CONFIG_TYPE", Stops("anything but FILE: rules come from files only")),
    variable("FORCE_START_WITHOUT_INITIAL_CONFIG", Setting("ready_without_rules")),
    variable("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED", Setting("ready_without_rules")),
    variable("MERGE_DOMAIN_CONFIG", Setting("merge_domains")),
    variable("RUNTIME_ROOT", Setting("rules")),
    variable("RUNTIME_SUBDIRECTORY", Setting("rules")),
    variable("RUNTIME_APPDIRECTORY", Setting("rules")),
    variable("RUNTIME_IGNOREDOTFILES", Setting("rule_files")),
    variable("RUNTIME_WATCH_ROOT", AsItIs("every way of changing a file is seen, that of links too")),
    variable("CONFIG_GRPC_XDS_NODE_ID", WithoutEffect(NO_XDS)),
    variable("CONFIG_GRPC_XDS_NODE_METADATA", WithoutEffect(NO_XDS)),
    variable("CONFIG_GRPC_XDS_SERVER_URL", WithoutEffect(NO_XDS)),
    variable("CONFIG_GRPC_XDS_SERVER_CONNECT_RETRY_INTERVAL", WithoutEffect(NO_XDS)),
    variable("CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS", WithoutEffect(NO_XDS)),
    variable("CONFIG_GRPC_XDS_SERVER_USE_TLS", WithoutEffect(NO_XDS)),
    variable("CONFIG_GRPC_XDS_CLIENT_TLS_CERT", WithoutEffect(NO_XDS)),
    variable("CONFIG_GRPC_XDS_CLIENT_TLS_KEY", WithoutEffect(NO_XDS)),
    variable("CONFIG_GRPC_XDS_SERVER_TLS_CACERT", WithoutEffect(NO_XDS)),
    variable("CONFIG_GRPC_XDS_SERVER_TLS_SAN", WithoutEffect(NO_XDS)),
    variable("XDS_CLIENT_BACKOFF_INITIAL_INTERVAL", WithoutEffect(NO_XDS)),
    variable("XDS_CLIENT_BACKOFF_MAX_INTERVAL", WithoutEffect(NO_XDS)),
    variable("XDS_CLIENT_BACKOFF_RANDOM_FACTOR", WithoutEffect(NO_XDS)),
    variable("XDS_CLIENT_BACKOFF_JITTER", WithoutEffect(NO_XDS)),
    variable("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES", WithoutEffect(NO_XDS)),
    variable("DISABLE_STATS", WithoutEffect("metrics cost next to nothing, and are always there to be scraped")),
    variable("USE_STATSD", WithoutEffect(NO_STATSD)),
    variable("STATSD_HOST", WithoutEffect(NO_STATSD)),
    variable("STATSD_PORT", WithoutEffect(NO_STATSD)),
    variable("STATSD_PROTOCOL", WithoutEffect(NO_STATSD)),
    variable("USE_DOG_STATSD", WithoutEffect(NO_STATSD)),
    variable("USE_DOG_STATSD_MOGRIFIERS", WithoutEffect(NO_STATSD)),
    variable("STATS_FLUSH_INTERVAL", WithoutEffect(NO_STATSD)),
    variable("EXTRA_TAGS", WithoutEffect("labels that say where a process runs are given where it is scraped")),
    variable("USE_PROMETHEUS", Setting("compat_metrics")),
    variable("PROMETHEUS_ADDR", Setting("metrics")),
    variable("PROMETHEUS_PATH", Setting("metrics_path")),
    variable("PROMETHEUS_MAPPER_YAML", WithoutEffect("its metrics have the names of its default mapping")),
    variable("PROMETHEUS_RESPONSE_TIME_AS_MILLISECONDS", WithoutEffect("what is named seconds is in seconds")),
    variable("BACKEND_TYPE", Setting("store")),
    variable("CACHE_KEY_PREFIX", Setting("store_key_prefix")),
    variable("NEAR_LIMIT_RATIO", Setting("near_limit_ratio")),
    variable("EXPIRATION_JITTER_MAX_SECONDS", WithoutEffect("a counter expires with its window")),
    variable(
        "LOCAL_CACHE_SIZE_IN_BYTES",
        WithoutEffect("refusals are always repeated without a call, from bounded memory"),
    ),
    variable("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT", Setting("count_denied")),
    variable("SHADOW_MODE", Setting("shadow_mode")),
    variable("QUOTA_MODE", Setting("quota_mode")),
    variable("RESPONSE_DYNAMIC_METADATA", Setting("request_metadata")),
    variable("LIMIT_RESPONSE_HEADERS_ENABLED", Setting("headers")),
    variable("LIMIT_LIMIT_HEADER", Setting("limit_header")),
    variable("LIMIT_REMAINING_HEADER", Setting("remaining_header")),
    variable("LIMIT_RESET_HEADER", Setting("reset_header")),
    variable(
        "REDIS_HEALTH_CHECK_ACTIVE_CONNECTION",
        WithoutEffect("a replica without Redis goes on deciding, so it stays healthy"),
    ),
    variable("REDIS_URL", Setting("store")),
    variable("REDIS_SOCKET_TYPE", AsItIs("REDIS_URL itself says whether it is a path")),
    variable("REDIS_TYPE", Setting("store")),
    variable("REDIS_AUTH", Setting("store")),
    variable("REDIS_SENTINEL_AUTH", Stops("sentinels are asked without a password")),
    variable("REDIS_TLS", Setting("store")),
    variable("REDIS_TLS_CACERT", Setting("store_tls_ca_file")),
    variable("REDIS_TLS_CLIENT_CERT", Setting("store_tls_cert_file")),
    variable("REDIS_TLS_CLIENT_KEY", Setting("store_tls_key_file")),
    variable("REDIS_TLS_SKIP_HOSTNAME_VERIFICATION", Stops("who answers is always verified")),
    variable("REDIS_TIMEOUT", WithoutEffect("a call has `store_deadline`, 10ms if nobody says otherwise")),
    variable("REDIS_POOL_SIZE", WithoutEffect(NO_POOL)),
    variable("REDIS_POOL_ON_EMPTY_BEHAVIOR", WithoutEffect(NO_POOL)),
    variable("REDIS_PIPELINE_WINDOW", WithoutEffect(NO_POOL)),
    variable("REDIS_PIPELINE_LIMIT", WithoutEffect(NO_POOL)),
    variable("REDIS_CLUSTER_PIPELINE_PARALLELISM", WithoutEffect(NO_POOL)),
    variable("REDIS_PERSECOND", WithoutEffect(ONE_REDIS)),
    variable("REDIS_PERSECOND_SOCKET_TYPE", WithoutEffect(ONE_REDIS)),
    variable("REDIS_PERSECOND_TYPE", WithoutEffect(ONE_REDIS)),
    variable("REDIS_PERSECOND_URL", WithoutEffect(ONE_REDIS)),
    variable("REDIS_PERSECOND_POOL_SIZE", WithoutEffect(ONE_REDIS)),
    variable("REDIS_PERSECOND_AUTH", WithoutEffect(ONE_REDIS)),
    variable("REDIS_PERSECOND_TLS", WithoutEffect(ONE_REDIS)),
    variable("REDIS_PERSECOND_SENTINEL_AUTH", WithoutEffect(ONE_REDIS)),
    variable("REDIS_PERSECOND_PIPELINE_WINDOW", WithoutEffect(ONE_REDIS)),
    variable("REDIS_PERSECOND_PIPELINE_LIMIT", WithoutEffect(ONE_REDIS)),
    variable("REDIS_PERSECOND_TIMEOUT", WithoutEffect(ONE_REDIS)),
    variable("REDIS_PERSECOND_POOL_ON_EMPTY_BEHAVIOR", WithoutEffect(ONE_REDIS)),
    variable("REDIS_PERSECOND_CLUSTER_PIPELINE_PARALLELISM", WithoutEffect(ONE_REDIS)),
    variable("REDIS_STARTUP_INITIAL_INTERVAL", WithoutEffect(NO_WAIT)),
    variable("REDIS_STARTUP_MAX_INTERVAL", WithoutEffect(NO_WAIT)),
    variable("REDIS_STARTUP_MAX_ELAPSED_TIME", WithoutEffect(NO_WAIT)),
    variable("MEMCACHE_HOST_PORT", WithoutEffect(NO_MEMCACHED)),
    variable("MEMCACHE_SRV", WithoutEffect(NO_MEMCACHED)),
    variable("MEMCACHE_SRV_REFRESH", WithoutEffect(NO_MEMCACHED)),
    variable("MEMCACHE_MAX_IDLE_CONNS", WithoutEffect(NO_MEMCACHED)),
    variable("MEMCACHE_TLS", WithoutEffect(NO_MEMCACHED)),
    variable("MEMCACHE_TLS_CLIENT_CERT", WithoutEffect(NO_MEMCACHED)),
    variable("MEMCACHE_TLS_CLIENT_KEY", WithoutEffect(NO_MEMCACHED)),
    variable("MEMCACHE_TLS_CACERT", WithoutEffect(NO_MEMCACHED)),
    variable("MEMCACHE_TLS_SKIP_HOSTNAME_VERIFICATION", WithoutEffect(NO_MEMCACHED)),
    variable("TRACING_ENABLED", Setting("trace_endpoint")),
    variable("TRACING_SERVICE_NAME", Setting("trace_service_name")),
    variable("TRACING_SERVICE_NAMESPACE", Setting("trace_service_namespace")),
    variable("TRACING_SERVICE_INSTANCE_ID", Setting("trace_service_instance")),
    variable("TRACING_EXPORTER_PROTOCOL", Setting("trace_protocol")),
    variable("TRACING_SAMPLING_RATE", Setting("trace_ratio")),
    variable("OTEL_EXPORTER_OTLP_ENDPOINT", Setting("trace_endpoint")),
];
