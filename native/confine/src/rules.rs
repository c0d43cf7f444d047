//! The lists. Found by tracing the enclave through boot, KMS, key generation and signatures of every suite; each entry is
//! needed by Python, asyncio, boto3's TLS or the native core on one of the kernels and C libraries we run on.

use seccompiler::{
    BackendError, SeccompCmpArgLen::Dword, SeccompCmpArgLen::Qword, SeccompCmpOp, SeccompCmpOp::Eq,
    SeccompCmpOp::MaskedEq, SeccompCmpOp::Ne, SeccompCondition, SeccompRule,
};

use crate::Rules;

/// `_IOWR(0x0A, 0, 32 bytes)`: the one request of `/dev/nsm` (Linux, drivers/misc/nsm.c).
const NSM_REQUEST: u64 = 0xC020_0A00;

/// Allowed whatever their arguments. Paths cannot be examined by a filter: the file system is read-only instead.
const ALLOWED: &[i64] = &[
    // Files and directories, for reading; `write` serves standard error and sockets.
    libc::SYS_close,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_statx,
    libc::SYS_umask,
    libc::SYS_write,
    libc::SYS_writev,
    // Memory; mmap and mprotect have rules below.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Sockets, once one exists; which may exist, `socket` and `socketpair` below say.
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // Threads.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_gettid,
    libc::SYS_membarrier,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    // Signals of its own; `tgkill` is how `abort` ends.
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    // Time, where the vDSO hands over to the kernel.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    // Questions.
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // The way in, which `programs` closes, and further filters, which can only take away.
    libc::SYS_execve,
    libc::SYS_seccomp,
    // Subject to `refused`.
    libc::SYS_clone3,
    libc::SYS_openat,
    libc::SYS_socket,
];

/// Calls that newer architectures have no more.
#[cfg(target_arch = "x86_64")]
const ALLOWED_LEGACY: &[i64] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_epoll_wait,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_LEGACY: &[i64] = &[];

/// What the enclave's process may do; everything else ends it.
pub(crate) fn allowed() -> Result<Rules, BackendError> {
    let mut rules: Rules = ALLOWED.iter().chain(ALLOWED_LEGACY).map(|number| (*number, Vec::new())).collect();
    // A thread, never a process.
    let thread = flags(libc::CLONE_THREAD);
    rules.insert(libc::SYS_clone, vec![all([on_word(0, MaskedEq(thread), thread)])?]);
    // No memory is both writable and executable, and none becomes executable that was written.
    let (write, exec) = (flags(libc::PROT_WRITE), flags(libc::PROT_EXEC));
    let one_of = MaskedEq(write | exec);
    rules.insert(
        libc::SYS_mmap,
        vec![
            all([on_word(2, one_of.clone(), 0)])?,
            all([on_word(2, one_of.clone(), write)])?,
            all([on_word(2, one_of, exec)])?,
        ],
    );
    rules.insert(libc::SYS_mprotect, vec![all([on_word(2, MaskedEq(exec), 0)])?]);
    rules.insert(libc::SYS_socketpair, vec![all([on_int(0, Eq, flags(libc::AF_UNIX))])?]);
    rules.insert(
        libc::SYS_ioctl,
        [NSM_REQUEST, libc::FIONBIO, libc::FIOCLEX, libc::FIONCLEX, libc::TCGETS, libc::TIOCGWINSZ]
            .into_iter()
            .map(|request| all([on_int(1, Eq, request)]))
            .collect::<Result<_, _>>()?,
    );
    // Limits are read, never set.
    rules.insert(libc::SYS_prlimit64, vec![all([on_word(2, Eq, 0)])?]);
    rules.insert(
        libc::SYS_prctl,
        vec![
            all([on_int(0, Eq, flags(libc::PR_SET_NO_NEW_PRIVS))])?,
            all([on_int(0, Eq, flags(libc::PR_SET_NAME))])?,
            all([on_int(0, Eq, flags(libc::PR_SET_DUMPABLE)), on_word(1, Eq, 0)])?,
        ],
    );
    Ok(rules)
}

/// What is allowed to be asked and always refused, each with its error number.
pub(crate) fn refused() -> Result<Vec<(Rules, i32)>, BackendError> {
    // clone3 keeps its flags in memory, where no filter can see them. Told that it does not exist, the C library falls back
    // to clone.
    let clone3 = [(libc::SYS_clone3, Vec::new())].into();
    // Nothing is opened for writing, created or truncated: as if all there is were a read-only file system.
    let changes = |flag| all([on_int(2, MaskedEq(flags(flag)), flags(flag))]);
    let writing = vec![
        changes(libc::O_WRONLY)?,
        changes(libc::O_RDWR)?,
        changes(libc::O_CREAT)?,
        changes(libc::O_TRUNC)?,
    ];
    // Sockets are vsock or unix. Others must not be fatal: urllib3 asks at import whether there is IPv6.
    let foreign = all([on_int(0, Ne, flags(libc::AF_UNIX)), on_int(0, Ne, flags(libc::AF_VSOCK))])?;
    Ok(vec![
        (clone3, libc::ENOSYS),
        ([(libc::SYS_openat, writing)].into(), libc::EROFS),
        ([(libc::SYS_socket, vec![foreign])].into(), libc::EAFNOSUPPORT),
    ])
}

/// What starts another program.
pub(crate) fn programs() -> Rules {
    [(libc::SYS_execve, Vec::new()), (libc::SYS_execveat, Vec::new())].into()
}

fn all<const N: usize>(
    conditions: [Result<SeccompCondition, BackendError>; N],
) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
}

/// A condition on an argument of which the kernel takes 32 bits.
fn on_int(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Dword, operator, value)
}

/// A condition on an argument of which the kernel takes 64 bits.
fn on_word(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Qword, operator, value)
}

fn flags(value: i32) -> u64 {
    u64::from(value.unsigned_abs())
}
