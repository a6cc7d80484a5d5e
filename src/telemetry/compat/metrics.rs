//! The names of envoyproxy/ratelimit, in one table, as its own exporter for Prometheus has them: counters without `_total`.

use crate::telemetry::metrics::table;

table! {
    TOTAL_HITS = Counter "ratelimit_service_rate_limit_total_hits" ["domain", "key1", "key2"]
        "Hits that were asked of limits, whatever became of them.";
    WITHIN_LIMIT = Counter "ratelimit_service_rate_limit_within_limit" ["domain", "key1", "key2"]
        "Hits that limits let through.";
    NEAR_LIMIT = Counter "ratelimit_service_rate_limit_near_limit" ["domain", "key1", "key2"]
        "Hits below a limit that came after `near_limit_ratio` of it was used up.";
    OVER_LIMIT = Counter "ratelimit_service_rate_limit_over_limit" ["domain", "key1", "key2"]
        "Hits that were above a limit, or refused.";
    OVER_LIMIT_WITH_LOCAL_CACHE = Counter "ratelimit_service_rate_limit_over_limit_with_local_cache" ["domain", "key1", "key2"]
        "Those of them that were refused without asking Redis, which had refused the same within the last second.";
    SHADOW_MODE = Counter "ratelimit_service_rate_limit_shadow_mode" ["domain", "key1", "key2"]
        "Those of them that were above a limit in shadow mode, and let through all the same.";
    DOMAIN_NOT_FOUND = Counter "ratelimit_service_rate_limit_domain_not_found" []
        "Descriptors of domains that no rule file names.";
    TOTAL_REQUESTS = Counter "ratelimit_service_total_requests" ["grpc_method"]
        "Calls of ShouldRateLimit, failed ones too, and of gRPC's health Check.";
    RESPONSE_TIME = Histogram "ratelimit_service_response_time_seconds" ["grpc_method"]
        "Time from a whole message received to its answer written, in seconds; of ShouldRateLimit.";
    SHOULD_RATE_LIMIT_ERROR = Counter "ratelimit_service_should_rate_limit_error" ["err_type"]
        "Calls that failed (service_error), and those that were decided without Redis because it did not answer (redis_error).";
    GLOBAL_SHADOW_MODE = Counter "ratelimit_service_global_shadow_mode" []
        "Requests above a limit that were let through because everything is in shadow mode.";
    CONFIG_LOAD_SUCCESS = Counter "ratelimit_service_config_load_success" []
        "Rule sets that were loaded.";
    CONFIG_LOAD_ERROR = Counter "ratelimit_service_config_load_error" []
        "Rule sets that were refused.";
}
