//! The plain manifests: what they say to the program, and what they say to each other.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};
use tallygate::config::settings;

use crate::{
    client::get,
    files::{below, document, documents, is_flag, list, root, text, word},
    process::{Process, free_ports},
};

/// What a last snapshot may take after the deadline (docs/restart.md).
const LAST_SNAPSHOT_SECS: u64 = 4;

pub fn deployment() -> Value {
    document("deploy/kubernetes/deployment.yaml")
}

pub fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// The flags of a container with their values.
pub fn flags(container: &Value) -> Vec<(String, String)> {
    let split = |argument: &Value| {
        let (flag, value) = argument.as_str().expect("a text").split_once('=').expect("--flag=value");
        (flag.to_owned(), value.to_owned())
    };
    list(container, "/args").iter().map(split).collect()
}

/// What a flag of a container says.
pub fn flag(container: &Value, name: &str) -> String {
    let found = flags(container).into_iter().find(|(flag, _)| flag == name);
    found.unwrap_or_else(|| panic!("{name} is not said")).1
}

/// A duration in seconds, as these files write it.
pub fn seconds(duration: &str) -> u64 {
    duration.strip_suffix('s').and_then(|digits| digits.parse().ok()).expect("a number of seconds")
}

/// The program with the flags of the manifest, in `dir` instead of the pod's directories.
struct Pod<'a> {
    dir: &'a Path,
    /// gRPC, HTTP, metrics, admin.
    ports: [u16; 4],
}

impl Pod<'_> {
    fn command(&self) -> Command {
        for (path, content) in [("etc/rules/shop.yaml", None), ("etc/store/password", Some("secret"))] {
            let path = self.dir.join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("the directory is ours");
            let content = content.map_or_else(|| text("deploy/kubernetes/rules/shop.yaml"), str::to_owned);
            fs::write(path, content).expect("the directory is ours");
        }
        fs::create_dir_all(self.dir.join("state")).expect("the directory is ours");
        let here = |path: &str| self.dir.join(path).display().to_string();
        let deployment = deployment();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tallygate"));
        // Nobody is there: it serves without.
        command.env_clear().env("TALLYGATE_STORE", "redis://127.0.0.1:1").current_dir(self.dir);
        for (flag, value) in flags(container(&deployment)) {
            let mut value = value.replace("/etc/tallygate", &here("etc")).replace("/var/lib/tallygate", &here("state"));
            for (name, port) in ["--grpc", "--http", "--metrics"].iter().zip(self.ports) {
                if flag == *name {
                    value = format!("127.0.0.1:{port}");
                }
            }
            command.arg(format!("{flag}={value}"));
        }
        command.arg(format!("--admin=127.0.0.1:{}", self.ports[3]));
        command
    }
}

#[test]
fn the_container_starts_and_answers_where_its_probes_and_prometheus_ask() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let pod = Pod { dir: dir.path(), ports: free_ports() };
    let mut service = Process::start("tallygate", dir.path(), &mut pod.command());
    let [_, http, metrics, _] = pod.ports;
    service.wait_until(|| get("/readyz").try_send(http).is_ok_and(|answer| answer.status == 200));

    let deployment = deployment();
    let container = container(&deployment);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(word(container, &format!("/{probe}/httpGet/port")), "http");
        let path = word(container, &format!("/{probe}/httpGet/path"));
        assert_eq!(get(path).send(http).status, 200, "{probe}: {path}");
    }
    // Bad rules are no reason to be killed, which mends none.
    assert_eq!(word(container, "/livenessProbe/httpGet/path"), "/livez");
    assert_eq!(word(container, "/startupProbe/httpGet/path"), "/livez");

    let monitor = document("deploy/kubernetes/optional/servicemonitor.yaml");
    let path = word(&monitor, "/spec/endpoints/0/path");
    assert!(get(path).send(metrics).text().contains("tallygate_config_info"), "{path}");
    assert_eq!(get("/json").send(metrics).status, 404, "who reads metrics cannot count");
}

