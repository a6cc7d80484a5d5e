//! Compiles the service's own `proto/` for the constant server, with a compiler written in Rust.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../../proto");
    let files = protox::compile(["envoy/service/ratelimit/v3/rls.proto"], ["../../proto"])?;
    tonic_prost_build::configure()
        .build_client(false)
        .compile_well_known_types(true)
        .extern_path(".google.protobuf.UInt32Value", "u32")
        .extern_path(".google.protobuf.UInt64Value", "u64")
        .include_file("proto.rs")
        .compile_fds(files)?;
    Ok(())
}
