//! The binary: parse the command line, call the command, turn an error chain into an exit code.

use std::process::ExitCode;

/// Gives memory back after a flood, and is the fastest here at many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // First of all: what is allocated before lies in huge pages already.
    tallygate::huge_pages::hold_back();
    match tallygate::cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tallygate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
