//! The end: the parent is told why, then the machine restarts, which for an enclave means that it is gone.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::socket::{Shutdown, shutdown};

use crate::reason::Reason;
use crate::vsock;

const PORT: u32 = 5003;

/// Tells the parent, once. Nobody there to listen is no reason to stay.
pub(crate) fn report(cid: u32, reason: &Reason) {
    let _ = send(cid, reason);
}

fn send(cid: u32, reason: &Reason) -> std::io::Result<()> {
    let mut stream = vsock::dial(cid, PORT)?;
    stream.write_all(format!("{reason}\n").as_bytes())?;
    shutdown(stream.as_raw_fd(), Shutdown::Write)?;
    // The restart would overtake the line: wait until the other side has closed, or the time is up.
    stream.read(&mut [0]).map(drop)
}

/// Ends the machine. Returns only where that fails, and then the kernel panics because PID 1 leaves.
pub(crate) fn restart() {
    nix::unistd::sync();
    if reboot(RebootMode::RB_AUTOBOOT).is_ok() {
        // The kernel is on its way down.
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}
