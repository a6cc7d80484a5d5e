//! The chart, as far as it can be read without Helm: `make deploy-check` renders it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    files::{below, document, is_flag, list, text},
    kubernetes::{container, deployment, flag, flags},
};

fn values() -> Value {
    document("deploy/helm/tallygate/values.yaml")
}

fn schema() -> Value {
    serde_json::from_str(&text("deploy/helm/tallygate/values.schema.json")).expect("JSON")
}

#[test]
fn its_defaults_are_those_of_the_plain_manifests() {
    let (values, plain) = (values(), deployment());
    let container = container(&plain);
    let pod = "/spec/template/spec";
    let network = document("deploy/kubernetes/network.yaml");
    let scaler = document("deploy/kubernetes/optional/autoscaler.yaml");
    let monitor = document("deploy/kubernetes/optional/servicemonitor.yaml");
    for (value, object, pointer) in [
        ("/replicaCount", &plain, "/spec/replicas".to_owned()),
        ("/terminationGracePeriodSeconds", &plain, format!("{pod}/terminationGracePeriodSeconds")),
        ("/resources", container, "/resources".to_owned()),
        ("/ports/grpc", container, "/ports/0/containerPort".to_owned()),
        ("/ports/http", container, "/ports/1/containerPort".to_owned()),
        ("/ports/metrics", container, "/ports/2/containerPort".to_owned()),
        ("/store/secret", container, "/env/0/valueFrom/secretKeyRef/name".to_owned()),
        ("/store/secret", &plain, format!("{pod}/volumes/1/secret/secretName")),
        ("/state/sizeLimit", &plain, format!("{pod}/volumes/2/emptyDir/sizeLimit")),
        ("/networkPolicy/clients", &network, "/spec/ingress/0/from/0/namespaceSelector/matchLabels".to_owned()),
        ("/networkPolicy/monitoring", &network, "/spec/ingress/1/from/0/namespaceSelector/matchLabels".to_owned()),
        ("/networkPolicy/storePorts/0", &network, "/spec/egress/1/ports/0/port".to_owned()),
        ("/autoscaler/minReplicas", &scaler, "/spec/minReplicas".to_owned()),
        ("/autoscaler/maxReplicas", &scaler, "/spec/maxReplicas".to_owned()),
        ("/autoscaler/cpuUtilization", &scaler, "/spec/metrics/0/resource/target/averageUtilization".to_owned()),
        ("/serviceMonitor/interval", &monitor, "/spec/endpoints/0/interval".to_owned()),
    ] {
        let plain = object.pointer(&pointer).unwrap_or_else(|| panic!("nothing at {pointer}"));
        assert_eq!(values.pointer(value), Some(plain), "{value} and {pointer}");
    }
    for (key, value) in values["settings"].as_object().expect("settings") {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(flag(container, &format!("--{}", key.replace('_', "-"))), value, "{key}");
    }
    let rules = values["rules"]["shop.yaml"].as_str().expect("a rule file");
    let rules = tallygate::config::unchecked::documents(rules).expect("YAML");
    assert_eq!(rules, [document("deploy/kubernetes/rules/shop.yaml")]);
}

#[test]
fn its_flags_are_those_of_the_plain_manifests() {
    let template = text("deploy/helm/tallygate/templates/deployment.yaml");
    let written = template.lines().filter_map(|line| line.trim().strip_prefix("- --"));
    let written: BTreeSet<String> = written.map(|rest| format!("--{}", rest.split('=').next().unwrap_or(""))).collect();
    for flag in &written {
        assert!(is_flag(flag), "{flag}");
    }
    // The others are the settings of the values.
    let values = values();
    let settings = values["settings"].as_object().expect("settings");
    let settings: BTreeSet<String> = settings.keys().map(|key| format!("--{}", key.replace('_', "-"))).collect();
    for (flag, _) in flags(container(&deployment())) {
        assert!(written.contains(&flag) != settings.contains(&flag), "{flag} is said once");
    }

    // What the template says itself may not be said by values as well, and the schema refuses it.
    let refused = schema();
    let refused = list(&refused, "/properties/settings/propertyNames/not/enum");
    for flag in &written {
        let key = flag.trim_start_matches("--").replace('-', "_");
        assert!(key == "snapshot" || refused.contains(&json!(key)), "values.schema.json lets settings.{key} through");
    }
}

#[test]
fn every_value_is_used_and_every_value_that_is_used_is_there() {
    let mut templates = String::new();
    for path in below("deploy/helm/tallygate/templates") {
        templates.push_str(&text(&path));
    }
    let values = values();
    for used in templates.split(".Values.").skip(1) {
        let path = used.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.').next().expect("a path");
        let pointer = format!("/{}", path.trim_end_matches('.').replace('.', "/"));
        assert!(values.pointer(&pointer).is_some(), ".Values.{path} is not in values.yaml");
    }
    for (name, value) in values.as_object().expect("values") {
        assert!(templates.contains(&format!(".Values.{name}")), "{name} is not used");
        // Whose keys are the user's own are handed on whole.
        if ["rules", "settings", "resources"].contains(&&**name) {
            continue;
        }
        for key in value.as_object().into_iter().flat_map(serde_json::Map::keys) {
            assert!(templates.contains(&format!(".{key}")), "{name}.{key} is not used");
        }
    }
}

#[test]
fn its_schema_knows_every_value() {
    let (schema, values) = (schema(), values());
    let same = |schema: &Value, values: &Value, of: &str| {
        assert_eq!(schema["additionalProperties"], false, "{of}: what is misspelt is refused");
        let known = schema["properties"].as_object().expect("properties").keys();
        // `global` is Helm's own.
        let known: BTreeSet<&String> = known.filter(|key| *key != "global").collect();
        assert_eq!(known, values.as_object().expect("values").keys().collect(), "{of}");
    };
    same(&schema, &values, "values");
    for (name, of) in schema["properties"].as_object().expect("properties") {
        if of["properties"].is_object() {
            same(of, &values[name], name);
        }
    }
}

#[test]
fn it_installs_this_version() {
    assert_eq!(document("deploy/helm/tallygate/Chart.yaml")["appVersion"], env!("CARGO_PKG_VERSION"));
}
