//! What Envoys are told: each piece is put into a whole configuration, which a real Envoy reads.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    files::{document, documents, list, of_kind, root, text, word},
    kubernetes::{container, deployment, flag, seconds},
};

const HTTP_FILTERS: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
const VIRTUAL_HOST: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0";

fn plain() -> Value {
    document("deploy/envoy/envoy.yaml")
}

/// What Envoy has against it.
fn refusal(bootstrap: &Value) -> Option<String> {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let path = dir.path().join("envoy.json");
    fs::write(&path, bootstrap.to_string()).expect("the directory is ours");
    let said = Command::new(envoy()).args(["--mode", "validate", "--log-level", "error", "-c"]).arg(path).output();
    let said = said.expect("Envoy runs");
    (!said.status.success()).then(|| String::from_utf8_lossy(&said.stderr).into_owned())
}

fn envoy() -> PathBuf {
    let installed = || root().join("target/envoy/envoy-1.40.0");
    let envoy = env::var_os("TALLYGATE_TEST_ENVOY").map_or_else(installed, PathBuf::from);
    assert!(Path::new(&envoy).exists(), "there is no Envoy at {}: `make test` installs one", envoy.display());
    envoy
}

/// The plain configuration with another filter instead of its own, and no descriptors on its routes.
fn with_filter(filter: &Value) -> Value {
    let mut bootstrap = plain();
    bootstrap.pointer_mut(HTTP_FILTERS).expect("filters")[0] = filter.clone();
    let host = bootstrap.pointer_mut(VIRTUAL_HOST).expect("a virtual host");
    host["routes"][0]["route"].as_object_mut().expect("a route").remove("rate_limits").expect("there are some");
    bootstrap
}

/// The values of an `EnvoyFilter` by where they are put.
fn istio() -> (Value, Value) {
    let objects = documents("deploy/istio/tallygate.yaml");
    let patches = list(of_kind(&objects, "EnvoyFilter"), "/spec/configPatches");
    let of = |place: &str| {
        let patch = patches.iter().find(|patch| patch["applyTo"] == place);
        patch.unwrap_or_else(|| panic!("no patch of {place}"))["patch"]["value"].clone()
    };
    assert_eq!(patches.len(), 2, "each of them is tried");
    (of("HTTP_FILTER"), of("VIRTUAL_HOST"))
}

/// The values of an `EnvoyPatchPolicy` by the type of what they change.
fn envoy_gateway(kind: &str) -> Value {
    let policy = document("deploy/envoy-gateway/tallygate.yaml");
    let patches = list(&policy, "/spec/jsonPatches");
    assert_eq!(patches.len(), 2, "each of them is tried");
    let patch = patches.iter().find(|patch| word(patch, "/type").ends_with(kind));
    patch.unwrap_or_else(|| panic!("no patch of a {kind}"))["operation"]["value"].clone()
}

#[test]
fn envoy_takes_the_plain_configuration() {
    assert_eq!(refusal(&plain()), None);
}

#[test]
fn envoy_takes_what_istio_puts_into_it() {
    let (filter, host) = istio();
    let mut bootstrap = with_filter(&filter);
    let merged = bootstrap.pointer_mut(VIRTUAL_HOST).expect("a virtual host").as_object_mut().expect("an object");
    merged.extend(host.as_object().expect("an object").clone());
    // Istio makes the cluster from the Service, and this is its name for it.
    let object = documents("deploy/istio/tallygate.yaml");
    let cluster = format!("outbound|8081||{}", word(of_kind(&object, "DestinationRule"), "/spec/host"));
    for pointer in ["/static_resources/clusters/0/name", "/static_resources/clusters/0/load_assignment/cluster_name"] {
        *bootstrap.pointer_mut(pointer).expect("a cluster") = json!(cluster);
    }
    let asked = word(&filter, "/typed_config/rate_limit_service/grpc_service/envoy_grpc/cluster_name");
    assert_eq!(asked, cluster);
    assert_eq!(refusal(&bootstrap), None);
}

#[test]
fn envoy_takes_what_envoy_gateway_puts_into_it() {
    let mut bootstrap = with_filter(&envoy_gateway(".Listener"));
    let cluster = envoy_gateway(".Cluster");
    assert_eq!(cluster, plain()["static_resources"]["clusters"][0], "it is that of the plain configuration");
    bootstrap["static_resources"]["clusters"][0] = cluster;
    assert_eq!(refusal(&bootstrap), None);
}

