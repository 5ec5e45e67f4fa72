//! Keys as the protocol wants them.

use chromiumoxide_cdp::cdp::browser_protocol::input::{
    DispatchKeyEventParams, DispatchKeyEventType,
};

use crate::env::page::keys::{CONTROL, Key, META};

/// Key, code, virtual key code.
const NAMED: &[(&str, &str, i64)] = &[
    ("Enter", "Enter", 13),
    ("Tab", "Tab", 9),
    ("Escape", "Escape", 27),
    ("Backspace", "Backspace", 8),
    ("Delete", "Delete", 46),
    ("Insert", "Insert", 45),
    ("ArrowUp", "ArrowUp", 38),
    ("ArrowDown", "ArrowDown", 40),
    ("ArrowLeft", "ArrowLeft", 37),
    ("ArrowRight", "ArrowRight", 39),
    ("Home", "Home", 36),
    ("End", "End", 35),
    ("PageUp", "PageUp", 33),
    ("PageDown", "PageDown", 34),
    (" ", "Space", 32),
];

/// The protocol's events of one press: down and up.
pub(super) fn events(key: &Key) -> [DispatchKeyEventParams; 2] {
    let text = match key.name.as_str() {
        "Enter" if !key.commands() => Some("\r"),
        _ => key.text(),
    };
    let kind = match text {
        Some(_) => DispatchKeyEventType::KeyDown,
        None => DispatchKeyEventType::RawKeyDown,
    };
    let (code, virtual_key) = code(key);
    let mut down = DispatchKeyEventParams::new(kind);
    down.modifiers = Some(i64::from(key.modifiers));
    down.key = Some(key.name.clone());
    down.code = Some(code);
    down.windows_virtual_key_code = Some(virtual_key);
    let mut up = down.clone();
    up.r#type = DispatchKeyEventType::KeyUp;
    down.commands = command(key).map(|command| vec![command.to_owned()]);
    down.text = text.map(str::to_owned);
    [down, up]
}

/// Where the key lies on the keyboard, and its virtual key code; 0 where it has none.
fn code(key: &Key) -> (String, i64) {
    if let Some((_, code, virtual_key)) = NAMED.iter().find(|(name, ..)| *name == key.name) {
        return ((*code).to_owned(), *virtual_key);
    }
    if let Some(number) = key.function() {
        return (key.name.clone(), 111 + i64::from(number));
    }
    let upper = key.name.chars().next().map(|c| c.to_ascii_uppercase());
    match upper {
        Some(c @ 'A'..='Z') => (format!("Key{c}"), i64::from(u32::from(c))),
        Some(c @ '0'..='9') => (format!("Digit{c}"), i64::from(u32::from(c))),
        _ => (String::new(), 0),
    }
}

/// The editing command that the platform's key bindings would send.
fn command(key: &Key) -> Option<&'static str> {
    if key.modifiers & (CONTROL | META) == 0 {
        return None;
    }
    match key.name.to_ascii_lowercase().as_str() {
        "a" => Some("selectAll"),
        "c" => Some("copy"),
        "v" => Some("paste"),
        "x" => Some("cut"),
        "z" => Some("undo"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presses_are_what_a_keyboard_sends() {
        let press = |text: &str| events(&Key::parse(text).unwrap());
        let [down, up] = press("enter");
        assert_eq!(
            (down.text.as_deref(), up.text.as_deref()),
            (Some("\r"), None)
        );
        assert_eq!(up.r#type, DispatchKeyEventType::KeyUp);
        let [down, up] = press("Ctrl+a");
        assert_eq!((down.modifiers, down.text), (Some(2), None));
        assert_eq!(down.code.as_deref(), Some("KeyA"));
        assert_eq!(down.commands, Some(vec!["selectAll".to_owned()]));
        assert_eq!(up.commands, None);
        assert_eq!(press("F5")[0].windows_virtual_key_code, Some(116));
        assert_eq!(press("é")[0].windows_virtual_key_code, Some(0));
    }
}
