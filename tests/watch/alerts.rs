//! The alerts that are shipped: each says what to do, has its section in the manual, and is seen to fire.

use std::collections::BTreeSet;

use serde::Deserialize;
use tallygate::bounds;

use crate::{names::assert_known, read};

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

/// One alert, as it stands in the file.
#[derive(Deserialize)]
pub struct Alert {
    #[serde(rename = "alert")]
    name: String,
    expr: String,
    labels: Labels,
    annotations: Annotations,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Labels {
    severity: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotations {
    summary: String,
    description: String,
    runbook_url: String,
}

pub fn shipped_alerts() -> Vec<Alert> {
    let file: File = serde_yaml::from_str(&read("deploy/prometheus/alerts.yaml")).unwrap();
    file.groups.into_iter().flat_map(|group| group.rules).collect()
}

#[test]
fn every_alert_says_what_to_do_and_asks_for_metrics_that_there_are() {
    let alerts = shipped_alerts();
    assert!(alerts.len() > 30, "only {} alerts were found", alerts.len());
    for Alert { name: alert, expr, labels, annotations } in &alerts {
        assert!(["critical", "warning"].contains(&&*labels.severity), "{alert}: {}", labels.severity);
        assert!(!annotations.summary.ends_with('.'), "{alert}: a summary is a headline");
        assert!(annotations.description.ends_with('.'), "{alert}: a description is made of sentences");
        assert_eq!(annotations.runbook_url, format!("docs/operations.md#{}", alert.to_lowercase()), "{alert}");
        assert_known(expr, alert);
    }
}

#[test]
fn the_manual_has_a_section_for_every_alert_and_for_no_other() {
    let page = read("docs/operations.md");
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### Tallygate")).collect();
    let alerts = shipped_alerts();
    let alerts: Vec<&str> = alerts.iter().filter_map(|alert| alert.name.strip_prefix("Tallygate")).collect();
    assert_eq!(sections, alerts, "in the order of the file");
}

#[test]
fn every_alert_has_a_test_that_sees_it_fire() {
    let tests = read("deploy/prometheus/alerts_test.yaml");
    let fired: BTreeSet<&str> = tests.split("alertname=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let alerts = shipped_alerts();
    assert_eq!(fired, alerts.iter().map(|alert| alert.name.as_str()).collect());
}

#[test]
fn bounds_of_the_service_stand_in_alerts_as_they_are() {
    let near_limit = shipped_alerts().into_iter().find(|alert| alert.name == "TallygateConnectionsNearLimit").unwrap();
    assert_eq!(near_limit.expr, format!("tallygate_connections > 0.8 * {}", bounds::CONNECTIONS_MAX));
}
