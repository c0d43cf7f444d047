//! What only the user's own device does: whole private keys, from import to export (`docs/spec/threshold.md`, "The
//! device's own: whole keys").
//!
//! Behind the cargo feature `device`. The enclave's image is built without it: no code there combines shares, holds a
//! whole key, or gives a share out in clear.
//!
//! A key is checked when it comes in and is then one type, [`SecretKey`], whatever it came from. All copies that are
//! made here are zeroized. What libraries leave behind on the stack or heap is listed in `docs/limitations.md`.

mod combine;
mod deal;
mod passcode;
mod phrase;
mod secret;
mod text;
mod tree;

#[cfg(test)]
mod tests;

pub use passcode::Passcode;
pub use secret::SecretKey;
pub use text::{Export, Network};
