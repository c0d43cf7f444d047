//! From rows of the extension to pads: scalars that only the side that has the row can compute.
//!
//! The hash is TMMO of Guo, Katz, Wang and Yu ("Efficient and Secure Multiparty Computation from Fixed-Key Block
//! Ciphers", IEEE S&P 2020, eprint 2019/074): pi(pi(x) + i) + pi(x), a tweakable circular correlation robust hash, with AES-128
//! for pi. Every eight rows have a key of their own, as in the multi-instance construction of Guo, Katz, Wang, Weng and
//! Yu ("Better Concrete Security for Half-Gates Garbling", CRYPTO 2020, eprint 2019/1168), so that the bound does not degrade with the
//! number of rows or signatures. The keys are public.

use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use k256::Scalar;
use zeroize::{Zeroize as _, Zeroizing};

use super::curve::to_scalar;
use crate::hash::tagged;

/// Rows that share a key.
pub(super) const GROUP: usize = 8;

/// What a group of rows gives: for each row, for each of the M values of this row, N scalars.
pub(super) type GroupPads<const N: usize, const M: usize> = Zeroizing<[[[Scalar; N]; M]; GROUP]>;

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

    /// The pads of the eight rows from 8 * `group` on.
    pub(super) fn of<const N: usize, const M: usize>(
        &self,
        group: usize,
        rows: &[[u128; M]; GROUP],
    ) -> GroupPads<N, M> {
        let cipher = Aes128Enc::new(&(self.key ^ group as u128).to_le_bytes().into());
        let mut inner = [[[0; 16]; M]; GROUP];
        for (block, row) in inner.as_flattened_mut().iter_mut().zip(rows.as_flattened()) {
            *block = row.to_le_bytes();
        }
        cipher.encrypt_blocks(Array::cast_slice_from_core_mut(inner.as_flattened_mut()));
        let mut outer = [[[[[0; 16]; 2]; N]; M]; GROUP];
        for (j, (outer, inner)) in (GROUP * group..).zip(outer.iter_mut().zip(&inner)) {
            for (outer, inner) in outer.iter_mut().zip(inner) {
                let inner = u128::from_le_bytes(*inner);
                for (block, c) in outer.as_flattened_mut().iter_mut().zip(1..) {
                    *block = (inner ^ tweak(j, c)).to_le_bytes();
                }
            }
        }
        let flat = outer.as_flattened_mut().as_flattened_mut().as_flattened_mut();
        cipher.encrypt_blocks(Array::cast_slice_from_core_mut(flat));
        let mut pads = Zeroizing::new([[[Scalar::ZERO; N]; M]; GROUP]);
        let all = pads.as_flattened_mut().iter_mut().zip(outer.as_flattened()).zip(inner.as_flattened());
        for ((pads, outer), inner) in all {
            let inner = u128::from_be_bytes(*inner);
            for (pad, [high, low]) in pads.iter_mut().zip(outer) {
                let halves = [high, low].map(|half| (u128::from_be_bytes(*half) ^ inner).to_be_bytes());
                *pad = to_scalar(halves.as_flattened().first_chunk().unwrap_or(&[0; 32]));
            }
        }
        outer.as_flattened_mut().as_flattened_mut().as_flattened_mut().as_flattened_mut().zeroize();
        inner.as_flattened_mut().as_flattened_mut().zeroize();
        pads
    }
}

/// The tweak of block c = 1, 2, ... of row j.
const fn tweak(j: usize, c: u128) -> u128 {
    (j as u128) << 8 | c
}
