//! Why the enclave ended: what the parent is told, in one line.

use std::fmt;

/// The one line's content: `[a-z_]{1,32}( [0-9]{1,3})?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The enclave's process ended by itself, with this code.
    Exited(u8),
    /// It was ended by this signal; 31 is a system call that it may not make.
    Killed(u8),
    /// A boot parameter of ours is not as specified.
    BadParameter,
    /// A file system could not be mounted or entered.
    MountFailed,
    /// The NSM driver is in the image, but does not load.
    ModuleFailed,
    /// The loopback interface cannot be raised.
    NoLoopback,
    /// The kernel's random numbers do not come from the NSM.
    NoEntropy,
    /// There is no NSM device.
    NoNsm,
    /// The parent did not answer.
    NoHeartbeat,
    /// The enclave's process could not be started as specified.
    StartFailed,
    /// The enclave's process could not be waited for.
    Lost,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(formatter, "exited {code}"),
            Self::Killed(signal) => write!(formatter, "killed {signal}"),
            Self::BadParameter => formatter.write_str("bad_parameter"),
            Self::MountFailed => formatter.write_str("mount_failed"),
            Self::ModuleFailed => formatter.write_str("module_failed"),
            Self::NoLoopback => formatter.write_str("no_loopback"),
            Self::NoEntropy => formatter.write_str("no_entropy"),
            Self::NoNsm => formatter.write_str("no_nsm"),
            Self::NoHeartbeat => formatter.write_str("no_heartbeat"),
            Self::StartFailed => formatter.write_str("start_failed"),
            Self::Lost => formatter.write_str("lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn every_reason_fits_the_line() {
        let reasons = [
            Reason::Exited(0),
            Reason::Exited(255),
            Reason::Killed(31),
            Reason::BadParameter,
            Reason::MountFailed,
            Reason::ModuleFailed,
            Reason::NoLoopback,
            Reason::NoEntropy,
            Reason::NoNsm,
            Reason::NoHeartbeat,
            Reason::StartFailed,
            Reason::Lost,
        ];
        for reason in reasons {
            let text = reason.to_string();
            let (word, number) = text.split_once(' ').unwrap_or((&text, "0"));
            assert!((1..=32).contains(&word.len()), "{text}");
            assert!(word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()), "{text}");
            assert!(
                (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit()),
                "{text}"
            );
        }
    }
}
