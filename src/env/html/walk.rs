//! Reading a document: the same elements, roles, names, values and states as the browser's walk
//! (`env/browser/js/walk.js`), from markup alone.
//!
//! What only a layout could tell is approximated: nothing is covered, stylesheets are not read, so
//! only what the markup hides (`hidden`, inline `display: none`, closed `details`) is hidden. No
//! script listens, so nothing reacts that is no control.

use super::document::{Document, Id, squash};
use super::fields::Fields;
use crate::env::page::{is_token, mask_clocks, mask_url};
use crate::types::{Digest, Element, ElementState};

const MAX_ITEMS: usize = 6000;
const MAX_NAME: usize = 160;
const MAX_TEXT: usize = 600;
/// Names count up to here, though less of them is shown.
const MAX_DEEP: usize = 4000;
const MAX_OPTIONS: usize = 200;
/// Deeper than this nothing is read; the parser stops not far from there.
const MAX_DEPTH: usize = 900;

/// One element of a reading.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub element: Element,
    /// The whole name and value, where the element has only their beginning.
    pub whole: Option<String>,
    pub node: Id,
    pub group: u32,
}

/// Cuts to so many UTF-16 units, as a script counts.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max || text.encode_utf16().count() <= max {
        return text.to_owned();
    }
    let mut units = 0;
    let end = text
        .char_indices()
        .find(|(_, c)| {
            units += c.len_utf16();
            units > max - 1
        })
        .map_or(text.len(), |(at, _)| at);
    format!("{}…", text[..end].trim_end())
}

const WIDGETS: &[&str] = &[
    "button",
    "link",
    "checkbox",
    "radio",
    "switch",
    "tab",
    "menuitem",
    "menuitemcheckbox",
    "menuitemradio",
    "option",
    "combobox",
    "listbox",
    "textbox",
    "searchbox",
    "slider",
    "spinbutton",
    "treeitem",
    "gridcell",
];
const OTHER_ROLES: &[&str] = &[
    "heading",
    "img",
    "alert",
    "status",
    "dialog",
    "alertdialog",
    "tooltip",
    "progressbar",
    "meter",
    "row",
    "cell",
    "columnheader",
    "rowheader",
    "list",
    "listitem",
    "navigation",
    "main",
    "presentation",
    "none",
    "group",
];
const SHAPES: &[&str] = &[
    "circle", "rect", "ellipse", "polygon", "polyline", "path", "line", "text", "g", "image", "use",
];
/// Never shown.
const NOTHING: &[&str] = &[
    "script", "style", "template", "head", "title", "area", "base", "datalist", "link", "meta",
    "noembed", "noframes", "param", "rp",
];
/// What a line of text goes on through, by the rules of every browser.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "col",
    "colgroup",
    "dd",
    "details",
    "dialog",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "frameset",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hgroup",
    "hr",
    "html",
    "legend",
    "li",
    "listing",
    "main",
    "menu",
    "nav",
    "ol",
    "optgroup",
    "option",
    "p",
    "plaintext",
    "pre",
    "search",
    "section",
    "summary",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "ul",
    "xmp",
];
/// Names run on through these without a space.
const RUNS_ON: &[&str] = &[
    "span", "b", "i", "em", "strong", "a", "sub", "sup", "small", "code", "mark", "u", "tspan",
];
const TEXTUAL: &[&str] = &[
    "span", "b", "i", "em", "strong", "sub", "sup", "small", "code", "mark", "u", "tspan", "br",
];

/// A document with what was done to it.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub doc: &'a Document,
    pub fields: &'a Fields,
}