#[test]
fn flags_and_variables_are_those_of_the_settings() {
    let deployment = deployment();
    let container = container(&deployment);
    for (flag, _) in flags(container) {
        assert!(is_flag(&flag), "{flag}");
    }
    for variable in list(container, "/env") {
        let name = word(variable, "/name");
        assert!(settings::ALL.iter().any(|setting| setting.env.contains(&name)), "{name}");
        assert!(variable.get("value").is_none(), "{name} comes from a Secret");
    }
    // The admin API is never told to leave loopback, and no password stands where many read it.
    for (flag, _) in flags(container) {
        assert!(!["--admin", "--debug", "--store"].contains(&&*flag), "{flag}");
    }
    assert!(!text("deploy/kubernetes/deployment.yaml").contains("subPath:"), "its files would never change");
}

#[test]
fn ports_are_those_that_it_listens_on() {
    let deployment = deployment();
    let container = container(&deployment);
    for port in list(container, "/ports") {
        let listens = flag(container, &format!("--{}", word(port, "/name")));
        assert_eq!(listens, format!("0.0.0.0:{}", port["containerPort"]));
    }
    let names: BTreeSet<&str> = list(container, "/ports").iter().map(|port| word(port, "/name")).collect();
    let known = |port: &Value, of: &str| assert!(names.contains(port.as_str().expect("a name")), "{of}: {port}");
    for service in documents("deploy/kubernetes/service.yaml") {
        for port in list(&service, "/spec/ports") {
            known(&port["targetPort"], word(&service, "/metadata/name"));
            let same = list(container, "/ports").iter().find(|of| of["name"] == port["targetPort"]);
            assert_eq!(port["port"], same.expect("known")["containerPort"]);
            if port["targetPort"] == "grpc" {
                assert_eq!(port["appProtocol"], "kubernetes.io/h2c", "or it is taken for HTTP/1");
            }
        }
    }
    let network = document("deploy/kubernetes/network.yaml");
    for rule in list(&network, "/spec/ingress") {
        for port in list(rule, "/ports") {
            known(&port["port"], "network.yaml");
        }
    }
    let monitored = document("deploy/kubernetes/optional/servicemonitor.yaml");
    let port = &monitored["spec"]["endpoints"][0]["port"];
    let with_it = |service: &&Value| list(service, "/spec/ports").iter().any(|of| of["name"] == *port);
    let services = documents("deploy/kubernetes/service.yaml");
    assert_eq!(services.iter().filter(with_it).count(), 1, "each pod is scraped once");
}

#[test]
fn a_pod_has_the_time_to_leave_that_it_needs() {
    let deployment = deployment();
    let pod = &deployment["spec"]["template"]["spec"];
    let container = container(&deployment);
    let drain = seconds(&flag(container, "--drain-deadline")) + LAST_SNAPSHOT_SECS;
    let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
    assert!(grace > drain, "killed after {grace} s, gone after {drain} s");

    // Health checks must fail twice while it still answers: Envoy's, and those of Kubernetes.
    let delay = seconds(&flag(container, "--drain-delay"));
    let probe = &container["readinessProbe"];
    let noticed = |times: &str, every: &str| probe[times].as_u64().zip(probe[every].as_u64()).expect("numbers");
    let (times, every) = noticed("failureThreshold", "periodSeconds");
    assert!(delay > times * every, "unready after {} s, silent after {delay} s", times * every);
}

