//! Runs a program under the enclave's filters: `confined PROGRAM ARGUMENT…`. For tests; part of no image.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use cosigner_confine::Filters;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: confined PROGRAM ARGUMENT…");
        return ExitCode::from(2);
    };
    if let Err(error) = Filters::compile().and_then(|filters| filters.install()) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    eprintln!("{}", Command::new(program).args(arguments).exec());
    ExitCode::FAILURE
}
