//! The loopback interface. There is no other: the enclave has no network.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::reason::Reason;
use crate::unsafe_calls;

/// Raises `lo`.
pub(crate) fn raise() -> Result<(), Reason> {
    let datagrams = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|_| Reason::NoLoopback)?;
    unsafe_calls::raise_interface(&datagrams, *b"lo").map_err(|_| Reason::NoLoopback)
}
