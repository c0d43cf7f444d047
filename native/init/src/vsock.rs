//! Streams to the parent instance, none of which may wait for ever.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::sockopt::{ReceiveTimeout, SendTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, VsockAddr, connect, setsockopt, socket};
use nix::sys::time::TimeVal;

/// For each read and write. Linux bounds the connecting itself, to 2 s (`SO_VM_SOCKETS_CONNECT_TIMEOUT`).
const TIMEOUT_S: i64 = 5;
/// vhost-device-vsock, which emulation uses, can lose what is sent in the moment of connecting (vhost-device issue 963).
const SETTLE: Duration = Duration::from_millis(50);

/// Connects to a port of the parent. Reading and writing a socket is reading and writing a file.
pub(crate) fn dial(cid: u32, port: u32) -> std::io::Result<File> {
    let stream = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&stream, ReceiveTimeout, &TimeVal::new(TIMEOUT_S, 0))?;
    setsockopt(&stream, SendTimeout, &TimeVal::new(TIMEOUT_S, 0))?;
    connect(stream.as_raw_fd(), &VsockAddr::new(cid, port))?;
    std::thread::sleep(SETTLE);
    Ok(File::from(stream))
}
