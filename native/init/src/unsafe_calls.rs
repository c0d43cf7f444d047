//! The calls that the compiler cannot check, each with the reason why it is sound.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::Error;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How much fresh entropy the kernel gets.
pub(crate) const SEED_BYTES: usize = 64;
const SEED_BITS: i32 = 512;

/// `struct rand_pool_info` (linux/random.h), with its variable part fixed.
#[repr(C)]
struct PoolInfo {
    entropy_count: i32,
    buf_size: i32,
    buf: [u8; SEED_BYTES],
}

/// Mixes `seed` into the pool of `/dev/urandom` and counts every bit of it (random(4), `RNDADDENTROPY`).
pub(crate) fn add_entropy(pool: &File, seed: [u8; SEED_BYTES]) -> Result<(), Error> {
    /// `_IOW('R', 0x03, int[2])`.
    const RNDADDENTROPY: libc::Ioctl = 0x4008_5203;
    let info = PoolInfo { entropy_count: SEED_BITS, buf_size: SEED_BYTES as i32, buf: seed };
    // SAFETY: the kernel reads the two numbers and `buf_size` bytes behind them, all within `info`, and keeps no pointer.
    check(unsafe { libc::ioctl(pool.as_raw_fd(), RNDADDENTROPY, &raw const info) })
}

/// Sets `IFF_UP` on an interface (netdevice(7)). Its other flags are none of loopback's business.
pub(crate) fn raise_interface(socket: &OwnedFd, name: [u8; 2]) -> Result<(), Error> {
    // SAFETY: `ifreq` is numbers and a union of numbers, addresses and pointers: zero is a value of each of them.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (target, byte) in request.ifr_name.iter_mut().zip(name) {
        *target = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the kernel reads one `ifreq`, of which this request uses name and flags, and keeps no pointer.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
}

/// Lets `prepare` run in the new process before it becomes the program.
pub(crate) fn before_exec(
    command: &mut Command,
    prepare: impl FnMut() -> Result<(), Error> + Send + Sync + 'static,
) {
    // SAFETY: what may not be done between fork and exec is what another thread could have been in the middle of, such as
    // holding the allocator's lock. This program has one thread.
    unsafe { command.pre_exec(prepare) };
}

fn check(result: libc::c_int) -> Result<(), Error> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}
