//! Bit columns and their transposition.

use zeroize::Zeroize;

use super::{KAPPA, ROWS};

/// Rows that are given up so that the consistency check reveals nothing (as many as its hash has bits).
pub(super) const MASK_ROWS: usize = 128;
/// Length of a column on the wire, in bytes: 128 mask rows, then the rows of the signature.
pub(super) const COLUMN_LEN: usize = (MASK_ROWS + ROWS) / 8;
/// Blocks of 128 bits in a column; the upper half of the last one is not used.
pub(super) const BLOCKS: usize = COLUMN_LEN.div_ceil(16);

/// One column of the extension's matrix: bit j stands in block j / 128 at position j % 128. The unused bits are zero.
pub(super) type Column = [u128; BLOCKS];

/// Which bits of the last block exist.
const LAST: u128 = u128::MAX >> (BLOCKS * 128 - COLUMN_LEN * 8);

/// Clears the bits that do not exist.
pub(super) fn clip(column: &mut Column) {
    if let Some(last) = column.last_mut() {
        *last &= LAST;
    }
}

/// A column from its wire form.
pub(super) fn from_bytes(bytes: &[u8; COLUMN_LEN]) -> Column {
    let mut column = [0; BLOCKS];
    for (block, chunk) in column.iter_mut().zip(bytes.chunks(16)) {
        let mut padded = [0; 16];
        for (to, from) in padded.iter_mut().zip(chunk) {
            *to = *from;
        }
        *block = u128::from_le_bytes(padded);
    }
    column
}

/// Appends a column's wire form.
pub(super) fn write(column: &Column, out: &mut Vec<u8>) {
    let start = out.len();
    for block in column {
        out.extend_from_slice(&block.to_le_bytes());
    }
    out.truncate(start + COLUMN_LEN);
}

/// All ones where the bit is set, all zeros where it is not.
pub(super) const fn mask(bit: bool) -> u128 {
    (bit as u128).wrapping_neg()
}

/// Bit `i` as 0 or 1.
pub(super) const fn bit(word: u128, i: usize) -> u128 {
    (word >> (i % 128)) & 1
}

/// The rows of a matrix given by its columns: bit i of row j is bit j of column i. The mask rows are left out.
pub(super) fn rows(columns: &[Column; KAPPA]) -> Vec<u128> {
    let mut rows = Vec::with_capacity((BLOCKS - 1) * 128);
    for block in 1..BLOCKS {
        let mut square = [0_u128; 128];
        for (to, column) in square.iter_mut().zip(columns) {
            *to = column.get(block).copied().unwrap_or_default();
        }
        transpose(&mut square);
        rows.extend_from_slice(&square);
        square.zeroize();
    }
    rows.truncate(ROWS);
    rows
}

/// Transposes 128 by 128 bits: swaps ever smaller off-diagonal squares (Warren, "Hacker's Delight", §7-3).
fn transpose(square: &mut [u128; 128]) {
    let mut half = 64;
    let mut low = u128::from(u64::MAX);
    while half > 0 {
        for group in square.chunks_exact_mut(2 * half) {
            let (upper, lower) = group.split_at_mut(half);
            for (a, b) in upper.iter_mut().zip(lower) {
                let swap = ((*a >> half) ^ *b) & low;
                *b ^= swap;
                *a ^= swap << half;
            }
        }
        half /= 2;
        low ^= low << half;
    }
}

#[cfg(test)]
mod tests {
    use rand_core::RngCore;

    use super::*;
    use crate::testing::rng;

    #[test]
    fn rows_are_the_transposed_columns() {
        let mut rng = rng(1);
        let mut columns = [[0_u128; BLOCKS]; KAPPA];
        for column in &mut columns {
            for block in column.iter_mut() {
                *block = (u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64());
            }
            clip(column);
        }
        let rows = rows(&columns);
        assert_eq!(rows.len(), ROWS);
        for (j, row) in rows.iter().enumerate() {
            for (i, column) in columns.iter().enumerate() {
                let at = MASK_ROWS + j;
                assert_eq!(bit(*row, i), bit(column[at / 128], at % 128));
            }
        }
    }

    #[test]
    fn a_column_is_read_as_it_was_written() {
        let bytes: [u8; COLUMN_LEN] = std::array::from_fn(|i| i as u8 ^ 0x5a);
        let mut out = vec![1];
        write(&from_bytes(&bytes), &mut out);
        assert_eq!(out[1..], bytes);
        assert_eq!(from_bytes(&bytes)[BLOCKS - 1] & !LAST, 0);
    }
}
