//! From rows of the extension to pads: scalars that only the side that has the row can compute.
//!
//! The hash is TMMO of Guo, Katz, Wang and Yu ("Efficient and Secure Multiparty Computation from Fixed-Key Block
//! Ciphers", IEEE S&P 2020, §7.4): pi(pi(x) + i) + pi(x), a tweakable circular correlation robust hash, with AES-128
//! for pi. Every row has a key of its own, as in the multi-instance construction of Guo, Katz, Wang, Weng and Yu
//! ("Better Concrete Security for Half-Gates Garbling", CRYPTO 2020), so that no bound degrades with the number of
//! rows or signatures. The keys are public.
//!
//! A pad is 256 bits reduced modulo q. For secp256k1 2^256 - q < 2^129, so it is uniform but for a statistical
//! distance below 2^-127, as good as what a wider reduction would give for other curves.

use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use k256::elliptic_curve::ops::Reduce as _;
use k256::{Scalar, U256};
use zeroize::Zeroize as _;

use crate::hash::tagged;

/// The pads of one signature.
pub(super) struct Pads {
    key: u128,
}

impl Pads {
    /// Bound to `transcript`, which covers the session and all of message 1.
    pub(super) fn new(transcript: &[u8; 32]) -> Self {
        let hash = tagged("cosigner/ecdsa/v1/pads", &[transcript]);
        let (key, _) = hash.split_first_chunk().unwrap_or((&[0; 16], &[]));
        Self { key: u128::from_le_bytes(*key) }
    }

    /// `N` scalars for each of `rows`, which all belong to transfer `j`.
    pub(super) fn of<const N: usize, const M: usize>(&self, j: usize, rows: [u128; M]) -> [[Scalar; N]; M] {
        let cipher = Aes128Enc::new(&(self.key ^ j as u128).to_le_bytes().into());
        let mut inner = rows.map(u128::to_le_bytes);
        cipher.encrypt_blocks(Array::cast_slice_from_core_mut(&mut inner));
        let mut blocks = inner.map(|inner| {
            let inner = u128::from_le_bytes(inner);
            let mut tweak = 0_u128;
            [(); N].map(|()| {
                [(); 2].map(|()| {
                    tweak += 1;
                    (inner ^ tweak).to_le_bytes()
                })
            })
        });
        let flat = blocks.as_flattened_mut().as_flattened_mut();
        cipher.encrypt_blocks(Array::cast_slice_from_core_mut(flat));
        let mut pads = [[Scalar::ZERO; N]; M];
        for ((pads, blocks), inner) in pads.iter_mut().zip(&blocks).zip(&inner) {
            for (pad, pair) in pads.iter_mut().zip(blocks) {
                *pad = scalar(pair, inner);
            }
        }
        blocks.as_flattened_mut().as_flattened_mut().as_flattened_mut().zeroize();
        inner.zeroize();
        pads
    }
}

/// Two blocks, each plus the inner block, as a big-endian number modulo q.
fn scalar([high, low]: &[[u8; 16]; 2], inner: &[u8; 16]) -> Scalar {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(high.iter().chain(low).zip(inner.iter().chain(inner))) {
        *to = from.0 ^ from.1;
    }
    let scalar = Scalar::reduce(U256::from_be_slice(&bytes));
    bytes.zeroize();
    scalar
}
