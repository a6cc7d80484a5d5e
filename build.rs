//! Compiles `proto/` with a compiler written in Rust: building needs no `protoc`.

use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    if env::var_os("CARGO_FEATURE_SERVE").is_none() {
        return Ok(()); // the pure core knows no protobuf
    }
    let files = protox::compile(["envoy/service/ratelimit/v3/rls.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // The well-known types become ours, so that no crate is needed for three messages ...
        .compile_well_known_types(true)
        // ... and a wrapper is what it wraps: its presence is the Option around it.
        .extern_path(".google.protobuf.UInt32Value", "u32")
        .extern_path(".google.protobuf.UInt64Value", "u64")
        .include_file("proto.rs")
        .compile_fds(files)?;
    let files = protox::compile(["opentelemetry/proto/collector/trace/v1/trace_service.proto"], ["proto"])?;
    tonic_prost_build::configure().include_file("otlp.rs").compile_fds(files)?;
    Ok(())
}
