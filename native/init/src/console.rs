//! Standard streams: the console where there is one. On Nitro only debug mode shows it.

use std::fs::{File, OpenOptions};
use std::io::Write;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::reason::Reason;

/// Gives this process standard streams; without a console, silent ones. Failing here must not end the enclave.
pub(crate) fn open() {
    // The tree is not yet entered.
    let Ok(input) = File::open("/rootfs/dev/null") else { return };
    let output = OpenOptions::new()
        .write(true)
        .open("/rootfs/dev/console")
        .or_else(|_| OpenOptions::new().write(true).open("/rootfs/dev/null"));
    let Ok(output) = output else { return };
    let _ = dup2_stdin(&input);
    let _ = dup2_stdout(&output);
    let _ = dup2_stderr(&output);
}

/// The reason, for whoever watches the console.
pub(crate) fn say(reason: &Reason) {
    // Not eprintln!, which panics where nobody listens.
    let _ = writeln!(std::io::stderr(), "cosigner-init: {reason}");
}
