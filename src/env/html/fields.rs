//! What was done to a document: values, ticks, choices, focus. A value, kept beside the document.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Document, Id};
use super::walk::Look;

/// What differs from the document as it was loaded.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields {
    values: BTreeMap<Id, String>,
    checked: BTreeMap<Id, bool>,
    /// The chosen options of a select.
    chosen: BTreeMap<Id, BTreeSet<Id>>,
    open: BTreeMap<Id, bool>,
    /// Controls that the user was told about: a form with them was not sent.
    refused: BTreeSet<Id>,
    /// What holds the keyboard.
    pub focus: Option<Id>,
}

impl Fields {
    /// The text of a field: what was typed, else what the document says, cleaned as browsers do.
    pub(super) fn value(&self, look: &Look<'_>, id: Id) -> String {
        if let Some(value) = self.values.get(&id) {
            return value.clone();
        }
        let doc = look.doc;
        match doc.tag(id) {
            "input" => {
                let kind = look.input_type(id);
                let given = doc.attr(id, "value");
                clean(kind, given.unwrap_or_default()).unwrap_or_else(|| {
                    let bound = |name: &str| doc.attr(id, name).and_then(number);
                    match kind {
                        "range" => {
                            let low = bound("min").unwrap_or(0.0);
                            let high = bound("max").unwrap_or(100.0).max(low);
                            (low + (high - low) / 2.0).to_string()
                        }
                        "color" => "#000000".to_owned(),
                        "checkbox" | "radio" => "on".to_owned(),
                        _ => String::new(),
                    }
                })
            }
            "textarea" => {
                let text = doc.raw_text(id).replace("\r\n", "\n").replace('\r', "\n");
                // The parser drops the first line break of a textarea by itself.
                text
            }
            _ => look.inner_text(id),
        }
    }

    pub(super) fn is_checked(&self, doc: &Document, id: Id) -> bool {
        if let Some(checked) = self.checked.get(&id) {
            return *checked;
        }
        if !doc.has(id, "checked") {
            return false;
        }
        // Of several radio buttons of a group that say so, the last one holds.
        !doc.is(id, "type", "radio")
            || group(doc, id)
                .into_iter()
                .rfind(|other| doc.has(*other, "checked"))
                == Some(id)
    }

    /// The chosen options of a select, in order.
    pub(super) fn chosen(&self, look: &Look<'_>, select: Id) -> Vec<Id> {
        if let Some(chosen) = self.chosen.get(&select) {
            return chosen.iter().copied().collect();
        }
        let doc = look.doc;
        let marked: Vec<Id> = look
            .options(select)
            .filter(|option| doc.has(*option, "selected"))
            .collect();
        if doc.has(select, "multiple") {
            return marked;
        }
        let one = marked.last().copied().or_else(|| {
            let list = look.role(select) == "listbox";
            let usable = |option: &Id| !option_disabled(doc, *option);
            (!list).then(|| look.options(select).find(usable)).flatten()
        });
        one.into_iter().collect()
    }

    pub(super) fn is_open(&self, doc: &Document, details: Id) -> bool {
        let given = doc.has(details, "open");
        self.open.get(&details).copied().unwrap_or(given)
    }

    /// Whether the control is marked as wrong.
    pub(super) fn complains(&self, look: &Look<'_>, id: Id) -> bool {
        let touched = self.refused.contains(&id)
            || self.focus != Some(id)
                && (self.values.contains_key(&id) || self.checked.contains_key(&id));
        touched && self.fault(look, id).is_some()
    }

    pub(super) fn set_value(&mut self, id: Id, text: String) {
        self.values.insert(id, text);
    }

    /// Ticks or unticks; a radio button takes the tick of its group.
    pub(super) fn set_checked(&mut self, doc: &Document, id: Id, on: bool) {
        if on && doc.is(id, "type", "radio") {
            for other in group(doc, id) {
                self.checked.insert(other, false);
            }
        }
        self.checked.insert(id, on);
    }

    /// Chooses an option; in a list of several it is switched.
    pub(super) fn choose(&mut self, look: &Look<'_>, select: Id, option: Id) {
        if look.doc.has(select, "multiple") {
            let mut chosen: BTreeSet<Id> = self.chosen(look, select).into_iter().collect();
            if !chosen.remove(&option) {
                chosen.insert(option);
            }
            self.chosen.insert(select, chosen);
        } else {
            self.chosen.insert(select, BTreeSet::from([option]));
        }
    }

