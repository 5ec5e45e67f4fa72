//! What is typed: values of the goal into the fields that are named like them, and searches.

use serde_json::json;

use super::element::{is_field, is_search, is_value, ordinal, rendered, target_is_button};
use super::page::Page;
use super::proposer::Scored;
use crate::llm::words::{Literal, Use, bare, count, echoes, padded, terms, words};
use crate::types::{Action, Element, SiblingOutcome};

impl Page<'_> {
    /// Values that may be typed: not those that name something here to be pressed or chosen.
    fn values(&self) -> Vec<&Literal> {
        let is = |text: &str, l: &Literal| {
            let (here, wanted) = (words(text), words(&l.text));
            here == wanted
                || (l.keyed && !wanted.is_empty() && padded(&here).starts_with(&padded(&wanted)))
        };
        let chosen = |l: &Literal| {
            self.usable.iter().any(|(_, e)| {
                !is_field(e) && (is(&e.name, l) || is(&bare(&e.name), l))
                    || e.options.iter().any(|o| is(o, l))
            })
        };
        // What was typed and then sent is not typed again, unless it failed.
        let sent = |l: &Literal| {
            let typed = self.view.path.iter().position(|s| {
                s.action.name == "fill" && s.changed && s.action.text("text") == Some(&l.text)
            });
            !self.failed
                && typed.is_some_and(|at| {
                    self.view.path[at..].iter().any(|s| {
                        s.changed
                            && s.action.name == "click"
                            && target_is_button(s.target.as_deref())
                    })
                })
        };
        self.goal
            .literals
            .iter()
            .filter(|l| !sent(l))
            .filter(|l| match l.purpose {
                Use::Type if !l.keyed => true,
                Use::Press => false,
                Use::Type | Use::Either => !chosen(l),
            })
            .collect()
    }

    pub(super) fn fills(&self) -> Vec<Scored> {
        let Some(spec) = self.spec("fill") else {
            return Vec::new();
        };
        let can_submit = spec.parameters["properties"].get("submit").is_some();
        let fields: Vec<Field<'_>> = self
            .usable
            .iter()
            .filter(|(_, e)| is_field(e))
            .enumerate()
            .map(|(n, (index, element))| Field {
                element,
                label: self.label(*index),
                caption: self.caption(*index).unwrap_or_default().to_owned(),
                place: n + 1,
            })
            .collect();
        let values = self.values();
        let again = ["both", "each", "every", "all", "twice"]
            .iter()
            .any(|w| self.goal.says(&[(*w).to_owned()]));
        let read = self.read(&fields);
        let values = if read.is_empty() {
            values
        } else {
            read.iter().collect()
        };
        let mut out = Vec::new();
        for (i, (field, value, fit)) in assign(&fields, &values, again).into_iter().enumerate() {
            if is_value(field.element, &value.text) {
                continue;
            }
            let submit = can_submit && is_search(field.element);
            let score = 3.0 + fit - 0.05 * count(i);
            let refused = self.view.siblings.iter().any(|s| {
                s.action.target() == Some(&field.element.r#ref)
                    && matches!(s.outcome, SiblingOutcome::Rejected(_))
            });
            out.push(fill(field.element, &value.text, submit, score));
            // Fields of their own format say no to the format of people.
            if let (true, Some(other)) = (refused, machine_format(&value.text)) {
                out.push(fill(field.element, &other, submit, score - 0.1));
            }
        }
        out
    }

    /// Values that are to be read off the page ("the value of X"): the text after the label, which is
    /// the goal's, or each field's own.
    fn read(&self, fields: &[Field<'_>]) -> Vec<Literal> {
        let phrase: Vec<String> = self
            .goal
            .phrase
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let Some(at) = phrase.iter().position(|w| w == "value") else {
            return Vec::new();
        };
        let lookup = |label: &[String]| {
            let all = &self.observation.elements;
            all.windows(2).find_map(|pair| {
                let plain = pair.iter().all(|e| !e.interactive && e.role == "text");
                (plain && !label.is_empty() && words(&pair[0].name) == label)
                    .then(|| pair[1].name.clone())
            })
        };
        let literal = |text: String, keys: Vec<String>| Literal {
            text,
            keys,
            purpose: Use::Type,
            keyed: false,
        };
        if phrase.get(at + 1).is_some_and(|w| w == "of") {
            let rest = &phrase[at + 2..];
            let end = rest
                .iter()
                .position(|w| w == "into" || w == "in")
                .unwrap_or(rest.len());
            let found = lookup(&rest[..end]).map(|text| literal(text, Vec::new()));
            return found.into_iter().collect();
        }
        fields
            .iter()
            .filter_map(|field| {
                let caption = words(&field.caption);
                Some(literal(lookup(&caption)?, caption))
            })
            .collect()
    }

    /// A place to search, and nothing else that speaks: the goal's object, one query after another.
    pub(super) fn searches(&self, best: f64) -> Vec<Scored> {
        let Some(spec) = self.spec("fill") else {
            return Vec::new();
        };
        let can_submit = spec.parameters["properties"].get("submit").is_some();
        let mut out = Vec::new();
        let searched: Vec<&str> = self
            .view
            .path
            .iter()
            .filter_map(|s| s.action.text("text"))
            .collect();
        for (_, field) in self.usable.iter().filter(|(_, e)| is_search(e)).take(1) {
            let open = self
                .goal
                .queries
                .iter()
                .filter(|q| !searched.contains(&q.as_str()));
            for (i, query) in open.enumerate().take(2) {
                if is_value(field, query) {
                    continue;
                }
                let base = if best >= 2.0 { 0.6 } else { 1.2 };
                // Where the object is reached there is nothing to search for.
                let there = self.reached(&[]) >= 0.8 && !echoes(self.observation);
                let again = 0.4 * count(searched.len());
                let score = base - again - 0.5 * count(i) - if there { 1.0 } else { 0.0 };
                out.push(fill(field, query, can_submit, score));
            }
            let typed = self.view.path.last().is_some_and(|s| {
                s.action.name == "fill" && s.target.as_deref() == Some(rendered(field).as_str())
            });
            if typed && !can_submit && self.spec("press").is_some() {
                out.push(Scored {
                    action: Action::new("press", json!({ "key": "Enter", "ref": field.r#ref })),
                    score: 2.6,
                    why: "sends the search".to_owned(),
                });
            }
        }
        out
    }
}

fn fill(field: &Element, text: &str, submit: bool, score: f64) -> Scored {
    let mut arguments = json!({ "ref": field.r#ref, "text": text });
    if submit {
        arguments["submit"] = json!(true);
    }
    Scored {
        action: Action::new("fill", arguments),
        score,
        why: format!("{} takes {text:?}", rendered(field)),
    }
}

/// A date (month first) or a time as fields of their own format take it: `2031-03-14`, `18:05`.
fn machine_format(text: &str) -> Option<String> {
    let number = |t: &str| t.parse::<u32>().ok();
    let parts: Vec<&str> = text.trim().split('/').collect();
    if let [month, day, year] = parts[..] {
        let (month, day) = (number(month)?, number(day)?);
        return (year.len() == 4).then(|| format!("{year}-{month:02}-{day:02}"));
    }
    let (clock, half) = text.trim().split_once(' ')?;
    let (hour, minute) = clock.split_once(':')?;
    let (hour, minute) = (number(hour)?, number(minute)?);
    let hour = match half.to_lowercase().as_str() {
        "am" => hour % 12,
        "pm" => hour % 12 + 12,
        _ => return None,
    };
    Some(format!("{hour:02}:{minute:02}"))
}

/// A field to be filled.
struct Field<'a> {
    element: &'a Element,
    /// What it is called.
    label: String,
    /// The text before it.
    caption: String,
    /// Counted from 1 among the fields.
    place: usize,
}

/// How well a value fits a field, by the words that name it; 0 if nothing says so.
fn fit(field: &Field<'_>, value: &Literal) -> f64 {
    let share = |text: &str| {
        let mut name = terms(text);
        if name.is_empty() {
            name = words(text);
        }
        let shared = name.iter().filter(|t| value.keys.contains(t)).count();
        count(shared) / count(name.len().max(1))
    };
    let numeric = value.text.trim().parse::<f64>().is_ok();
    if field.element.role == "spinbutton" && !numeric {
        return 0.0;
    }
    let whole = padded(&value.keys);
    let nth =
        ordinal(&format!("{whole}textbox "), "textbox").or_else(|| ordinal(&whole, "textbox"));
    if value.keys.iter().any(|k| k.ends_with(['t', 'd', 'h'])) && nth == Some(field.place) {
        return 1.0;
    }
    if is_search(field.element) && !value.keys.iter().any(|k| k == "search") {
        return 0.0;
    }
    share(&field.element.name).max(share(&field.label))
}

/// Values for fields: first those whose words name the field, best match first. What is left of
/// the values that no key ties down goes into the fields that are left, in order; a single value
/// also goes into every further field if the goal says so, or the field asks for it again.
fn assign<'a, 'b>(
    fields: &'b [Field<'a>],
    values: &[&'b Literal],
    again: bool,
) -> Vec<(&'b Field<'a>, &'b Literal, f64)> {
    let mut all: Vec<(f64, usize, usize)> = Vec::new();
    for (f, field) in fields.iter().enumerate() {
        for (v, value) in values.iter().enumerate() {
            all.push((fit(field, value), f, v));
        }
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let mut out: Vec<(usize, usize, f64)> = Vec::new();
    for &(score, f, v) in all.iter().filter(|(score, ..)| *score > 0.0) {
        if !out.iter().any(|(of, ov, _)| *of == f || *ov == v) {
            out.push((f, v, score));
        }
    }
    let plain = |f: usize| !is_search(fields[f].element) && fields[f].element.role != "spinbutton";
    let sole = fields.iter().filter(|f| !is_search(f.element)).count() == 1;
    for (v, value) in values.iter().enumerate() {
        let numeric = value.text.trim().parse::<f64>().is_ok();
        let loose = !value.keyed && (value.purpose == Use::Type || sole);
        if !loose || out.iter().any(|(_, ov, _)| *ov == v) {
            continue;
        }
        let free = (0..fields.len())
            .filter(|f| plain(*f) || (numeric && fields[*f].element.role == "spinbutton"))
            .find(|f| !out.iter().any(|(of, ..)| of == f));
        if let Some(f) = free {
            out.push((f, v, 0.0));
        }
    }
    if let [value] = values
        && !value.keyed
        && let Some((first, ..)) = out.first().copied()
    {
        for (f, field) in fields
            .iter()
            .enumerate()
            .filter(|(f, _)| *f != first && plain(*f))
        {
            let repeats = ["verify", "confirm", "repeat", "again", "retype"];
            let asks = words(&field.label)
                .iter()
                .any(|w| repeats.contains(&w.as_str()));
            if again || asks {
                out.push((f, 0, -0.3));
            }
        }
    }
    out.sort_by_key(|(f, ..)| *f);
    out.into_iter()
        .map(|(f, v, score)| (&fields[f], values[v], score))
        .collect()
}
