//! Characters that are there and show nothing.

/// Whether nobody sees the character, though a model reads it: tag characters, zero-width ones, and
/// those that turn the direction of writing. Joiners, which honest scripts need, are none of them.
pub(crate) fn unseen(c: char) -> bool {
    matches!(c,
        '\u{e0000}'..='\u{e007f}'
        | '\u{200b}'
        | '\u{2060}'..='\u{2064}'
        | '\u{feff}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}')
}