    /// Opens or closes a `details`; of several with one name at most one is open.
    pub(super) fn toggle(&mut self, doc: &Document, details: Id) {
        let open = !self.is_open(doc, details);
        if open && let Some(name) = doc.attr(details, "name").filter(|n| !n.is_empty()) {
            for other in 0..doc.len() {
                if doc.tag(other) == "details" && doc.attr(other, "name") == Some(name) {
                    self.open.insert(other, false);
                }
            }
        }
        self.open.insert(details, open);
    }

    /// Puts the controls of a form back.
    pub(super) fn reset(&mut self, doc: &Document, form: Id) {
        let keep = |id: &Id| doc.form_of(*id) != Some(form);
        self.values.retain(|id, _| keep(id));
        self.checked.retain(|id, _| keep(id));
        self.chosen.retain(|id, _| keep(id));
        self.refused.retain(keep);
    }

    /// Notes that a form was not sent because of these controls.
    pub(super) fn refuse(&mut self, controls: impl IntoIterator<Item = Id>) {
        self.refused.extend(controls);
    }

    /// What is wrong with a control's value, by its own constraints (`pattern` is left to the
    /// server).
    pub(super) fn fault(&self, look: &Look<'_>, id: Id) -> Option<String> {
        let doc = look.doc;
        let tag = doc.tag(id);
        if !matches!(tag, "input" | "select" | "textarea")
            || look.is_disabled(id)
            || doc.has(id, "readonly")
            || doc.within(id, "datalist")
        {
            return None;
        }
        let kind = if tag == "input" {
            look.input_type(id)
        } else {
            tag
        };
        let required = doc.has(id, "required");
        match kind {
            "hidden" | "submit" | "image" | "reset" | "button" => return None,
            "checkbox" => {
                return (required && !self.is_checked(doc, id))
                    .then(|| "must be ticked".to_owned());
            }
            "radio" => {
                let all = group(doc, id);
                let needed = all.iter().any(|other| doc.has(*other, "required"));
                let some = all.iter().any(|other| self.is_checked(doc, *other));
                return (needed && !some).then(|| "needs a choice".to_owned());
            }
            "file" => return required.then(|| "needs a file".to_owned()),
            "select" => {
                let empty = self
                    .chosen(look, id)
                    .iter()
                    .all(|option| option_value(doc, *option).is_empty());
                return (required && empty).then(|| "needs a choice".to_owned());
            }
            _ => {}
        }
        let value = self.value(look, id);
        if value.is_empty() {
            let ranged = matches!(kind, "range" | "color");
            return (required && !ranged).then(|| "must be filled in".to_owned());
        }
        match kind {
            "email" if !value.split(',').all(is_email) => {
                return Some("is no e-mail address".to_owned());
            }
            "url" if url::Url::parse(&value).is_err() => return Some("is no URL".to_owned()),
            _ => {}
        }
        let bound = |name: &str| doc.attr(id, name).filter(|b| !b.is_empty());
        if matches!(kind, "number" | "range") {
            let n = number(&value)?;
            let (low, high) = (bound("min").and_then(number), bound("max").and_then(number));
            if low.is_some_and(|low| n < low) {
                return Some(format!("must be at least {}", low.unwrap_or_default()));
            }
            if high.is_some_and(|high| n > high) {
                return Some(format!("must be at most {}", high.unwrap_or_default()));
            }
            let step = match bound("step") {
                Some(step) if step.eq_ignore_ascii_case("any") => None,
                step => step.and_then(number).filter(|s| *s > 0.0).or(Some(1.0)),
            };
            let base = low
                .or_else(|| bound("value").and_then(number))
                .unwrap_or(0.0);
            if let Some(step) = step {
                let steps = (n - base) / step;
                if (steps - steps.round()).abs() > 1e-6 {
                    return Some(format!("must be in steps of {step} from {base}"));
                }
            }
        } else if matches!(kind, "date" | "month" | "week" | "time" | "datetime-local") {
            // These formats sort as text.
            if bound("min").is_some_and(|low| value.as_str() < low) {
                return Some(format!("must not be before {}", bound("min")?));
            }
            if bound("max").is_some_and(|high| value.as_str() > high) {
                return Some(format!("must not be after {}", bound("max")?));
            }
        }
        // Only what was typed counts as too short.
        if self.values.contains_key(&id)
            && let Some(least) = bound("minlength").and_then(|m| m.trim().parse::<usize>().ok())
            && value.encode_utf16().count() < least
        {
            return Some(format!("needs at least {least} characters"));
        }
        None
    }
}

