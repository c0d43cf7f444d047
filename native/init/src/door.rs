//! `/dev/nsm`: opened here, then closed to everybody. Linux creates it for all to use (mode 0666).

use std::fs::{File, OpenOptions, Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use crate::reason::Reason;

const DEVICE: &str = "/dev/nsm";

/// Opens the device, and lets nobody but root open it again.
pub(crate) fn open() -> Result<File, Reason> {
    let device = OpenOptions::new().read(true).write(true).open(DEVICE).map_err(|_| Reason::NoNsm)?;
    set_permissions(DEVICE, Permissions::from_mode(0o000)).map_err(|_| Reason::NoNsm)?;
    Ok(device)
}
