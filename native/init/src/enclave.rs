//! The enclave's process: started without privileges and under its filters, then waited for.

use std::fs::File;
use std::io::Error;
use std::os::fd::AsRawFd;
use std::process::Command;

use cosigner_confine::Filters;
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, dup};

use crate::reason::Reason;
use crate::{privileges, unsafe_calls};

/// The interpreter, isolated: no environment variable and no current directory has a say in what it runs.
const INTERPRETER: &str = "/usr/bin/python3";
const ARGUMENTS: [&str; 5] = ["-I", "-B", "-u", "-m", "enclave"];
const ENVIRONMENT: [(&str, &str); 3] =
    [("HOME", "/nonexistent"), ("LANG", "C.UTF-8"), ("PATH", "/usr/local/bin:/usr/bin:/bin")];

/// Starts the enclave with the device, reaps whatever ends, and returns how the enclave ended.
pub(crate) fn run(nsm: File, parent_cid: u32) -> Result<Reason, Reason> {
    let enclave = start(nsm, parent_cid).map_err(|_| Reason::StartFailed)?;
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == enclave => {
                return Ok(Reason::Exited(u8::try_from(code).unwrap_or(u8::MAX)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == enclave => {
                return Ok(Reason::Killed(u8::try_from(signal as i32).unwrap_or(u8::MAX)));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return Err(Reason::Lost),
        }
    }
}

fn start(nsm: File, parent_cid: u32) -> Result<Pid, Error> {
    let filters = Filters::compile().map_err(Error::other)?;
    // A copy without the close-on-exec flag.
    let inherited = dup(&nsm)?;
    let mut command = Command::new(INTERPRETER);
    command
        .args(ARGUMENTS)
        .args(["--nsm-fd", &inherited.as_raw_fd().to_string()])
        .args(["--parent-cid", &parent_cid.to_string()])
        .current_dir("/")
        .env_clear()
        .envs(ENVIRONMENT);
    unsafe_calls::before_exec(&mut command, move || {
        privileges::drop_all()?;
        filters.install().map_err(Error::other)
    });
    let child = command.spawn()?;
    Ok(Pid::from_raw(child.id().cast_signed()))
    // Both descriptors of the device close here: the enclave's process alone holds it.
}