#[test]
fn envoy_would_say_what_is_wrong() {
    let mut filter = istio().0;
    filter["typed_config"]["failure_mode_denied"] = json!(true);
    let said = refusal(&with_filter(&filter)).expect("there is no such field");
    assert!(said.contains("failure_mode_denied"), "{said}");
}

/// docs/restart.md: two checks that fail, and the second for which Envoy gathers what they find.
#[test]
fn envoy_notices_who_leaves_before_he_is_gone() {
    let checks = &plain()["static_resources"]["clusters"][0]["health_checks"][0];
    let times = checks["unhealthy_threshold"].as_u64().expect("a number");
    let noticed = seconds(word(checks, "/interval")) * times + 1;
    let silent = seconds(&flag(container(&deployment()), "--drain-delay"));
    assert!(noticed < silent, "noticed after {noticed} s, silent after {silent} s");
}

/// Which clients are told apart must be the same everywhere, and be what the rules that come with it know.
#[test]
fn all_ask_the_same_and_the_rules_know_it() {
    let route = format!("{VIRTUAL_HOST}/routes/0/route");
    let plain = plain();
    let asked = &plain.pointer(&route).expect("a route")["rate_limits"];
    let (istio, host) = istio();
    assert_eq!(host["rate_limits"], *asked, "Istio");
    let gateway = envoy_gateway(".Listener");
    assert_eq!(gateway["typed_config"]["rate_limits"], *asked, "Envoy Gateway");

    let contour = documents("deploy/contour/tallygate.yaml");
    let descriptors = list(of_kind(&contour, "HTTPProxy"), "/spec/virtualhost/rateLimitPolicy/global/descriptors");
    let header = word(&descriptors[0], "/entries/0/requestHeader/headerName");
    let key = word(&descriptors[0], "/entries/0/requestHeader/descriptorKey");
    assert_eq!(header, word(asked, "/0/actions/0/request_headers/header_name"));
    assert_eq!(key, word(asked, "/0/actions/0/request_headers/descriptor_key"));
    assert_eq!(descriptors[1]["entries"], json!([{"remoteAddress": {}}]));

    let rules = document("deploy/kubernetes/rules/shop.yaml");
    let known: Vec<&str> = list(&rules, "/descriptors").iter().map(|rule| word(rule, "/key")).collect();
    assert_eq!(known, [key, "remote_address"]);
    let settings = tallygate::config::unchecked::documents(word(of_kind(&contour, "ConfigMap"), "/data/contour.yaml"));
    let contour = &settings.expect("YAML")[0]["rateLimitService"];
    let plain_filter = plain.pointer(HTTP_FILTERS).expect("filters")[0].clone();
    for domain in [
        &istio["typed_config"]["domain"],
        &gateway["typed_config"]["domain"],
        &plain_filter["typed_config"]["domain"],
        &contour["domain"],
    ] {
        assert_eq!(*domain, rules["domain"]);
    }
}

/// A name or a port that Kubernetes does not know would be found out in a cluster only.
#[test]
fn the_services_that_they_ask_are_those_of_kubernetes() {
    let services = documents("deploy/kubernetes/service.yaml");
    let there = |name: &str, port: &Value| {
        let service = services.iter().find(|service| service["metadata"]["name"] == name);
        let service = service.unwrap_or_else(|| panic!("there is no service {name}"));
        assert!(list(service, "/spec/ports").iter().any(|of| of["port"] == *port), "{name}: {port}");
        service["spec"]["clusterIP"] == "None"
    };
    let plain = plain();
    let address =
        "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    let address = plain.pointer(address).expect("an address");
    let name = word(address, "/address").strip_suffix(".tallygate.svc.cluster.local").expect("of its namespace");
    assert!(there(name, &address["port_value"]), "DNS lists the pods of a headless service only");

    let istio = documents("deploy/istio/tallygate.yaml");
    let host = word(of_kind(&istio, "DestinationRule"), "/spec/host");
    let name = host.strip_suffix(".tallygate.svc.cluster.local").expect("of its namespace");
    assert!(!there(name, &json!(8081)), "Istio does not balance over a headless service");

    let contour = documents("deploy/contour/tallygate.yaml");
    let extension = of_kind(&contour, "ExtensionService");
    assert_eq!(extension["metadata"]["namespace"], "tallygate", "it stands where the service is");
    there(word(extension, "/spec/services/0/name"), &extension["spec"]["services"][0]["port"]);
    let asked = format!("{}/{}", word(extension, "/metadata/namespace"), word(extension, "/metadata/name"));
    assert!(text("deploy/contour/tallygate.yaml").contains(&format!("extensionService: {asked}\n")), "{asked}");
}
