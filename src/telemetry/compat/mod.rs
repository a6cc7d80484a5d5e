//! The metrics of envoyproxy/ratelimit beside ours, by its names, for the dashboards and alerts that are there already. None
//! of them is there unless `compat_metrics` asks for it.
//!
//! | what | file |
//! |---|---|
//! | every name | [`metrics`] |
//! | hits and what became of them, by rule | `charges` |
//! | what is over, near and within a limit | `added` |
//! | what the labels say | [`label`] |
//! | series that show values of requests, bounded | `series` |
//!
//! Where that service is different: `docs/metrics.md` says so, each with its reason.

mod added;
mod charges;
pub mod label;
pub mod metrics;
mod series;

#[cfg(test)]
mod tests;

use ::metrics::Counter;

pub use self::charges::{Charged, Charges};
use self::{
    added::NearLimit,
    charges::NUMBERS,
    label::Part,
    metrics::{
        CONFIG_LOAD_ERROR, CONFIG_LOAD_SUCCESS, DOMAIN_NOT_FOUND, GLOBAL_SHADOW_MODE, SHOULD_RATE_LIMIT_ERROR,
        TOTAL_REQUESTS,
    },
    series::Series,
};
use super::{
    Telemetry,
    cells::Cells,
    latency::Latency,
    metrics::{COMPAT_SERIES, COMPAT_UNPLACED},
};
use crate::{bounds::COMPAT_SERIES_MAX, units::Nanos};

/// What is counted of a process, whatever its rules are.
#[derive(Debug)]
pub struct Compat {
    near_limit: NearLimit,
    series: Series,
    /// [`NUMBERS`] of each place of `series`; behind them how often there was no place.
    cells: Cells,
    response_time: Latency,
    requests: Counter,
    /// Calls of gRPC's health service.
    pub(super) health_checks: Counter,
    service_errors: Counter,
    redis_errors: Counter,
    domain_not_found: Counter,
    pub(super) loaded: Counter,
    pub(super) load_failed: Counter,
    shadowed: Counter,
}

/// Where it is counted that there was no place.
const UNPLACED: usize = COMPAT_SERIES_MAX * NUMBERS;

impl Compat {
    /// Hits are near a limit from this part of it on, from 0 to 1.
    pub(super) fn new(telemetry: &Telemetry, near_limit_ratio: f32) -> Self {
        let requests = |method| telemetry.counter(&TOTAL_REQUESTS, &[("grpc_method", method)]);
        let errors = |kind| telemetry.counter(&SHOULD_RATE_LIMIT_ERROR, &[("err_type", kind)]);
        Self {
            near_limit: NearLimit { ratio: near_limit_ratio },
            series: Series::new(),
            cells: Cells::new(telemetry.cores(), UNPLACED + 1),
            response_time: Latency::of_compat_calls(telemetry.cores()),
            requests: requests("ShouldRateLimit"),
            health_checks: requests("Check"),
            service_errors: errors("service_error"),
            redis_errors: errors("redis_error"),
            domain_not_found: telemetry.counter(&DOMAIN_NOT_FOUND, &[]),
            loaded: telemetry.counter(&CONFIG_LOAD_SUCCESS, &[]),
            load_failed: telemetry.counter(&CONFIG_LOAD_ERROR, &[]),
            shadowed: telemetry.counter(&GLOBAL_SHADOW_MODE, &[]),
        }
    }

    /// A call was made on `core` and took so long, until it was answered or failed.
    pub fn called(&self, core: usize, took: Nanos, failed: bool) {
        self.response_time.record(core, took);
        if failed {
            self.service_errors.increment(1);
        }
    }

    /// The place of the series with these labels; None where there is none left, which is counted.
    fn place(&self, core: usize, domain: &str, parts: &[Part<'_>]) -> Option<usize> {
        let place = self.series.place(domain, parts);
        if place.is_none() {
            self.cells.add(core, UNPLACED, 1);
        }
        place
    }

    /// Brings the series up to what was counted; to be done before anybody reads them.
    pub(super) fn tell(&self, telemetry: &Telemetry) {
        for (place, labels) in self.series.iter() {
            charges::tell(telemetry, &self.cells, place, || labels.clone());
        }
        let unplaced = self.cells.take(UNPLACED).unwrap_or(0);
        telemetry.counter(&COMPAT_UNPLACED, &[]).increment(unplaced);
        telemetry.gauge(&COMPAT_SERIES, &[]).set(self.series.taken() as f64);
        self.requests.absolute(self.response_time.count());
    }

    pub(super) fn response_time(&self) -> &Latency {
        &self.response_time
    }
}
