//! Keys by name, as the protocol wants them.

use chromiumoxide_cdp::cdp::browser_protocol::input::{
    DispatchKeyEventParams, DispatchKeyEventType,
};

/// A key press: modifiers and what the browser needs to know of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyPress {
    modifiers: i64,
    key: String,
    code: String,
    virtual_key: i64,
    text: Option<String>,
}

/// Key, code, virtual key code, text.
const NAMED: &[(&str, &str, i64, Option<&str>)] = &[
    ("Enter", "Enter", 13, Some("\r")),
    ("Tab", "Tab", 9, None),
    ("Escape", "Escape", 27, None),
    ("Backspace", "Backspace", 8, None),
    ("Delete", "Delete", 46, None),
    ("Insert", "Insert", 45, None),
    ("ArrowUp", "ArrowUp", 38, None),
    ("ArrowDown", "ArrowDown", 40, None),
    ("ArrowLeft", "ArrowLeft", 37, None),
    ("ArrowRight", "ArrowRight", 39, None),
    ("Home", "Home", 36, None),
    ("End", "End", 35, None),
    ("PageUp", "PageUp", 33, None),
    ("PageDown", "PageDown", 34, None),
    (" ", "Space", 32, Some(" ")),
];

/// The modifier under which a key still types text.
const SHIFT: i64 = 8;

const ALIASES: &[(&str, &str)] = &[
    ("return", "Enter"),
    ("esc", "Escape"),
    ("del", "Delete"),
    ("up", "ArrowUp"),
    ("down", "ArrowDown"),
    ("left", "ArrowLeft"),
    ("right", "ArrowRight"),
    ("space", " "),
];

impl KeyPress {
    /// Parses `Enter`, `Control+a`, `x`.
    ///
    /// # Errors
    /// Says which part is no key.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (prefix, last) = match text.rsplit_once('+') {
            Some((prefix, "")) => (prefix.strip_suffix('+').unwrap_or(""), "+"),
            Some((prefix, last)) => (prefix, last),
            None => ("", text),
        };
        let mut modifiers = 0;
        for name in prefix.split('+').filter(|part| !part.is_empty()) {
            modifiers |= match name.to_lowercase().as_str() {
                "alt" | "option" => 1,
                "control" | "ctrl" => 2,
                "meta" | "cmd" | "command" => 4,
                "shift" => SHIFT,
                _ => {
                    return Err(format!(
                        "`{name}` is no modifier (Control, Shift, Alt, Meta)"
                    ));
                }
            };
        }
        let alias = ALIASES
            .iter()
            .find(|(a, _)| a.eq_ignore_ascii_case(last))
            .map(|(_, key)| *key);
        let wanted = alias.unwrap_or(last);
        if let Some((key, code, virtual_key, text)) = NAMED
            .iter()
            .find(|(key, ..)| key.eq_ignore_ascii_case(wanted))
        {
            return Ok(Self {
                modifiers,
                key: (*key).to_owned(),
                code: (*code).to_owned(),
                virtual_key: *virtual_key,
                text: text.filter(|_| modifiers & !SHIFT == 0).map(str::to_owned),
            });
        }
        if let Some(number) = wanted
            .strip_prefix(['F', 'f'])
            .and_then(|n| n.parse::<u8>().ok())
            && (1..=12).contains(&number)
        {
            let key = format!("F{number}");
            let virtual_key = 111 + i64::from(number);
            return Ok(Self {
                modifiers,
                code: key.clone(),
                key,
                virtual_key,
                text: None,
            });
        }
        let mut characters = wanted.chars();
        let (Some(character), None) = (characters.next(), characters.next()) else {
            return Err(format!(
                "`{last}` is no key (Enter, Tab, Escape, Backspace, Delete, ArrowDown, Home, End, \
                 PageDown, Space, F1, or one character)"
            ));
        };
        let upper = character.to_ascii_uppercase();
        let code = match upper {
            'A'..='Z' => format!("Key{upper}"),
            '0'..='9' => format!("Digit{upper}"),
            _ => String::new(),
        };
        let virtual_key = if upper.is_ascii_alphanumeric() {
            i64::from(u32::from(upper))
        } else {
            0
        };
        let text = (modifiers & !SHIFT == 0).then(|| character.to_string());
        Ok(Self {
            modifiers,
            key: character.to_string(),
            code,
            virtual_key,
            text,
        })
    }

    /// The protocol's two events.
    pub(super) fn events(&self) -> [DispatchKeyEventParams; 2] {
        let event = |kind, text: Option<String>| {
            let mut params = DispatchKeyEventParams::new(kind);
            params.modifiers = Some(self.modifiers);
            params.key = Some(self.key.clone());
            params.code = Some(self.code.clone());
            params.windows_virtual_key_code = Some(self.virtual_key);
            params.commands = self.commands();
            params.text = text;
            params
        };
        let down = if self.text.is_some() {
            DispatchKeyEventType::KeyDown
        } else {
            DispatchKeyEventType::RawKeyDown
        };
        let mut up = event(DispatchKeyEventType::KeyUp, None);
        up.commands = None;
        [event(down, self.text.clone()), up]
    }

    /// Editing commands that the platform's key bindings would send.
    fn commands(&self) -> Option<Vec<String>> {
        let control = self.modifiers & 6 != 0;
        let command = match self.key.to_ascii_lowercase().as_str() {
            "a" if control => "selectAll",
            "c" if control => "copy",
            "v" if control => "paste",
            "x" if control => "cut",
            "z" if control => "undo",
            _ => return None,
        };
        Some(vec![command.to_owned()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_modifiers_and_characters() {
        let enter = KeyPress::parse("enter").unwrap();
        assert_eq!(
            (enter.key.as_str(), enter.text.as_deref()),
            ("Enter", Some("\r"))
        );
        let all = KeyPress::parse("Ctrl+a").unwrap();
        assert_eq!(
            (all.modifiers, all.text, all.code.as_str()),
            (2, None, "KeyA")
        );
        assert_eq!(KeyPress::parse("+").unwrap().key, "+");
        assert_eq!(KeyPress::parse("Control++").unwrap().key, "+");
        assert_eq!(KeyPress::parse("F5").unwrap().virtual_key, 116);
        assert!(
            KeyPress::parse("Hyper+x")
                .unwrap_err()
                .contains("no modifier")
        );
        assert!(KeyPress::parse("Submit").unwrap_err().contains("no key"));
    }
}
