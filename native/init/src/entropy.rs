//! Random numbers: the kernel must take them from the NSM, and has fresh ones before anything needs any.

use std::fs::{self, File, OpenOptions};
use std::io::Read;

use crate::reason::Reason;
use crate::unsafe_calls::{self, SEED_BYTES};

const CURRENT: &str = "/sys/class/misc/hw_random/rng_current";
/// The name that Linux's NSM driver gives its generator (drivers/misc/nsm.c).
const NSM: &str = "nsm-hwrng";

/// Refuses any other source than the NSM, and mixes 64 bytes of it into the kernel's pool, counted as entropy.
pub(crate) fn require() -> Result<(), Reason> {
    let current = fs::read_to_string(CURRENT).map_err(|_| Reason::NoEntropy)?;
    if current.trim_end() != NSM {
        return Err(Reason::NoEntropy);
    }
    let mut seed = [0; SEED_BYTES];
    File::open("/dev/hwrng")
        .and_then(|mut device| device.read_exact(&mut seed))
        .map_err(|_| Reason::NoEntropy)?;
    let pool = OpenOptions::new().write(true).open("/dev/urandom").map_err(|_| Reason::NoEntropy)?;
    unsafe_calls::add_entropy(&pool, seed).map_err(|_| Reason::NoEntropy)
}
