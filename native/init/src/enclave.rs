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

/// Python, where Debian's package and where Docker's image have it; the first that is there.
const INTERPRETERS: [&str; 2] = ["/usr/local/bin/python3", "/usr/bin/python3"];
const DIRECTORY: &str = "/opt/cosigner";
const ENVIRONMENT: [(&str, &str); 6] = [
    ("HOME", "/nonexistent"),
    ("LANG", "C.UTF-8"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PYTHONPATH", "/opt/cosigner:/opt/dependencies"),
    ("PYTHONUNBUFFERED", "1"),
];

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
    let interpreter = INTERPRETERS.into_iter().find(|path| std::fs::exists(path).unwrap_or(false));
    let mut command = Command::new(interpreter.ok_or(Errno::ENOENT)?);
    command
        .args(["-m", "enclave", "--nsm-fd", &inherited.as_raw_fd().to_string()])
        .args(["--parent-cid", &parent_cid.to_string()])
        .current_dir(DIRECTORY)
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
