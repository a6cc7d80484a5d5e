//! The binary: parse the command line, call the command, turn an error chain into an exit code.

use std::process::ExitCode;

/// Gives memory back after a flood, and is the fastest here at many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match tallygate::cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tallygate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
