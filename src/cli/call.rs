//! `tallygate call`: asks a service as Envoy does, for whoever wants to see what it answers.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context as _, anyhow};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use super::{
    explain::drawn_answer,
    print::{self, cell, seconds, table},
    service, target,
};
use crate::{
    compare::{Side, difference, recorded},
    grpc::proto::{RateLimitRequest, RateLimitResponse},
};

/// What is tried by hand ends while somebody looks on.
const TIMES_MAX: u64 = 100_000;

pub(super) fn command() -> Command {
    let number = |name: &'static str| Arg::new(name).long(name).value_name("NUMBER").value_parser(value_parser!(u64));
    let call = Command::new("call").about("Ask as Envoy does, and show the answer; it counts");
    service::by_tls(target::request(call))
        .arg(number("hits").help("How many hits each descriptor costs; 0 looks without counting [default: 1]"))
        .arg(Arg::new("back").long("back").action(ArgAction::SetTrue).requires("hits").help("Give the hits back"))
        .arg(
            number("times")
                .value_parser(value_parser!(u64).range(1..=TIMES_MAX))
                .default_value("1")
                .help("Ask so often, one after the other, and show the last answer"),
        )
        .arg(Arg::new("at").long("at").value_name(service::ADDRESS).help("The service [default: the setting `grpc`]"))
        .arg(print::json())
        .after_help("Example: tallygate call shop api_key=acme,path=/v1/orders remote_address=192.0.2.1 --times 5")
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = super::checked_settings(matches)?;
    let address = matches.get_one::<String>("at").cloned().unwrap_or_else(|| service::own_address(&settings));
    let tls = service::tls(matches, &[&address])?;
    let request = request(matches)?;
    let times = matches.get_one::<u64>("times").copied().unwrap_or(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (last, codes) = runtime.block_on(async {
        let mut service = Side::connect(&address, &tls).await?;
        let (mut last, mut codes) = (RateLimitResponse::default(), BTreeMap::<String, u64>::new());
        for _ in 0..times {
            last = service.call(&request).await?;
            *codes.entry(difference::code(last.overall_code)).or_default() += 1;
        }
        anyhow::Ok((last, codes))
    })?;
    let answer = told(&last);
    if matches.get_flag("json") {
        print::document(&json!({"answers": codes, "last": answer}))?;
    } else {
        print::out(&drawn(&codes, &answer))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The request that the arguments say.
fn request(matches: &ArgMatches) -> anyhow::Result<RateLimitRequest> {
    let mut line = target::request_body(matches)?;
    let hits = matches.get_one::<u64>("hits");
    let descriptors = line["descriptors"].as_array_mut().context("descriptors are a list")?;
    for descriptor in descriptors {
        let mut asked = json!({"entries": descriptor.take(), "is_negative_hits": matches.get_flag("back")});
        if let Some(hits) = hits {
            asked["hits_addend"] = json!(hits);
        }
        *descriptor = asked;
    }
    recorded::read(&line.to_string()).map_err(|error| anyhow!(error))
}

/// An answer in JSON, as `explain` tells one, and its statuses.
fn told(answer: &RateLimitResponse) -> Value {
    let status = |status: &crate::grpc::proto::rate_limit_response::DescriptorStatus| {
        json!({
            "code": difference::code(status.code),
            "limit": status.current_limit.as_ref().map(|limit| difference::limit(Some(limit))),
            "remaining": status.limit_remaining,
            "reset": difference::reset(status),
        })
    };
    let header = |header: &crate::grpc::proto::HeaderValue| json!({"name": header.key, "value": header.value});
    let body = (!answer.raw_body.is_empty()).then(|| String::from_utf8_lossy(&answer.raw_body).into_owned());
    json!({
        "code": difference::code(answer.overall_code),
        "statuses": answer.statuses.iter().map(status).collect::<Vec<_>>(),
        "headers": answer.response_headers_to_add.iter().map(header).collect::<Vec<_>>(),
        "body": body,
        "metadata": answer.dynamic_metadata.as_ref().map(difference::metadata).unwrap_or_default(),
    })
}

fn drawn(codes: &BTreeMap<String, u64>, answer: &Value) -> String {
    let mut text = String::new();
    if codes.values().sum::<u64>() > 1 {
        let counts: Vec<String> = codes.iter().map(|(code, count)| format!("{count} {code}")).collect();
        text = format!("answered {}; the last:\n", counts.join(", "));
    }
    let rows = (1..).zip(answer["statuses"].as_array().into_iter().flatten()).map(|(number, status): (u64, _)| {
        let [code, limit, remaining] = ["code", "limit", "remaining"].map(|field| cell(&status[field]));
        vec![number.to_string(), code, limit, remaining, seconds(&status["reset"])]
    });
    text += &table(&["DESCRIPTOR", "CODE", "LIMIT", "REMAINING", "RESET IN"], &rows.collect::<Vec<_>>());
    text + &drawn_answer(answer).join("\n") + "\n"
}
