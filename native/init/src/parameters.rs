//! The boot parameters that are ours, from `/proc/cmdline`. There is one.

use std::fs;

use crate::reason::Reason;

const PARENT_CID: &str = "cosigner.parent_cid=";

/// What the kernel's command line may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// The vsock address of the parent instance.
    pub(crate) parent_cid: u32,
}

impl Default for Parameters {
    /// On Nitro the parent is CID 3 (AWS, "Nitro Enclaves concepts").
    fn default() -> Self {
        Self { parent_cid: 3 }
    }
}

/// Reads the command line of the running kernel.
pub(crate) fn read() -> Result<Parameters, Reason> {
    let line = fs::read_to_string("/proc/cmdline").map_err(|_| Reason::BadParameter)?;
    parse(&line).ok_or(Reason::BadParameter)
}

/// `None` where our parameter stands twice or is no CID in plain decimal.
fn parse(line: &str) -> Option<Parameters> {
    let mut given = line.split_ascii_whitespace().filter_map(|word| word.strip_prefix(PARENT_CID));
    let Some(text) = given.next() else { return Some(Parameters::default()) };
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    // 0 is the hypervisor, 1 the machine itself, and the last number stands for any.
    let parent_cid = text.parse().ok().filter(|cid| plain && (2..u32::MAX).contains(cid))?;
    given.next().is_none().then_some(Parameters { parent_cid })
}

#[cfg(test)]
mod tests {
    use super::{Parameters, parse};

    fn cid(line: &str) -> Option<u32> {
        parse(line).map(|parameters| parameters.parent_cid)
    }

    #[test]
    fn the_parent_is_cid_3_unless_the_command_line_says_otherwise() {
        assert_eq!(Parameters::default().parent_cid, 3);
        assert_eq!(cid(""), Some(3));
        assert_eq!(cid("reboot=k panic=30 nomodules console=ttyS0\n"), Some(3));
        assert_eq!(cid("reboot=k cosigner.parent_cid=2 virtio_mmio.device=512@0xfeb00e00:12\n"), Some(2));
        assert_eq!(cid("cosigner.parent_cid=4294967294"), Some(4_294_967_294));
    }

    #[test]
    fn only_a_word_that_begins_with_the_name_counts() {
        assert_eq!(cid("not_cosigner.parent_cid=2"), Some(3));
        assert_eq!(cid("cosigner.parent_cid"), Some(3));
        assert_eq!(cid("cosigner.parent_cid_=2"), Some(3));
    }

    #[test]
    fn a_cid_is_plain_decimal_of_a_parent_and_stands_once() {
        for bad in [
            "",
            "0",
            "1",
            "02",
            "+2",
            "-2",
            "0x2",
            "2,3",
            "4294967295",
            "4294967298",
            "18446744073709551618",
            "٢",
        ] {
            let line = format!("cosigner.parent_cid={bad}");
            assert_eq!(cid(&line), None, "{line}");
        }
        assert_eq!(cid("cosigner.parent_cid=2 cosigner.parent_cid=2"), None);
        assert_eq!(cid("cosigner.parent_cid=2 quiet cosigner.parent_cid=3"), None);
    }
}
