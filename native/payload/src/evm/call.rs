//! The token calls that people and policies want to know about (ERC-20).

use alloy_primitives::{Address, U256};

/// A call that is decoded because its selector and its length match exactly. Whether the called contract is a token
/// is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `transfer(address,uint256)`.
    Transfer {
        /// Receiver, EIP-55.
        to: String,
        /// In the token's smallest unit, big-endian.
        amount: [u8; 32],
    },
    /// `approve(address,uint256)`.
    Approve {
        /// Who may spend, EIP-55.
        spender: String,
        /// In the token's smallest unit, big-endian.
        amount: [u8; 32],
    },
    /// `transferFrom(address,address,uint256)`.
    TransferFrom {
        /// Whose tokens, EIP-55.
        from: String,
        /// Receiver, EIP-55.
        to: String,
        /// In the token's smallest unit, big-endian.
        amount: [u8; 32],
    },
}

impl Call {
    /// The call that `data` makes, if it is one of these.
    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        let (selector, arguments) = data.split_first_chunk::<4>()?;
        let (words, rest) = arguments.as_chunks::<32>();
        if !rest.is_empty() {
            return None;
        }
        match (*selector, words) {
            ([0xa9, 0x05, 0x9c, 0xbb], [to, amount]) => {
                Some(Self::Transfer { to: address(to)?, amount: *amount })
            }
            ([0x09, 0x5e, 0xa7, 0xb3], [spender, amount]) => {
                Some(Self::Approve { spender: address(spender)?, amount: *amount })
            }
            ([0x23, 0xb8, 0x72, 0xdd], [from, to, amount]) => {
                Some(Self::TransferFrom { from: address(from)?, to: address(to)?, amount: *amount })
            }
            _ => None,
        }
    }
}

/// An address is a number of 160 bits (contract ABI); contracts refuse larger ones.
fn address(word: &[u8; 32]) -> Option<String> {
    let number = U256::from_be_bytes(*word);
    (number.bit_len() <= 160).then(|| Address::from_word((*word).into()).to_string())
}