impl Look<'_> {
    /// The kind of an `input`, unknown ones as text.
    pub(super) fn input_type(&self, id: Id) -> &'static str {
        const TYPES: &[&str] = &[
            "hidden",
            "search",
            "tel",
            "url",
            "email",
            "password",
            "date",
            "month",
            "week",
            "time",
            "datetime-local",
            "number",
            "range",
            "color",
            "checkbox",
            "radio",
            "file",
            "submit",
            "image",
            "reset",
            "button",
        ];
        let given = self.doc.attr(id, "type").unwrap_or_default().trim();
        TYPES
            .iter()
            .copied()
            .find(|t| t.eq_ignore_ascii_case(given))
            .unwrap_or("text")
    }

    pub(super) fn is_editable(&self, id: Id) -> bool {
        self.doc
            .attr(id, "contenteditable")
            .is_some_and(|v| v.is_empty() || v.eq_ignore_ascii_case("true"))
    }

    /// A control by itself, whatever its role says.
    fn native(&self, id: Id) -> bool {
        match self.doc.tag(id) {
            "a" => self.doc.has(id, "href"),
            "button" | "select" | "textarea" | "summary" => true,
            "input" => self.input_type(id) != "hidden",
            _ => self.is_editable(id),
        }
    }

    /// Its role; empty where it has none that matters here.
    pub(super) fn role(&self, id: Id) -> &'static str {
        let tag = self.doc.tag(id);
        if let Some(given) = self.doc.attr(id, "role")
            && let Some(first) = given.split_whitespace().next()
        {
            let known = WIDGETS.iter().chain(OTHER_ROLES).copied();
            if let Some(role) = known.into_iter().find(|r| r.eq_ignore_ascii_case(first)) {
                return role;
            }
        }
        match tag {
            "a" if self.doc.has(id, "href") => "link",
            "button" | "summary" => "button",
            "input" => match self.input_type(id) {
                "checkbox" => "checkbox",
                "radio" => "radio",
                "range" => "slider",
                "number" => "spinbutton",
                "search" => "searchbox",
                "button" | "submit" | "reset" | "image" => "button",
                "file" => "file",
                "color" => "colorwell",
                _ => "textbox",
            },
            "textarea" => "textbox",
            "select" if self.is_listbox(id) => "listbox",
            "select" => "combobox",
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => "heading",
            "img" => "img",
            "canvas" => "canvas",
            "dialog" => "dialog",
            "video" => "video",
            "audio" => "audio",
            "progress" => "progressbar",
            "meter" => "meter",
            "iframe" | "frame" => "iframe",
            _ if self.is_editable(id)
                && !self.doc.parent(id).is_some_and(|p| self.is_editable(p)) =>
            {
                "textbox"
            }
            _ => "",
        }
    }

    /// What an agent is told its role is.
    pub(super) fn shown_role(&self, id: Id) -> &'static str {
        match self.role(id) {
            "" if SHAPES.contains(&self.doc.tag(id)) => "shape",
            "" => "clickable",
            role => role,
        }
    }

    fn is_listbox(&self, select: Id) -> bool {
        let size = self.doc.attr(select, "size");
        self.doc.has(select, "multiple")
            || size.and_then(|s| s.trim().parse::<u32>().ok()) > Some(1)
    }

    /// A property of the inline style.
    fn style(&self, id: Id, property: &str) -> Option<&str> {
        let style = self.doc.attr(id, "style")?;
        style.split(';').rev().find_map(|declaration| {
            let (name, value) = declaration.split_once(':')?;
            name.trim()
                .eq_ignore_ascii_case(property)
                .then(|| value.trim().trim_end_matches("!important").trim_end())
        })
    }

    /// Whether it takes no part in the page at all.
    fn gone(&self, id: Id) -> bool {
        let tag = self.doc.tag(id);
        if NOTHING.contains(&tag) || tag == "input" && self.input_type(id) == "hidden" {
            return true;
        }
        if let Some(display) = self.style(id, "display") {
            return display.eq_ignore_ascii_case("none");
        }
        if self.doc.attr(id, "hidden").is_some() {
            return true;
        }
        if tag == "dialog" && !self.doc.has(id, "open") {
            return true;
        }
        let Some(parent) = self.doc.parent(id) else {
            return false;
        };
        match self.doc.tag(parent) {
            // A closed one shows its first summary only.
            "details" if !self.fields.is_open(self.doc, parent) => {
                self.doc
                    .children(parent)
                    .find(|c| self.doc.tag(*c) == "summary")
                    != Some(id)
            }
            // What is inside is for browsers that know no such thing.
            "canvas" | "video" | "audio" | "iframe" => true,
            _ => false,
        }
    }

    /// Whether a text is inside what shows something else instead: a closed `details`, a picture.
    fn in_fallback(&self, text: Id) -> bool {
        self.doc
            .parent(text)
            .is_some_and(|p| match self.doc.tag(p) {
                "details" => !self.fields.is_open(self.doc, p),
                "canvas" | "video" | "audio" => true,
                _ => false,
            })
    }

    /// Whether it is part of what a reader gets, its ancestors considered.
    pub(super) fn is_shown(&self, id: Id) -> bool {
        !self.gone(id) && !self.doc.ancestors(id).any(|a| self.gone(a))
    }

    fn visible(&self, id: Id, inherited: bool) -> bool {
        match self.style(id, "visibility") {
            Some(v) if v.eq_ignore_ascii_case("visible") => true,
            Some(v) if v.eq_ignore_ascii_case("hidden") || v.eq_ignore_ascii_case("collapse") => {
                false
            }
            _ => inherited,
        }
    }

    fn block(&self, id: Id) -> bool {
        match self.style(id, "display") {
            Some(display) => !display.starts_with("inline") && display != "contents",
            None => BLOCKS.contains(&self.doc.tag(id)),
        }
    }

    /// The text of a subtree as a reader would get it.
    fn text_of(&self, id: Id) -> String {
        let mut out = String::new();
        self.collect_text(id, 0, true, &mut out);
        squash(&out)
    }

    fn collect_text(&self, id: Id, depth: usize, visible: bool, out: &mut String) {
        for child in self.doc.children(id) {
            if out.len() > MAX_DEEP || depth > 20 {
                break;
            }
            if let Some(text) = self.doc.text(child) {
                out.push_str(text);
                continue;
            }
            let tag = self.doc.tag(child);
            match tag {
                "script" | "style" | "template" | "input" | "select" | "textarea" => continue,
                "img" => {
                    out.push(' ');
                    out.push_str(self.doc.attr(child, "alt").unwrap_or_default());
                    out.push(' ');
                    continue;
                }
                _ => {}
            }
            let seen = self.visible(child, visible);
            if self.gone(child) || !seen {
                continue;
            }
            let spaced = !RUNS_ON.contains(&tag);
            out.extend(spaced.then_some(' '));
            self.collect_text(child, depth + 1, seen, out);
            out.extend(spaced.then_some(' '));
        }
    }

    fn hint(&self, id: Id) -> String {
        let tag = self.doc.tag(id);
        let attr = |name| self.doc.attr(id, name).unwrap_or_default();
        if SHAPES.contains(&tag) {
            let fill = self.style(id, "fill");
            let colour = [attr("fill"), fill.unwrap_or_default(), attr("stroke")];
            let colour = colour.into_iter().find(|c| !c.is_empty());
            return squash(&format!(
                "{} {tag} {}",
                colour.unwrap_or_default(),
                attr("id")
            ));
        }
        let word = ["data-testid", "name", "id", "class"].map(attr);
        let word = word.into_iter().find(|w| !w.is_empty()).unwrap_or_default();
        // Identifiers that a framework made up say nothing, and are others with every load.
        let parts = word.split(|c: char| c.is_whitespace() || "-_.:".contains(c));
        let said: Vec<&str> = parts.filter(|p| !p.is_empty() && !made_up(p)).collect();
        said.join(" ")
    }

    /// A simplified accessible name (W3C accname 1.2), step by step as the browser's walk does it.
    pub(super) fn name(&self, id: Id) -> String {
        let tag = self.doc.tag(id);
        let role = self.shown_role(id);
        let attr = |name| squash(self.doc.attr(id, name).unwrap_or_default());
        if let Some(ids) = self.doc.attr(id, "aria-labelledby") {
            let texts = ids
                .split_whitespace()
                .filter_map(|name| self.doc.by_id(name))
                .map(|target| self.text_of(target));
            let name = squash(&texts.collect::<Vec<_>>().join(" "));
            if !name.is_empty() {
                return name;
            }
        }
        let labelled = attr("aria-label");
        if !labelled.is_empty() {
            return labelled;
        }
        let label = || {
            let texts = self.doc.labels(id).iter().map(|label| self.text_of(*label));
            texts.collect::<Vec<_>>().join(" ")
        };
        let name = match tag {
            "input" if role == "button" => {
                match (self.doc.attr(id, "value"), self.input_type(id)) {
                    (Some(value), _) if !value.is_empty() => value.to_owned(),
                    (_, "submit") => "Submit".to_owned(),
                    (_, "reset") => "Reset".to_owned(),
                    _ => attr("alt"),
                }
            }
            "input" | "select" | "textarea" => label(),
            "img" => attr("alt"),
            "iframe" => [attr("title"), attr("name")]
                .into_iter()
                .find(|n| !n.is_empty())
                .unwrap_or_default(),
            _ if matches!(role, "textbox" | "listbox" | "combobox") => String::new(),
            _ => self.text_of(id),
        };
        for name in [squash(&name), attr("title"), attr("placeholder")] {
            if !name.is_empty() {
                return name;
            }
        }
        let inside = self.doc.descendants(id).find(|d| match self.doc.tag(*d) {
            "img" => self.doc.has(*d, "alt"),
            "title" => self.doc.within(*d, "svg"),
            _ => false,
        });
        let inside = inside.map(|d| match self.doc.tag(d) {
            "img" => squash(self.doc.attr(d, "alt").unwrap_or_default()),
            _ => squash(&self.doc.raw_text(d)),
        });
        inside
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| self.hint(id))
    }

    /// Name as an observation has it.
    pub(super) fn shown_name(&self, id: Id) -> String {
        cut(&self.name(id), MAX_NAME)
    }

    /// The label of an option.
    pub(super) fn option_label(&self, option: Id) -> String {
        match self.doc.attr(option, "label") {
            Some(label) if !label.is_empty() => squash(label),
            _ => squash(&self.doc.raw_text(option)),
        }
    }

    /// The options of a select, in order.
    pub(super) fn options(&self, select: Id) -> impl Iterator<Item = Id> + '_ {
        self.doc
            .descendants(select)
            .filter(|id| self.doc.tag(*id) == "option")
    }

    fn value(&self, id: Id, role: &str) -> Option<String> {
        let aria = |name| self.doc.attr(id, name).filter(|v| !v.is_empty());
        match self.doc.tag(id) {
            "input" => match self.input_type(id) {
                "checkbox" | "radio" | "button" | "submit" | "reset" | "image" => None,
                "password" => {
                    let length = self.fields.value(self, id).encode_utf16().count();
                    Some("•".repeat(length))
                }
                "file" => Some(String::new()),
                _ => Some(self.fields.value(self, id)),
            },
            "textarea" => Some(self.fields.value(self, id)),
            "select" => {
                let chosen = self.fields.chosen(self, id);
                let labels = chosen.iter().map(|option| self.option_label(*option));
                Some(labels.collect::<Vec<_>>().join(", "))
            }
            _ if role == "textbox" && self.is_editable(id) => {
                Some(squash(&self.fields.value(self, id)))
            }
            "progress" => self
                .doc
                .attr(id, "value")
                .map_or(Some("0".to_owned()), |v| Some(number_text(v))),
            "meter" => Some(number_text(self.doc.attr(id, "value").unwrap_or("0"))),
            _ => aria("aria-valuetext")
                .or_else(|| aria("aria-valuenow"))
                .map(str::to_owned),
        }
    }

    fn states(&self, id: Id) -> Vec<ElementState> {
        let tag = self.doc.tag(id);
        let aria = |name: &str, value: &str| self.doc.attr(id, name) == Some(value);
        let form_control = matches!(tag, "input" | "select" | "textarea");
        let mut states = Vec::new();
        let box_checked = tag == "input"
            && matches!(self.input_type(id), "checkbox" | "radio")
            && self.fields.is_checked(self.doc, id);
        if box_checked || aria("aria-checked", "true") {
            states.push(ElementState::Checked);
        }
        if aria("aria-checked", "mixed") {
            states.push(ElementState::Mixed);
        }
        if aria("aria-selected", "true") {
            states.push(ElementState::Selected);
        }
        let details = (tag == "summary")
            .then(|| self.doc.parent(id))
            .flatten()
            .filter(|p| self.doc.tag(*p) == "details");
        let open = details.map(|d| self.fields.is_open(self.doc, d));
        if aria("aria-expanded", "true") || open == Some(true) {
            states.push(ElementState::Expanded);
        } else if aria("aria-expanded", "false") || open == Some(false) {
            states.push(ElementState::Collapsed);
        }
        if aria("aria-pressed", "true") {
            states.push(ElementState::Pressed);
        }
        if self.is_disabled(id) || aria("aria-disabled", "true") || self.doc.has(id, "inert") {
            states.push(ElementState::Disabled);
        }
        let readonly = matches!(tag, "input" | "textarea") && self.doc.has(id, "readonly");
        if readonly || aria("aria-readonly", "true") {
            states.push(ElementState::Readonly);
        }
        if form_control && self.doc.has(id, "required") || aria("aria-required", "true") {
            states.push(ElementState::Required);
        }
        if self.fields.focus == Some(id) {
            states.push(ElementState::Focused);
        }
        if aria("aria-invalid", "true") || self.fields.complains(self, id) {
            states.push(ElementState::Invalid);
        }
        states
    }

    /// Disabled itself, or inside a disabled fieldset.
    pub(super) fn is_disabled(&self, id: Id) -> bool {
        let control = matches!(
            self.doc.tag(id),
            "button" | "input" | "select" | "textarea" | "option" | "optgroup" | "fieldset"
        );
        control && self.doc.has(id, "disabled")
            || std::iter::once(id)
                .chain(self.doc.ancestors(id))
                .any(|a| self.doc.tag(a) == "fieldset" && self.doc.has(a, "disabled"))
    }

    /// Whether a click is refused.
    pub(super) fn refuses_clicks(&self, id: Id) -> bool {
        self.is_disabled(id)
            || self.doc.attr(id, "aria-disabled") == Some("true")
            || self.doc.has(id, "inert")
            || self.doc.ancestors(id).any(|a| self.doc.has(a, "inert"))
    }

    /// What counts for the digest beside what is shown: the attributes that describe an element or
    /// decide what can be done with it, where it leads, what it sends, a password.
    pub(super) fn facts(&self, id: Id) -> String {
        const MARKS: &[&str] = &[
            "title",
            "placeholder",
            "type",
            "min",
            "max",
            "step",
            "maxlength",
            "minlength",
            "pattern",
            "multiple",
            "accept",
            "target",
            "download",
            "draggable",
            "aria-current",
            "aria-sort",
            "aria-busy",
            "aria-haspopup",
            "aria-description",
            "aria-level",
            "aria-modal",
            "aria-multiline",
            "aria-orientation",
            "aria-posinset",
            "aria-setsize",
            "aria-roledescription",
            "aria-valuemin",
            "aria-valuemax",
            "aria-keyshortcuts",
        ];
        let doc = self.doc;
        let tag = doc.tag(id);
        let mut out = String::new();
        let mut put = |part: &str| {
            out.push_str(part);
            out.push('\n');
        };
        for name in MARKS {
            if let Some(value) = doc.attr(id, name) {
                put(name);
                put(&mask_clocks(value));
            }
        }
        if let Some(ids) = doc.attr(id, "aria-describedby") {
            for target in ids.split_whitespace().filter_map(|name| doc.by_id(name)) {
                put(&mask_clocks(&self.text_of(target)));
            }
        }
        match tag {
            "a" => put(&doc.attr(id, "href").map(mask_url).unwrap_or_default()),
            "img" => put(&doc.attr(id, "src").map(mask_url).unwrap_or_default()),
            "select" => {
                for option in self.options(id) {
                    put(&super::fields::option_value(doc, option));
                    put(if super::fields::option_disabled(doc, option) {
                        "-"
                    } else {
                        "+"
                    });
                }
            }
            "input" | "button" => {
                let form = doc.form_of(id);
                let own = doc.attr(id, "formaction");
                let action = own.or_else(|| doc.attr(form?, "action"));
                put(&action.map(mask_url).unwrap_or_default());
                let name = doc.attr(id, "name").unwrap_or_default();
                if self.input_type(id) == "password" && tag == "input" {
                    // 16 bits of a hash, so that a digest gives nobody's password away.
                    let digest = Digest::of(self.fields.value(self, id));
                    put(&digest.short()[..4]);
                } else if !name.is_empty() {
                    let value = doc.attr(id, "value").unwrap_or_default();
                    if !is_token(name, value) {
                        put(name);
                        put(value);
                    }
                }
            }
            _ => {}
        }
        out
    }

    /// What the hidden fields send, tokens left out.
    pub(super) fn hidden(&self) -> String {
        let doc = self.doc;
        let mut out = String::new();
        for id in 0..doc.len() {
            if doc.tag(id) == "input" && self.input_type(id) == "hidden" && !doc.has(id, "disabled")
            {
                let name = doc.attr(id, "name").unwrap_or_default();
                let value = doc.attr(id, "value").unwrap_or_default();
                if !(name.is_empty() || value.is_empty() || is_token(name, value)) {
                    out.push_str(&format!("{name}={value}\n"));
                }
            }
        }
        out
    }

    /// The innermost text of the page or an element, as `innerText` gives it, white space collapsed.
    pub(super) fn inner_text(&self, id: Id) -> String {
        let mut out = String::new();
        if self.is_shown(id) {
            self.collect_inner(id, 0, true, &mut out);
        } else {
            out = self.doc.raw_text(id);
        }
        squash(&out)
    }

    fn collect_inner(&self, id: Id, depth: usize, visible: bool, out: &mut String) {
        if depth > MAX_DEPTH {
            return;
        }
        for child in self.doc.children(id) {
            if let Some(text) = self.doc.text(child) {
                if visible && !self.in_fallback(child) {
                    out.push_str(text);
                }
                continue;
            }
            if self.gone(child) || self.doc.tag(child) == "textarea" {
                continue;
            }
            let spaced = self.block(child) || self.doc.tag(child) == "br";
            out.extend(spaced.then_some(' '));
            self.collect_inner(child, depth + 1, self.visible(child, visible), out);
            out.extend(spaced.then_some(' '));
        }
    }

    /// Everything on the page, in document order.
    pub(super) fn items(&self) -> (Vec<Item>, bool) {
        let mut walk = Walk {
            look: *self,
            items: Vec::new(),
            truncated: false,
            group: 0,
            groups: 0,
            buffer: String::new(),
            at: None,
        };
        walk.children(super::document::ROOT, 0, Under::default());
        walk.flush();
        (walk.items, walk.truncated)
    }
}

