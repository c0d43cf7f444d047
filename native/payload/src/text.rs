//! Text that people are shown.

/// Whether a character shows as what it is: no control characters but white space, nothing that is invisible or
/// turns the direction of writing. (The joiners U+200C and U+200D are part of scripts and emoji.)
pub(crate) fn is_printable(c: char) -> bool {
    match c {
        '\n' | '\r' | '\t' => true,
        '\u{200c}' | '\u{200d}' => true,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' => false,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => false,
        '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => false,
        _ => !c.is_control(),
    }
}
