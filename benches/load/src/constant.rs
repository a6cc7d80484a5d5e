//! The ceiling: a tonic server as its manual builds it, whose answer is always the same 31 bytes.
//!
//! It decodes each question whole, as any service on tonic does, and looks at nothing in it: no rule, no counter, no
//! clock. What it costs is what gRPC costs. One runtime on one thread for each core, each with the connections dealt to it
//! in turn: measured two to three times cheaper than one runtime over all cores, so the comparison is with the better one.
//!
//! `constant HOST:PORT [CORES [PAD]]`: PAD more bytes go into a response header, since the size of an answer decides how it
//! is written.

use std::{
    env,
    error::Error,
    net::{TcpListener, TcpStream},
    process::ExitCode,
    thread,
};

use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, transport::Server};

use proto::envoy::{
    config::core::v3::HeaderValue,
    service::ratelimit::v3::{
        RateLimitRequest, RateLimitResponse,
        rate_limit_response::{Code, DescriptorStatus, RateLimit, rate_limit::Unit},
        rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
    },
};

mod proto {
    #![allow(dead_code, clippy::all, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

/// The service's allocator, so that it is no part of the difference.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Connections on their way to a core: more than the load ever opens at once.
const DEALT_MAX: usize = 4_096;

fn main() -> ExitCode {
    match serve(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("constant: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let address = arguments.first().ok_or("usage: constant HOST:PORT [CORES [PAD]]")?;
    let cores = match arguments.get(1) {
        Some(cores) => cores.parse::<usize>()?.max(1),
        None => thread::available_parallelism()?.get(),
    };
    let pad = arguments.get(2).map_or(Ok(0), |pad| pad.parse())?;
    let listener = TcpListener::bind(address)?;
    let constant = Constant { answer: answer(pad) };
    let cores: Vec<_> = (0..cores).map(|_| start_core(constant.clone())).collect();
    for (turn, connection) in listener.incoming().enumerate() {
        let connection = connection?;
        connection.set_nodelay(true)?;
        connection.set_nonblocking(true)?;
        cores[turn % cores.len()].blocking_send(connection)?;
    }
    Ok(())
}

/// One core: a thread that serves what it is dealt.
fn start_core(constant: Constant) -> mpsc::Sender<TcpStream> {
    let (deal, dealt) = mpsc::channel(DEALT_MAX);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connections = ReceiverStream::new(dealt).map(tokio::net::TcpStream::from_std);
        let service = RateLimitServiceServer::new(constant);
        runtime.block_on(Server::builder().add_service(service).serve_with_incoming(connections))?;
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    });
    deal
}

#[derive(Clone)]
struct Constant {
    answer: RateLimitResponse,
}

#[tonic::async_trait]
impl RateLimitService for Constant {
    async fn should_rate_limit(
        &self,
        _question: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        Ok(Response::new(self.answer.clone()))
    }
}

/// What a small service would answer of one window of one descriptor.
fn answer(pad: usize) -> RateLimitResponse {
    let limit = RateLimit {
        requests_per_unit: 1_000_000_000,
        unit: Unit::Minute.into(),
        name: "default".to_owned(),
        ..RateLimit::default()
    };
    let status = DescriptorStatus {
        code: Code::Ok.into(),
        current_limit: Some(limit),
        limit_remaining: 999_999_999,
        ..DescriptorStatus::default()
    };
    let header = HeaderValue { key: "x-pad".to_owned(), value: "x".repeat(pad), ..HeaderValue::default() };
    RateLimitResponse {
        overall_code: Code::Ok.into(),
        statuses: vec![status],
        response_headers_to_add: if pad > 0 { vec![header] } else { vec![] },
        ..RateLimitResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn the_answer_has_31_bytes() {
        assert_eq!(answer(0).encoded_len(), 31);
    }

    #[test]
    fn a_padded_answer_is_as_large_as_a_full_one() {
        assert!((300..320).contains(&answer(260).encoded_len()), "{}", answer(260).encoded_len());
    }
}