/// Whether a word looks like an identifier that no person chose: letters, and three digits or more.
fn made_up(word: &str) -> bool {
    word.len() >= 6
        && word.bytes().all(|b| b.is_ascii_alphanumeric())
        && word.bytes().any(|b| b.is_ascii_alphabetic())
        && word.bytes().filter(u8::is_ascii_digit).count() >= 3
}

/// A number as a script prints it: `0.5`, not `.50`.
fn number_text(text: &str) -> String {
    text.trim()
        .parse::<f64>()
        .map_or_else(|_| "0".to_owned(), |n| n.to_string())
}

/// What holds for everything under an element.
#[derive(Debug, Clone, Copy)]
struct Under {
    /// Its text is part of a name already.
    mute: bool,
    /// An ancestor without controls of its own takes clicks on its parts.
    lent: bool,
    visible: bool,
}

impl Default for Under {
    fn default() -> Self {
        Self {
            mute: false,
            lent: false,
            visible: true,
        }
    }
}

struct Walk<'a> {
    look: Look<'a>,
    items: Vec<Item>,
    truncated: bool,
    group: u32,
    groups: u32,
    /// Text that has not ended yet, and where it began.
    buffer: String,
    at: Option<Id>,
}

impl Walk<'_> {
    fn emit(&mut self, node: Id, role: &str, name: String, interactive: bool) -> Option<&mut Item> {
        if self.items.len() >= MAX_ITEMS {
            self.truncated = true;
            return None;
        }
        let max = if role == "text" { MAX_TEXT } else { MAX_NAME };
        let shown = cut(&name, max);
        self.items.push(Item {
            whole: (shown != name).then_some(name),
            element: Element {
                r#ref: String::new(),
                role: role.to_owned(),
                name: shown,
                value: None,
                states: Vec::new(),
                options: Vec::new(),
                interactive,
                visible: true,
                level: 0,
            },
            node,
            group: self.group,
        });
        self.items.last_mut()
    }

    fn flush(&mut self) {
        let text = squash(&std::mem::take(&mut self.buffer));
        let at = self.at.take();
        if !text.is_empty()
            && let Some(at) = at
        {
            self.emit(at, "text", text, false);
        }
    }

    fn children(&mut self, id: Id, depth: usize, under: Under) {
        let doc = self.look.doc;
        for child in doc.children(id) {
            self.visit(child, depth + 1, under);
        }
    }

    fn visit(&mut self, id: Id, depth: usize, under: Under) {
        let look = self.look;
        let doc = look.doc;
        if self.items.len() >= MAX_ITEMS || depth > MAX_DEPTH {
            self.truncated = true;
            return;
        }
        if let Some(text) = doc.text(id) {
            if look.in_fallback(id) {
                return;
            }
            if !under.mute && !text.trim().is_empty() {
                self.at = self.at.or(doc.parent(id));
                self.buffer.push_str(text);
            } else if !self.buffer.is_empty() {
                self.buffer.push(' ');
            }
            return;
        }
        let tag = doc.tag(id);
        if tag == "br" {
            self.flush();
            return;
        }
        if look.gone(id) {
            return;
        }
        let seen = look.visible(id, under.visible);
        let has_native = |id: Id| doc.descendants(id).any(|d| look.native(d));
        if doc.attr(id, "aria-hidden") == Some("true") && !has_native(id) {
            return;
        }
        let role = look.role(id);
        if role == "iframe" {
            self.flush();
            self.emit(id, "iframe", look.name(id), false);
            return;
        }
        let block = look.block(id);
        let mut widget = look.native(id) || WIDGETS.contains(&role);
        if !widget && seen && !matches!(tag, "body" | "html" | "label") {
            widget = self.reachable(id) && !has_control(look, id);
            if !widget && under.lent {
                let shape = SHAPES.contains(&tag);
                widget = shape || leaf(doc, id) && !doc.raw_text(id).trim().is_empty();
            }
            if widget && !under.lent && role.is_empty() && parts(doc, id) > 1 {
                self.flush();
                let inside = Under {
                    lent: true,
                    visible: seen,
                    ..under
                };
                self.children(id, depth, inside);
                self.flush();
                return;
            }
        }
        if widget && seen {
            self.widget(id, depth, block, under);
            return;
        }
        if role == "heading" && seen && !has_native(id) {
            self.flush();
            let name = look.text_of(id);
            let level = doc
                .attr(id, "aria-level")
                .and_then(|l| l.trim().parse().ok());
            let level = level.or_else(|| tag.get(1..2)?.parse().ok()).unwrap_or(2);
            if !name.is_empty()
                && let Some(item) = self.emit(id, "heading", name, false)
            {
                item.element.level = level;
            }
            return;
        }
        if matches!(role, "img" | "canvas" | "progressbar" | "meter") && seen {
            let name = look.name(id);
            let value = look.value(id, role);
            if !name.is_empty() && name != look.hint(id)
                || value.as_ref().is_some_and(|v| !v.is_empty())
            {
                self.flush();
                if let Some(item) = self.emit(id, role, name, false) {
                    item.element.value = value;
                }
            }
            if tag != "svg" {
                return;
            }
        }
        self.region(id, depth, role, block, seen, under);
    }

    /// An element that is nothing by itself: its parts count.
    fn region(&mut self, id: Id, depth: usize, role: &str, block: bool, seen: bool, under: Under) {
        let look = self.look;
        let doc = look.doc;
        let tag = doc.tag(id);
        let outer = self.group;
        let row = matches!(tag, "tr" | "li") || role == "row";
        let breaks = block || matches!(tag, "td" | "th");
        if row || breaks {
            self.flush();
        }
        if row {
            self.groups += 1;
            self.group = self.groups;
        }
        let live = matches!(role, "alert" | "status" | "dialog" | "alertdialog");
        if live && seen && !doc.raw_text(id).trim().is_empty() {
            let label = squash(doc.attr(id, "aria-label").unwrap_or_default());
            self.flush();
            self.emit(id, role, label, false);
        }
        // The text of a label is the name of its control already.
        let labels = tag == "label"
            && doc
                .control(id)
                .is_some_and(|control| look.is_shown(control));
        let inside = Under {
            mute: under.mute || labels || !seen,
            lent: under.lent,
            visible: seen,
        };
        self.children(id, depth, inside);
        if row || breaks {
            self.flush();
        }
        if row {
            self.group = outer;
        }
    }

    fn widget(&mut self, id: Id, depth: usize, block: bool, under: Under) {
        let look = self.look;
        let doc = look.doc;
        let role = look.role(id);
        let shown = look.shown_role(id);
        let inner = doc.descendants(id).any(|d| look.native(d));
        if inner && shown == "clickable" {
            if block {
                self.flush();
            }
            self.children(id, depth, under);
            if block {
                self.flush();
            }
            return;
        }
        self.flush();
        let name = look.name(id);
        let value = look.value(id, role);
        let states = look.states(id);
        let options = if doc.tag(id) == "select" {
            let labels = look.options(id).take(MAX_OPTIONS);
            labels.map(|o| cut(&look.option_label(o), 80)).collect()
        } else {
            Vec::new()
        };
        if let Some(item) = self.emit(id, shown, name, true) {
            let short = value.as_deref().map(|value| cut(value, MAX_TEXT));
            if short != value {
                item.whole.get_or_insert_default().extend(value);
            }
            item.element.value = short;
            item.element.states = states;
            item.element.options = options;
        }
        // Controls inside a control (a link around a card with buttons) are items of their own.
        if inner {
            let inside = Under {
                mute: true,
                lent: false,
                ..under
            };
            self.children(id, depth, inside);
        }
    }

    /// Whether it takes the keyboard or can be dragged, though it is no control.
    fn reachable(&self, id: Id) -> bool {
        let doc = self.look.doc;
        let focusable = doc
            .attr(id, "tabindex")
            .is_some_and(|t| t.trim().parse::<i32>().is_ok_and(|t| t >= 0));
        let draggable = doc.is(id, "draggable", "true");
        let pointer = self.look.style(id, "cursor") == Some("pointer");
        focusable || draggable || pointer
    }
}

