//! PID 1 of the enclave. `docs/spec/image.md` says what it does, in which order, and how it ends.
//!
//! Started as PID 1 it prepares everything. Started by another init that has mounted the file systems and answered the
//! heartbeat (AWS's), it does the rest and leaves the end of the machine to that init. Arguments and environment mean
//! nothing here: the kernel passes on every boot parameter that it does not know.

#![deny(unsafe_code)]

mod console;
mod door;
mod enclave;
mod ending;
mod entropy;
mod heartbeat;
mod kernel_module;
mod loopback;
mod mounts;
mod parameters;
mod privileges;
mod reason;
mod unsafe_calls;
mod vsock;

use std::process::ExitCode;

use parameters::Parameters;
use reason::Reason;

fn main() -> ExitCode {
    let first = nix::unistd::getpid().as_raw() == 1;
    let mut parameters = Parameters::default();
    let reason =
        if first { boot(&mut parameters) } else { join(&mut parameters) }.unwrap_or_else(|reason| reason);
    console::say(&reason);
    ending::report(parameters.parent_cid, &reason);
    if first {
        ending::restart();
    }
    ExitCode::FAILURE
}

/// Everything, on a machine on which nothing has happened yet.
fn boot(parameters: &mut Parameters) -> Result<Reason, Reason> {
    mounts::prepare()?;
    console::open();
    kernel_module::load()?;
    mounts::enter()?;
    *parameters = parameters::read()?;
    loopback::raise()?;
    entropy::require()?;
    let nsm = door::open()?;
    heartbeat::answer(parameters.parent_cid)?;
    enclave::run(nsm, parameters.parent_cid)
}

/// What AWS's init leaves to do: it has mounted, loaded the driver, answered the heartbeat and entered the root.
fn join(parameters: &mut Parameters) -> Result<Reason, Reason> {
    // First, because it changes nothing: on a machine that is no enclave this is as far as it gets.
    entropy::require()?;
    mounts::protect()?;
    *parameters = parameters::read()?;
    loopback::raise()?;
    let nsm = door::open()?;
    enclave::run(nsm, parameters.parent_cid)
}
