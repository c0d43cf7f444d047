//! The NSM driver, where the kernel does not have it built in (AWS's has not).

use std::fs::File;
use std::io::ErrorKind;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::reason::Reason;

/// In the first ramdisk, beside this program.
const MODULE: &str = "/nsm.ko";

/// Loads the driver if the image has one.
pub(crate) fn load() -> Result<(), Reason> {
    match File::open(MODULE) {
        Ok(module) => match finit_module(&module, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(_) => Err(Reason::ModuleFailed),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(_) => Err(Reason::ModuleFailed),
    }
}