#[test]
fn it_may_do_nothing_that_it_need_not_do() {
    let deployment = deployment();
    let pod = &deployment["spec"]["template"]["spec"];
    let dockerfile = text("deploy/Dockerfile");
    for (of, pointer, expected) in [
        (pod, "/automountServiceAccountToken", json!(false)),
        (pod, "/enableServiceLinks", json!(false)),
        (pod, "/securityContext/runAsNonRoot", json!(true)),
        (pod, "/securityContext/runAsUser", json!(65534)),
        (pod, "/securityContext/seccompProfile/type", json!("RuntimeDefault")),
        (pod, "/containers/0/securityContext/allowPrivilegeEscalation", json!(false)),
        (pod, "/containers/0/securityContext/readOnlyRootFilesystem", json!(true)),
        (pod, "/containers/0/securityContext/capabilities/drop", json!(["ALL"])),
    ] {
        assert_eq!(of.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert!(dockerfile.contains("USER 65534:65534"), "the image's user is the pod's");
}

#[test]
fn volumes_are_mounted_where_the_flags_say() {
    let deployment = deployment();
    let container = container(&deployment);
    let volumes = list(&deployment, "/spec/template/spec/volumes");
    for mount in list(container, "/volumeMounts") {
        let name = word(mount, "/name");
        assert!(volumes.iter().any(|volume| volume["name"] == name), "{name}");
        let path = word(mount, "/mountPath");
        let said = flags(container).iter().any(|(_, value)| Path::new(value).starts_with(path));
        assert!(said, "no flag says {path}");
    }
    assert_eq!(volumes.len(), list(container, "/volumeMounts").len());
    // Files that change, and none that is written but the state.
    for mount in list(container, "/volumeMounts").iter().filter(|mount| mount["name"] != "state") {
        assert_eq!(mount["readOnly"], true, "{mount}");
    }
}

#[test]
fn every_object_means_the_pods_of_the_deployment() {
    let labels = &deployment()["spec"]["template"]["metadata"]["labels"];
    let mut selectors = vec![deployment()["spec"]["selector"]["matchLabels"].clone()];
    selectors.extend(documents("deploy/kubernetes/service.yaml").iter().map(|of| of["spec"]["selector"].clone()));
    for (file, pointer) in [
        ("disruption.yaml", "/spec/selector/matchLabels"),
        ("network.yaml", "/spec/podSelector/matchLabels"),
        ("optional/servicemonitor.yaml", "/spec/selector/matchLabels"),
    ] {
        let object = document(&format!("deploy/kubernetes/{file}"));
        selectors.push(object.pointer(pointer).expect(file).clone());
    }
    for selector in &selectors {
        let selector = selector.as_object().expect("labels");
        assert!(!selector.is_empty() && selector.iter().all(|(key, value)| labels[key] == *value), "{selector:?}");
    }
    let scaled = document("deploy/kubernetes/optional/autoscaler.yaml");
    assert_eq!(scaled["spec"]["scaleTargetRef"]["name"], deployment()["metadata"]["name"]);
}

#[test]
fn the_kustomization_names_every_file() {
    let kustomization = document("deploy/kubernetes/kustomization.yaml");
    let generated = &kustomization["configMapGenerator"][0];
    let volumes = deployment()["spec"]["template"]["spec"]["volumes"].clone();
    assert_eq!(volumes[0]["configMap"]["name"], generated["name"]);

    let lists = [list(&kustomization, "/resources"), list(generated, "/files")];
    let named: BTreeSet<&str> = lists.into_iter().flatten().map(|name| name.as_str().expect("a name")).collect();
    let there = below("deploy/kubernetes");
    let there = there.iter().filter_map(|path| path.strip_prefix("deploy/kubernetes/"));
    // Those that not everybody can have are named in a remark.
    let there: BTreeSet<&str> =
        there.filter(|name| *name != "kustomization.yaml" && !name.starts_with("optional/")).collect();
    assert_eq!(named, there);
    for optional in below("deploy/kubernetes/optional") {
        let name = optional.strip_prefix("deploy/kubernetes/").expect("below");
        assert!(text("deploy/kubernetes/kustomization.yaml").contains(name), "{name} is not spoken of");
    }
    assert_eq!(kustomization["images"][0]["newTag"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_rules_load_without_a_warning() {
    let check = |path: &Path| -> Output {
        Command::new(env!("CARGO_BIN_EXE_tallygate")).arg("check").arg(path).output().expect("the program runs")
    };
    let said = check(&root().join("deploy/kubernetes/rules"));
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.ends_with(" 0 warning(s)\n"), "{text}");
}
