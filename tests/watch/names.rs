//! The names of metrics in queries.

use std::collections::BTreeSet;

use tallygate::telemetry::{
    metrics::{self, Kind},
    process,
};

/// Fails the test where a query names a metric of ours that is not in the table.
pub fn assert_known(query: &str, whose: &str) {
    let known = known();
    let names = named(query);
    assert!(
        names.clone().next().is_some() || query.contains("ALERTS") || query.contains("up{"),
        "{whose} names no metric: {query}"
    );
    for name in names {
        assert!(known.contains(name), "{whose}: there is no metric {name}");
    }
}

/// As Prometheus stores them.
fn known() -> BTreeSet<String> {
    let series = metrics::ALL.iter().chain(process::ALL).flat_map(|metric| match metric.kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", metric.name)).to_vec(),
        Kind::Counter | Kind::Gauge | Kind::Info => vec![metric.name.to_owned()],
    });
    series.collect()
}

fn named(query: &str) -> impl Clone + Iterator<Item = &str> + use<'_> {
    let words = query.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric());
    words.filter(|word| word.starts_with("tallygate_") || word.starts_with("process_"))
}
