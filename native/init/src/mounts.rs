//! The file systems: the application's tree becomes the root, read-only; what the kernel offers is mounted into it.

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};

use crate::reason::Reason;

/// Where the second ramdisk unpacks the application's file system.
const ROOT: &str = "/rootfs";

struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: MsFlags,
    data: &'static str,
}

/// The tree below `ROOT`; every target is an empty directory of the image.
const MOUNTS: [Mount; 5] = [
    Mount {
        kind: "devtmpfs",
        target: "/rootfs/dev",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
        data: "mode=0755",
    },
    Mount { kind: "proc", target: "/rootfs/proc", flags: INERT, data: "" },
    Mount { kind: "sysfs", target: "/rootfs/sys", flags: INERT.union(MsFlags::MS_RDONLY), data: "" },
    Mount { kind: "tmpfs", target: "/rootfs/run", flags: INERT, data: "mode=0755,size=1m" },
    Mount { kind: "tmpfs", target: "/rootfs/tmp", flags: INERT, data: "mode=1777,size=16m" },
];

const INERT: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Mounts everything below the future root.
pub(crate) fn prepare() -> Result<(), Reason> {
    // A mount point of its own, which can be moved and have flags of its own.
    change(Some(ROOT), ROOT, MsFlags::MS_BIND)?;
    for entry in &MOUNTS {
        mount(Some(entry.kind), entry.target, Some(entry.kind), entry.flags, Some(entry.data))
            .map_err(|_| Reason::MountFailed)?;
    }
    Ok(())
}

/// Makes the prepared tree the root. The initial file system cannot be unmounted or pivoted away, so it is mounted over
/// (Linux, Documentation/filesystems/ramfs-rootfs-initramfs.rst).
pub(crate) fn enter() -> Result<(), Reason> {
    change(None, ROOT, MsFlags::MS_REMOUNT.union(MsFlags::MS_BIND).union(READ_ONLY))?;
    chdir(ROOT).map_err(|_| Reason::MountFailed)?;
    change(Some("."), "/", MsFlags::MS_MOVE)?;
    chroot(".").and_then(|()| chdir("/")).map_err(|_| Reason::MountFailed)
}

/// Makes a root read-only that another init has entered.
pub(crate) fn protect() -> Result<(), Reason> {
    change(None, "/", MsFlags::MS_REMOUNT.union(MsFlags::MS_BIND).union(READ_ONLY))
}

const READ_ONLY: MsFlags = MsFlags::MS_RDONLY.union(MsFlags::MS_NOSUID).union(MsFlags::MS_NODEV);

fn change(source: Option<&str>, target: &str, flags: MsFlags) -> Result<(), Reason> {
    mount(source, target, None::<&str>, flags, None::<&str>).map_err(|_| Reason::MountFailed)
}
