//! Keys by name: `Enter`, `Control+a`, `x`.

/// Modifiers, numbered as the browser protocol does.
pub(in crate::env) const ALT: u8 = 1;
pub(in crate::env) const CONTROL: u8 = 2;
pub(in crate::env) const META: u8 = 4;
pub(in crate::env) const SHIFT: u8 = 8;

/// A key with its modifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::env) struct Key {
    /// The sum of those held down: [`ALT`], [`CONTROL`], [`META`], [`SHIFT`].
    pub modifiers: u8,
    /// As `KeyboardEvent.key` calls it: a name of [`NAMED`], `F1` to `F12`, or one character.
    pub name: String,
}

const NAMED: [&str; 15] = [
    "Enter",
    "Tab",
    "Escape",
    "Backspace",
    "Delete",
    "Insert",
    "ArrowUp",
    "ArrowDown",
    "ArrowLeft",
    "ArrowRight",
    "Home",
    "End",
    "PageUp",
    "PageDown",
    " ",
];

/// Other names for some of [`NAMED`].
const ALIASES: [(&str, &str); 8] = [
    ("return", "Enter"),
    ("esc", "Escape"),
    ("del", "Delete"),
    ("up", "ArrowUp"),
    ("down", "ArrowDown"),
    ("left", "ArrowLeft"),
    ("right", "ArrowRight"),
    ("space", " "),
];

impl Key {
    /// A key without modifiers. `name` is not checked.
    pub(in crate::env) fn plain(name: &str) -> Self {
        Self {
            modifiers: 0,
            name: name.to_owned(),
        }
    }

    /// Parses modifiers and a key, joined by `+`; names in any case.
    ///
    /// # Errors
    /// Says which part is no key.
    pub(in crate::env) fn parse(text: &str) -> Result<Self, String> {
        let (prefix, last) = match text.rsplit_once('+') {
            Some((prefix, "")) => (prefix.strip_suffix('+').unwrap_or(""), "+"),
            Some((prefix, last)) => (prefix, last),
            None => ("", text),
        };
        let alias = ALIASES.iter().find(|(a, _)| a.eq_ignore_ascii_case(last));
        let wanted = alias.map_or(last, |(_, key)| *key);
        let known = NAMED.iter().find(|key| key.eq_ignore_ascii_case(wanted));
        let name = match (known, function(wanted)) {
            (Some(name), _) => (*name).to_owned(),
            (None, Some(number)) => format!("F{number}"),
            (None, None) if wanted.chars().count() == 1 => wanted.to_owned(),
            (None, None) => {
                return Err(format!(
                    "`{last}` is no key (Enter, Tab, Escape, Backspace, Delete, ArrowDown, Home, \
                     End, PageDown, Space, F1, or one character)"
                ));
            }
        };
        let mut key = Self::plain(&name);
        for name in prefix.split('+').filter(|part| !part.is_empty()) {
            key.modifiers |= match name.to_lowercase().as_str() {
                "alt" | "option" => ALT,
                "control" | "ctrl" => CONTROL,
                "meta" | "cmd" | "command" => META,
                "shift" => SHIFT,
                _ => {
                    return Err(format!(
                        "`{name}` is no modifier (Control, Shift, Alt, Meta)"
                    ));
                }
            };
        }
        Ok(key)
    }

    /// Whether a modifier under which no key types is held down.
    pub(in crate::env) fn commands(&self) -> bool {
        self.modifiers & !SHIFT != 0
    }

    /// The character that it types, if it types one. Enter is not among them.
    pub(in crate::env) fn text(&self) -> Option<&str> {
        (!self.commands() && self.name.chars().count() == 1).then_some(&self.name)
    }

    /// The number of a function key.
    #[cfg(feature = "browser")]
    pub(in crate::env) fn function(&self) -> Option<u8> {
        function(&self.name)
    }
}

/// `F1` to `F12`.
fn function(name: &str) -> Option<u8> {
    let number = name.strip_prefix(['F', 'f'])?.parse().ok()?;
    (1..=12).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_modifiers_and_characters() {
        let key = |text: &str| Key::parse(text).unwrap();
        assert_eq!(key("return"), Key::plain("Enter"));
        assert_eq!(key("f5"), Key::plain("F5"));
        assert_eq!(key("+"), Key::plain("+"));
        assert_eq!(key("Space").text(), Some(" "));
        assert_eq!(key("Shift+A").text(), Some("A"));
        assert_eq!(key("Enter").text(), None);
        let all = key("Ctrl+a");
        assert_eq!((all.modifiers, all.text()), (CONTROL, None));
        assert_eq!(key("Control++").name, "+");
        assert!(Key::parse("Hyper+x").unwrap_err().contains("no modifier"));
        assert!(Key::parse("Submit").unwrap_err().contains("no key"));
    }
}
