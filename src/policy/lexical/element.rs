//! What an element is, by its role and its name.

use crate::llm::words::{padded, words};
use crate::types::{Element, ElementState};

pub(super) fn rendered(element: &Element) -> String {
    format!("{} {:?}", element.role, element.name)
}

pub(super) fn is_field(element: &Element) -> bool {
    element.options.is_empty()
        && !element.states.contains(&ElementState::Readonly)
        && matches!(
            element.role.as_str(),
            "textbox" | "searchbox" | "spinbutton" | "combobox" | "textarea" | "date" | "time"
        )
}

pub(super) fn is_search(element: &Element) -> bool {
    is_field(element)
        && (element.role == "searchbox" || words(&element.name).iter().any(|w| w == "search"))
}

pub(super) fn is_box(element: &Element) -> bool {
    matches!(element.role.as_str(), "checkbox" | "radio" | "switch")
}

pub(super) fn is_submit(element: &Element) -> bool {
    const SENDING: &[&str] = &[
        "submit", "ok", "save", "send", "go", "search", "login", "log", "sign", "continue", "next",
        "confirm", "apply", "done", "add", "update", "place", "checkout", "book", "order", "post",
        "finish", "create", "register",
    ];
    matches!(element.role.as_str(), "button" | "clickable")
        && words(&element.name)
            .first()
            .is_some_and(|w| SENDING.contains(&w.as_str()))
}

/// Whether a link leads to where questions are answered.
pub(super) fn helps(element: &Element) -> bool {
    let known = [
        "help",
        "faq",
        "support",
        "information",
        "info",
        "question",
        "term",
    ];
    element.role == "link"
        && words(&element.name)
            .iter()
            .any(|w| known.contains(&w.as_str()))
}

/// Whether a name says that pressing it undoes or leaves.
pub(super) fn leaves(name: &str) -> bool {
    let name = padded(&words(name));
    [
        "sign out", "log out", "logout", "signout", "cancel", "reset", "delete", "remove", "close",
        "discard", "clear", "trash",
    ]
    .iter()
    .any(|w| name.starts_with(&format!(" {w} ")))
}

pub(super) fn target_is_button(target: Option<&str>) -> bool {
    target.is_some_and(|t| t.starts_with("button ") || t.starts_with("clickable "))
}

/// Which one the goal means by an ordinal ("the 2nd checkbox"), counted from 1.
pub(super) fn ordinal(phrase: &str, role: &str) -> Option<usize> {
    const ORDINALS: &[&[&str]] = &[
        &["1st", "first"],
        &["2nd", "second"],
        &["3rd", "third"],
        &["4th", "fourth"],
        &["5th", "fifth"],
    ];
    let kinds: &[&str] = match role {
        "checkbox" => &["checkbox", "check box"],
        "radio" => &["radio"],
        "button" => &["button"],
        "link" => &["link"],
        "tab" => &["tab"],
        "textbox" | "searchbox" | "spinbutton" => {
            &["textbox", "text box", "input", "field", "text field"]
        }
        _ => return None,
    };
    ORDINALS
        .iter()
        .position(|names| {
            names
                .iter()
                .any(|n| kinds.iter().any(|k| phrase.contains(&format!(" {n} {k} "))))
        })
        .map(|at| at + 1)
}

pub(super) fn is_value(element: &Element, text: &str) -> bool {
    element.value.as_deref().is_some_and(|v| {
        let hidden = !v.is_empty() && v.chars().all(|c| c == '•');
        if hidden {
            v.chars().count() == text.chars().count()
        } else {
            v.trim().to_lowercase() == text.trim().to_lowercase()
        }
    })
}
