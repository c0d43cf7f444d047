//! Instructions, and the few whose meaning is decoded.

use solana_message::Address;
use solana_message::compiled_instruction::CompiledInstruction;

/// `11111111111111111111111111111111`, the System program.
const SYSTEM: Address = Address::new_from_array([0; 32]);
/// The Token program.
const TOKEN: &str = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";
/// The Token-2022 program, whose transfers have the same layout.
const TOKEN_2022: &str = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb";

/// A decoded transfer. All accounts are base58.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// System program, instruction 2.
    System {
        /// Debited.
        from: String,
        /// Credited.
        to: String,
        /// Amount.
        lamports: u64,
    },
    /// Token program, instruction 3.
    Token {
        /// Token account debited.
        source: String,
        /// Token account credited.
        destination: String,
        /// Owner or delegate of the source.
        owner: String,
        /// Amount in the token's smallest unit.
        amount: u64,
    },
    /// Token program, instruction 12: as before, with mint and decimals checked by the program.
    TokenChecked {
        /// Token account debited.
        source: String,
        /// The token.
        mint: String,
        /// Token account credited.
        destination: String,
        /// Owner or delegate of the source.
        owner: String,
        /// Amount in the token's smallest unit.
        amount: u64,
        /// The mint's decimals.
        decimals: u8,
    },
}

/// One instruction of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The program, base58. Always named in the message itself: programs cannot come from lookup tables.
    pub program: Option<String>,
    /// The accounts, base58; `None` for one that comes from an address lookup table.
    pub accounts: Vec<Option<String>>,
    /// The data.
    pub data: Vec<u8>,
    /// What it does, when it is a transfer in which every account is named in the message itself.
    pub transfer: Option<Transfer>,
}

impl Instruction {
    pub(super) fn decode(compiled: &CompiledInstruction, keys: &[Address]) -> Self {
        let program = keys.get(usize::from(compiled.program_id_index));
        let accounts: Vec<Option<String>> = compiled
            .accounts
            .iter()
            .map(|index| keys.get(usize::from(*index)).map(ToString::to_string))
            .collect();
        let transfer = program.and_then(|program| decode_transfer(program, &accounts, &compiled.data));
        Self { program: program.map(ToString::to_string), accounts, data: compiled.data.clone(), transfer }
    }
}

fn decode_transfer(program: &Address, accounts: &[Option<String>], data: &[u8]) -> Option<Transfer> {
    if *program == SYSTEM {
        return system_transfer(accounts, data);
    }
    let program = program.to_string();
    if program == TOKEN || program == TOKEN_2022 { token_transfer(accounts, data) } else { None }
}

/// `u32` 2, `u64` lamports, little endian (bincode of `SystemInstruction::Transfer`).
fn system_transfer(accounts: &[Option<String>], data: &[u8]) -> Option<Transfer> {
    let amount = data.strip_prefix(&[2, 0, 0, 0])?;
    let lamports = u64::from_le_bytes(amount.try_into().ok()?);
    match accounts {
        [Some(from), Some(to)] => Some(Transfer::System { from: from.clone(), to: to.clone(), lamports }),
        _ => None,
    }
}

/// `u8` 3, `u64` amount; or `u8` 12, `u64` amount, `u8` decimals. Further accounts are signers of a multisig
/// owner.
fn token_transfer(accounts: &[Option<String>], data: &[u8]) -> Option<Transfer> {
    match (data.split_first()?, accounts) {
        ((3, amount), [Some(source), Some(destination), Some(owner), ..]) => Some(Transfer::Token {
            source: source.clone(),
            destination: destination.clone(),
            owner: owner.clone(),
            amount: u64::from_le_bytes(amount.try_into().ok()?),
        }),
        ((12, rest), [Some(source), Some(mint), Some(destination), Some(owner), ..]) => {
            let (decimals, amount) = rest.split_last()?;
            Some(Transfer::TokenChecked {
                source: source.clone(),
                mint: mint.clone(),
                destination: destination.clone(),
                owner: owner.clone(),
                amount: u64::from_le_bytes(amount.try_into().ok()?),
                decimals: *decimals,
            })
        }
        _ => None,
    }
}
