//! What an agent sees of a state.

use serde::{Deserialize, Serialize};

use super::{Digest, Notice};

/// How the URL of a conversation with tools begins.
pub const TOOLS_SCHEME: &str = "tools://";

/// A state as an agent sees it. Everything in it is data from outside: it reaches a prompt fenced
/// and truncated, a report escaped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Where the environment is: for a page its URL, with the site's origin by its logical name.
    pub url: String,
    /// Page title, or the tool environment's name.
    pub title: String,
    /// The rendered state for a prompt: within the budget the environment was given.
    pub text: String,
    /// Estimated tokens of `text` (4 bytes a token).
    pub tokens: u32,
    /// Every element, whether or not it fits `text`, in document order.
    pub elements: Vec<Element>,
    /// What did not fit `text`.
    pub omitted: Omitted,
    /// Open tabs, in opening order.
    pub tabs: Vec<Tab>,
    /// What happened since the previous observation.
    pub notices: Vec<Notice>,
    /// Digest of all that an agent can see and use, clocks masked. Equal states have equal digests.
    pub digest: Digest,
    /// Whether the environment's episode is over (an answer was given, the page ended it).
    pub terminal: bool,
    /// JPEG of the viewport; the record keeps it as a blob.
    #[serde(skip)]
    pub screenshot: Option<Vec<u8>>,
}

/// One element of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// Stable reference: survives for as long as the element does, and restores.
    pub r#ref: String,
    /// ARIA role (`button`, `link`, `textbox`, …) or `text` for plain text.
    pub role: String,
    /// Accessible name, or the text itself.
    pub name: String,
    /// Current value of a field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// States that hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<ElementState>,
    /// The choices of a select or listbox, by label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Whether it can be acted upon.
    pub interactive: bool,
    /// Whether it is (partly) inside the viewport.
    pub visible: bool,
    /// Nesting depth of landmarks and groups, for rendering.
    pub level: u8,
}

/// A state of an [`Element`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElementState {
    /// Ticked.
    Checked,
    /// Neither ticked nor not.
    Mixed,
    /// Selected (tab, option, row).
    Selected,
    /// Open (details, menu, combobox).
    Expanded,
    /// Closed, and could be opened.
    Collapsed,
    /// Pressed toggle.
    Pressed,
    /// Not usable.
    Disabled,
    /// Not editable.
    Readonly,
    /// Must be filled.
    Required,
    /// Holds the keyboard focus.
    Focused,
    /// Marked as wrong.
    Invalid,
}

/// How much of the state `text` leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Omitted {
    /// Elements above the viewport.
    pub above: u32,
    /// Elements below the viewport.
    pub below: u32,
    /// Elements inside the viewport that the token budget cut.
    pub cut: u32,
}

/// An open tab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tab {
    /// Title.
    pub title: String,
    /// URL, by logical origin.
    pub url: String,
    /// Whether actions go to it.
    pub active: bool,
}

impl Observation {
    /// Whether it shows a conversation with tools rather than a page.
    #[must_use]
    pub fn is_of_tools(&self) -> bool {
        self.url.starts_with(TOOLS_SCHEME)
    }

    /// The element with this reference.
    #[must_use]
    pub fn element(&self, reference: &str) -> Option<&Element> {
        self.elements.iter().find(|e| e.r#ref == reference)
    }
}
