//! Out of file handles: who is connected is served, who comes waits, nothing spins, and all is well once there are some.

use std::{net::TcpStream, process::Command, time::Duration};

use tallygate::grpc::proto::rate_limit_response::Code;

use crate::{
    harness::{Folder, Service, command, eventually},
    stage::{cpu_of, now, pause},
};

/// Handles of the service. At rest it has some twenty.
const HANDLES: &str = "64";
/// Connections that take all of them, and more.
const CROWD: usize = 150;
/// How long it is watched without.
const WITHOUT: Duration = Duration::from_millis(600);

#[test]
fn without_file_handles_it_serves_who_is_there_rests_and_recovers() {
    let rules = |limit| format!("domain: shop\ndescriptors: [{{key: k, limits: [{limit}/3650d]}}]\n");
    let folder = Folder::with(&[("shop.yaml", &rules(1_000_000))]);
    let service = Service::start_by(with_few_handles(&folder), &folder, &[]);
    service.until_ready();
    assert_eq!(service.ask("k", "v").unwrap().overall_code(), Code::Ok, "a connection that is there");

    let ports = [service.grpc_address(), format!("127.0.0.1:{}", service.http_port())];
    let crowd: Vec<TcpStream> =
        (0..CROWD).map(|n| TcpStream::connect(&ports[usize::from(n % 3 == 0)]).unwrap()).collect();
    eventually("it says so", || service.log().contains("accepting a connection failed"));
    let (began, worked, told) = (now(), cpu_of(service.id()), lines(&service));
    folder.write("shop.yaml", &rules(2_000_000));
    while began.elapsed() < WITHOUT {
        assert_eq!(
            service.limit(),
            1_000_000,
            "the rules from before hold, and are asked on the connection from before"
        );
        pause(Duration::from_millis(10));
    }
    let (took, worked, told) = (began.elapsed(), cpu_of(service.id()).saturating_sub(worked), lines(&service) - told);
    assert!(worked * 2 < took, "it spins: {worked:?} of {took:?}");
    // Each port tries ten times a second; and the rules are told once.
    let bound = 3 * (took.as_millis() / 100 + 2) + 5;
    assert!(told as u128 <= bound, "{told} lines in {took:?}: more than {bound}");

    drop(crowd);
    eventually("new rules are read", || service.limit() == 2_000_000);
    eventually("new connections are served", || service.block_on(connects(&service)));
    eventually("the HTTP port serves", || service.try_get("/readyz").is_some_and(|answer| answer.status == 200));
    assert_eq!(service.metric("tallygate_config_last_reload_success"), "1");
    assert_eq!(service.metric("tallygate_panics_total"), "0");
    assert_eq!(service.status()["ready"], true, "and so does the admin port");
}

/// The program with so few handles: the limits of a shell are those of what it becomes.
fn with_few_handles(folder: &Folder) -> Command {
    let program = command(folder);
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("ulimit -n {HANDLES} && exec \"$0\" \"$@\"")).arg(program.get_program());
    if let Some(dir) = program.get_current_dir() {
        shell.current_dir(dir);
    }
    shell.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

async fn connects(service: &Service) -> bool {
    use tallygate::grpc::proto::rate_limit_service_client::RateLimitServiceClient;
    let address = format!("http://{}", service.grpc_address());
    let Ok(mut client) = RateLimitServiceClient::connect(address).await else { return false };
    client.should_rate_limit(crate::harness::request(vec![crate::harness::descriptor("k", "v")])).await.is_ok()
}

/// Of its log.
fn lines(service: &Service) -> usize {
    service.log().lines().count()
}