/// The radio buttons of one group: same name, same form.
fn group(doc: &Document, id: Id) -> Vec<Id> {
    let Some(name) = doc.attr(id, "name").filter(|n| !n.is_empty()) else {
        return vec![id];
    };
    let form = doc.form_of(id);
    (0..doc.len())
        .filter(|other| {
            doc.tag(*other) == "input"
                && doc.is(*other, "type", "radio")
                && doc.attr(*other, "name") == Some(name)
                && doc.form_of(*other) == form
        })
        .collect()
}

pub(super) fn option_disabled(doc: &Document, option: Id) -> bool {
    let in_group = doc
        .parent(option)
        .is_some_and(|p| doc.tag(p) == "optgroup" && doc.has(p, "disabled"));
    doc.has(option, "disabled") || in_group
}

/// What an option is sent as.
pub(super) fn option_value(doc: &Document, option: Id) -> String {
    match doc.attr(option, "value") {
        Some(value) => value.to_owned(),
        None => super::document::squash(&doc.raw_text(option)),
    }
}

/// A number as forms write it.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | 'e' | 'E' | '+');
    if text.starts_with('+') || !text.chars().all(plain) {
        return None;
    }
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

fn is_email(text: &str) -> bool {
    let Some((name, host)) = text.trim().split_once('@') else {
        return false;
    };
    let name_ok = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c);
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    !name.is_empty() && name.chars().all(name_ok) && host.split('.').all(label)
}

/// A text as a field of this kind takes it; `None` if it does not.
pub(super) fn clean(kind: &str, text: &str) -> Option<String> {
    let digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    let within = |text: &str, low: u32, high: u32| {
        text.parse().is_ok_and(|n: u32| (low..=high).contains(&n))
    };
    let month = |text: &str| {
        text.split_once('-').is_some_and(|(y, m)| {
            y.len() >= 4
                && y.bytes().all(|b| b.is_ascii_digit())
                && digits(m, 2)
                && within(m, 1, 12)
        })
    };
    let date = |text: &str| text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10;
    let time = |text: &str| {
        let mut parts = text.splitn(3, ':');
        let two =
            |part: Option<&str>, high| part.is_some_and(|p| digits(p, 2) && within(p, 0, high));
        let (hour, minute) = (two(parts.next(), 23), two(parts.next(), 59));
        let second = parts.next().is_none_or(|s| {
            let (whole, part) = s.split_once('.').unwrap_or((s, "0"));
            digits(whole, 2) && within(whole, 0, 59) && (1..=3).any(|n| digits(part, n))
        });
        hour && minute && second
    };
    match kind {
        "number" | "range" => number(text).map(|_| text.trim().to_owned()),
        "date" => date(text).then(|| text.to_owned()),
        "month" => month(text).then(|| text.to_owned()),
        "week" => text
            .split_once("-W")
            .is_some_and(|(y, w)| {
                y.len() >= 4 && within(y, 1, u32::MAX) && digits(w, 2) && within(w, 1, 53)
            })
            .then(|| text.to_owned()),
        "time" => time(text).then(|| text.to_owned()),
        "datetime-local" => {
            let (day, clock) = text.split_once(['T', ' '])?;
            (date(day) && time(clock)).then(|| format!("{day}T{clock}"))
        }
        "color" => (text.len() == 7
            && text.starts_with('#')
            && text[1..].bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| text.to_ascii_lowercase()),
        // The value of a button or box is data, whatever it is; an empty box is "on".
        "checkbox" | "radio" => (!text.is_empty()).then(|| text.to_owned()),
        "hidden" | "submit" | "reset" | "button" | "image" => Some(text.to_owned()),
        "file" => None,
        "email" | "url" => Some(text.replace(['\r', '\n'], "").trim().to_owned()),
        _ => Some(text.replace(['\r', '\n'], "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_fields_take_what_they_take() {
        for (kind, good, bad) in [
            ("number", "-1.5e3", "1,5"),
            ("date", "2026-11-24", "2026-02-30"),
            ("month", "2026-11", "2026-13"),
            ("week", "2026-W48", "2026-48"),
            ("time", "23:59:01.5", "24:00"),
            ("datetime-local", "2026-11-24T10:00", "2026-11-24"),
            ("color", "#00ff00", "green"),
        ] {
            assert_eq!(clean(kind, good).as_deref(), Some(good), "{kind}");
            assert_eq!(clean(kind, bad), None, "{kind}");
        }
        assert_eq!(clean("text", "a\nb").as_deref(), Some("ab"));
        assert_eq!(clean("email", " a@b.c ").as_deref(), Some("a@b.c"));
        assert!(is_email("a.b+c@d.example") && !is_email("a@-b.c") && !is_email("a"));
    }
}