/// Whether there is a control inside, by tag or by role.
fn has_control(look: Look<'_>, id: Id) -> bool {
    look.doc.descendants(id).any(|d| {
        look.native(d)
            || look.doc.attr(d, "role").is_some_and(|role| {
                matches!(role, "button" | "link" | "tab" | "menuitem" | "option")
            })
    })
}

fn leaf(doc: &Document, id: Id) -> bool {
    doc.children(id)
        .filter(|c| doc.is_element(*c))
        .all(|c| TEXTUAL.contains(&doc.tag(c)))
}

/// How many parts an element has that could be meant by a click on it.
fn parts(doc: &Document, id: Id) -> usize {
    doc.children(id)
        .filter(|c| doc.is_element(*c))
        .map(|child| {
            let tag = doc.tag(child);
            let texty = !TEXTUAL.contains(&tag) && !doc.raw_text(child).trim().is_empty();
            if SHAPES.contains(&tag) || texty {
                1
            } else if doc.children(child).any(|c| doc.is_element(c)) {
                parts(doc, child)
            } else {
                0
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use url::Url;

    use super::super::document::Facts;
    use super::*;

    fn read(markup: &str) -> String {
        let url = Url::parse("http://a.test/").unwrap();
        let doc = Document::parse(&url, markup.into(), encoding_rs::UTF_8, Facts::default());
        let fields = Fields::default();
        let look = Look {
            doc: &doc,
            fields: &fields,
        };
        let mut out = String::new();
        for item in look.items().0 {
            let e = item.element;
            let value = e.value.map_or_else(String::new, |v| format!(" ={v}"));
            writeln!(
                out,
                "{} {:?}{value} {:?}{}",
                e.role,
                e.name,
                e.states,
                if e.options.is_empty() {
                    String::new()
                } else {
                    e.options.join("|")
                }
            )
            .unwrap();
        }
        out
    }

    #[test]
    fn controls() {
        insta::assert_snapshot!(read(
            "<label>Name <input name=name required></label><label for=p>Plan</label>\
             <select id=p><option>Free<option selected label=Gold>Paid</select>\
             <input type=checkbox checked aria-label=On><input type=password value=abc title=Secret>\
             <input type=submit><input type=hidden value=x><button disabled>Go</button>\
             <textarea placeholder=Text>\n a\nb</textarea><input type=range title=R><fieldset disabled><a href=x>L</a></fieldset>"
        ), @r#"
        textbox "Name" = [Required]
        combobox "Plan" =Gold []Free|Gold
        checkbox "On" [Checked]
        textbox "Secret" =••• []
        button "Submit" []
        button "Go" [Disabled]
        textbox "Text" = a
        b []
        slider "R" =50 []
        link "L" [Disabled]
        "#);
    }

    #[test]
    fn text_and_structure() {
        insta::assert_snapshot!(read(
            "<h2>A <i>b</i></h2><p>one <b>two</b><br>three<table><tr><td>x<td>y</table>\
             <p hidden>no<p style='display:none'>no<div style='visibility:hidden'>no<b style='visibility:visible'>yes</b></div>\
             <details><summary>More</summary>inside</details><p role=alert>Careful</p>\
             <img src=a alt=Cat><img src=b><svg><title>Icon</title></svg><a href=/><img alt=Home></a>\
             <div tabindex=0>Row <span>a</span></div><span aria-hidden=true>★</span>"
        ), @r#"
        heading "A b" []
        text "one two" []
        text "three" []
        text "x" []
        text "y" []
        button "More" [Collapsed]
        alert "" []
        text "Careful" []
        img "Cat" []
        link "Home" []
        clickable "Row a" []
        "#);
    }

    #[test]
    fn long_names_are_cut_by_utf16_units() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("😀😀", 3), "😀…");
        assert_eq!(cut("é é", 2), "é…");
    }
}
