//! The extension of 128 base transfers to the 832 of one signature: SoftSpokenOT (Roy, "SoftSpokenOT: Quieter OT
//! Extension from Small-Field Silent VOLE in the Minicrypt Model", CRYPTO 2022, eprint 2022/192) with k = 1, that is
//! over GF(2) with the repetition code: the columns of IKNP with a sound check. It is also what Keller, Orsini and
//! Scholl put in the place of their first protocol (eprint 2015/546 as revised in 2022, figure 10).
//! `docs/adr/0010-ot-extension.md` says why.
//!
//! Column i of the client's matrix is t_i = G(s_i0); it sends c_i = G(s_i0) + G(s_i1) + x. The enclave, who has
//! G(s_{i,Delta_i}), gets q_i = t_i + Delta_i x. By rows: q^j = t^j + x_j Delta.
//!
//! Check: for a random linear hash h: GF(2)^960 -> GF(2)^128 it must hold that h(q_i) = h(t_i) + Delta_i h(x) for
//! every i. h adds 128 rows, which are used for nothing else, to a polynomial hash of the other rows; thereby h(x)
//! and the h(t_i) are uniform and reveal nothing. Of the h(t_i) only a hash is sent: the enclave knows which values
//! it must accept. The challenge that picks h is a hash of everything sent before (Fiat and Shamir); with 128 bits
//! a search for columns that collide costs more than 2^110 hashes.

use aes::Aes256Enc;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use polyval::Polyval;
use polyval::universal_hash::UniversalHash as _;
use rand_core::{CryptoRng, RngCore};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::base_ot::Seed;
use super::bits::{self, BLOCKS, COLUMN_LEN, Column, bit, mask};
use super::check::{Check, enforced};
use super::ct::{public, verdict};
use super::session::{ClientSeeds, EnclaveSeeds};
use super::wire::Request;
use super::{KAPPA, ROWS};
use crate::hash::tagged;

/// The client's result: row j is t^j, and the choice bits.
pub(super) struct Chosen {
    pub(super) rows: Zeroizing<Vec<u128>>,
    /// Choice bits as 0 or 1, one for each row.
    pub(super) bits: Zeroizing<Vec<u8>>,
}

/// What the client draws: choice bits for all rows, the mask rows included.
pub(super) struct Choices(pub(super) Zeroizing<Column>);

impl Choices {
    pub(super) fn draw(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut bytes = Zeroizing::new([0; COLUMN_LEN]);
        rng.fill_bytes(bytes.as_mut());
        Self(Zeroizing::new(bits::from_bytes(&bytes)))
    }

    /// The choice bits of the signature's rows as 0 or 1.
    pub(super) fn bits(&self) -> Zeroizing<Vec<u8>> {
        let blocks = self.0.iter().skip(1);
        Zeroizing::new(blocks.flat_map(|block| (0..128).map(|i| bit(*block, i) as u8)).take(ROWS).collect())
    }
}

/// Client: completes message 1, which holds everything before the columns, with columns and check.
pub(super) fn receive(
    seeds: &ClientSeeds,
    index: u64,
    context: &[u8; 32],
    choices: &Choices,
    message: &mut Vec<u8>,
) -> Chosen {
    let x = &choices.0;
    let mut columns = Zeroizing::new([[0; BLOCKS]; KAPPA]);
    for (column, [seed0, seed1]) in columns.iter_mut().zip(seeds.pairs.iter()) {
        *column = expand(seed0, index);
        let mut sent = expand(seed1, index);
        for ((sent, t), x) in sent.iter_mut().zip(column.iter()).zip(x.iter()) {
            *sent ^= t ^ x;
        }
        bits::write(&sent, message);
    }
    let hash = LinearHash::new(context, message, &[]);
    let mut t_hashes = Zeroizing::new(Vec::with_capacity(KAPPA));
    t_hashes.extend(columns.iter().map(|column| hash.of(column)));
    message.extend_from_slice(&hash.of(x).to_le_bytes());
    message.extend_from_slice(&commitment(context, &t_hashes));
    public(message);
    Chosen { rows: Zeroizing::new(bits::rows(&columns)), bits: choices.bits() }
}

/// Enclave: the rows q^j, if the client's columns are consistent.
pub(super) fn send(
    seeds: &EnclaveSeeds,
    context: &[u8; 32],
    request: &Request<'_>,
) -> Option<Zeroizing<Vec<u128>>> {
    let hash = LinearHash::new(context, request.head, request.columns);
    let mut columns = Zeroizing::new([[0; BLOCKS]; KAPPA]);
    let mut t_hashes = Zeroizing::new(Vec::with_capacity(KAPPA));
    let (sent, _) = request.columns.as_chunks::<COLUMN_LEN>();
    for (i, ((column, seed), sent)) in columns.iter_mut().zip(seeds.seeds.iter()).zip(sent).enumerate() {
        let delta = mask(bit(*seeds.delta, i) == 1);
        *column = expand(seed, request.index);
        for (q, sent) in column.iter_mut().zip(bits::from_bytes(sent)) {
            *q ^= sent & delta;
        }
        t_hashes.push(hash.of(column) ^ (request.x_hash & delta));
    }
    let consistent = commitment(context, &t_hashes).ct_eq(&request.t_hash);
    if !verdict(consistent) && enforced(Check::Extension) {
        return None;
    }
    Some(Zeroizing::new(bits::rows(&columns)))
}

/// G: AES-256 in counter mode. The counter block holds the extension's index and the number of the block.
pub(super) fn expand(seed: &Seed, index: u64) -> Column {
    let cipher = Aes256Enc::new(seed.into());
    let mut blocks = [[0_u8; 16]; BLOCKS];
    for (number, block) in (0_u64..).zip(&mut blocks) {
        *block = ((u128::from(index) << 64) | u128::from(number)).to_be_bytes();
    }
    cipher.encrypt_blocks(aes::cipher::Array::cast_slice_from_core_mut(&mut blocks));
    let mut column = [0; BLOCKS];
    for (to, from) in column.iter_mut().zip(&blocks) {
        *to = u128::from_le_bytes(*from);
    }
    blocks.zeroize();
    bits::clip(&mut column);
    column
}

/// The hash h of the check: the mask rows plus POLYVAL (RFC 8452 §3) of the other rows under the challenge.
pub(super) struct LinearHash(Polyval);

impl LinearHash {
    pub(super) fn new(context: &[u8; 32], head: &[u8], columns: &[u8]) -> Self {
        let challenge = tagged("cosigner/ecdsa/v1/extension/challenge", &[context, head, columns]);
        let mut key = polyval::Key::default();
        for (to, from) in key.iter_mut().zip(challenge) {
            *to = from;
        }
        Self(Polyval::new(&key))
    }

    pub(super) fn of(&self, column: &Column) -> u128 {
        let [mask, rows @ ..] = column;
        let mut blocks = rows.map(|block| block.to_le_bytes());
        let mut hash = self.0.clone();
        hash.update(aes::cipher::Array::cast_slice_from_core(&blocks));
        blocks.zeroize();
        mask ^ u128::from_le_bytes(hash.finalize().into())
    }
}

/// One hash in the place of all h(t_i).
pub(super) fn commitment(context: &[u8; 32], t_hashes: &[u128]) -> [u8; 32] {
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * KAPPA));
    for hash in t_hashes {
        bytes.extend_from_slice(&hash.to_le_bytes());
    }
    tagged("cosigner/ecdsa/v1/extension/check", &[context, &bytes])
}
