//! The first sign of life: the parent's `nitro-cli` waits for it (aws-nitro-enclaves-sdk-bootstrap, init/init.c).

use std::io::{Error, ErrorKind, Read, Write};
use std::thread::sleep;
use std::time::Duration;

use crate::reason::Reason;
use crate::vsock;

const PORT: u32 = 9000;
const BEAT: u8 = 0xB7;
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(300);

/// Sends the byte and requires the same byte back.
pub(crate) fn answer(cid: u32) -> Result<(), Reason> {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            sleep(PAUSE);
        }
        if exchange(cid).is_ok() {
            return Ok(());
        }
    }
    Err(Reason::NoHeartbeat)
}

fn exchange(cid: u32) -> std::io::Result<()> {
    let mut stream = vsock::dial(cid, PORT)?;
    stream.write_all(&[BEAT])?;
    let mut reply = [0];
    stream.read_exact(&mut reply)?;
    if reply == [BEAT] { Ok(()) } else { Err(Error::from(ErrorKind::InvalidData)) }
}
