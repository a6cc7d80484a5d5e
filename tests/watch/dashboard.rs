//! The dashboard that is shipped: its panels, and what each asks of Prometheus.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{names::assert_known, read};

/// What one line of a panel asks.
#[derive(Debug)]
pub struct Query {
    #[allow(dead_code, reason = "shown where the query has no answer")]
    panel: String,
    text: String,
}

impl Query {
    /// As Grafana would send it, with everything chosen.
    pub fn expression(&self) -> String {
        let mut expression = self.text.clone();
        for (variable, value) in [
            ("$__rate_interval", "10s"),
            ("$__range", "1m"),
            ("$job", ".*"),
            ("$instance", ".*"),
            ("$domain", ".*"),
            ("$rule", ".*"),
        ] {
            expression = expression.replace(variable, value);
        }
        assert!(!expression.contains('$'), "a variable that nobody knows: {expression}");
        expression
    }
}

fn shipped_dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/tallygate.json")).unwrap()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

/// Of all panels.
pub fn queries() -> Vec<Query> {
    let dashboard = shipped_dashboard();
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let query =
            move |target: Value| Query { panel: title.clone(), text: target["expr"].as_str().unwrap().to_owned() };
        targets.into_iter().map(query)
    };
    panels(&dashboard).iter().flat_map(of_panel).collect()
}

#[test]
fn queries_ask_for_metrics_that_there_are() {
    for query in queries() {
        assert_known(&query.text, &query.panel);
    }
    let dashboard = shipped_dashboard();
    assert_known(dashboard["annotations"]["list"][0]["expr"].as_str().unwrap(), "the annotation");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            assert_known(variable["definition"].as_str().unwrap(), "a variable");
            assert_eq!(variable["definition"], variable["query"]["query"]);
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_of_the_source_that_was_chosen() {
    let dashboard = shipped_dashboard();
    for panel in panels(&dashboard).iter().filter(|panel| panel["type"] != "row") {
        let title = &panel["title"];
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}: description");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}: unit");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().unwrap();
        let letters: BTreeSet<&str> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(letters.len(), targets.len(), "{title}: refId");
    }
}

#[test]
fn no_two_panels_have_one_number_or_one_place() {
    let dashboard = shipped_dashboard();
    let (mut numbers, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = &panel["title"];
        assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{title}: id");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{title} is wider than the page");
        for place in (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))) {
            assert!(places.insert(place), "{title} lies upon another at {place:?}");
        }
    }
}
