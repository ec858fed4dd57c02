//! The program `weft`.

use std::process::ExitCode;

/// A request allocates some hundreds of small blocks; glibc's allocator took a sixth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weft::cli::main()
}
