//! What the enclave's process gives up before it becomes the enclave.

use std::io::Error;

use caps::CapSet;
use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

/// The user and group of the enclave; nobody else has these numbers.
const ENCLAVE: u32 = 10001;

/// Drops everything, in an order in which each step still may be taken.
pub(crate) fn drop_all() -> Result<(), Error> {
    caps::clear(None, CapSet::Bounding).map_err(Error::other)?;
    setgroups(&[])?;
    let (user, group) = (Uid::from_raw(ENCLAVE), Gid::from_raw(ENCLAVE));
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(Error::other)?;
    }
    set_no_new_privs()?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // Last: a change of user resets it (prctl(2)).
    set_pdeathsig(Signal::SIGKILL)?;
    Ok(())
}
