//! Arguments to command; nothing else.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Two TLS providers in one graph would make rustls panic at first use; this one is chosen for all.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tidings::cli::run()
}
