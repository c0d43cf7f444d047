//! What the enclave's process may ask of the kernel, as seccomp filters.
//!
//! PID 1 installs [`Filters`] on the process before it becomes the enclave; the enclave itself calls [`complete`] once
//! it runs, because the `execve` that starts it has to get past the filters.
//! `docs/spec/image.md` §6 is the list in prose.

#![forbid(unsafe_code)]

mod rules;

use std::collections::BTreeMap;
use std::fmt;

use nix::errno::Errno;
use nix::sys::prctl::set_dumpable;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// A system call's number, and the argument rules of which one has to match; no rules match always.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A filter could not be built or installed.
#[derive(Debug)]
pub enum Error {
    /// The lists do not compile; the same on every machine.
    Compile(seccompiler::BackendError),
    /// The kernel refused the filter.
    Install(seccompiler::Error),
    /// The kernel did not make the process undumpable.
    Dumpable(Errno),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compile(error) => write!(formatter, "the system call filter does not compile: {error}"),
            Self::Install(error) => write!(formatter, "the system call filter is not accepted: {error}"),
            Self::Dumpable(error) => write!(formatter, "the process stays dumpable: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<seccompiler::BackendError> for Error {
    fn from(error: seccompiler::BackendError) -> Self {
        Self::Compile(error)
    }
}

impl From<seccompiler::Error> for Error {
    fn from(error: seccompiler::Error) -> Self {
        Self::Install(error)
    }
}

/// The filters of the enclave's process, compiled. Compile before a fork, install after it.
pub struct Filters(Vec<BpfProgram>);

impl Filters {
    /// Compiles the lists.
    ///
    /// # Errors
    ///
    /// [`Error::Compile`].
    pub fn compile() -> Result<Self, Error> {
        let mut filters = Vec::new();
        for (rules, errno) in rules::refused()? {
            let verdict = SeccompAction::Errno(errno.unsigned_abs());
            filters.push(program(rules, SeccompAction::Allow, verdict)?);
        }
        filters.push(program(rules::allowed()?, SeccompAction::KillProcess, SeccompAction::Allow)?);
        Ok(Self(filters))
    }

    /// Installs them on the calling thread, its later threads and its later programs, for good. Sets `no_new_privs`.
    /// Of several filters the kernel takes the harshest verdict (seccomp(2)), so their order does not matter.
    ///
    /// # Errors
    ///
    /// [`Error::Install`].
    pub fn install(&self) -> Result<(), Error> {
        for filter in &self.0 {
            seccompiler::apply_filter(filter)?;
        }
        Ok(())
    }
}

/// Completes the confinement from within: no thread of this process starts another program any more (trying ends the
/// process), and nobody attaches to it or gets its memory as a core file (an `execve` would have undone that, prctl(2)).
///
/// # Errors
///
/// [`Error::Install`], [`Error::Dumpable`].
pub fn complete() -> Result<(), Error> {
    set_dumpable(false).map_err(Error::Dumpable)?;
    let filter = program(rules::programs(), SeccompAction::Allow, SeccompAction::KillProcess)?;
    Ok(seccompiler::apply_filter_all_threads(&filter)?)
}

fn program(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram, Error> {
    Ok(SeccompFilter::new(rules, otherwise, matched, ARCH)?.try_into()?)
}
